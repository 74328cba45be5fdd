"""The depot of a cache: full and empty magazines, from which threads trade; and the reaping of a cache.

Source: that of the module magazines, which is about the threads.

The caller holds the cache's lock, except in `reap_all`.
"""

from __future__ import annotations

from heapwright import locks
from heapwright.allocators.slab import caches, construction, free_pages
from heapwright.allocators.slab.caches import Magazine
from heapwright.layout import NULL

MAX_FULL = 10  # full magazines in a depot


# --- magazines


def new_magazine(heap, cache):
    """Allocate an empty magazine for a cache; null when memory is exhausted."""
    own = heap.caches[caches.MAGAZINES]
    locks.acquire(heap.memory, own.lock)
    magazine = Magazine(heap.memory, caches.take_object(heap, own))
    locks.release(heap.memory, own.lock)
    if magazine:
        magazine.rounds = 0
        magazine.maximum = cache.rounds
    return magazine


def free_magazine(heap, magazine):
    own = heap.caches[caches.MAGAZINES]
    locks.acquire(heap.memory, own.lock)
    caches.put_object(heap, own, magazine.address)
    locks.release(heap.memory, own.lock)


def refill(heap, cache, magazine, count):
    """Move up to `count` objects from the slabs into an empty magazine, as many as there are and have room."""
    while magazine.rounds < min(count, magazine.maximum):
        address = construction.take_ready(heap, cache)
        if address == NULL:
            return
        caches.push(magazine, address)


def flush(heap, cache, magazine):
    """Empty a magazine into the slabs."""
    while magazine.rounds > 0:
        free_pages.put_awake(heap, cache, caches.pop(magazine))


# --- the depot


def store(magazines, magazine):
    magazine.next = magazines.first
    magazines.first = magazine
    magazines.count += 1


def fetch(magazines):
    """Take a magazine from the depot; null if there is none."""
    magazine = magazines.first
    if magazine:
        magazines.first = magazine.next
        magazines.count -= 1
        magazines.minimum = min(magazines.minimum, magazines.count)
    return magazine


def hand_in(heap, cache, magazine):
    """Put a magazine into the depot: as it is, if it is full and the depot has room, and otherwise emptied."""
    if not caches.is_real(magazine):
        return
    if not caches.has_room(magazine) and cache.full.count < MAX_FULL:
        store(cache.full, magazine)
    else:
        flush(heap, cache, magazine)
        store(cache.empty, magazine)


def fetch_empty(heap, cache):
    """Take an empty magazine from the depot, or a new one; null when memory is exhausted."""
    magazine = fetch(cache.empty)
    return magazine if magazine else new_magazine(heap, cache)


# --- reaping


def visit(heap, cache):
    cache.visits += 1
    if cache.visits >= caches.INTERVAL:
        reap(heap, cache)


def reap(heap, cache):
    """Release everything but the working set since the last reap; return the number of bytes released."""
    cache.visits = 0
    given_back = caches.destroy_slabs(heap, cache, cache.min_empty)
    drain_empty(heap, cache, cache.empty.minimum)
    drain_full(heap, cache, cache.full.minimum)
    cache.min_empty = cache.empty_slabs
    cache.empty.minimum = cache.empty.count
    cache.full.minimum = cache.full.count
    return given_back


def drain_full(heap, cache, count):
    """Empty `count` of the depot's full magazines into the slabs."""
    for _ in range(count):
        magazine = fetch(cache.full)
        flush(heap, cache, magazine)
        store(cache.empty, magazine)


def drain_empty(heap, cache, count):
    for _ in range(count):
        free_magazine(heap, fetch(cache.empty))


def reap_all(heap, cache):
    """Release everything that is not in use; return the number of bytes released."""
    locks.acquire(heap.memory, cache.lock)
    drain_full(heap, cache, cache.full.count)
    drain_empty(heap, cache, cache.empty.count)
    cache.min_empty = cache.empty_slabs
    given_back = reap(heap, cache)
    return given_back + construction.release_lock(heap, cache)
