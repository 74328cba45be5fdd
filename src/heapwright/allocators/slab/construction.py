"""Constructors and destructors: functions of the program, which run while the thread holds no lock of the heap.

Source: kmem_cache_create, kmem_slab_alloc and kmem_cache_alloc in Bonwick's two papers and in illumos kmem.c.

An object is constructed when it leaves its slab for the first time. It stays constructed while it is free, whether it
lies in a magazine or in its slab, and is destructed when its slab is released. A magazine is filled from the slabs with
constructed objects only. When there are none left, a thread takes a single object and constructs it. A constructor that
fails returns a number other than 0; then its object returns to the slab as it was before, raw.

A reap sets empty slabs aside under the cache's lock. The thread releases the lock, and destructs their objects under
the cache's gate. Only one thread at a time does so. Another one that comes to the gate leaves the slabs to the first
thread or to the next reap. So a destructor may itself call the heap, and thereby cause a reap.
"""

from __future__ import annotations

from heapwright import locks
from heapwright.allocators.slab import caches, free_pages
from heapwright.layout import NULL

# --- objects


def take_ready(heap, cache):
    """Take an object that needs no constructor, under the cache's lock; NULL if there is none."""
    if cache.constructor == NULL:
        return free_pages.take_awake(heap, cache)
    slab = slab_with_constructed(cache.lists[caches.PARTIAL])
    if not slab:
        slab = slab_with_constructed(cache.lists[caches.EMPTY])
    return caches.take_from(cache, slab) if slab else NULL


def slab_with_constructed(slab):
    """The first slab of a list that has a constructed free object; null if none has.

    Few slabs are passed over: the one from which new objects are cut, and those where a constructor failed.
    """
    while slab and slab.free == caches.END:
        slab = slab.next
    return slab


def take_constructed(heap, cache):
    """Take an object, and construct it if need be; return NULL when memory is exhausted, or FAILED."""
    locks.acquire(heap.memory, cache.lock)
    address = take_ready(heap, cache)
    is_raw = address == NULL and cache.constructor != NULL
    if is_raw:
        address = caches.take_object(heap, cache)
    locks.release(heap.memory, cache.lock)
    return construct(heap, cache, address) if is_raw and address != NULL else address


def construct(heap, cache, address):
    """Construct an object and return its address; if that fails, put it back and return FAILED."""
    if heap.memory.call(cache.constructor, address, cache.size) == 0:
        return address
    locks.acquire(heap.memory, cache.lock)
    slab = caches.slab_of(cache, address)
    before = caches.list_of(slab)
    caches.push_raw(slab, caches.index_of(slab, address))
    caches.move_slab(cache, slab, before)
    locks.release(heap.memory, cache.lock)
    return caches.FAILED


# --- slabs


def release_lock(heap, cache):
    """Release a cache's lock, then the slabs that a reap set aside; return the number of bytes unmapped."""
    has_doomed = cache.doomed.address != NULL
    locks.release(heap.memory, cache.lock)
    if not has_doomed or not locks.try_acquire(heap.memory, cache.gate):
        return 0
    given_back = release_doomed(heap, cache)
    locks.release(heap.memory, cache.gate)
    return given_back


def release_doomed(heap, cache):
    """Destruct the objects of the slabs set aside and release the slabs, behind the gate; return the bytes unmapped."""
    given_back = 0
    slab, address = take_doomed(heap, cache)
    while slab:
        if address != NULL:
            heap.memory.call(cache.destructor, address, cache.size)
        else:
            given_back += caches.free_slab(heap, slab, cache.slab_size)
        slab, address = take_doomed(heap, cache)
    return given_back


def take_doomed(heap, cache):
    """Take a constructed object from the first slab set aside; if it has none left, take the slab, and NULL.

    A slab stays in the list until then, so a child that is forked meanwhile finds it.
    """
    locks.acquire(heap.memory, cache.lock)
    slab = cache.doomed
    address = NULL
    if slab and slab.free != caches.END:
        address = caches.address_of(slab, slab.free)
        slab.free = slab.links[slab.free]
    elif slab:
        cache.doomed = slab.next
    locks.release(heap.memory, cache.lock)
    return slab, address
