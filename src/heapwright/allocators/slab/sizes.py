"""The caches of malloc: their sizes, and the cache that serves a request."""

from __future__ import annotations

from heapwright import bits, locks
from heapwright.allocators.slab import caches, magazines
from heapwright.layout import NULL, Array, Byte, Struct

PLAIN = 38  # caches of malloc with an alignment of at most a cache line
LINE = 64
MAX_SMALL = 32640  # half a slab
LOG2_ALIGNED = 7  # the caches of aligned objects: 2**7 ...
LOG2_MAX_ALIGNED = 13  # ... to 2**13 bytes
ALIGNED = PLAIN


class Numbers(Struct):
    of: Array[Byte, MAX_SMALL // caches.UNIT]  # the cache for each size in units of 16 bytes


def size_of(number):
    """The object size of one of malloc's caches, except the aligned ones."""
    if number < 8:
        return (number + 1) * caches.UNIT
    if number < 32:
        return (5 + (number & 3)) << (3 + (number >> 2))
    return bits.align_down(2 * MAX_SMALL // (39 - number), LINE)


def open_heap(heap):
    """Lay out all caches at the first call."""
    locks.acquire(heap.memory, heap.lock)
    if not heap.is_open:
        open_sizes(heap)
        caches.open_cache(heap.caches[caches.RECORDS], caches.RECORDS, magazines.Thread.SIZE, LINE)
        caches.open_cache(heap.caches[caches.MAGAZINES], caches.MAGAZINES, caches.Magazine.SIZE, caches.UNIT)
        caches.open_cache(heap.caches[caches.NAPS], caches.NAPS, caches.Nap.SIZE, caches.UNIT)
        magazines.clear(heap, heap.nobody)
        heap.is_open = 1
    locks.release(heap.memory, heap.lock)


def open_sizes(heap):
    place = 0
    for number in range(PLAIN):
        size = size_of(number)
        caches.open_cache(heap.caches[number], number, size, min(size & -size, LINE))
        for slot in range(place, size // caches.UNIT):
            heap.numbers.of[slot] = number
        place = size // caches.UNIT
    for k in range(LOG2_ALIGNED, LOG2_MAX_ALIGNED + 1):
        number = ALIGNED + k - LOG2_ALIGNED
        caches.open_cache(heap.caches[number], number, 1 << k, 1 << k)


def cache_for(heap, size, align):
    """The cache that serves a request; null if the request needs a range of its own."""
    size = max(size, 1)
    if align <= LINE and size <= MAX_SMALL:  # the cache of a size rounded up to `align` has that alignment
        return heap.caches[heap.numbers.of[(bits.align_up(size, align) - 1) // caches.UNIT]]
    k = max(bits.ceil_log2(max(size, align)), LOG2_ALIGNED)
    if align > LINE and k <= LOG2_MAX_ALIGNED:
        return heap.caches[ALIGNED + k - LOG2_ALIGNED]
    return heap.caches[0].at(NULL)
