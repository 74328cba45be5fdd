"""A program's own caches: their creation, their reaping and their end.

Source: kmem_cache_create, kmem_cache_reap and kmem_cache_destroy in J. Bonwick, The Slab Allocator, USENIX 1994.

The program names a cache by its address. A cache may be destroyed when none of its objects is in use, and its place
then serves the next cache that is created.
"""

from __future__ import annotations

from heapwright import locks
from heapwright.allocators.slab import caches, construction, depots, magazines
from heapwright.layout import NULL

# --- creation


def create(heap, name, size, align, constructor, destructor):
    """Lay out a cache; null if size or alignment are absurd, or all places are taken."""
    if not 0 < size <= caches.LARGEST_OBJECT or not 0 <= align <= caches.LARGEST_OBJECT:
        return heap.caches[0].at(NULL)
    locks.acquire(heap.memory, heap.lock)
    cache = unused_cache(heap)
    if cache:
        locks.acquire(heap.memory, cache.lock)
        caches.open_cache(cache, cache.number, size, max(align, caches.UNIT))
        copy_name(cache, name)
        cache.constructor = constructor
        cache.destructor = destructor
        locks.release(heap.memory, cache.lock)
    locks.release(heap.memory, heap.lock)
    return cache


def unused_cache(heap):
    """The first place without a cache; null if there is none."""
    for number in range(caches.PROGRAM, caches.SLOTS):
        if heap.caches[number].objects == 0:
            heap.caches[number].number = number
            return heap.caches[number]
    return heap.caches[0].at(NULL)


def copy_name(cache, name):
    """Copy what fits of a C string."""
    given = caches.Name(cache.memory, name)
    index = 0
    while name != NULL and index < caches.MAX_NAME - 1 and given.letters[index] != 0:
        cache.name.letters[index] = given.letters[index]
        index += 1


def require_cache(heap, cache):
    """Report a cache that was destroyed."""
    if cache.objects == 0:
        heap.memory.fault("not a live cache", cache.address)


# --- reaping


def reap(heap, cache):
    """Release what is free in the depot, the slabs and the calling thread's magazines; return the bytes unmapped."""
    thread = magazines.thread_of(heap)
    if thread and thread != heap.nobody:
        locks.acquire(heap.memory, cache.lock)
        magazines.unload(heap, cache, thread, cache.number)
        locks.release(heap.memory, cache.lock)
    return depots.reap_all(heap, cache)


# --- the end


def destroy(heap, cache):
    """Destroy a cache unless some of its objects are in use; return their number."""
    unload_all(heap, cache)
    depots.reap_all(heap, cache)
    locks.acquire(heap.memory, cache.gate)  # another thread may be destructing objects
    construction.release_doomed(heap, cache)
    locks.acquire(heap.memory, heap.lock)
    locks.acquire(heap.memory, cache.lock)
    live = count_live(cache)
    if live == 0:
        rest = cache.name.address - cache.address
        heap.memory.fill(cache.name.address, caches.Cache.SIZE - rest, 0)
    locks.release(heap.memory, cache.lock)
    locks.release(heap.memory, heap.lock)
    locks.release(heap.memory, cache.gate)
    return live


def unload_all(heap, cache):
    """Hand in the magazines that all threads have of a cache. None of them may be using it."""
    records = heap.caches[caches.RECORDS]
    locks.acquire(heap.memory, cache.lock)
    locks.acquire(heap.memory, records.lock)
    thread = heap.threads
    while thread:
        magazines.unload(heap, cache, thread, cache.number)
        thread.uses[cache.number] = 0
        thread = thread.next
    locks.release(heap.memory, records.lock)
    locks.release(heap.memory, cache.lock)


def count_live(cache):
    """The number of objects that the program has."""
    live = 0
    for which in range(caches.PARTIAL, caches.FULL + 1):
        slab = cache.lists[which]
        while slab:
            live += slab.live
            slab = slab.next
    nap = cache.asleep
    while nap:
        live += nap.live
        nap = nap.next
    return live
