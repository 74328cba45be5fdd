"""Large objects: one mapping each, and a store of freed mappings for later requests.

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

Page faults dominate the cost of large objects, so freed pages are kept and reused for requests of any size. The kept
ranges form one list, highest address first. Adjacent ranges merge, and a request is cut from the range that fits best.

The store keeps at most 1 MiB plus half of the peak live size. Kept and live memory together never exceed 1 MiB plus 9/8
of that peak. The store holds at most 64 ranges, because each one costs search time. The excess goes back to the kernel,
from the highest range first: the kernel maps downwards, so the highest ranges are the oldest and most fragmented. If
the kernel refuses to unmap a range, its frames are released and its addresses are lost.

A vmem arena keeps the boundary tags of its segments outside the segments, and finds a segment in use by hashing. Here
the memory itself can hold the header, and a mask leads from an address to it. Vmem returns a span to its source as soon
as the whole span is free, so the pages of each large object would have to be faulted in again.
"""

from __future__ import annotations

from heapwright import bits, locks, spans, stats
from heapwright.allocators.parts import chains, known_places, mappings
from heapwright.layout import NULL, Atomic, Struct, Word

LARGE_MAGIC = 0x0A11F0E7
KEPT_MAGIC = 0x0A11F0E8
LEAD = 64
MAX_KEPT = 1 << 25  # larger objects are unmapped at once
MAX_RANGES = 64
SLOP = 1 << 20


class LargeObject(Struct):
    magic: Word
    size: Word
    lead: Word
    is_fresh: Word
    previous: LargeObject
    next: LargeObject


class LargeObjects(Struct):
    """The store of kept ranges, and the counts of what is in use."""

    lock: Atomic[Word]
    objects: Word  # large objects in use
    object_bytes: Word  # bytes of their mappings
    live: Word  # bytes of all mappings in use
    maximum: Word  # the peak of `live`
    kept: Word  # bytes in kept ranges
    ranges: Word  # number of kept ranges
    first: LargeObject  # the highest kept range


# --- large objects


def large_of(heap, address):
    """The header strictly before an address. The address itself may be a multiple of 64 KiB."""
    return LargeObject(heap.memory, bits.align_down(address - 1, known_places.BOUNDARY))


def address_in(large):
    return large.address + large.lead


def usable_in(large):
    return large.size - large.lead


def end_of(large):
    return large.address + large.size


def lead_for(align):
    """The distance from a mapping's start to an object of this alignment."""
    return bits.align_up(LEAD, align) if align < known_places.BOUNDARY else known_places.BOUNDARY


def map_range(heap, size, boundary, before):
    """Map a range such that the address `before` bytes behind its start is aligned; null when the kernel refuses."""
    large = LargeObject(heap.memory, mappings.map_aligned(heap.memory, size, boundary, before))
    if large:
        large.size = size
        large.is_fresh = 1
    return large


def unmap_chain(heap, large):
    """Unmap a chain of ranges; return the number of bytes released."""
    given_back = 0
    while large:
        rest = large.next
        given_back += unmap_large(heap, large)
        large = rest
    return given_back


def unmap_large(heap, large):
    """Unmap a range, or release all its frames except the header's, which `walk` needs; return the bytes released."""
    size, page = large.size, heap.memory.PAGE
    known_places.forget(heap.places, large.address, size)
    if heap.memory.munmap(large.address, size) == -1:
        return size - page if heap.memory.decommit(large.address + page, size - page) != -1 else 0
    return size


# --- the ranges kept


def link(store, above, large):
    """Insert a range into the list after `above`, or first if that is null."""
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
    store.first = chains.removed(store.first, large)
    store.ranges -= 1


def absorb(store, large):
    """Merge a range with the one above it, if they touch."""
    above = large.previous
    if above and above.address == end_of(large):
        large.size += above.size
        unlink(store, above)


def insert(store, large):
    """Insert a freed range in address order, and merge it with its neighbours."""
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
    """The smallest range of at least `size` bytes; null if there is none."""
    best, large = store.first.at(NULL), store.first
    while large:
        if large.size >= size and (not best or large.size < best.size):
            best = large
        large = large.next
    return best


def cut(store, large, size):
    """Take the upper `size` bytes of a range, or the whole range."""
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
    """The bytes that may be kept: 1 MiB plus half of the peak, or what live bytes leave of 9/8 of the peak if less."""
    return SLOP + min(store.maximum >> 1, store.maximum + (store.maximum >> 3) - store.live)


def excess(store):
    """The bytes of the highest range to release: the excess over the bound, or all if there are too many ranges."""
    if store.ranges > MAX_RANGES:
        return store.first.size
    return min(bits.align_up(max(store.kept - bound(store), 0), known_places.BOUNDARY), store.first.size)


def evict(store):
    """Restore the bound; return the ranges to unmap as a chain."""
    chain = store.first.at(NULL)
    while store.ranges > MAX_RANGES or store.kept > bound(store):
        evicted = cut(store, store.first, excess(store))
        evicted.next = chain
        chain = evicted
    return chain


# --- the store


def take_kept(heap, size):
    """Cut a range from a kept one; null if no kept range is large enough."""
    store = heap.large
    locks.acquire(heap.memory, store.lock)
    large = best_fit(store, size)
    if large:
        large = cut(store, large, size)
    locks.release(heap.memory, store.lock)
    return large


def count_live(heap, more, objects):
    """Count a range handed out, as an object or not, and evict kept ranges: more live bytes lower the bound."""
    store = heap.large
    locks.acquire(heap.memory, store.lock)
    count_objects(store, objects, more)
    store.live += more
    store.maximum = max(store.maximum, store.live)
    chain = evict(store)
    locks.release(heap.memory, store.lock)
    unmap_chain(heap, chain)


def count_objects(store, objects, size):
    store.objects += objects
    store.object_bytes += objects * size


def keep(store, large):
    """Keep a freed range if the bound allows; return the ranges to unmap as a chain."""
    large.magic = KEPT_MAGIC
    if large.size > min(bound(store), MAX_KEPT):
        large.next = large.at(NULL)
        return large
    large.is_fresh = 0
    insert(store, large)
    return evict(store)


# --- the allocator's interface


def take_range(heap, size, boundary, before, objects):
    """Take a range from the store, or map one; null when the kernel refuses. The arguments are multiples of 64 KiB.

    `objects` is 1 for a large object, and 0 for a range that the allocator divides.
    """
    large = LargeObject(heap.memory, NULL)
    if boundary == known_places.BOUNDARY and before == 0:
        large = take_kept(heap, size)
    if not large:
        large = map_range(heap, size, boundary, before)
    if large:
        count_live(heap, size, objects)
    return large


def free_range(heap, large, objects):
    """Keep or unmap a range; return the number of bytes released to the kernel."""
    store = heap.large
    locks.acquire(heap.memory, store.lock)
    count_objects(store, -objects, large.size)
    store.live -= large.size
    chain = keep(store, large)
    locks.release(heap.memory, store.lock)
    return unmap_chain(heap, chain)


def alloc_large(heap, size, align):
    """Allocate `size` bytes in a separate range; return their address, or NULL."""
    lead = lead_for(align)
    whole = bits.align_up(lead + size, known_places.BOUNDARY)
    large = take_range(heap, whole, max(align, known_places.BOUNDARY), bits.align_down(lead, known_places.BOUNDARY), 1)
    if not large:
        return NULL
    large.magic = LARGE_MAGIC
    large.lead = lead
    known_places.remember(heap.places, large.address, known_places.IS_LARGE)
    return address_in(large)


def live_large(heap, address):
    """The header of a large object in use; report any other address. The header must be readable."""
    large = large_of(heap, address)
    if large.magic == KEPT_MAGIC:
        heap.memory.fault("double free", address)
    if large.magic != LARGE_MAGIC:
        heap.memory.fault("not a block of this heap", address)
    if address_in(large) != address:
        heap.memory.fault("no block begins here", address)
    return large


def dealloc_large(heap, address):
    free_range(heap, live_large(heap, address), 1)


def trim_large(heap):
    """Unmap all kept ranges; return the number of bytes released."""
    store = heap.large
    locks.acquire(heap.memory, store.lock)
    chain = store.first
    store.first = chain.at(NULL)
    store.kept = store.ranges = 0
    locks.release(heap.memory, store.lock)
    return unmap_chain(heap, chain)


# --- inspection


def is_fresh(heap, address):
    """Whether an object in use is large and still full of the kernel's zeros."""
    large = large_of(heap, address)
    return large.magic == LARGE_MAGIC and large.is_fresh != 0


def span_at(heap, start, end):
    """The size and kind of a range. One without a header was cut off for alignment, and the kernel refused it."""
    large = LargeObject(heap.memory, start)
    if large.size == 0:
        return min(bits.align_up(start + 1, known_places.BOUNDARY), end) - start, spans.UNUSED
    return large.size, spans.USED if large.magic == LARGE_MAGIC else spans.FREE


def survey_large(heap, account):
    """Count the objects, and the kept ranges as free."""
    store = heap.large
    locks.acquire(heap.memory, store.lock)
    stats.add_mapped(account, store.objects, store.object_bytes)
    account.spare_bytes += store.kept
    large = store.first
    while large:
        stats.add_free(account, 1, large.size)
        large = large.next
    locks.release(heap.memory, store.lock)


def ranges_kept(store):
    """The kept ranges, for `check` and pictures."""
    return list(chains.chain_of(store.first))


def is_bounded(store):
    """Whether the kept ranges do not touch, fall in address, and sum up to at most the bound."""
    kept = ranges_kept(store)
    apart = all(end_of(low) < high.address for high, low in zip(kept, kept[1:], strict=False))
    return apart and len(kept) == store.ranges and sum(large.size for large in kept) == store.kept <= bound(store)
