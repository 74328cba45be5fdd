"""The parts of a stretch of memory, for those who look at a ptmalloc heap: of the break, segments, and mappings.

Parts may touch. The word where a chunk's head would be tells them apart: it says P if a chunk is there, for nothing
free lies before; M alone if they are a mapping's first words; neither if it is a segment's record and that its size.
A part of the break, or what stands in for it, ends with the top or with a fence.
"""

from __future__ import annotations

from heapwright.allocators.ptmalloc_chunks import (
    HEADER,
    OVERHEAD,
    UNIT,
    Chunk,
    follows_used,
    is_in_use,
    is_kept,
    is_mapped,
    offset_by,
    size_of,
)
from heapwright.allocators.ptmalloc_state import CACHE_BINS, SEGMENT_BYTES, Arena, Segment, segment_of
from heapwright.allocators.ptmalloc_system import is_last_fence
from heapwright.bits import align_up
from heapwright.spans import CACHED, FREE, OWN, USED


def head_of(heap, part):
    return Chunk(heap.memory, align_up(part, UNIT))


def is_mapping(heap, part):
    first = head_of(heap, part)
    return is_mapped(first) and not follows_used(first)


def is_segment(heap, part):
    first = head_of(heap, part)
    return not is_mapped(first) and not follows_used(first)


def first_chunk(heap, part):
    first = head_of(heap, part)
    if is_mapping(heap, part):
        return offset_by(first, first.previous_size)
    if not is_segment(heap, part):
        return first
    return offset_by(first, Segment.SIZE if segment_of(first).previous else Segment.SIZE + Arena.SIZE)


def arena_in(heap, part):
    return Segment(heap.memory, part).arena if is_segment(heap, part) else heap.main


def is_last(heap, part, chunk):
    """Whether a chunk ends its part."""
    return is_mapping(heap, part) or chunk == arena_in(heap, part).top or is_last_fence(chunk)


def end_of_span(heap, part, chunk):
    """Where the next chunk's head is, or what the kernel gave ends."""
    end = chunk.address + size_of(chunk)
    if is_mapping(heap, part):
        return end + HEADER
    return end if is_last(heap, part, chunk) else end + OVERHEAD


def end_of_part(heap, part, end):
    """Where a part ends whose last chunk ends at `end`."""
    return part + SEGMENT_BYTES if is_segment(heap, part) else end


def is_lost(chunk):
    """Whether a mapped chunk is a mapping that the kernel did not take back: one that is in a cache is smaller."""
    return is_kept(chunk) and size_of(chunk) >= CACHE_BINS * UNIT


def kind_of(heap, part, chunk):
    if is_mapping(heap, part):
        if is_lost(chunk):
            return OWN
    elif is_mapped(chunk):
        return OWN
    elif chunk == arena_in(heap, part).top or not is_in_use(chunk):
        return FREE
    return CACHED if is_kept(chunk) else USED
