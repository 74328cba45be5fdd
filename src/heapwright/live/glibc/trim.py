"""The memory that malloc_trim(0) would give back now.

Source: glibc malloc/malloc.c, mtrim and systrim. In every arena it merges the fast bins, then releases the whole pages
of each free chunk after its links. Only in the main arena, it also lowers the break, to within a page and the smallest
chunk of the top's start. It never releases the tops of other arenas, chunks in threads' caches, mapped chunks, or pages
that the program has locked. Only pages that are resident or swapped count.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from heapwright.live.blocks import Ranges
from heapwright.live.extent import Numbers
from heapwright.live.glibc.chunks import MIN_CHUNK
from heapwright.live.glibc.heap import Heap
from heapwright.live.glibc.states import TOP, Chunks
from heapwright.live.glibc.structs import NONCONTIGUOUS
from heapwright.live.mappings import MappingMap
from heapwright.live.pages import PAGE
from heapwright.spans import FREE

LINKS = 48  # bytes at the start of a free chunk that trim keeps


def trimmed(heap: Heap, chunks: Chunks, mappings: MappingMap) -> Ranges:
    """The pages of a run that trim would release."""
    found = middle_pages(*merged(chunks))
    if chunks.arena.is_main and chunks.kinds[-1] == TOP:
        found = joined(found, top_pages(heap, chunks))
    return unlocked(found, mappings)


def merged(chunks: Chunks) -> tuple[Numbers, Numbers]:
    """The starts and ends of free memory after the fast bins are merged, without memory that joins the top."""
    free = np.concatenate(([False], chunks.kinds == FREE, [False]))
    edges = np.flatnonzero(free[1:] != free[:-1])
    bounds = np.append(chunks.run.places, chunks.run.end)
    starts, ends = bounds[edges[::2]], bounds[edges[1::2]]
    joins_top = (ends == chunks.run.places[-1]) & (chunks.kinds[-1] == TOP)
    return starts[~joins_top], ends[~joins_top]


def middle_pages(starts: Numbers, ends: Numbers) -> Ranges:
    first = (starts + LINKS + PAGE - 1) & -PAGE
    last = ends & -PAGE
    large = (ends - starts > PAGE - 1 + LINKS) & (last > first)
    return Ranges(first[large], last[large])


def top_pages(heap: Heap, chunks: Chunks) -> Ranges:
    """The pages that lowering the break gives back: none if somebody else moved it, or memory came from elsewhere."""
    start = top_start(chunks)
    end = chunks.run.end
    unit = page_of_top(heap)
    extra = (end - start - MIN_CHUNK - 1) & -unit
    is_at_break = end == chunks.run.section.copy.end and not is_noncontiguous(heap)
    if extra <= 0 or not is_at_break:
        return Ranges(np.zeros(0, np.int64), np.zeros(0, np.int64))
    return Ranges(np.array([end - extra]), np.array([end]))


def top_start(chunks: Chunks) -> int:
    """The start of the top after the fast chunks before it have joined it."""
    index = len(chunks.kinds) - 1
    while index > 0 and chunks.kinds[index - 1] == FREE:
        index -= 1
    return int(chunks.run.places[index])


def page_of_top(heap: Heap) -> int:
    """The page size at which the top is cut: that of huge pages if malloc is set to use them."""
    huge = getattr(heap.parameters, "thp_pagesize", 0)
    return huge or PAGE


def is_noncontiguous(heap: Heap) -> bool:
    return bool(heap.main.flags & NONCONTIGUOUS)


def joined(one: Ranges, other: Ranges) -> Ranges:
    return Ranges(np.append(one.starts, other.starts), np.append(one.ends, other.ends))


def unlocked(ranges: Ranges, mappings: MappingMap) -> Ranges:
    """The ranges without pages that the program has locked in memory."""
    locked = [mapping for mapping in mappings if mapping.is_locked]
    if not locked:
        return ranges
    keep: Any = np.ones(len(ranges.starts), bool)
    for mapping in locked:
        keep &= (ranges.ends <= mapping.start) | (ranges.starts >= mapping.end)
    return Ranges(ranges.starts[keep], ranges.ends[keep])
