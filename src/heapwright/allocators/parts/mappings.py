"""Mappings aligned to more than a page, for allocators that find a record by masking an address."""

from __future__ import annotations

from heapwright import bits
from heapwright.layout import NULL


def map_aligned(memory, size, align, lead):
    """Map whole pages such that the address `lead` bytes behind their start is a multiple of `align`; NULL if refused.

    The kernel places each mapping below the last, so the next one fills the part that is cut off in front.
    """
    slack = align - memory.PAGE
    start = memory.mmap(size + slack)
    if start == -1:
        return NULL
    first = bits.align_up(start + lead, align) - lead
    unmap(memory, start, first)
    unmap(memory, first + size, start + size + slack)
    return first


def map_at_multiple(memory, size, align):
    """As `map_aligned` without a lead, but try a mapping of this size first: beside others it is often aligned."""
    start = memory.mmap(size)
    if start == -1:
        return NULL
    if bits.is_aligned(start, align):
        return start
    memory.munmap(start, size)
    return map_aligned(memory, size, align, 0)


def unmap(memory, start, end):
    if start < end:
        memory.munmap(start, end - start)
