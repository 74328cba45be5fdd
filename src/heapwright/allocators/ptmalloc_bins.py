"""The bins of a ptmalloc arena: unsorted, small and large, and the merging that feeds them.

Source: glibc malloc/malloc.c, "Bins", unlink_chunk, _int_free_merge_chunk, _int_malloc.

    bin 1         unsorted: large chunks just freed, and what splitting left; each gets one chance to be used whole
    bins 2..63    small: chunks of 32, 48, ... 1008 bytes, one size each, taken in the order they came
    bins 64..126  large: a range of sizes each, in falling order; the first chunk of each size is also on a circle
                  of sizes (`smaller`, `larger`), so that a search skips its equals

A bin is two words of the arena. Its anchor is a chunk imagined around them, so that lists need no special case.
"""

from __future__ import annotations

from heapwright.allocators.ptmalloc_chunks import (
    LEAST,
    PREVIOUS_IN_USE,
    Chunk,
    follows_used,
    is_in_use,
    make_free,
    next_of,
    offset_by,
    previous_of,
    say_previous_free,
    say_previous_used,
    set_size,
    size_of,
)
from heapwright.allocators.ptmalloc_state import BINS, MAP_BITS
from heapwright.bits import bit, bits_from, lowest_bit
from heapwright.layout import NULL

UNSORTED = 1
LEAST_LARGE = 1024


# --- indices


def is_small(size):
    return size < LEAST_LARGE


def index_of(size):
    """The bin of a chunk size: every 16 bytes, then 64, 512, 4096, 32768, 262144, and the rest."""
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
    for index in range(1, BINS):
        anchor = anchor_of(arena, index)
        anchor.forward = anchor
        anchor.back = anchor


# --- the map


def mark(arena, index):
    arena.map[index // MAP_BITS] |= bit(index % MAP_BITS)


def unmark(arena, index):
    arena.map[index // MAP_BITS] &= ~bit(index % MAP_BITS)


def next_marked(arena, index):
    """The first bin from `index` on that may hold chunks, or BINS."""
    block = index // MAP_BITS
    bits = arena.map[block] & bits_from(index % MAP_BITS)
    while bits == 0:
        block += 1
        if block == BINS // MAP_BITS:
            return BINS
        bits = arena.map[block]
    return block * MAP_BITS + lowest_bit(bits)


# --- lists


def link(chunk, back, forward):
    """Put a chunk between two neighbours of a list."""
    if forward.back != back:
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
    if not is_small(size_of(chunk)):
        chunk.smaller = chunk.at(NULL)
        chunk.larger = chunk.at(NULL)


def insert_small(arena, chunk):
    index = index_of(size_of(chunk))
    insert_first(arena, index, chunk)
    mark(arena, index)


def insert_free(arena, chunk):
    """A chunk just freed: a small one into its bin, a large one where it gets its chance."""
    if is_small(size_of(chunk)):
        insert_small(arena, chunk)
    else:
        insert_unsorted(arena, chunk)


def insert_sorted(arena, chunk):
    """Put an unsorted chunk into its bin."""
    if is_small(size_of(chunk)):
        insert_small(arena, chunk)
    else:
        index = index_of(size_of(chunk))
        insert_large(anchor_of(arena, index), chunk)
        mark(arena, index)


def insert_large(anchor, chunk):
    """Keep sizes falling; an equal comes second, so that the first of its size stays on the circle."""
    size = size_of(chunk)
    first = anchor.forward
    if first == anchor:
        chunk.smaller = chunk
        chunk.larger = chunk
        link(chunk, anchor, anchor)
    elif size < size_of(anchor.back):
        join_sizes(chunk, first)
        link(chunk, anchor.back, anchor)
    else:
        place = first
        while size < size_of(place):
            place = place.smaller
        if size == size_of(place):
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


def unlink(chunk):
    """Take a chunk out of whatever list it is in."""
    size = size_of(chunk)
    forward = chunk.forward
    back = chunk.back
    if next_of(chunk).previous_size != size:
        chunk.memory.fault("corrupted size of a free chunk", chunk.address)
    if forward.back != chunk or back.forward != chunk:
        chunk.memory.fault("corrupted list of free chunks", chunk.address)
    forward.back = back
    back.forward = forward
    if not is_small(size) and chunk.smaller:
        leave_sizes(chunk, forward)


def leave_sizes(chunk, forward):
    """Take a chunk off the circle of sizes, or hand its place to an equal behind it.

    An equal has no `smaller`. The anchor has: the next bin's words lie there, and they are never null.
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
    """The oldest chunk of a small bin, or null."""
    chunk = anchor_of(arena, index).back
    if chunk == anchor_of(arena, index):
        return chunk.at(NULL)
    unlink(chunk)
    return chunk


def take_small(arena, size):
    """A small chunk of exactly `size` bytes, in use now, or null."""
    chunk = take_last(arena, index_of(size))
    if chunk:
        use_whole(arena, chunk)
    return chunk


def take_best(arena, size):
    """The smallest sorted chunk that fits, cut to size; null if none fits."""
    index = index_of(size)
    chunk = best_in(anchor_of(arena, index), size)
    if not chunk:
        chunk = smallest_from(arena, index + 1)
    if not chunk:
        return chunk
    unlink(chunk)
    cut(arena, chunk, size)
    return chunk


def best_in(anchor, size):
    """The smallest chunk of one large bin that fits, an equal rather than the first of its size; null if none."""
    largest = anchor.forward
    if largest == anchor or size_of(largest) < size:
        return anchor.at(NULL)
    chunk = largest.larger  # the smallest: the circle closes
    while size_of(chunk) < size:
        chunk = chunk.larger
    follower = chunk.forward
    if follower != anchor and size_of(follower) == size_of(chunk):
        return follower
    return chunk


def smallest_from(arena, index):
    """The last, and smallest, chunk of the first bin from `index` on that has any; null if none has."""
    index = next_marked(arena, index)
    while index < BINS:
        anchor = anchor_of(arena, index)
        if anchor.back != anchor:
            return anchor.back
        unmark(arena, index)
        index = next_marked(arena, index + 1)
    return Chunk(arena.memory, NULL)


def cut(arena, chunk, size):
    """Use `size` bytes of a free chunk that is in no list; what is left, if it can be a chunk, is unsorted."""
    left = size_of(chunk) - size
    if left < LEAST:
        use_whole(arena, chunk)
        return
    chunk.head = size | PREVIOUS_IN_USE | arena.flag
    rest = next_of(chunk)
    make_free(rest, left)
    insert_unsorted(arena, rest)
    if is_small(size):
        arena.last_remainder = rest


def use_whole(arena, chunk):
    chunk.head |= arena.flag
    say_previous_used(next_of(chunk))


# --- the top


def top_bytes(arena):
    return size_of(arena.top) if arena.top else 0


def set_top(arena, chunk, size):
    chunk.head = size | PREVIOUS_IN_USE
    arena.top = chunk


def take_top(arena, size):
    """Cut a chunk off the top, which never vanishes; null if that is too short."""
    chunk = arena.top
    left = top_bytes(arena) - size
    if left < LEAST:
        return chunk.at(NULL)
    set_top(arena, offset_by(chunk, size), left)
    chunk.head = size | PREVIOUS_IN_USE | arena.flag
    return chunk


# --- giving back


def merge(arena, chunk):
    """Free a chunk in use: join it with free neighbours or the top; return the size of what came of it."""
    after = next_of(chunk)
    refuse_unused(arena, chunk, after)
    size = size_of(chunk)
    if not follows_used(chunk):
        size += chunk.previous_size
        chunk = previous_of(chunk)
        unlink(chunk)
    if after == arena.top:
        size += size_of(after)
        set_top(arena, chunk, size)
        return size
    if is_in_use(after):
        say_previous_free(after)
    else:
        size += size_of(after)
        unlink(after)
    make_free(chunk, size)
    insert_free(arena, chunk)
    return size


def refuse_unused(arena, chunk, after):
    """Report a chunk that is free already, or whose size leads nowhere."""
    if chunk == arena.top or not follows_used(after):
        chunk.memory.fault("double free", chunk.address)
    if size_of(after) < LEAST // 2 or size_of(after) > arena.system_bytes:
        chunk.memory.fault("corrupted size behind a chunk", chunk.address)


def shorten(arena, chunk, size):
    """Free what a chunk in use has beyond `size` bytes, if that can be a chunk; return the size that came of it."""
    left = size_of(chunk) - size
    if left < LEAST:
        return 0
    set_size(chunk, size)
    rest = next_of(chunk)
    rest.head = left | PREVIOUS_IN_USE | arena.flag
    return merge(arena, rest)
