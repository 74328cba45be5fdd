"""Remembers each block's size, for allocators that must be told it: C's `free` is not.

   base -> +--------------------+  what the allocator below returned
           | padding            |  only for alignments above 16
           | size               |  what was asked for
           | offset             |  from the base to the address
address -> +--------------------+
           | the caller's bytes |
           +--------------------+
"""

from __future__ import annotations

from heapwright.bits import MOST
from heapwright.layers import inner
from heapwright.layout import NULL, Struct, Word

Heap = inner.Heap
HEADER = 16


class Header(Struct):
    size: Word
    offset: Word


def header_of(heap, address):
    """The header of the block at an address."""
    return Header(heap.memory, address - HEADER)


def alloc(heap, size, align):
    """A block with a header before it. 0 when there is no memory, or no number for what it takes."""
    offset = max(align, HEADER)
    if size < 0 or size > MOST - offset:
        return NULL
    base = inner.alloc(heap, size + offset, offset)
    if base == NULL:
        return NULL
    header = header_of(heap, base + offset)
    header.size = size
    header.offset = offset
    return base + offset


def dealloc(heap, address, size, align):
    """Give back what the allocator below returned, with the size it was asked for; `size` is not looked at."""
    header = header_of(heap, address)
    offset = header.offset
    inner.dealloc(heap, address - offset, header.size + offset, offset)


def realloc(heap, address, size, align, new_size):
    """As below: header, padding and contents move together. 0 leaves the old block alone."""
    header = header_of(heap, address)
    offset = header.offset
    if new_size < 0 or new_size > MOST - offset:
        return NULL
    base = inner.realloc(heap, address - offset, header.size + offset, offset, new_size + offset)
    if base == NULL:
        return NULL
    header_of(heap, base + offset).size = new_size
    return base + offset


def usable_size(heap, address):
    """What was asked for, to the byte."""
    return header_of(heap, address).size
