"""The blocks of CPython's arenas: which are used, in arrays.

All arenas are copied side by side into one buffer, so that the free lists of all pools are followed at once: the first
step of each, then the second of those that have one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from heapwright.live.extent import Extent, Numbers, zeros
from heapwright.live.memory import Image
from heapwright.live.pages import PAGE
from heapwright.live.python.structs import ARENA, CLASSES, POOL, STEP, Pool

HEADER = Pool.SIZE
PAGES = ARENA // PAGE


@dataclass
class Copies:
    """Copies of arenas side by side: `copy` starts at 0, and arena i lies at i times 1 MiB of it."""

    copy: Extent
    addresses: Numbers

    def position(self, arena: int, address: int) -> int:
        return arena * ARENA + address - int(self.addresses[arena])


@dataclass
class Pools:
    """The pools in use: the arena of each, where it lies in the copy, and its header."""

    arenas: Numbers
    positions: Numbers
    addresses: Numbers
    counts: Numbers
    free_blocks: Numbers
    sizes: Numbers
    next_offsets: Numbers


@dataclass
class Blocks:
    """Used blocks: their positions in the copy and their sizes."""

    positions: Numbers
    sizes: Numbers


def copy_arenas(image: Image, records: list[Any]) -> Copies:
    data = zeros(len(records) * ARENA)
    present, swapped, got = (np.zeros(len(records) * PAGES, bool) for _ in range(3))
    addresses = np.array([record.base for record in records], np.int64)
    for number, address in enumerate(addresses.tolist()):
        own = slice(number * PAGES, (number + 1) * PAGES)
        pages = image.source.pages(address, address + ARENA)
        present[own], swapped[own] = pages.present, pages.swapped
        wanted = pages.present | pages.swapped if image.with_swapped else pages.present
        got[own] = image.source.fill(data[number * ARENA : (number + 1) * ARENA], address, wanted)
    if not image.source.knows_residency:
        return Copies(Extent(0, len(data), data, got), addresses)
    return Copies(Extent(0, len(data), data, got, present, swapped), addresses)


def pools_of(copies: Copies, records: list[Any]) -> Pools:
    """The pools that are in use: those below the high-water mark that are on no list of free ones."""
    found = [
        (arena, address) for arena, record in enumerate(records) for address in used_addresses(copies, arena, record)
    ]
    arenas = np.array([arena for arena, _ in found], np.int64)
    addresses = np.array([address for _, address in found], np.int64)
    positions = arenas * ARENA + addresses - copies.addresses[arenas] if found else arenas
    words = copies.copy.words[positions[:, None] // 8 + np.arange(HEADER // 8)].astype(np.int64)
    pools = Pools(
        arenas,
        positions,
        addresses,
        counts=words[:, 0] & 0xFFFFFFFF,
        free_blocks=words[:, 1],
        sizes=STEP * ((words[:, 4] >> 32) + 1),
        next_offsets=words[:, 5] & 0xFFFFFFFF,
    )
    return chosen(pools, is_sound(copies, pools))


def is_sound(copies: Copies, pools: Pools) -> Any:
    """Whether a pool's header was read, and makes sense."""
    there = copies.copy.got[pools.positions // PAGE]
    return there & (pools.sizes <= STEP * CLASSES) & (pools.next_offsets <= POOL) & (pools.counts > 0)


def chosen(pools: Pools, which: Any) -> Pools:
    return Pools(*(getattr(pools, name)[which] for name in Pools.__dataclass_fields__))


def used_addresses(copies: Copies, arena: int, record: Any) -> Iterator[int]:
    free = set(free_pools(copies, arena, record))
    first = (record.base + POOL - 1) & -POOL
    for address in range(first, min(record.pool_address, record.base + ARENA), POOL):
        if address not in free:
            yield address


def free_pools(copies: Copies, arena: int, record: Any) -> Iterator[int]:
    """The pools on an arena's list of free ones, linked by `next`."""
    address, start = record.free_list, record.base
    for _ in range(record.free_pools):
        if not start <= address < start + ARENA:
            return
        yield address
        address = int(copies.copy.words[copies.position(arena, address) // 8 + Pool.fields["next"].offset // 8])


# --- blocks


def used_blocks(copies: Copies, pools: Pools) -> tuple[Blocks, int]:
    """The used blocks of all pools, and how many pools do not add up (they changed under the copy)."""
    parts, wrong = [], 0
    for size in np.unique(pools.sizes).tolist():
        of_size = chosen(pools, pools.sizes == size)
        used = used_in(copies, of_size, size)
        wrong += int((used.sum(axis=1) != of_size.counts).sum())
        rows, columns = np.nonzero(used)
        positions = of_size.positions[rows] + HEADER + columns * size
        parts.append((positions, np.full(len(positions), size, np.int64)))
    if not parts:
        return Blocks(np.zeros(0, np.int64), np.zeros(0, np.int64)), 0
    positions, sizes = (np.concatenate(each) for each in zip(*parts, strict=True))
    order = np.argsort(positions, kind="stable")
    return Blocks(positions[order], sizes[order]), wrong


def used_in(copies: Copies, pools: Pools, size: int) -> Any:
    """For pools of one size, which of their blocks are used."""
    capacity = (POOL - HEADER) // size
    touched = (pools.next_offsets - HEADER) // size
    used = np.arange(capacity)[None, :] < touched[:, None]
    rows, blocks = np.arange(len(pools.positions)), pools.free_blocks
    for _ in range(capacity):
        offsets = blocks - pools.addresses[rows]
        good = (offsets >= HEADER) & (offsets < POOL) & ((offsets - HEADER) % size == 0)
        rows, offsets = rows[good], offsets[good]
        if not len(rows):
            break
        used[rows, (offsets - HEADER) // size] = False
        blocks = copies.copy.words[(pools.positions[rows] + offsets) // 8].astype(np.int64)
    return used
