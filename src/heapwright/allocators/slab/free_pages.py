"""Release of free pages in slabs that have objects in use, and slabs that are asleep.

The links of free objects lie in the head of a slab, so all pages between objects in use can be released, unless free
objects are constructed. When each slab has few objects in use, the heads are most of what remains. So a slab of up to
128 objects goes to sleep if its first page has no object in use. That page is released too, and a note keeps the
contents of the head. The slab's tag is then 0. `dealloc` finds the note in a table of lists, by the slab's address. The
slab wakes up, and its head is written again, when one of its objects is freed or the cache needs an object.

The caller holds the cache's lock. The table has its own lock, because `dealloc` reads it before it knows the cache.
"""

from __future__ import annotations

from heapwright import bits, locks
from heapwright.allocators.parts import chains, whole_pages
from heapwright.allocators.slab import caches
from heapwright.allocators.slab.caches import Nap, Slab
from heapwright.layout import NULL, Array, Atomic, Struct, Word

MIN_ASLEEP = 16  # slabs of a cache that must qualify: fewer do not justify a slab of notes
LISTS = 1024  # lists in the table of notes
BITS = 32  # bits in a word of a note's bitmap


class Naps(Struct):
    """The table of notes on all slabs that are asleep."""

    lock: Atomic[Word]
    lists: Array[Nap, LISTS]


def list_for(slab):
    return (slab.address >> 16) & (LISTS - 1)


# --- pages


def decommit_free(heap, cache):
    """Release the frames of free pages in a cache's slabs, unless its objects are constructed; return the bytes."""
    given_back = 0
    if cache.constructor == NULL and cache.destructor == NULL:
        are_many = sleepers(cache) >= MIN_ASLEEP
        for which in range(caches.FULL):
            slab = cache.lists[which]
            while slab:
                rest = slab.next
                gone = decommit_in(slab)
                if gone > 0 and which == caches.PARTIAL and are_many and may_sleep(slab):
                    gone += sleep(heap, cache, slab)
                given_back += gone
                slab = rest
    return given_back


def sleepers(cache):
    """The number of slabs of a cache that may go to sleep."""
    count = 0
    slab = cache.lists[caches.PARTIAL]
    while slab and cache.number < caches.SLOTS:
        count += may_sleep(slab)
        slab = slab.next
    return count


def decommit_in(slab):
    """Release the frames of the pages between objects in use in one slab; return the bytes."""
    given_back = index = 0
    objects = slab.cache.objects
    while index < objects:
        first = index
        while index < objects and not caches.is_in_use(slab, index):
            index += 1
        end = caches.address_of(slab, index) if index < objects else slab.address + slab.cache.slab_size
        given_back += whole_pages.decommit_inside(slab.memory, caches.address_of(slab, first), end)
        index += 1
    return given_back


# --- finding a note


def find_nap(heap, slab):
    """The note on a slab; null if it is awake, or if it is not a slab."""
    nap = heap.naps.lists[list_for(slab)]
    while nap and nap.slab != slab.address:
        nap = nap.next_in_list
    return nap


def number_asleep(heap, slab):
    """The number of the cache of a slab whose tag was 0; beyond all caches if it is not a slab."""
    locks.acquire(heap.memory, heap.naps.lock)
    nap = find_nap(heap, slab)
    number = nap.cache.number if nap else caches.number_of(slab)  # it may have woken up meanwhile
    locks.release(heap.memory, heap.naps.lock)
    return number


def is_used(nap, index):
    return nap.used[index // BITS] & bits.bit(index % BITS) != 0


# --- to sleep


def may_sleep(slab):
    """Whether a slab is small enough to sleep and has no object in use in its first page."""
    end = slab.address + slab.memory.PAGE
    index = 0
    while index < slab.fresh and caches.address_of(slab, index) < end and not caches.is_in_use(slab, index):
        index += 1
    return slab.cache.objects <= caches.MAX_ASLEEP and (index == slab.fresh or caches.address_of(slab, index) >= end)


def sleep(heap, cache, slab):
    """Move the head of a partial slab into a note and release its page; return the number of bytes released."""
    nap = new_nap(heap)
    if not nap:
        return 0
    write_nap(nap, slab)
    caches.unlink(cache, slab, caches.PARTIAL)
    cache.asleep = chains.pushed(cache.asleep, nap)
    locks.acquire(heap.memory, heap.naps.lock)
    nap.next_in_list = heap.naps.lists[list_for(slab)]
    heap.naps.lists[list_for(slab)] = nap
    locks.release(heap.memory, heap.naps.lock)
    slab.tag = NULL
    return whole_pages.decommit_inside(heap.memory, slab.address, slab.address + heap.memory.PAGE)


def new_nap(heap):
    """Allocate a note; null when memory is exhausted."""
    own = heap.caches[caches.NAPS]
    locks.acquire(heap.memory, own.lock)
    nap = Nap(heap.memory, caches.take_object(heap, own))
    locks.release(heap.memory, own.lock)
    return nap


def free_nap(heap, nap):
    own = heap.caches[caches.NAPS]
    locks.acquire(heap.memory, own.lock)
    caches.put_object(heap, own, nap.address)
    locks.release(heap.memory, own.lock)


def write_nap(nap, slab):
    nap.slab = slab.address
    nap.cache = slab.cache
    nap.first = slab.first
    nap.fresh = slab.fresh
    nap.live = slab.live
    for word in range(caches.MAX_ASLEEP // BITS):
        nap.used[word] = 0
    for index in range(slab.fresh):
        if caches.is_in_use(slab, index):
            nap.used[index // BITS] |= bits.bit(index % BITS)


# --- awake again


def take_awake(heap, cache):
    """Take an object; return its address, NULL when memory is exhausted. Wake a slab rather than map a new one."""
    if cache.asleep and not cache.lists[caches.PARTIAL]:
        wake(heap, cache, cache.asleep)
    return caches.take_object(heap, cache)


def put_awake(heap, cache, address):
    """Put an object back into its slab, and wake the slab if it is asleep."""
    slab = caches.slab_of(cache, address)
    if slab.tag == NULL:
        nap = find_nap(heap, slab)
        if nap:
            wake(heap, cache, nap)
    caches.put_object(heap, cache, address)


def wake(heap, cache, nap):
    """Rewrite the head of a slab from its note, and free the note."""
    slab = Slab(heap.memory, nap.slab)
    slab.object_size = cache.object_size
    slab.cache = cache
    slab.first = nap.first
    slab.fresh = nap.fresh
    slab.live = nap.live
    slab.free = slab.raw = caches.END
    for index in range(nap.fresh - 1, -1, -1):
        if is_used(nap, index):
            slab.links[index] = caches.IN_USE
        else:
            slab.links[index] = slab.free
            slab.free = index
    caches.link(cache, slab, caches.PARTIAL)
    slab.tag = caches.TAG + cache.number
    cache.asleep = chains.removed(cache.asleep, nap)
    forget(heap, slab, nap)
    free_nap(heap, nap)


def forget(heap, slab, nap):
    """Remove a note from the table."""
    locks.acquire(heap.memory, heap.naps.lock)
    before = heap.naps.lists[list_for(slab)]
    if before == nap:
        heap.naps.lists[list_for(slab)] = nap.next_in_list
    else:
        while before.next_in_list != nap:
            before = before.next_in_list
        before.next_in_list = nap.next_in_list
    locks.release(heap.memory, heap.naps.lock)
