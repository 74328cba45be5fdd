"""The records of ptmalloc: arenas, their segments, and the threads' caches.

Source: glibc malloc/malloc.c (malloc_state, malloc_par, tcache_perthread_struct) and malloc/arena.c (heap_info).

A segment, glibc's "heap", is a mapping of 64 MiB at a multiple of 64 MiB, so a chunk's address alone leads to its
arena:

    segment -> +---------+--------------+----------- ... ----+-----+------------------+
               | Segment | Arena, in    | chunks             | top | not yet in use   |
               |         | the first    |                    |     |                  |
               +---------+--------------+----------- ... ----+-----+------------------+
               0         32             32 or 2160*                size               64 MiB

    * 2240 in the version of glibc 2.36, whose arenas have fast bins

Two thread-local words hold the addresses of the thread's cache and of its arena. They are zero in a new thread. An
exiting thread has no arena, and its cache is the heap's `nobody`, which has no entries and no room for any.
"""

from __future__ import annotations

from heapwright import locks
from heapwright.allocators.ptmalloc import chunks, version
from heapwright.allocators.ptmalloc.chunks import Chunk
from heapwright.layout import Array, Atomic, Struct, Word, Word16, Word32

BINS = 128
MAP_BITS = 32
CACHE_BINS = 66  # bin i keeps chunks of 16 i bytes: 32, 48, ... 1040; the first two bins are unused
SEGMENT_BYTES = 64 << 20
CACHE_SLOT, ARENA_SLOT = 0, 1  # indices of the thread-local words


class Arena(Struct):
    lock: Atomic[Word]
    flag: Word32  # set in the heads of its chunks in use: NON_MAIN, or 0 in the main arena
    threads: Word32  # number of threads attached to it
    top: Chunk  # the free chunk at the end of memory, in no bin; null until the main arena first grows
    last_remainder: Chunk  # the rest left by the last split for a small request
    system_bytes: Word  # bytes from the kernel, for chunks and the arena's own records
    peak_system_bytes: Word  # their largest value so far
    next: Arena  # in the list of all arenas; the main one is first
    number: Word  # number of the thread that attached last
    map: Array[Word32, BINS // MAP_BITS]  # a clear bit: the bin is empty
    bins: Array[Word, 2 * BINS]  # forward and back of each bin
    fast: Array[Entry, version.FAST_BINS]  # the newest chunk of each fast bin


class Segment(Struct):
    arena: Arena
    size: Word  # bytes in use so far; a multiple of the page size, so it never looks like a chunk's head
    previous: Segment
    unused: Word


class Entry(Struct):
    """A chunk in a cache; it begins at the chunk's address."""

    next: Word  # the next entry's address XOR this entry's page number ("safe-linking")


class Thread(Struct):
    """A cache. It overlays its chunk, whose tags take the place of the first two bins."""

    entries: Array[Entry, CACHE_BINS]
    room: Array[Word16, CACHE_BINS]  # how many more entries each bin takes


def thread_of(heap):
    """The calling thread's cache, or null."""
    return Thread(heap.memory, heap.memory.local(CACHE_SLOT))


def own_arena(heap):
    """The calling thread's arena; null before its first call and while it exits."""
    return Arena(heap.memory, heap.memory.local(ARENA_SLOT))


def arena_of(heap, chunk):
    """The arena of a chunk in use."""
    if chunk.head & chunks.NON_MAIN:
        return segment_of(chunk).arena
    return heap.main


def segment_of(chunk):
    return Segment(chunk.memory, chunk.address & -SEGMENT_BYTES)


def count_system(arena, more):
    """Count bytes received from the kernel."""
    arena.system_bytes += more
    arena.peak_system_bytes = max(arena.peak_system_bytes, arena.system_bytes)


def is_main(arena):
    return arena.flag == 0


def top_bytes(arena):
    return chunks.size_of(arena.top) if arena.top else 0


def arena_after(heap, arena):
    """The next arena, read under the lock of the list, so that a new arena is seen complete."""
    locks.acquire(heap.memory, heap.list_lock)
    following = arena.next
    locks.release(heap.memory, heap.list_lock)
    return following
