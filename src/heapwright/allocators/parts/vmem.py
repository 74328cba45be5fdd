"""Vmem: an arena that allocates ranges of integers, such as addresses, in constant time.

Source: J. Bonwick, J. Adams, Magazines and Vmem: Extending the Slab Allocator to Many CPUs and Arbitrary Resources,
USENIX 2001, section 4; illumos usr/src/uts/common/os/vmem.c.

      segment list   span <--> free <--> in use <--> free <--> span <--> in use
                                |           |          |                    |
      free lists, by log2 size  +-----------|----------+                    |
      hash table, by start                  +-------------------------------+

An arena has spans, and each span is divided into segments, free or in use. A boundary tag describes a segment. The tags
lie outside the ranges, because an arena need not be one of memory. The segment list links the tags of neighbours
both ways, and a tag of its own leads each span, so that segments merge with free neighbours of their span only. Free
segments are also in a list for each power of two, and segments in use are in a hash table.

Instant fit: the free lists from the next power of two up contain only segments that are large enough, and a bitmap
shows which of these lists have members. So the first one of the first such list serves the request. Only if there is
none does the arena search the list of the size itself.

Quantum caches: a freed range of up to 8 quanta is kept as it is, up to 8 ranges of each size. So ranges of these sizes
come and go without a split or a merge. `reap` merges them.

Sizes are multiples of the quantum, a power of two. The client keeps one thread at a time in the arena. It imports spans
with `add_span` when `allocate` finds nothing, and takes those that are wholly free back with `take_free_span`.
Tags come from pages of their own, which the arena keeps until `close`.
"""

from __future__ import annotations

from heapwright import bits
from heapwright.allocators.parts import chains
from heapwright.layout import NULL, Array, Struct, Word

NOTHING = -1  # instead of a start: 0 may be one
LISTS = 63  # a free list for each power of two
BUCKETS = 256  # lists of the hash table
CACHED_SIZES, CACHED_RANGES = 8, 8  # quantum caches: sizes in quanta, and the ranges of each
SPAN, FREE, IN_USE, CACHED = 1, 2, 3, 4  # kinds of tags; CACHED: in use to its neighbours, but not to the client


class Tag(Struct):
    """The boundary tag of a segment, or of a span."""

    kind: Word
    start: Word
    size: Word
    lower: Tag  # the neighbour before it in the segment list
    upper: Tag
    next: Tag  # in a free list, in a list of the hash table, in a quantum cache or among unused tags
    previous: Tag


class Page(Struct):
    next: Page
    size: Word


class Arena(Struct):
    quantum: Word
    first: Tag  # of the segment list
    free: Array[Tag, LISTS]
    has_free: Word  # a bit for each list that has members
    used: Array[Tag, BUCKETS]
    firsts: Array[Tag, CACHED_SIZES]  # the quantum caches
    counts: Array[Word, CACHED_SIZES]
    unused: Tag
    pages: Page  # of tags
    in_use: Word  # bytes that the client has
    total: Word  # bytes of all spans
    free_spans: Word  # number of spans that are wholly free


# --- tags


def new_tag(arena):
    """An unused tag, null when memory is exhausted."""
    if not arena.unused and not add_page(arena):
        return arena.unused
    tag = arena.unused
    arena.unused = tag.next
    return tag


def add_page(arena):
    """Cut a page of memory into unused tags; return whether there was one."""
    start = arena.memory.mmap(arena.memory.PAGE)
    if start == -1:
        return False
    page = Page(arena.memory, start)
    page.next = arena.pages
    page.size = arena.memory.PAGE
    arena.pages = page
    tag = arena.unused.at(start + Page.SIZE)
    while tag.address + Tag.SIZE <= start + page.size:
        drop_tag(arena, tag)
        tag = tag.at(tag.address + Tag.SIZE)
    return True


def drop_tag(arena, tag):
    tag.kind = 0
    tag.next = arena.unused
    arena.unused = tag


def has_tags(arena, count):
    """Whether `count` tags are at hand, so that an operation can be completed once it has begun."""
    while count_unused(arena, count) < count:
        if not add_page(arena):
            return False
    return True


def count_unused(arena, maximum):
    count = 0
    tag = arena.unused
    while tag and count < maximum:
        count += 1
        tag = tag.next
    return count


def fill_in(tag, kind, start, size):
    tag.kind = kind
    tag.start = start
    tag.size = size


def end_of(tag):
    return tag.start + tag.size


# --- the segment list


def insert_after(tag, new):
    new.lower = tag
    new.upper = tag.upper
    if tag.upper:
        tag.upper.lower = new
    tag.upper = new


def unlink(arena, tag):
    """Remove a tag from the segment list, and forget it."""
    if tag.upper:
        tag.upper.lower = tag.lower
    if tag.lower:
        tag.lower.upper = tag.upper
    else:
        arena.first = tag.upper
    drop_tag(arena, tag)


# --- the free lists


def link_free(arena, tag):
    index = bits.floor_log2(tag.size)
    tag.kind = FREE
    arena.free[index] = chains.pushed(arena.free[index], tag)
    arena.has_free |= bits.bit(index)
    arena.free_spans += is_whole_span(tag)


def unlink_free(arena, tag):
    index = bits.floor_log2(tag.size)
    arena.free[index] = chains.removed(arena.free[index], tag)
    if not arena.free[index]:
        arena.has_free &= ~bits.bit(index)
    arena.free_spans -= is_whole_span(tag)


def is_whole_span(tag):
    return tag.lower.kind == SPAN and tag.lower.size == tag.size


def instant_fit(arena, size):
    """A free segment of at least `size` bytes; null if there is none."""
    large_enough = arena.has_free & -bits.bit(bits.ceil_log2(size))
    if large_enough != 0:
        return arena.free[bits.lowest_bit(large_enough)]
    return first_fit(arena.free[bits.floor_log2(size)], size, 1)


def first_fit(tag, size, align):
    """The first segment of a list that has `size` bytes at a multiple of `align`; null if there is none."""
    while tag and bits.align_up(tag.start, align) + size > end_of(tag):
        tag = tag.next
    return tag


def aligned_fit(arena, size, align):
    """A free segment with `size` bytes at a multiple of `align`; null if there is none."""
    tag = instant_fit(arena, size + align - arena.quantum)
    for index in range(bits.floor_log2(size), LISTS):
        if not tag:
            tag = first_fit(arena.free[index], size, align)
    return tag


# --- the hash table


def bucket_for(arena, start):
    return bits.shift_right(start, bits.floor_log2(arena.quantum)) & (BUCKETS - 1)


def enter(arena, tag, kind):
    """Enter a segment that is no longer free into the table."""
    index = bucket_for(arena, tag.start)
    tag.kind = kind
    arena.used[index] = chains.pushed(arena.used[index], tag)


def remove(arena, tag):
    index = bucket_for(arena, tag.start)
    arena.used[index] = chains.removed(arena.used[index], tag)


def find(arena, start):
    """The segment in use that begins at an address; null if none does."""
    tag = arena.used[bucket_for(arena, start)]
    while tag and tag.start != start:
        tag = tag.next
    return tag


# --- quantum caches


def cache_index(arena, size):
    """The quantum cache of a size; CACHED_SIZES or more if there is none."""
    return bits.shift_right(size, bits.floor_log2(arena.quantum)) - 1


def take_cached(arena, size):
    """A range from the quantum cache of its size; NOTHING if that is empty."""
    index = cache_index(arena, size)
    if index >= CACHED_SIZES or not arena.firsts[index]:
        return NOTHING
    tag = arena.firsts[index]
    arena.firsts[index] = tag.next
    arena.counts[index] -= 1
    enter(arena, tag, IN_USE)
    return tag.start


def put_cached(arena, tag):
    """Keep a freed range in a quantum cache; return whether there was room."""
    index = cache_index(arena, tag.size)
    if index >= CACHED_SIZES or arena.counts[index] == CACHED_RANGES:
        return False
    tag.kind = CACHED
    tag.next = arena.firsts[index]
    arena.firsts[index] = tag
    arena.counts[index] += 1
    return True


def reap(arena):
    """Merge what the quantum caches keep."""
    for index in range(CACHED_SIZES):
        while arena.firsts[index]:
            tag = arena.firsts[index]
            arena.firsts[index] = tag.next
            merge(arena, tag)
        arena.counts[index] = 0


# --- ranges


def open_arena(arena, quantum):
    """Begin with a quantum, a power of two, and without a span. The arena's words are zeros."""
    arena.quantum = quantum


def allocate(arena, size, align):
    """Allocate a range of `size`, rounded up to quanta; return its start, or NOTHING."""
    size = bits.align_up(max(size, 1), arena.quantum)
    start = take_cached(arena, size) if align <= arena.quantum else NOTHING
    if start == NOTHING:
        start = cut(arena, size, max(align, arena.quantum))
    if start != NOTHING:
        arena.in_use += size
    return start


def cut(arena, size, align):
    """Cut a range from a free segment; what is left of the segment on both sides stays free."""
    tag = instant_fit(arena, size) if align == arena.quantum else aligned_fit(arena, size, align)
    if not tag or not has_tags(arena, 2):
        return NOTHING
    unlink_free(arena, tag)
    split(arena, tag, bits.align_up(tag.start, align))
    if tag.start != bits.align_up(tag.start, align):
        link_free(arena, tag)
        tag = tag.upper
    split(arena, tag, tag.start + size)
    if tag.upper and tag.upper.kind == 0:
        link_free(arena, tag.upper)
    enter(arena, tag, IN_USE)
    return tag.start


def split(arena, tag, at):
    """Cut a segment in two, unless that would leave one of them empty. The upper one is of no kind yet."""
    if tag.start < at < end_of(tag):
        upper = new_tag(arena)
        fill_in(upper, 0, at, end_of(tag) - at)
        tag.size = at - tag.start
        insert_after(tag, upper)


def release(arena, start):
    """Free a range; return its size, or 0 if no range in use begins there."""
    tag = find(arena, start)
    if not tag:
        return 0
    size = tag.size
    remove(arena, tag)
    arena.in_use -= size
    if not put_cached(arena, tag):
        merge(arena, tag)
    return size


def merge(arena, tag):
    """Make a segment free, together with its free neighbours."""
    lower, upper = tag.lower, tag.upper
    if upper and upper.kind == FREE:
        unlink_free(arena, upper)
        tag.size += upper.size
        unlink(arena, upper)
    if lower.kind == FREE:
        unlink_free(arena, lower)
        lower.size += tag.size
        unlink(arena, tag)
        tag = lower
    link_free(arena, tag)


# --- spans


def add_span(arena, start, size):
    """Add a span of whole quanta, all of it free; return whether there was memory for its tags."""
    if not has_tags(arena, 2):
        return False
    span = new_tag(arena)
    fill_in(span, SPAN, start, size)
    span.lower = span.at(NULL)
    span.upper = arena.first
    if arena.first:
        arena.first.lower = span
    arena.first = span
    whole = new_tag(arena)
    fill_in(whole, FREE, start, size)
    insert_after(span, whole)
    link_free(arena, whole)
    arena.total += size
    return True


def take_free_span(arena):
    """Remove a span that is wholly free; return its start and size, NOTHING and 0 if there is none."""
    if arena.free_spans == 0:
        return NOTHING, 0
    tag = arena.first
    while not (tag.kind == SPAN and tag.upper.kind == FREE and tag.upper.size == tag.size):
        tag = tag.upper
    start, size = tag.start, tag.size
    unlink_free(arena, tag.upper)
    unlink(arena, tag.upper)
    unlink(arena, tag)
    arena.total -= size
    return start, size


def close(arena):
    """Unmap the pages of tags. The arena has no span any more."""
    page = arena.pages
    while page:
        rest = page.next
        arena.memory.munmap(page.address, page.size)
        page = rest
    arena.pages = arena.pages.at(NULL)
    arena.unused = arena.unused.at(NULL)
