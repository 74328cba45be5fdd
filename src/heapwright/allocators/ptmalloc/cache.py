"""The caches of ptmalloc's threads: freed chunks of up to 1040 bytes, most recent first, private to one thread.

Source: glibc malloc/malloc.c, tcache (since 2.26; sixteen chunks of each size since 2.43). A cached chunk counts as
in use. Its first word is the next entry's address XOR its own page number, so an overflow cannot forge it without
knowing both. The flag K in its head exposes a second free.

Bin i keeps chunks of 16 i bytes, which serve requests of up to 16 i - 8.
"""

from __future__ import annotations

from heapwright import bits
from heapwright.allocators.ptmalloc import chunks, state, version
from heapwright.allocators.ptmalloc.state import Entry
from heapwright.layout import NULL

MIN_BIN = chunks.MIN_CHUNK // chunks.UNIT
MAX_CACHED = (state.CACHE_BINS - 1) * chunks.UNIT - chunks.OVERHEAD  # the largest request that a cache serves


def is_cached_size(size):
    return bits.unsigned_less(size, MAX_CACHED + 1)


def serves_calloc(size):
    """Whether the cache may serve a request for zeros. In 2.36 it never does."""
    return not version.IS_236 and is_cached_size(size)


def may_align(align):
    """Whether the cache may serve a request of this alignment."""
    return not version.IS_236 or align <= chunks.UNIT


def bin_for(size):
    """The bin that serves a request. Even a request of up to 8 bytes takes two units."""
    units = (size + chunks.OVERHEAD + chunks.UNIT - 1) >> 4
    return units + bits.unsigned_less(units, MIN_BIN)


def bin_of(chunk):
    """The bin of a chunk that can be kept."""
    return chunks.halves_of(chunk).lower >> 4


def can_be_kept(chunk):
    """Whether a chunk has a bin and is not in a cache yet."""
    halves = chunks.halves_of(chunk)
    return halves.upper == 0 and halves.lower < state.CACHE_BINS * chunks.UNIT


def after(entry):
    return entry.at(entry.next ^ bits.shift_right(entry.address, 12))


def set_after(entry, other):
    entry.next = other.address ^ bits.shift_right(entry.address, 12)


def is_whole(entry):
    """Whether there is an entry with an aligned address; a forged link rarely yields one."""
    return entry.address != NULL and bits.is_aligned(entry.address, chunks.UNIT)


def refuse_broken(heap, thread, index):
    """Report a bin whose first entry has an impossible address, or that has more entries than it may."""
    entry = thread.entries[index]
    if not is_whole(entry) or thread.room[index] >= heap.cache_room:
        thread.memory.fault("corrupted cache", entry.address)


def pop(thread, index):
    """Pop the most recent entry of a non-empty bin; return its address."""
    entry = thread.entries[index]
    thread.entries[index] = after(entry)
    return let_go(thread, index, entry)


def pop_aligned(thread, index, align):
    """Take the most recent entry whose address is a multiple of `align`; return its address, or 0."""
    entry = thread.entries[index]
    before = entry.at(NULL)
    while entry and not bits.is_aligned(entry.address, align):
        if not is_whole(entry):
            thread.memory.fault("corrupted cache", entry.address)
        before = entry
        entry = after(entry)
    if not entry:
        return NULL
    if before:
        set_after(before, after(entry))
    else:
        thread.entries[index] = after(entry)
    return let_go(thread, index, entry)


def let_go(thread, index, entry):
    thread.room[index] += 1
    chunks.halves_of(chunks.chunk_of(thread, entry.address)).upper = 0
    return entry.address


def push(thread, index, chunk):
    """Keep a freed chunk in a bin that has room."""
    entry = Entry(chunk.memory, chunks.address_of(chunk))
    set_after(entry, thread.entries[index])
    thread.entries[index] = entry
    thread.room[index] -= 1
    chunks.halves_of(chunk).upper = chunks.KEPT_HALF


def entries_of(first):
    """The entries of a bin of a cache or of a fast bin, from the first on; interpreted only."""
    found, entry = [], first
    while entry:
        found.append(entry)
        entry = after(entry)
    return found
