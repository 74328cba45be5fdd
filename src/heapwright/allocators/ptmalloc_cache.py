"""The caches of ptmalloc's threads: freed chunks of up to 1040 bytes, most recent first, touched by one thread.

Source: glibc malloc/malloc.c, tcache (since 2.26; sixteen chunks of each size since 2.43). A cached chunk counts as
in use. Its first word is the next entry's address, exclusive or its own page number, so that an overflow cannot forge
it without knowing both; the flag K in its head shows when it is freed once more.

Bin i keeps chunks of 16 i bytes, which serve requests of up to 16 i - 8.
"""

from __future__ import annotations

from heapwright.allocators.ptmalloc_chunks import KEPT_HALF, LEAST, OVERHEAD, UNIT, address_of, chunk_of, halves_of
from heapwright.allocators.ptmalloc_state import CACHE_BINS, Entry
from heapwright.bits import below, is_aligned, shift_right
from heapwright.layout import NULL

ROOM = 16  # entries for each bin
LEAST_BIN = LEAST // UNIT
MOST_CACHED = (CACHE_BINS - 1) * UNIT - OVERHEAD  # the largest request that a cache serves


def is_cached_size(size):
    return below(size, MOST_CACHED + 1)


def bin_for(size):
    """The bin that serves a request: a request of up to 8 bytes, too, takes two units."""
    units = (size + OVERHEAD + UNIT - 1) >> 4
    return units + below(units, LEAST_BIN)


def bin_of(chunk):
    """The bin for a chunk that can be kept."""
    return halves_of(chunk).lower >> 4


def can_be_kept(chunk):
    """Whether a chunk has a bin, and is not kept yet."""
    halves = halves_of(chunk)
    return halves.upper == 0 and halves.lower < CACHE_BINS * UNIT


def after(entry):
    return entry.at(entry.next ^ shift_right(entry.address, 12))


def set_after(entry, other):
    entry.next = other.address ^ shift_right(entry.address, 12)


def is_whole(entry):
    """Whether there is an entry, and its link was not overwritten as far as one can see."""
    return entry.address != NULL and is_aligned(entry.address, UNIT)


def pop(thread, index):
    """The address of the most recent entry of a bin that has one."""
    entry = thread.entries[index]
    thread.entries[index] = after(entry)
    return let_go(thread, index, entry)


def pop_aligned(thread, index, align):
    """The address of the most recent entry that is a multiple of `align`, or 0."""
    entry = thread.entries[index]
    before = entry.at(NULL)
    while entry and not is_aligned(entry.address, align):
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
    halves_of(chunk_of(thread, entry.address)).upper = 0
    return entry.address


def push(thread, index, chunk):
    """Keep a freed chunk in a bin that has room."""
    entry = Entry(chunk.memory, address_of(chunk))
    set_after(entry, thread.entries[index])
    thread.entries[index] = entry
    thread.room[index] -= 1
    halves_of(chunk).upper = KEPT_HALF
