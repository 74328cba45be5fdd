"""Large objects: one mapping each, and a store of freed ones for the requests that come after.

Sources: the large objects of github.com/emeryberger/Hoard 3.13; for ranges that coalesce and from which requests are
cut, the arenas of J. Bonwick, J. Adams, Magazines and Vmem, USENIX 2001, section 4.

    mapping -> +--------------------+  a multiple of 64 KiB, as the header of a superblock or a slab is
             0 | magic              |
             8 | size               |  of the mapping, a multiple of 64 KiB
            16 | lead               |  bytes before the address
            24 | is fresh           |  whether its bytes are the kernel's zeros
            32 | previous, next     |  while kept
               +--------------------+
    address -> | the caller's bytes |  at 64; further on for an alignment, and at 64 KiB for one of that or more
               +--------------------+

Page faults cost more than all else here, so freed pages are kept, and handed out again whatever the size: the ranges
kept are in one list, highest first; those that touch become one, and a request is cut from the one that fits best.
Kept are at most 1 MiB and half of the most that was ever live, with the live 1 MiB and 9/8 of it, and 64 ranges, for
each costs time to search. The rest goes back to the kernel, from the highest range: mappings are made downwards, and
the oldest are in the most pieces. Of what the kernel refuses to unmap it gets the frames; the addresses are lost.

A vmem arena keeps the boundary tags of its segments outside of them and finds one that is in use by hashing; here the
memory is there to be written to, and an address finds its header by masking. Vmem returns a span to its source as soon
as all of it is free, and so would fault its pages in again with each large object.
"""

from __future__ import annotations

from heapwright.allocators.chains import chain_of, removed
from heapwright.allocators.mappings import map_aligned
from heapwright.bits import align_down, align_up
from heapwright.layout import NULL, Atomic, Struct, Word
from heapwright.locks import acquire, release
from heapwright.spans import FREE, UNUSED, USED
from heapwright.stats import add_span, begin

BOUNDARY = 1 << 16  # a multiple of every size of page
LARGE_MAGIC = 0x0A11F0E7
KEPT_MAGIC = 0x0A11F0E8
LEAD = 64
MOST_KEPT = 1 << 25  # larger objects go back at once
MOST_RANGES = 64
SLOP = 1 << 20


class LargeObject(Struct):
    magic: Word
    size: Word
    lead: Word
    is_fresh: Word
    previous: LargeObject
    next: LargeObject


class LargeObjects(Struct):
    """The words that large objects have in common."""

    lock: Atomic[Word]
    live: Word  # bytes of mappings in use
    most: Word  # the most there ever was of them
    kept: Word
    ranges: Word  # how many they make up
    first: LargeObject


# --- large objects


def large_of(heap, address):
    """The header before an address: not the address itself, which may be a multiple of 64 KiB."""
    return LargeObject(heap.memory, align_down(address - 1, BOUNDARY))


def address_in(large):
    return large.address + large.lead


def usable_in(large):
    return large.size - large.lead


def end_of(large):
    return large.address + large.size


def lead_for(align):
    """How far behind a mapping's start an object lies that has this alignment."""
    return align_up(LEAD, align) if align < BOUNDARY else BOUNDARY


def map_range(heap, size, boundary, before):
    """A mapping of its own, so that what lies `before` bytes on is aligned; null when the kernel refuses."""
    large = LargeObject(heap.memory, map_aligned(heap.memory, size, boundary, before))
    if large:
        large.size = size
        large.is_fresh = 1
    return large


def unmap_chain(heap, large):
    """Give mappings back; return how many bytes went."""
    given_back = 0
    while large:
        rest = large.next
        given_back += unmap_large(heap, large)
        large = rest
    return given_back


def unmap_large(heap, large):
    """Give a mapping back, or all of its frames but the header's, which `walk` needs; return how many bytes went."""
    size, page = large.size, heap.memory.PAGE
    if heap.memory.munmap(large.address, size) == -1:
        return size - page if heap.memory.decommit(large.address + page, size - page) != -1 else 0
    return size


# --- the ranges kept


def link(store, above, large):
    """Put a range into the list after the one above it, or first."""
    below = above.next if above else store.first
    large.previous = above
    large.next = below
    if above:
        above.next = large
    else:
        store.first = large
    if below:
        below.previous = large
    store.ranges += 1


def unlink(store, large):
    store.first = removed(store.first, large)
    store.ranges -= 1


def absorb(store, large):
    """Make a range and the one above it one, if they touch."""
    above = large.previous
    if above and above.address == end_of(large):
        large.size += above.size
        unlink(store, above)


def insert(store, large):
    """Put a freed object where its address belongs, and join it with what it touches."""
    above, below = large.at(NULL), store.first
    while below and below.address > large.address:
        above = below
        below = below.next
    link(store, above, large)
    store.kept += large.size
    absorb(store, large)
    if below:
        absorb(store, below)


def best_fit(store, size):
    """The smallest range that has `size` bytes; null if there is none."""
    best, large = store.first.at(NULL), store.first
    while large:
        if large.size >= size and (not best or large.size < best.size):
            best = large
        large = large.next
    return best


def cut(store, large, size):
    """Take the upper `size` bytes of a range, which may be all of it."""
    store.kept -= size
    if large.size == size:
        unlink(store, large)
        return large
    large.size -= size
    upper = large.at(end_of(large))
    upper.magic = KEPT_MAGIC
    upper.size = size
    upper.is_fresh = 0
    return upper


def bound(store):
    """How much may be kept: half of the most that was live, and with what is live, an eighth more than that most."""
    return SLOP + min(store.most >> 1, store.most + (store.most >> 3) - store.live)


def excess(store):
    """How much of the highest range must go: what exceeds the bound, or all when there are too many."""
    if store.ranges > MOST_RANGES:
        return store.first.size
    return min(align_up(max(store.kept - bound(store), 0), BOUNDARY), store.first.size)


def evict(store):
    """Restore the bound; return as a chain what goes back to the kernel."""
    chain = store.first.at(NULL)
    while store.ranges > MOST_RANGES or store.kept > bound(store):
        evicted = cut(store, store.first, excess(store))
        evicted.next = chain
        chain = evicted
    return chain


# --- the store


def take_kept(heap, size):
    """An object cut from what is kept; null if no range has the size."""
    store = heap.large
    acquire(heap.memory, store.lock)
    large = best_fit(store, size)
    if large:
        large = cut(store, large, size)
    release(heap.memory, store.lock)
    return large


def count_live(heap, more):
    """Count what was handed out; the more is live, the less may be kept."""
    store = heap.large
    acquire(heap.memory, store.lock)
    store.live += more
    store.most = max(store.most, store.live)
    chain = evict(store)
    release(heap.memory, store.lock)
    unmap_chain(heap, chain)


def keep(store, large):
    """Keep a freed object if the bound allows; return as a chain what goes back to the kernel instead."""
    large.magic = KEPT_MAGIC
    if large.size > min(bound(store), MOST_KEPT):
        large.next = large.at(NULL)
        return large
    large.is_fresh = 0
    insert(store, large)
    return evict(store)


# --- what the allocator calls


def take_range(heap, size, boundary, before):
    """A range cut from what is kept, or else mapped; null when the kernel refuses. All are multiples of 64 KiB."""
    large = LargeObject(heap.memory, NULL)
    if boundary == BOUNDARY and before == 0:
        large = take_kept(heap, size)
    if not large:
        large = map_range(heap, size, boundary, before)
    if large:
        count_live(heap, size)
    return large


def free_range(heap, large):
    """Keep a range or give it back; return how many bytes went back to the kernel."""
    store = heap.large
    acquire(heap.memory, store.lock)
    store.live -= large.size
    chain = keep(store, large)
    release(heap.memory, store.lock)
    return unmap_chain(heap, chain)


def alloc_large(heap, size, align):
    """The address of `size` bytes in a range of their own, or NULL."""
    lead = lead_for(align)
    whole = align_up(lead + size, BOUNDARY)
    large = take_range(heap, whole, max(align, BOUNDARY), align_down(lead, BOUNDARY))
    if not large:
        return NULL
    large.magic = LARGE_MAGIC
    large.lead = lead
    return address_in(large)


def trim_large(heap):
    """Give back all that is kept; return how many bytes went."""
    store = heap.large
    acquire(heap.memory, store.lock)
    chain = store.first
    store.first = chain.at(NULL)
    store.kept = store.ranges = 0
    release(heap.memory, store.lock)
    return unmap_chain(heap, chain)


# --- looking at it


def is_fresh(heap, address):
    """Whether an object in use is large, and full of the kernel's zeros."""
    large = large_of(heap, address)
    return large.magic == LARGE_MAGIC and large.is_fresh != 0


def span_at(heap, start, end):
    """The size and kind of a range; zeros are what was cut off to align one, and the kernel did not take."""
    large = LargeObject(heap.memory, start)
    if large.size == 0:
        return min(align_up(start + 1, BOUNDARY), end) - start, UNUSED
    return large.size, USED if large.magic == LARGE_MAGIC else FREE


def survey(heap, stats):
    """Fill in statistics: of what is held, the ranges kept are free."""
    begin(heap.memory, stats)
    store = heap.large
    acquire(heap.memory, store.lock)
    large = store.first
    while large:
        stats.live_bytes -= large.size
        add_span(stats, large.size, FREE)
        large = large.next
    release(heap.memory, store.lock)


def ranges_kept(store):
    """The ranges kept, for `check` and pictures."""
    return list(chain_of(store.first))


def is_bounded(store):
    """Whether the ranges kept are apart, the highest first, and their sum is within the bound."""
    kept = ranges_kept(store)
    apart = all(end_of(low) < high.address for high, low in zip(kept, kept[1:], strict=False))
    return apart and len(kept) == store.ranges and sum(large.size for large in kept) == store.kept <= bound(store)
