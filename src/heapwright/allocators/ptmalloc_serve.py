"""What a ptmalloc thread does when its cache does not answer: open it, lock an arena, and ask there.

Source: glibc malloc/malloc.c (__libc_malloc2, _mid_memalign, __libc_calloc2, tcache_free_init), arena_get_retry.
"""

from __future__ import annotations

from heapwright.allocators.ptmalloc_arenas import keep, take, take_aligned
from heapwright.allocators.ptmalloc_bins import top_bytes
from heapwright.allocators.ptmalloc_cache import bin_for, is_cached_size, pop_aligned
from heapwright.allocators.ptmalloc_chunks import (
    LEAST,
    UNIT,
    address_of,
    chunk_of,
    chunk_size_for,
    is_kept,
    is_mapped,
    size_of,
    usable_in,
)
from heapwright.allocators.ptmalloc_state import is_main
from heapwright.allocators.ptmalloc_threads import give_back, open_thread
from heapwright.bits import is_absurd, is_aligned
from heapwright.layout import NULL
from heapwright.locks import acquire
from heapwright.locks import release as unlock


def alloc_slowly(heap, size, align):
    if is_absurd(size, align):
        return NULL
    if is_cached_size(size):
        address = pop_aligned(open_thread(heap), bin_for(size), align)
        if address != NULL:
            return address
    chunk, _ = serve(heap, chunk_size_for(size), align)
    return address_of(chunk) if chunk else NULL


def serve(heap, size, align):
    """A chunk from an arena or the kernel, or null; and how many of its first bytes may not be zero."""
    thread = open_thread(heap)
    arena = thread.arena if thread.arena else heap.main
    acquire(heap.memory, arena.lock)
    top = arena.top
    used = top_bytes(arena)
    chunk = take_any(heap, arena, thread, size, align)
    unlock(heap.memory, arena.lock)
    if not chunk and not is_main(arena):
        chunk = serve_from_main(heap, thread, size, align)
    if not chunk or is_mapped(chunk):
        return chunk, 0
    return chunk, min(used, usable_in(chunk)) if chunk == top else usable_in(chunk)


def take_any(heap, arena, thread, size, align):
    if align <= UNIT:
        return take(heap, arena, thread, size)
    return take_aligned(heap, arena, thread, size, align)


def serve_from_main(heap, thread, size, align):
    """The break may yet give what mappings do not."""
    acquire(heap.memory, heap.main.lock)
    chunk = take_any(heap, heap.main, thread, size, align)
    unlock(heap.memory, heap.main.lock)
    return chunk


def dealloc_slowly(heap, address):
    chunk = chunk_of(heap, address)
    if not is_aligned(address, UNIT) or size_of(chunk) < LEAST:
        heap.memory.fault("invalid pointer", address)
    if is_kept(chunk):
        heap.memory.fault("double free", address)
    thread = open_thread(heap)
    if not keep(thread, chunk):
        give_back(heap, chunk)
