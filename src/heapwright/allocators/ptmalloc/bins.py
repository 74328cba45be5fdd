"""The bins of a ptmalloc arena: unsorted, small and large, and the merging that feeds them.

Source: glibc malloc/malloc.c, "Bins", unlink_chunk, _int_free_merge_chunk, _int_malloc.

    bin 1         unsorted: large chunks just freed, and remainders of splits; each gets one chance to be used whole
    bins 2..63    small: chunks of 32, 48, ... 1008 bytes, one size each, first in first out
    bins 64..126  large: a range of sizes each, in falling order; the first chunk of each size is also on a circle
                  of sizes (`smaller`, `larger`), so that a search skips chunks of equal size

A bin is two words of the arena. Its anchor is a pretended chunk around them, so lists need no special case.
"""

from __future__ import annotations

from heapwright import bits
from heapwright.allocators.ptmalloc import checks, chunks, state, version
from heapwright.allocators.ptmalloc.chunks import Chunk
from heapwright.layout import NULL

UNSORTED = 1
MIN_LARGE = 1024


# --- indices


def is_small(size):
    return size < MIN_LARGE


def index_of(size):
    """The bin of a chunk size. Bins are 16 bytes apart, then 64, 512, 4096, 32768 and 262144; the last has the rest."""
    if is_small(size):
        return size >> 4
    if size >> 6 <= 48:
        return 48 + (size >> 6)
    if size >> 9 <= 20:
        return 91 + (size >> 9)
    if size >> 12 <= 10:
        return 110 + (size >> 12)
    if size >> 15 <= 4:
        return 119 + (size >> 15)
    return min(124 + (size >> 18), 126)


def anchor_of(arena, index):
    return Chunk(arena.memory, arena.bins.at(2 * index) - Chunk.forward.offset)


def open_bins(arena):
    for index in range(1, state.BINS):
        anchor = anchor_of(arena, index)
        anchor.forward = anchor
        anchor.back = anchor


# --- the map


def mark(arena, index):
    arena.map[index // state.MAP_BITS] |= bits.bit(index % state.MAP_BITS)


def unmark(arena, index):
    arena.map[index // state.MAP_BITS] &= ~bits.bit(index % state.MAP_BITS)


def next_marked(arena, index):
    """The first bin from `index` on that may hold chunks, or BINS."""
    block = index // state.MAP_BITS
    marked = arena.map[block] & bits.bits_from(index % state.MAP_BITS)
    while marked == 0:
        block += 1
        if block == state.BINS // state.MAP_BITS:
            return state.BINS
        marked = arena.map[block]
    return block * state.MAP_BITS + bits.lowest_bit(marked)


# --- lists


def link(chunk, back, forward):
    """Link a chunk between two neighbours of a list."""
    if forward.back != back or back.forward != forward:
        chunk.memory.fault("corrupted list of free chunks", forward.address)
    chunk.back = back
    chunk.forward = forward
    back.forward = chunk
    forward.back = chunk


def insert_first(arena, index, chunk):
    anchor = anchor_of(arena, index)
    link(chunk, anchor, anchor.forward)


def insert_unsorted(arena, chunk):
    insert_first(arena, UNSORTED, chunk)
    if not is_small(chunks.size_of(chunk)):
        chunk.smaller = chunk.at(NULL)
        chunk.larger = chunk.at(NULL)


def insert_small(arena, chunk):
    index = index_of(chunks.size_of(chunk))
    insert_first(arena, index, chunk)
    mark(arena, index)


def insert_free(arena, chunk):
    """Put a freed chunk into its small bin, or on the unsorted list if it is large; in 2.36 always on that list."""
    if is_small(chunks.size_of(chunk)) and not version.IS_236:
        insert_small(arena, chunk)
    else:
        insert_unsorted(arena, chunk)


def insert_sorted(arena, chunk):
    """Put a chunk from the unsorted list into its bin."""
    if is_small(chunks.size_of(chunk)):
        insert_small(arena, chunk)
    else:
        index = index_of(chunks.size_of(chunk))
        insert_large(anchor_of(arena, index), chunk)
        mark(arena, index)


def insert_large(anchor, chunk):
    """Insert in falling order of size. A chunk of an existing size comes second, so the first stays on the circle."""
    size = chunks.size_of(chunk)
    first = anchor.forward
    if first == anchor:
        chunk.smaller = chunk
        chunk.larger = chunk
        link(chunk, anchor, anchor)
    elif size < chunks.size_of(anchor.back):
        join_sizes(chunk, first)
        link(chunk, anchor.back, anchor)
    else:
        place = first
        while size < chunks.size_of(place):
            place = place.smaller
        if size == chunks.size_of(place):
            link(chunk, place, place.forward)
        else:
            join_sizes(chunk, place)
            link(chunk, place.back, place)


def join_sizes(chunk, smaller):
    """Put a chunk into the circle of sizes, before `smaller`."""
    if smaller.larger.smaller != smaller:
        chunk.memory.fault("corrupted list of sizes", smaller.address)
    chunk.smaller = smaller
    chunk.larger = smaller.larger
    smaller.larger.smaller = chunk
    smaller.larger = chunk


def unlink(arena, chunk):
    """Take a chunk out of its list."""
    checks.refuse_corrupted(arena, chunk)
    size = chunks.size_of(chunk)
    forward = chunk.forward
    back = chunk.back
    if forward.back != chunk or back.forward != chunk:
        chunk.memory.fault("corrupted list of free chunks", chunk.address)
    forward.back = back
    back.forward = forward
    if not is_small(size) and chunk.smaller:
        leave_sizes(chunk, forward)


def leave_sizes(chunk, forward):
    """Take a chunk off the circle of sizes; if a chunk of equal size follows, that takes its place.

    Such a chunk has a null `smaller`. The anchor does not: its `smaller` overlaps the next bin, which is never null.
    """
    smaller = chunk.smaller
    larger = chunk.larger
    if smaller.larger != chunk or larger.smaller != chunk:
        chunk.memory.fault("corrupted list of sizes", chunk.address)
    if forward.smaller:
        smaller.larger = larger
        larger.smaller = smaller
    elif smaller == chunk:
        forward.smaller = forward
        forward.larger = forward
    else:
        forward.smaller = smaller
        forward.larger = larger
        smaller.larger = forward
        larger.smaller = forward


# --- taking


def take_last(arena, index):
    """Take the oldest chunk of a small bin, or null."""
    chunk = anchor_of(arena, index).back
    if chunk == anchor_of(arena, index):
        return chunk.at(NULL)
    unlink(arena, chunk)
    return chunk


def take_small(arena, size):
    """Take a small chunk of exactly `size` bytes into use, or return null."""
    chunk = take_last(arena, index_of(size))
    if chunk:
        use_whole(arena, chunk)
    return chunk


def take_best(arena, size):
    """Take the smallest sorted chunk that fits, and cut it to size; null if none fits."""
    index = index_of(size)
    chunk = best_in(anchor_of(arena, index), size)
    if not chunk:
        chunk = smallest_from(arena, index + 1)
    if not chunk:
        return chunk
    checks.refuse_small(chunk, size)
    unlink(arena, chunk)
    cut(arena, chunk, size)
    return chunk


def best_in(anchor, size):
    """The smallest chunk of a large bin that fits, not the first of its size if there are more; null if none fits."""
    largest = anchor.forward
    if largest == anchor or chunks.size_of(largest) < size:
        return anchor.at(NULL)
    chunk = largest.larger  # the smallest, because the sizes form a circle
    while chunks.size_of(chunk) < size:
        chunk = chunk.larger
    follower = chunk.forward
    if follower != anchor and chunks.size_of(follower) == chunks.size_of(chunk):
        return follower
    return chunk


def smallest_from(arena, index):
    """The last and smallest chunk of the first non-empty bin from `index` on; null if all are empty."""
    index = next_marked(arena, index)
    while index < state.BINS:
        anchor = anchor_of(arena, index)
        if anchor.back != anchor:
            return anchor.back
        unmark(arena, index)
        index = next_marked(arena, index + 1)
    return Chunk(arena.memory, NULL)


def cut(arena, chunk, size):
    """Use `size` bytes of a free chunk that is in no list. The rest, if it can be a chunk, becomes unsorted."""
    left = chunks.size_of(chunk) - size
    if left < chunks.MIN_CHUNK:
        use_whole(arena, chunk)
        return
    chunk.head = size | chunks.PREVIOUS_IN_USE | arena.flag
    rest = chunks.next_of(chunk)
    chunks.make_free(rest, left)
    insert_unsorted(arena, rest)
    if is_small(size):
        arena.last_remainder = rest


def use_whole(arena, chunk):
    chunk.head |= arena.flag
    chunks.say_previous_used(chunks.next_of(chunk))


# --- the top


def set_top(arena, chunk, size):
    chunk.head = size | chunks.PREVIOUS_IN_USE
    arena.top = chunk


def take_top(arena, size):
    """Cut a chunk off the top; null if less than the smallest chunk would remain."""
    checks.refuse_top(arena)
    chunk = arena.top
    left = state.top_bytes(arena) - size
    if left < chunks.MIN_CHUNK:
        return chunk.at(NULL)
    set_top(arena, chunks.offset_by(chunk, size), left)
    chunk.head = size | chunks.PREVIOUS_IN_USE | arena.flag
    return chunk


# --- freeing


def merge(arena, chunk):
    """Free a chunk in use and merge it with free neighbours or the top; return the size of the result."""
    checks.refuse_freed(arena, chunk)
    after = chunks.next_of(chunk)
    size = chunks.size_of(chunk)
    if not chunks.follows_used(chunk):
        checks.refuse_previous(arena, chunk)
        merged = chunk
        size += chunk.previous_size
        chunk = chunks.previous_of(chunk)
        unlink(arena, chunk)
        checks.mark_merged(merged)
    if after == arena.top:
        size += chunks.size_of(after)
        checks.mark_merged(after)
        set_top(arena, chunk, size)
        return size
    if chunks.is_in_use(after):
        chunks.say_previous_free(after)
    else:
        size += chunks.size_of(after)
        unlink(arena, after)
        checks.mark_merged(after)
    chunks.make_free(chunk, size)
    insert_free(arena, chunk)
    return size


def split(arena, chunk, size):
    """Split a chunk in use after `size` bytes; return the rest, which is in use, too."""
    left = chunks.size_of(chunk) - size
    chunks.set_size(chunk, size)
    rest = chunks.next_of(chunk)
    rest.head = left | chunks.PREVIOUS_IN_USE | arena.flag
    return rest
