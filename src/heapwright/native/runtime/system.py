"""The C library's own allocator, in the form of ours, as a base for layers.

It is reached under its internal names, so a library that interposes malloc can still call it. Its heap cannot be
walked. A library over it must not interpose mallinfo2, which remains the C library's. malloc_usable_size has no
internal name, so the size is read from the chunk's header, which has been the same since glibc 2.26.
"""

from __future__ import annotations

from heapwright.layout import Struct, Word
from heapwright.native import c
from heapwright.native.runtime.mallinfo import Mallinfo2
from heapwright.stats import UNREPORTED, Stats

THREADS = "own"
SETS_ERRNO = True  # to ENOMEM, when there is no memory
TAKES_NULL = True  # as a block to free
ALIGN = 16


MAPPED = 2  # a bit of a chunk's size
FLAGS = 7


class Heap(Struct):
    pass


class Header(Struct):
    """The word before a block: the size of its chunk, with flags."""

    size: Word


def alloc(heap, size, align):
    """Allocate `size` bytes at a multiple of `align`. Returns 0 if there is no memory."""
    return c.libc_malloc(size) if align <= ALIGN else c.libc_memalign(align, size)


def alloc_zeroed(heap, size, align):
    """Allocate `size` zero bytes, aligned to 16. Returns 0 if there is no memory."""
    return c.libc_calloc(1, size)


def dealloc(heap, address, size, align):
    """Free a block."""
    c.libc_free(address)


def realloc(heap, address, size, align, new_size):
    """Make a block `new_size` bytes large. Returns its address, or 0 if the block is unchanged."""
    return c.libc_realloc(address, new_size)


def usable_size(heap, address):
    """The usable bytes of a block."""
    size = Header(heap.memory, address - Header.SIZE).size
    return (size & ~FLAGS) - Header.SIZE * (2 if size & MAPPED else 1)


def survey(heap, stats):
    """The figures of mallinfo2: the bytes held from the kernel, and those of free chunks, without mapped ones."""
    info = c.on_stack(Mallinfo2)
    c.mallinfo2(info.address)
    heap.memory.fill(stats.address, Stats.SIZE, 0)
    stats.heap_bytes = info.arena + info.hblkhd
    stats.free_bytes = info.fordblks
    stats.free_blocks = info.ordblks + info.smblks
    stats.fast_bytes = info.fsmblks
    stats.fast_blocks = info.smblks
    stats.mapped_bytes = info.hblkhd
    stats.mapped_blocks = info.hblks
    stats.arena_bytes = info.arena
    stats.spare_bytes = info.keepcost
    stats.peak_heap_bytes = UNREPORTED
    stats.largest_free = UNREPORTED
    stats.growths = UNREPORTED
    stats.shrinks = UNREPORTED
    stats.decommits = UNREPORTED


def walk(heap, start, end):
    """One span of no kind, because the inside of the heap is not known."""
    yield start, end - start, 0


def check(heap, start, end):
    """Check nothing: the inside of the heap is not known."""
    pass
