"""Who points to what: live blocks that nothing leads to, and the places that lead to one block.

A word counts as a pointer if it lies within a live block, wherever it stands: in another block, in a program's data, on
a stack. So a leak is reported only if no word at all leads to it, and a chance number may hide one. Pointers that are
kept in registers alone, or hidden on purpose, are not seen. CPython's arenas count as data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from heapwright.live.extent import Extent, Numbers, copy_of
from heapwright.live.findings import Look
from heapwright.live.glibc.chunks import HEADER, OVERHEAD
from heapwright.live.glibc.states import Chunks
from heapwright.live.kinds import NOT_THERE
from heapwright.live.pins import CLASSES, Group, GroupSums, classes_of
from heapwright.live.registers import RED_ZONE, STACK, words_of
from heapwright.live.source import Source
from heapwright.spans import USED

MAX_ROOTS = 1 << 34  # bytes of one mapping of data


@dataclass
class Blocks:
    """Live blocks by address: where the caller's bytes start and end."""

    starts: Numbers
    ends: Numbers

    def owners(self, words: Any) -> Numbers:
        """The block that each word lies in; -1 for none."""
        if not len(self.starts):
            return np.full(len(words), -1, np.int64)
        index = np.searchsorted(self.starts, words, side="right") - 1
        inside = (index >= 0) & (words < self.ends[np.maximum(index, 0)])
        return np.where(inside, index, -1)


def blocks_of(look: Look) -> Blocks:
    """All live blocks of a look, but for CPython's small ones."""
    parts = [used_in(chunks) for chunks in look.chunks] + [(each.starts, each.ends) for each in look.other_blocks]
    parts.append((starts_of(look), np.array([chunk.end for chunk in look.mapped], np.int64)))
    starts, ends = (np.concatenate(each) for each in zip(*parts, strict=True))
    order = np.argsort(starts, kind="stable")
    return Blocks(starts[order], ends[order])


def starts_of(look: Look) -> Numbers:
    return np.array([chunk.address for chunk in look.mapped], np.int64)


def used_in(chunks: Chunks) -> tuple[Numbers, Numbers]:
    chosen = chunks.kinds == USED
    ends = np.minimum(chunks.ends[chosen] + OVERHEAD, chunks.limit)
    return chunks.run.places[chosen] + HEADER, ends


# --- data


def copy_data(source: Source, copies: list[Extent]) -> list[Extent]:
    """Copies of all writable memory that is in none of these."""
    found = []
    for mapping in source.mappings:
        taken = any(copy.start < mapping.end and mapping.start < copy.end for copy in copies)
        if (
            mapping.is_writable
            and mapping.is_readable
            and not taken
            and mapping.resident != 0
            and mapping.size <= MAX_ROOTS
        ):
            if mapping.flags[3] == "p":
                found.append(copy_of(source, mapping.start, mapping.end))
    return found


def pointers_in(copy: Extent, blocks: Blocks) -> tuple[Numbers, Numbers]:
    """The addresses of all words of a copy that lead to a block, and the blocks."""
    if not len(blocks.starts):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    words = copy.words.view("<i8")
    near = np.flatnonzero((words >= blocks.starts[0]) & (words < blocks.ends.max()))
    targets = blocks.owners(words[near])
    hit = targets >= 0
    return copy.start + 8 * near[hit], targets[hit]


# --- leaks


def leaked(look: Look, data: list[Extent]) -> list[Group]:
    """The blocks that nothing leads to, in groups, the largest first."""
    blocks = blocks_of(look)
    registers = np.array(sorted(set(words_of(look.registers))), np.uint64).astype(np.int64)
    from_registers = blocks.owners(registers)
    left_behind = list(unused_stacks(look))
    roots, sources, targets = [from_registers[from_registers >= 0]], [], []
    for copy in [*data, *heap_copies(look)]:
        places, found = pointers_in(copy, blocks)
        owners = blocks.owners(places)
        is_root = (owners < 0) & ~inside(places, [*look.heap_ranges, *left_behind]) if copy in data else owners < -1
        roots.append(found[is_root])
        sources.append(owners[owners >= 0])
        targets.append(found[owners >= 0])
    reached = reach(len(blocks.starts), np.concatenate(roots), np.concatenate(sources), np.concatenate(targets))
    return groups_of(look, blocks, ~reached)


def unused_stacks(look: Look) -> Iterator[tuple[int, int]]:
    """The parts of stacks below their ends, where old calls left words behind."""
    for registers in look.registers.values():
        end = registers[STACK] - RED_ZONE if registers else 0
        mapping = look.source.mappings.at(end)
        whole = [(mapping.start, mapping.end)] if mapping else []
        stacks = [(start, end) for start, last in [*look.stacks, *whole] if start < end < last]
        yield from stacks[:1]


def inside(places: Numbers, ranges: list[tuple[int, int]]) -> Any:
    """Whether each place lies in one of these ranges, which are apart."""
    bounds = np.array(sorted(ranges), np.int64).reshape(-1, 2)
    index = np.searchsorted(bounds[:, 0], places, side="right") - 1
    return (index >= 0) & (places < np.append(bounds[:, 1], 0)[index])


def heap_copies(look: Look) -> list[Extent]:
    """Each copy of a heap once."""
    copies = {id(chunks.run.section.copy): chunks.run.section.copy for chunks in look.chunks}
    if look.own:
        copies |= {id(copy): copy for copy in look.own.extents}
    return list(copies.values())


def reach(count: int, roots: Numbers, sources: Numbers, targets: Numbers) -> Any:
    """Which of `count` blocks can be reached from the roots along the edges."""
    order = np.argsort(sources, kind="stable")
    following = targets[order].tolist()
    first = np.searchsorted(sources[order], np.arange(count + 1)).tolist()
    marks = bytearray(count)
    waiting = np.unique(roots).tolist()
    for block in waiting:
        marks[block] = True
    while waiting:
        block = waiting.pop()
        for index in range(first[block], first[block + 1]):
            target = following[index]
            if not marks[target]:
                marks[target] = True
                waiting.append(target)
    return np.frombuffer(marks, bool)


def groups_of(look: Look, blocks: Blocks, chosen: Any) -> list[Group]:
    tally = GroupSums()
    starts, ends = blocks.starts[chosen], blocks.ends[chosen]
    rest = np.ones(len(starts), bool)
    for copy in [*heap_copies(look), *look.data]:
        here = rest & (starts >= copy.start) & (starts < copy.end)
        sizes = ends[here] - starts[here]
        tally.count(look.kinds.of(copy, starts[here], sizes) * CLASSES + classes_of(sizes), sizes)
        rest &= ~here
    sizes = ends[rest] - starts[rest]
    tally.count(NOT_THERE * CLASSES + classes_of(sizes), sizes)
    return sorted(tally.groups(look.kinds.names), key=lambda group: -group.bytes)


# --- who points to one block


def pointing_to(look: Look, data: list[Extent], start: int, end: int) -> Iterator[int]:
    """The addresses of all words that lie in a range."""
    for copy in [*heap_copies(look), *data]:
        words = copy.words.view("<i8")
        yield from (copy.start + 8 * np.flatnonzero((words >= start) & (words < end))).tolist()
