"""Blocks with a mapping of their own, for allocators that find a block's record by masking its address.

A huge block lies at a multiple of the allocator's boundary, where none of its other blocks ever does, so that the
address alone says which it is. Its record is on a page of its own before it: thus a block may have any alignment.

    mapping -> +--------------------+
             0 | magic              |
             8 | size               |  of the mapping, in bytes
               | unused             |
    address -> +--------------------+  a page further on
               | the caller's bytes |
               +--------------------+

What the kernel does not take back is kept in the heap's `pages` (pages_kept).
"""

from __future__ import annotations

from heapwright.allocators.pages_kept import give_back, kept_at, take_led
from heapwright.bits import align_up, below
from heapwright.layout import NULL, Struct, Word
from heapwright.spans import FREE, OWN, USED

HUGE_MAGIC = 0x0B16B10C
MOST_HUGE = 1 << 62


class Huge(Struct):
    magic: Word
    size: Word


def is_huge(address, boundary):
    return address & (boundary - 1) == 0


def huge_of(heap, address):
    """The record of a huge block; any other address is a misuse."""
    huge = Huge(heap.memory, address - heap.memory.PAGE)
    if huge.magic != HUGE_MAGIC:
        heap.memory.fault("not a block of this heap", address)
    return huge


def mapping_size(heap, size):
    """Of a mapping with room for the record and the block."""
    return heap.memory.PAGE + align_up(max(size, 1), heap.memory.PAGE)


def alloc_huge(heap, size, align, boundary):
    """The address of `size` zeroed bytes in a mapping of their own, or NULL."""
    if below(MOST_HUGE - align, size):
        return NULL
    page, whole = heap.memory.PAGE, mapping_size(heap, size)
    huge = Huge(heap.memory, take_led(heap.pages, whole, max(align, boundary), page))
    if not huge:
        return NULL
    huge.magic = HUGE_MAGIC
    huge.size = whole
    return huge.address + page


def dealloc_huge(heap, address):
    huge = huge_of(heap, address)
    give_back(heap.pages, huge.address, huge.size)


def huge_size(heap, address):
    return huge_of(heap, address).size - heap.memory.PAGE


def resize_huge(heap, address, new_size):
    """Resize the mapping where it is; False if something is in the way or the size is absurd."""
    if below(MOST_HUGE, new_size):
        return False
    huge, whole = huge_of(heap, address), mapping_size(heap, new_size)
    if heap.memory.mremap(huge.address, huge.size, whole, 0) == -1:
        return False
    huge.size = whole
    return True


def walk_huge(heap, place):
    """Yield the spans of what begins at a place: a huge block's record and itself, or a kept range."""
    kept = kept_at(heap.pages, place)
    if kept > 0:
        yield place, kept, FREE
    else:
        page = heap.memory.PAGE
        yield place, page, OWN
        yield place + page, huge_size(heap, place + page), USED
