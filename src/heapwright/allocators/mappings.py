"""Mappings that begin at a multiple of more than a page, for allocators that find a record by masking an address."""

from __future__ import annotations

from heapwright.bits import align_up
from heapwright.layout import NULL


def map_aligned(memory, size, align, lead):
    """Map `size` bytes of whole pages so that `lead` bytes from their start is a multiple of `align`; NULL if refused.

    Mappings are made downwards, each below the last: what is cut off in front is where the next one begins.
    """
    slack = align - memory.PAGE
    start = memory.mmap(size + slack)
    if start == -1:
        return NULL
    first = align_up(start + lead, align) - lead
    unmap(memory, start, first)
    unmap(memory, first + size, start + size + slack)
    return first


def unmap(memory, start, end):
    if start < end:
        memory.munmap(start, end - start)
