"""Count CPython's small-object arenas: used, free, and what keeps each arena from going back."""

from __future__ import annotations

from typing import Any

import numpy as np

from heapwright.live.extent import Numbers
from heapwright.live.findings import BlockList, Look
from heapwright.live.mappings import Mapping
from heapwright.live.parts import Figures, figures_of
from heapwright.live.pins import CLASSES, classes_of
from heapwright.live.python.find import Arenas, find_arenas, interpreters, is_free_threaded
from heapwright.live.python.heap import PythonHeap
from heapwright.live.python.pools import Blocks, Copies, Pools, copy_arenas, pools_of, used_blocks
from heapwright.live.python.structs import ARENA, POOL
from heapwright.live.regions import region_of
from heapwright.live.statistics import Statistics


def tally_python(look: Look, mappings: list[Mapping]) -> PythonHeap | None:
    """Count the arenas of the interpreter in the process, if there is one."""
    found = find_arenas(look.image)
    if found is None:
        note_absence(look)
        return None
    records = [record for record in found.records if any(record.base in mapping for mapping in mappings)]
    copies = copy_arenas(look.image, records)
    pools = pools_of(copies, records)
    blocks, wrong = used_blocks(copies, pools)
    if wrong:
        look.notes.append(f"{wrong:,} of {len(pools.counts):,} Python pools changed while they were read")
    heap = heap_of(found, copies, pools, blocks)
    look.python_blocks = blocks_by_address(copies, blocks)
    tally_parts(look, copies, blocks)
    tally_pins(look, copies, blocks)
    look.regions += [region_of_arena(copies, blocks, number) for number in range(len(records))]
    return heap


def note_absence(look: Look) -> None:
    for module in interpreters(look.image):
        if is_free_threaded(look.image, module):
            look.notes.append("this Python is free-threaded: its objects are in mimalloc, which is not read")
            look.recognised.append("mimalloc")
            look.statistics.append(Statistics("mimalloc"))
        else:
            look.notes.append("this Python has no arenas of small objects: PYTHONMALLOC=malloc, or it has just started")


def heap_of(found: Arenas, copies: Copies, pools: Pools, blocks: Blocks) -> PythonHeap:
    used = int(blocks.sizes.sum())
    return PythonHeap(
        found.version,
        arenas=len(copies.addresses),
        pools=len(pools.counts),
        free_pools=len(copies.addresses) * (ARENA // POOL) - len(pools.counts),
        used_bytes=used,
        free_bytes=len(copies.addresses) * ARENA - used,
        ranges=[(address, address + ARENA) for address in copies.addresses.tolist()],
    )


def blocks_by_address(copies: Copies, blocks: Blocks) -> BlockList:
    starts = copies.addresses[blocks.positions // ARENA] + blocks.positions % ARENA
    order = np.argsort(starts)
    return BlockList("a Python arena", starts[order], (starts + blocks.sizes)[order])


def tally_parts(look: Look, copies: Copies, blocks: Blocks) -> None:
    """Used blocks, and all else of the arenas: free blocks, free pools and the pools' headers."""
    used = figures_by_arena(copies, blocks)
    for number, address in enumerate(copies.addresses.tolist()):
        whole = figures_of(copies.copy, [number * ARENA], [(number + 1) * ARENA])
        look.account.add("python_used", used[number], address)
        look.account.add("python_free", whole.minus(used[number]), address)


def figures_by_arena(copies: Copies, blocks: Blocks) -> list[Figures]:
    count, ends = len(copies.addresses), blocks.positions + blocks.sizes
    owners = blocks.positions // ARENA
    columns = [
        np.bincount(owners, bytes_of, count).astype(np.int64)
        for bytes_of in (
            copies.copy.resident_in(blocks.positions, ends),
            copies.copy.swapped_in(blocks.positions, ends),
            blocks.sizes,
        )
    ]
    return [Figures(*(int(column[number]) for column in columns)) for number in range(count)]


def tally_pins(look: Look, copies: Copies, blocks: Blocks) -> None:
    """Share out the free bytes of each arena to its blocks: it goes back to the kernel as a whole or not at all."""
    kinds = look.kinds.of(copies.copy, blocks.positions, blocks.sizes)
    groups = kinds * CLASSES + classes_of(blocks.sizes)
    look.tally.count(groups, blocks.sizes)
    free = free_by_arena(copies, blocks)
    starts = ARENA * np.arange(len(free), dtype=np.int64)
    resident = copies.copy.resident_in(starts, starts + ARENA)
    look.tally.share(blocks.positions // ARENA, groups, blocks.sizes, free, resident)


def free_by_arena(copies: Copies, blocks: Blocks) -> Any:
    """The resident bytes of each arena that no block uses."""
    used = np.array([figures.resident for figures in figures_by_arena(copies, blocks)], np.int64)
    starts: Numbers = np.arange(len(used), dtype=np.int64) * ARENA
    return copies.copy.resident_in(starts, starts + ARENA) - used


def region_of_arena(copies: Copies, blocks: Blocks, number: int) -> Any:
    first, last = np.searchsorted(blocks.positions, [number * ARENA, (number + 1) * ARENA])
    starts = blocks.positions[first:last]
    pages = slice(number * ARENA // 4096, (number + 1) * ARENA // 4096)
    region = region_of("Python arena", copies.copy, starts, starts + blocks.sizes[first:last])
    region.states = region.states[pages]
    region.start = int(copies.addresses[number])
    return region
