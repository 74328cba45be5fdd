"""A header with each block's size, for allocators that need the size at `dealloc`: C's `free` does not pass it.

   base -> +--------------------+  the inner allocator's address
           | padding            |  only for alignments above 16
           | size               |  as requested
           | seal               |  the offset from the base to the address, mixed with the address
address -> +--------------------+
           | the caller's bytes |
           +--------------------+

The seal identifies a header. A freed block loses its seal, so a second free is reported. An address that is not a
block's, and one whose memory is no longer mapped, are reported too.
"""

from __future__ import annotations

from heapwright.bits import MAX_WORD, is_power_of_two
from heapwright.layers import inner
from heapwright.layout import NULL, Struct, Word

Heap = inner.Heap
HEADER = 16
FREED = 0  # the offset in the seal of a freed block


class Header(Struct):
    size: Word
    seal: Word


def header_of(heap, address):
    """The header of the block at an address."""
    return Header(heap.memory, address - HEADER)


def sealed(address, offset):
    """Turn an offset into a seal, or a seal into its offset.

    No address is negative, so a seal is, and few other words in memory look like one.
    """
    return offset ^ ~address


def write_header(heap, address, size, offset):
    """Write a block's header."""
    header = header_of(heap, address)
    header.size = size
    header.seal = sealed(address, offset)


def offset_of(heap, address):
    """The offset of a live block; report any other address."""
    header = header_of(heap, address)
    if not heap.memory.is_mapped(header.address):
        heap.memory.fault("not a live block", address)
    offset = sealed(address, header.seal)
    if offset == FREED:
        heap.memory.fault("double free", address)
    if not is_power_of_two(offset):
        heap.memory.fault("not a live block", address)
    return offset


def alloc(heap, size, align):
    """Allocate a block with a header; 0 when memory is exhausted or the sum of the sizes overflows."""
    offset = max(align, HEADER)
    if size < 0 or size > MAX_WORD - offset:
        return NULL
    base = inner.alloc(heap, size + offset, offset)
    if base == NULL:
        return NULL
    write_header(heap, base + offset, size, offset)
    return base + offset


def dealloc(heap, address, size, align):
    """Free the inner allocator's block, with the size that was requested from it. The argument `size` is ignored."""
    offset = offset_of(heap, address)
    header = header_of(heap, address)
    header.seal = sealed(address, FREED)
    inner.dealloc(heap, address - offset, header.size + offset, offset)


def realloc(heap, address, size, align, new_size):
    """Resize the inner allocator's block: header, padding and contents move together. 0 leaves the old block alone."""
    offset = offset_of(heap, address)
    if new_size < 0 or new_size > MAX_WORD - offset:
        return NULL
    old_size = header_of(heap, address).size
    header_of(heap, address).seal = sealed(address, FREED)  # in case the block moves away from here
    base = inner.realloc(heap, address - offset, old_size + offset, offset, new_size + offset)
    if base == NULL:
        write_header(heap, address, old_size, offset)
        return NULL
    write_header(heap, base + offset, new_size, offset)
    return base + offset


def usable_size(heap, address):
    """The requested size, to the byte."""
    return header_of(heap, address).size
