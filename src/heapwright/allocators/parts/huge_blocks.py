"""Blocks with their own mappings, for allocators that find a block's record by masking its address.

A huge block lies at a multiple of the allocator's boundary, where none of its other blocks ever lies. So the address
alone identifies it. Its record has a separate page before it, so a block may have any alignment.

    mapping -> +--------------------+
             0 | magic              |
             8 | size               |  of the mapping, in bytes
               | unused             |
    address -> +--------------------+  a page further on
               | the caller's bytes |
               +--------------------+

Mappings that the kernel refuses to take back are kept in the heap's `pages` (kept_pages). The heap's `huge` counts the
blocks in use.
"""

from __future__ import annotations

from heapwright import bits, spans, stats
from heapwright.allocators.parts import kept_pages
from heapwright.layout import NULL, Struct, Word

HUGE_MAGIC = 0x0B16B10C
MAX_HUGE = 1 << 62


class Huge(Struct):
    magic: Word
    size: Word


class HugeBlocks(Struct):
    """Counts of the huge blocks in use."""

    blocks: Word
    total: Word  # bytes of their mappings


def is_huge(address, boundary):
    return address & (boundary - 1) == 0


def huge_of(heap, address):
    """The record of a huge block; report any other address."""
    huge = Huge(heap.memory, address - heap.memory.PAGE)
    if not heap.memory.is_mapped(huge.address) or huge.magic != HUGE_MAGIC:
        heap.memory.fault("not a block of this heap", address)
    return huge


def mapping_size(heap, size):
    """The size of a mapping with room for the record and the block."""
    return heap.memory.PAGE + bits.align_up(max(size, 1), heap.memory.PAGE)


def alloc_huge(heap, size, align, boundary):
    """Map `size` zeroed bytes; return their address, or NULL when memory is exhausted or the size is absurd."""
    if bits.unsigned_less(MAX_HUGE - align, size):
        return NULL
    page, whole = heap.memory.PAGE, mapping_size(heap, size)
    huge = Huge(heap.memory, kept_pages.take_led(heap.pages, whole, max(align, boundary), page))
    if not huge:
        return NULL
    huge.magic = HUGE_MAGIC
    huge.size = whole
    count(heap, 1, whole)
    return huge.address + page


def count(heap, blocks, size):
    heap.huge.blocks += blocks
    heap.huge.total += size


def dealloc_huge(heap, address):
    huge = huge_of(heap, address)
    count(heap, -1, -huge.size)
    kept_pages.give_back(heap.pages, huge.address, huge.size)


def huge_size(heap, address):
    return huge_of(heap, address).size - heap.memory.PAGE


def resize_huge(heap, address, new_size):
    """Resize a mapping in place; False if another mapping is in the way or the size is absurd."""
    if bits.unsigned_less(MAX_HUGE, new_size):
        return False
    huge, whole = huge_of(heap, address), mapping_size(heap, new_size)
    if heap.memory.mremap(huge.address, huge.size, whole, 0) == -1:
        return False
    count(heap, 0, whole - huge.size)
    huge.size = whole
    return True


def survey_huge(heap, account):
    """Count the huge blocks, and the kept ranges."""
    stats.add_mapped(account, heap.huge.blocks, heap.huge.total)
    kept_pages.survey_kept(heap.pages, account)


def walk_huge(heap, place):
    """Yield the spans that begin at an address: a huge block's record and the block, or a kept range."""
    kept = kept_pages.kept_at(heap.pages, place)
    if kept > 0:
        yield place, kept, spans.FREE
    else:
        page = heap.memory.PAGE
        yield place, page, spans.OWN
        yield place + page, huge_size(heap, place + page), spans.USED
