"""What dlmalloc asks the kernel for when no free chunk serves: a mapping for a large chunk alone, or more of a segment.

A mapping of its own is one chunk with neither bit set; its `previous_size` is the distance from the mapping's start:

      +-----------------+---------------------+--------+--------+
      | previous_size   | the chunk           | fence  | 0      |   of 32 bytes, the second word is the fence's head
      +-----------------+---------------------+--------+--------+

A heap here is `dlmalloc.Heap`.
"""

from __future__ import annotations

from heapwright.allocators.dlmalloc_bins import is_small
from heapwright.allocators.dlmalloc_chunks import ALIGNMENT, plus, set_foot, size_of
from heapwright.allocators.dlmalloc_segments import FENCE, count, keep, stretch_for, take_from_stretch
from heapwright.bits import align_up
from heapwright.layout import NULL, WORD

MMAP_THRESHOLD = 256 << 10
MAPPED_FOOT = 4 * WORD
MAPPED_OVERHEAD = 6 * WORD + ALIGNMENT - 1


def take_from_kernel(heap, size):
    """A chunk for what no free chunk can serve; null when memory is exhausted."""
    if size >= MMAP_THRESHOLD and heap.top_size != 0:
        chunk = map_chunk(heap, size)
        if chunk:
            return chunk
    start, given, is_mapped = stretch_for(heap, size)
    if given == 0:
        return heap.top.at(NULL)
    count(heap, given)
    return take_from_stretch(heap, start, given, is_mapped, size)


# --- chunks that are mappings of their own


def map_chunk(heap, size):
    """A mapping for a chunk of `size` bytes, or null."""
    length = align_up(size + MAPPED_OVERHEAD, heap.memory.PAGE)
    start = heap.memory.mmap(length)
    if start == -1:
        return heap.top.at(NULL)
    chunk = heap.top.at(start)
    chunk.previous_size = 0
    finish_mapped(heap, chunk, length - MAPPED_FOOT)
    count(heap, length)
    return chunk


def finish_mapped(heap, chunk, size):
    """Write a mapping's heads: where it starts, too, for `walk`, if memalign moved the chunk up."""
    lead = chunk.previous_size
    plus(chunk, -lead).head = lead + size
    chunk.head = size
    set_foot(heap, chunk, size)
    fence = plus(chunk, size)
    fence.head = FENCE
    plus(fence, WORD).head = 0
    heap.least_address = min(heap.least_address, chunk.address - lead)


def mapped_length(chunk):
    return chunk.previous_size + size_of(chunk) + MAPPED_FOOT


def unmap_chunk(heap, chunk):
    start, length = chunk.address - chunk.previous_size, mapped_length(chunk)
    if heap.memory.munmap(start, length) == 0:
        heap.footprint -= length
    else:
        keep(heap, start, length, 1)


def remap_chunk(heap, chunk, size, may_move):
    """The chunk with another size, perhaps elsewhere; null if it should become an ordinary one or cannot."""
    spare = size_of(chunk) - size
    if is_small(size):
        return chunk.at(NULL)
    if WORD <= spare <= 2 * heap.memory.PAGE:
        return chunk
    lead, old_length = chunk.previous_size, mapped_length(chunk)
    length = align_up(lead + size + MAPPED_OVERHEAD, heap.memory.PAGE)
    start = heap.memory.mremap(chunk.address - lead, old_length, length, may_move)
    if start == -1:
        return chunk.at(NULL)
    chunk = chunk.at(start + lead)
    finish_mapped(heap, chunk, length - lead - MAPPED_FOOT)
    count(heap, length - old_length)
    return chunk
