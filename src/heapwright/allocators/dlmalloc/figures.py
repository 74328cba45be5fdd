"""The figures of dlmalloc's heaps: statistics, mallinfo, and the contents of each chunk.

A heap here is `dlmalloc.Heap`.
"""

from __future__ import annotations

from heapwright import locks, stats
from heapwright.allocators.dlmalloc import bins, chunks, segments, trees
from heapwright.layout import WORD, Struct, Word

# --- of all heaps


def survey(heap, account):
    """Count the free chunks and mappings of the first heap, and of spaces with a lock.

    What the kernel gave a space without a lock counts as live: only its own thread may look into it.
    """
    stats.begin(heap.memory, account)
    survey_heap(heap, account)
    space = heap.next
    while space:
        if space.is_locked:
            locks.acquire(heap.memory, space.lock)
            survey_heap(space, account)
            locks.release(heap.memory, space.lock)
        space = space.next
    account.spare_bytes = heap.top_size


def survey_heap(heap, account):
    segment, in_segments = heap.segment, 0
    while heap.top and segment:
        in_segments += segment.size
        if segment.origin == segments.LENT:
            stats.add_lent(account, segment.size)
        survey_segment(heap, segment, account)
        segment = segment.next
    stats.add_mapped(account, heap.mapped_chunks, heap.footprint - in_segments)


def survey_segment(heap, segment, account):
    """Count the free chunks of a segment, including top."""
    chunk = segments.first_chunk(segment)
    while chunk.head != segments.FENCE and chunk != heap.top:
        if not chunks.is_live(chunk):
            stats.add_free(account, 1, chunks.size_of(chunk))
        chunk = chunks.after(chunk)
    if chunk == heap.top:
        stats.add_free(account, 1, heap.top_size)


# --- of one heap


class Mallinfo(Struct):
    """C's `struct mallinfo2`, in bytes."""

    arena: Word  # in segments
    ordblks: Word  # free chunks
    smblks: Word
    hblks: Word
    hblkhd: Word  # in mappings of single chunks
    usmblks: Word  # the peak of the footprint
    fsmblks: Word
    uordblks: Word  # in use
    fordblks: Word  # free
    keepcost: Word  # in top


def fill_in(heap, info):
    heap.memory.fill(info.address, Mallinfo.SIZE, 0)
    segment = heap.segment
    while heap.top and segment:
        info.arena += segment.size
        add_free(heap, segment, info)
        segment = segment.next
    info.hblkhd = heap.footprint - info.arena
    info.usmblks = heap.peak
    info.uordblks = heap.footprint - info.fordblks
    info.keepcost = heap.top_size


def add_free(heap, segment, info):
    """Add the free chunks of a segment, including top."""
    chunk = segments.first_chunk(segment)
    while chunk.head != segments.FENCE:
        if not chunks.is_live(chunk):
            info.ordblks += 1
            info.fordblks += chunks.size_of(chunk)
        if chunk == heap.top:
            return
        chunk = chunks.after(chunk)


def walk_chunks(heap):
    """Yield (start, end, bytes in use) for the contents of each chunk of the segments, as malloc_inspect_all does.

    The contents of a free chunk are what follows its links; where nothing does, the chunk is left out.
    """
    segment = heap.segment
    while heap.top and segment:
        chunk = segments.first_chunk(segment)
        while chunk.head != segments.FENCE:
            start, used = contents_of(chunk)
            end = chunks.after(chunk).address
            if start < end:
                yield start, end, used
            if chunk == heap.top:
                break
            chunk = chunks.after(chunk)
        segment = segment.next


def contents_of(chunk):
    """The start of what a chunk holds, and how many bytes of it are in use."""
    size = chunks.size_of(chunk)
    if chunks.is_used(chunk):
        return chunks.address_of(chunk), size - WORD
    return chunk.address + (chunks.Chunk.SIZE if bins.is_small(size) else trees.Tree.SIZE), 0
