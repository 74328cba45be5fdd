"""The C library's own allocator, in the form of ours, so that layers can stand on it.

It lies behind the malloc of its own name: what interposes malloc still reaches it here. Its heap cannot be walked.
"""

from __future__ import annotations

from heapwright.layout import Struct
from heapwright.native import c

THREADS = "own"
ALIGN = 16


class Heap(Struct):
    pass


def alloc(heap, size, align):
    """`size` bytes at a multiple of `align`, or 0."""
    return c.libc_malloc(size) if align <= ALIGN else c.libc_memalign(align, size)


def alloc_zeroed(heap, size, align):
    """`size` zero bytes, aligned to 16, or 0."""
    return c.libc_calloc(1, size)


def dealloc(heap, address, size, align):
    """Take back a block."""
    c.libc_free(address)


def realloc(heap, address, size, align, new_size):
    """Make a block `new_size` bytes large; its address, or 0 and it is as it was."""
    return c.libc_realloc(address, new_size)


def usable_size(heap, address):
    """Not known here: the C library's own malloc_usable_size answers for its blocks."""
    return 0


def walk(heap, start, end):
    """One span of no kind: what is in there is the C library's affair."""
    yield start, end - start, 0


def check(heap, start, end):
    """Nothing is known that could be checked."""
    pass
