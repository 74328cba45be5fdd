"""The records of ptmalloc: arenas, their segments, and the threads' caches.

Source: glibc malloc/malloc.c (malloc_state, malloc_par, tcache_perthread_struct) and malloc/arena.c (heap_info).

A segment, glibc's "heap", is a mapping of 64 MiB at a multiple of 64 MiB, so that the arena of a chunk is found
from its address alone:

    segment -> +---------+--------------+----------- ... ----+-----+------------------+
               | Segment | Arena, in    | chunks             | top | not yet in use   |
               |         | the first    |                    |     |                  |
               +---------+--------------+----------- ... ----+-----+------------------+
               0         32             32 or 2160                 size               64 MiB

A thread's cache is found by the first of the thread's own words: zero in a new thread. A thread at its end has
`nobody`, a cache in the heap's own words that is always empty and always full.
"""

from __future__ import annotations

from heapwright.allocators.ptmalloc_chunks import NON_MAIN, Chunk
from heapwright.layout import Array, Atomic, Struct, Word, Word16, Word32

BINS = 128
MAP_BITS = 32
CACHE_BINS = 66  # chunks of 16 times the index: 32, 48, ... 1040 bytes; the first two are not used
SEGMENT_BYTES = 64 << 20
CACHE_SLOT = 0  # of the thread's words


class Arena(Struct):
    lock: Atomic[Word]
    flag: Word  # in the head of its chunks in use: NON_MAIN or nothing
    top: Chunk  # borders the end of memory, in no bin; null until the main arena first grows
    last_remainder: Chunk
    system_bytes: Word  # taken from the kernel for chunks, and its own records
    next: Arena  # of all arenas; the main one is first
    threads: Word  # attached to it
    number: Word  # of the one that attached last
    map: Array[Word32, BINS // MAP_BITS]  # a clear bit: the bin is empty
    bins: Array[Word, 2 * BINS]  # forward and back of each


class Segment(Struct):
    arena: Arena
    size: Word  # in use so far; a multiple of the page, so it never looks like a chunk's head
    previous: Segment
    unused: Word


class Entry(Struct):
    """A chunk in a cache, from its address on."""

    next: Word  # the next entry's address, exclusive or this one's page number ("safe-linking")


class Thread(Struct):
    entries: Array[Entry, CACHE_BINS]
    room: Array[Word16, CACHE_BINS]  # how many more entries each bin takes
    arena: Arena


def thread_of(heap):
    """The calling thread's cache, or null."""
    return Thread(heap.memory, heap.memory.local(CACHE_SLOT))


def arena_of(heap, chunk):
    """The arena of a chunk in use."""
    if chunk.head & NON_MAIN:
        return segment_of(chunk).arena
    return heap.main


def segment_of(chunk):
    return Segment(chunk.memory, chunk.address & -SEGMENT_BYTES)


def is_main(arena):
    return arena.flag == 0
