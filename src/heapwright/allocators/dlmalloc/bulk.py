"""Many blocks in one call: independent_calloc, independent_comalloc and bulk_free of the source.

The elements of an independent allocation are neighbours, cut from one chunk. Each may be freed or resized by itself.
If the caller has no place for their addresses, an array at the end of the chunk holds these:

      +---------+---------+-- ... --+---------+-----------+
      | element | element |         | element | addresses |   each with a head of its own
      +---------+---------+-- ... --+---------+-----------+

A heap here is `dlmalloc.Heap`. An array is the address of words of the caller's. `sizes` is an array, or with
`is_array` 0 the size of every element.
"""

from __future__ import annotations

from heapwright import bits
from heapwright.allocators.dlmalloc import bins, chunks, segments, system
from heapwright.layout import NULL, WORD, Struct, Word

MAX_COUNT = 1 << 40  # of elements: the sum of their sizes does not overflow
MAX_ELEMENT = 1 << 61


class Cell(Struct):
    """One word of a caller's array."""

    word: Word


def cell(heap, array, index):
    return Cell(heap.memory, array + WORD * index)


# --- independent blocks


def size_at(heap, sizes, is_array, index):
    """The size of the chunk of an element, or -1 if no memory has so many bytes."""
    size = cell(heap, sizes, index).word if is_array else sizes
    return -1 if bits.unsigned_less(MAX_ELEMENT, size) else chunks.chunk_size(heap, size)


def contents_size(heap, count, sizes, is_array):
    """The size of all elements' chunks, or -1 if no memory has so many bytes."""
    if not is_array:
        size = size_at(heap, sizes, 0, 0)
        return bits.product(count, size) if size > 0 else -1
    total = 0
    for index in range(count):
        size = size_at(heap, sizes, 1, index)
        total += size
        if size < 0 or total > MAX_ELEMENT:
            return -1
    return total


def array_size(heap, count, array):
    """The size of the chunk for the addresses; 0 if the caller has a place for them."""
    return chunks.chunk_size(heap, count * WORD) if array == NULL else 0


def split(heap, chunk, contents, count, sizes, is_array, array):
    """Split a chunk in use into elements and, without a caller's array, one for the addresses; return the array.

    The last of them takes what the chunk has beyond the sum of the sizes.
    """
    size = chunks.size_of(chunk)
    if array == NULL:
        array = chunks.address_of(cut(heap, chunk, size, contents))
        size = contents
    for index in range(count - 1):
        cell(heap, array, index).word = chunks.address_of(chunk)
        length = size_at(heap, sizes, is_array, index)
        chunk, size = cut(heap, chunk, size, length), size - length
    cell(heap, array, count - 1).word = chunks.address_of(chunk)
    return array


def cut(heap, chunk, size, length):
    """Split a chunk in use of `size` bytes into two in use; return the second."""
    rest = chunks.offset_by(chunk, length)
    chunks.use_first(heap, rest, size - length)
    chunks.resize_used(heap, chunk, length)
    return rest


# --- freeing many


def free_all(heap, array, count):
    """Free each block of an array, and clear its word; null words are skipped.

    A block whose neighbour above comes next in the array is merged with it before it is freed.
    """
    for index in range(count):
        place = cell(heap, array, index)
        if place.word != NULL:
            chunk = chunks.chunk_of(heap, place.word)
            place.word = NULL
            free_or_join(heap, chunk, place.at(place.address + WORD), index + 1 < count)
    if heap.top and heap.top_size > heap.trim_check:
        segments.trim_end(heap, 0)


def free_or_join(heap, chunk, next_place, has_next):
    """Free a chunk; or make it one with the next chunk, if that is the next of the array, and free it as that one."""
    if system.is_own_mapping(heap, chunk):
        system.unmap_chunk(heap, chunk)
        return
    behind = chunks.after(chunk)
    if has_next and next_place.word == chunks.address_of(behind):
        system.refuse_free(heap, behind)
        join(heap, chunk, behind)
        next_place.word = chunks.address_of(chunk)
    else:
        bins.give_back(heap, chunk)


def join(heap, chunk, behind):
    size, more = chunks.size_of(chunk), chunks.size_of(behind)
    chunks.wipe_foot(heap, chunk, size)
    behind.head = more | chunks.PREVIOUS_USED  # so that a second free is detected
    chunks.resize_used(heap, chunk, size + more)
