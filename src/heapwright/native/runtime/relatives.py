"""Relatives of malloc that call the process's own malloc, which may not be ours.

A program may define malloc, calloc, realloc and free itself, and a checker may replace the functions that it knows. A
function that takes a block must then pass it to the allocator that made it, so it calls the `realloc` or `free` that
the dynamic linker chose for the whole process. glibc's reallocarray does the same.
"""

from __future__ import annotations

from heapwright.bits import MAX_WORD, align_up, product
from heapwright.layers import inner
from heapwright.layout import NULL
from heapwright.native import c
from heapwright.native.runtime.linux import ENOMEM

Heap = inner.Heap
ALIGN = 16


def reallocarray(heap, address, count, size):
    """`realloc` to `count` times `size` bytes. Returns null with ENOMEM if the product overflows."""
    total = product(count, size)
    return c.realloc(address, total) if total >= 0 else refuse(heap)


def pvalloc(heap, size):
    """`valloc` of whole pages. Returns null with ENOMEM if rounding up would overflow."""
    page = heap.memory.PAGE
    return c.valloc(align_up(size, page)) if 0 <= size <= MAX_WORD - page else refuse(heap)


def refuse(heap):
    """Set errno to ENOMEM and return null."""
    heap.memory.set_errno(ENOMEM)
    return NULL


def free_sized(heap, address, size):
    """C23's `free` of a block from malloc, calloc or realloc, with its size."""
    if address != NULL:
        check_size(heap, address, size, ALIGN)
    c.free(address)


def free_aligned_sized(heap, address, align, size):
    """C23's `free` of a block from aligned_alloc, with its alignment and size."""
    if address != NULL:
        check_size(heap, address, size, align)
    c.free(address)


def believe(heap, address, size, align):
    """Do nothing about a size that the heap does not check."""


check_size = inner.expect_size if "wrong size" in getattr(inner, "DETECTS", ()) else believe


def cfree(heap, address):
    """`free` under its name in SunOS, which glibc keeps for old programs."""
    c.free(address)
