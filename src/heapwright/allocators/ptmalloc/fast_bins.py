"""The fast bins of an arena, in the version of glibc 2.36: freed chunks of up to 128 bytes, not merged yet.

Source: glibc malloc/malloc.c, "Fastbins", _int_malloc, _int_free and malloc_consolidate, as of 2.36.

    fast bin 0   ->  newest of 32 bytes  ->  older  ->  ...  ->  oldest
    fast bin 1   ->  of 48 bytes
    ...
    fast bin 6   ->  of 128 bytes: the limit, unless M_MXFAST sets another one, up to 160

A chunk that the thread's cache has no room for goes to the front of the fast bin of its size. Like a cached chunk it
has K set, counts as in use, and links to the next one by an address XOR a page number. So it serves the next request of
its size as it is, and its neighbours cannot merge with it.

`consolidate` takes all chunks off the fast bins, merges them with their neighbours, and puts the results on the
unsorted list. It runs before a request of more than 1000 bytes, before the heap grows, when a free makes a chunk of
64 KiB, and in `trim` and `mallopt`.

glibc pushes without the arena's lock, by an atomic operation. Here the lock is held. glibc marks no chunk of a fast
bin, so it reports a second free only of the newest. Because of K, here every second free is reported.

Invariants
    PT14  a fast bin holds chunks of its own size, in use as the next one says, that say K
    PT15  a chunk is in one fast bin or cache at most, and there only once
"""

from __future__ import annotations

from heapwright.allocators.ptmalloc import bins, cache, checks, chunks, version
from heapwright.allocators.ptmalloc.state import Entry
from heapwright.layout import NULL

MIN_UNITS = chunks.MIN_CHUNK // chunks.UNIT
DEFAULT_LIMIT = 128  # the largest chunk that a fast bin takes
MAX_LIMIT = 160


def is_fast(heap, size):
    """Whether a chunk of `size` bytes goes to a fast bin."""
    return version.IS_236 and size <= heap.fast_limit[0]


def index_of(size):
    return (size >> 4) - MIN_UNITS


def push(arena, chunk):
    """Put a chunk in use into its fast bin."""
    size = chunks.size_of(chunk)
    first = arena.fast[index_of(size)]
    checks.refuse_freed(arena, chunk)
    if first:
        refuse_other_size(first, size)
    entry = Entry(chunk.memory, chunks.address_of(chunk))
    cache.set_after(entry, first)
    chunks.halves_of(chunk).upper = chunks.KEPT_HALF
    arena.fast[index_of(size)] = entry


def has(arena, size):
    """Whether a fast bin has a chunk of `size` bytes."""
    return arena.fast[index_of(size)].address != NULL


def pop(arena, size):
    """Take the newest chunk of `size` bytes off its fast bin, which is not empty."""
    entry = arena.fast[index_of(size)]
    if not cache.is_whole(entry):
        arena.memory.fault("corrupted fast bin", entry.address)
    refuse_other_size(entry, size)
    arena.fast[index_of(size)] = cache.after(entry)
    chunk = chunks.chunk_of(arena, entry.address)
    chunks.halves_of(chunk).upper = 0
    return chunk


def refuse_other_size(entry, size):
    """Report a chunk in a fast bin whose size has changed."""
    if chunks.size_of(chunks.chunk_of(entry, entry.address)) != size:
        entry.memory.fault("corrupted size of a fast chunk", entry.address)


def consolidate(arena):
    """Merge all chunks of the fast bins; return whether there were any."""
    found = False
    for index in range(version.FAST_BINS):
        size = (index + MIN_UNITS) * chunks.UNIT
        while has(arena, size):
            bins.merge(arena, pop(arena, size))
            found = True
    return found


# --- check


def check_bins(arenas, thread):
    firsts = [arena.fast[index] for arena in arenas for index in range(version.FAST_BINS)]
    if thread:
        firsts += [thread.entries[index] for index in range(cache.MIN_BIN, len(thread.entries))]
    check_once(firsts)
    for arena in arenas:
        for index in range(version.FAST_BINS):
            for entry in cache.entries_of(arena.fast[index]):
                check_fast(chunks.chunk_of(arena, entry.address), index)


def check_once(firsts):
    seen = set()
    for first in firsts:
        entry = first
        while entry:
            rule = "PT15  a chunk is in one fast bin or cache at most, and there only once"
            assert entry.address not in seen, rule
            seen.add(entry.address)
            entry = cache.after(entry)


def check_fast(chunk, index):
    good = index_of(chunks.size_of(chunk)) == index and chunks.is_in_use(chunk) and chunks.is_kept(chunk)
    assert good, "PT14  a fast bin holds chunks of its own size, in use as the next one says, that say K"
