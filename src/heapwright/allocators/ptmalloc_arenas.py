"""What is done in a ptmalloc arena whose lock is held: take a chunk, resize one, release one, trim.

Source: glibc malloc/malloc.c (_int_malloc, _int_memalign, _int_realloc, _int_free_chunk, mtrim).
"""

from __future__ import annotations

from heapwright.allocators.ptmalloc_bins import (
    UNSORTED,
    anchor_of,
    cut,
    index_of,
    insert_sorted,
    is_small,
    merge,
    set_top,
    shorten,
    take_best,
    take_small,
    take_top,
    unlink,
    use_whole,
)
from heapwright.allocators.ptmalloc_cache import bin_of, can_be_kept, pop, push
from heapwright.allocators.ptmalloc_chunks import (
    LEAST,
    OVERHEAD,
    PREVIOUS_IN_USE,
    Chunk,
    address_of,
    chunk_of,
    is_in_use,
    is_mapped,
    next_of,
    offset_by,
    say_previous_used,
    set_size,
    size_of,
)
from heapwright.allocators.ptmalloc_state import BINS
from heapwright.allocators.ptmalloc_system import (
    MOST_MAPPED,
    grow,
    map_chunk,
    shift_mapped,
    trim_if_worth,
)
from heapwright.bits import align_up, is_aligned
from heapwright.layout import NULL

MOST_SORTED = 10000  # unsorted chunks looked at for one request


# --- taking


def take(heap, arena, thread, size):
    """A chunk of `size` bytes or little more, in use: of the size, the best fit, off the top, or new; null if none."""
    if is_small(size):
        chunk = take_small(arena, size)
        if chunk:
            stash_others(arena, thread, size)
            return chunk
    chunk = sort_unsorted(heap, arena, thread, size)
    if not chunk:
        chunk = take_best(arena, size)
    if not chunk:
        chunk = take_top(arena, size)
    if not chunk:
        chunk = take_new(heap, arena, size)
    return chunk


def keep(thread, chunk):
    """Put a chunk into the thread's cache; False if there is no room."""
    if not can_be_kept(chunk) or thread.room[bin_of(chunk)] == 0:
        return False
    push(thread, bin_of(chunk), chunk)
    return True


def stash_others(arena, thread, size):
    """While we are here: more chunks of the size, as many as the cache has room for."""
    index = size >> 4
    while thread.room[index] > 0:
        chunk = take_small(arena, size)
        if not chunk:
            return
        keep(thread, chunk)


def sort_unsorted(heap, arena, thread, size):
    """Give each unsorted chunk its one chance, then sort it into its bin; the chunk taken, in use, or null.

    Chunks of the exact size go to the cache while it has room, and one of them comes back out of it.
    """
    anchor = anchor_of(arena, UNSORTED)
    kept = -1
    for _ in range(MOST_SORTED):
        chunk = anchor.back
        if chunk == anchor:
            break
        is_local = is_run(arena, chunk, anchor, size)
        unlink(chunk)
        if is_local:
            cut(arena, chunk, size)
            return chunk
        if size_of(chunk) == size:
            use_whole(arena, chunk)
            if not keep(thread, chunk):
                return chunk
            kept = bin_of(chunk)
        else:
            insert_sorted(arena, chunk)
    if kept == -1:
        return anchor.at(NULL)
    return chunk_of(heap, pop(thread, kept))


def is_run(arena, chunk, anchor, size):
    """Whether a run of small requests goes on: nothing is unsorted but the rest of the last, and it is long enough."""
    is_alone = chunk.back == anchor and chunk == arena.last_remainder
    return is_alone and is_small(size) and size_of(chunk) > size + LEAST


def take_new(heap, arena, size):
    """A chunk of memory that the kernel gives now: a mapping if it is large, or off the top made longer."""
    if size >= heap.mmap_threshold.load() and heap.mapped_chunks.load() < MOST_MAPPED:
        chunk = map_chunk(heap, size)
        if chunk:
            return chunk
    if grow(heap, arena, size):
        chunk = take_top(arena, size)
        if chunk:
            return chunk
    return map_chunk(heap, size)


def take_aligned(heap, arena, thread, size, align):
    """Take a chunk with room for the worst misfit, and free what is not needed at either end."""
    chunk = take(heap, arena, thread, size + align + LEAST)
    if not chunk:
        return chunk
    if is_mapped(chunk):
        return shift_mapped(chunk, align)
    if not is_aligned(address_of(chunk), align):
        chunk = free_lead(heap, arena, chunk, align)
    trim_if_worth(heap, arena, shorten(arena, chunk, size))
    return chunk


def free_lead(heap, arena, chunk, align):
    """Free the front of a chunk up to where a chunk with an aligned address begins; return that one."""
    lead = align_up(address_of(chunk) + LEAST, align) - address_of(chunk)
    rest = offset_by(chunk, lead)
    rest.head = (size_of(chunk) - lead) | PREVIOUS_IN_USE | arena.flag
    set_size(chunk, lead)
    merge(arena, chunk)
    return rest


# --- resizing


def resize(heap, arena, chunk, size):
    """Make a chunk `size` bytes long where it lies, into the top or a free chunk behind it; False if it must move."""
    if size_of(chunk) < size and not lengthen(arena, chunk, size):
        return False
    trim_if_worth(heap, arena, shorten(arena, chunk, size))
    return True


def lengthen(arena, chunk, size):
    """Add what lies behind to a chunk, if that makes it `size` bytes or more."""
    behind = next_of(chunk)
    whole = size_of(chunk) + size_of(behind)
    if behind == arena.top:
        if whole < size + LEAST:
            return False
        set_top(arena, offset_by(chunk, size), whole - size)
        set_size(chunk, size)
        return True
    if is_in_use(behind) or whole < size:
        return False
    unlink(behind)
    set_size(chunk, whole)
    say_previous_used(next_of(chunk))
    return True


def renew(heap, arena, thread, chunk, size):
    """Take another chunk for the content of one that cannot grow; null if there is none.

    The one behind may be given, when the top was made longer for it: then they are joined, and nothing moves.
    """
    behind = next_of(chunk)
    fresh = take(heap, arena, thread, size)
    if not fresh:
        return fresh
    if fresh == behind:
        set_size(chunk, size_of(chunk) + size_of(fresh))
        shorten(arena, chunk, size)
        return chunk
    heap.memory.copy(address_of(fresh), address_of(chunk), size_of(chunk) - OVERHEAD)
    release(heap, arena, chunk)
    return fresh


# --- releasing


def release(heap, arena, chunk):
    trim_if_worth(heap, arena, merge(arena, chunk))


def decommit_free(heap, arena):
    """Give back the whole pages inside free chunks; return the bytes. Their tags stay."""
    page = heap.memory.PAGE
    released = 0
    for index in range(1, BINS):
        if index == UNSORTED or index >= index_of(page):
            anchor = anchor_of(arena, index)
            chunk = anchor.back
            while chunk != anchor:
                released += decommit_inside(heap, chunk, page)
                chunk = chunk.back
    return released


def decommit_inside(heap, chunk, page):
    start = align_up(chunk.address + Chunk.SIZE, page)
    length = (chunk.address + size_of(chunk) - start) & -page
    if length <= 0 or heap.memory.decommit(start, length) == -1:
        return 0
    return length
