"""Magazines: stacks of objects that let a thread allocate and free without a lock, and the depot that trades them.

Source: J. Bonwick, J. Adams, Magazines and Vmem: Extending the Slab Allocator to Many CPUs and Arbitrary Resources,
USENIX 2001; the sheaves of Linux 6.18 (mm/slub.c).

      Thread, for each cache:          the cache's depot:

      loaded ---> +--------+           full  ---> M ---> M ---> M
                  | object |           empty ---> M
                  | object |
                  | -      |           and below it the slabs
                  +--------+
      previous -> M, full or empty

A thread pops from and pushes on its loaded magazine. When that is empty (or full), the thread swaps it with the
previous one, if that can serve. Otherwise the depot exchanges an empty magazine for a full one, or the reverse.

There are two kinds of reaping. The periodic one (Bonwick's runs every 15 seconds) releases what a cache has not needed
since the last reap, which leaves its working set. Here the interval is 256 visits to the depot. The other one
(Bonwick's runs when memory is short) releases everything that is free in all caches. Here it runs before the allocator
maps more, once it has mapped 1 MiB for slabs. The thread then hands in its magazines too. Otherwise a few objects in
them would keep many slabs from becoming empty, because a slab has 64 KiB and not just a page.

Deviations from the paper. When the depot is empty, the thread takes many objects from the slabs, not a single one, as
Linux refills sheaves: twice as many as last time, up to a full magazine. So even a thread that only allocates rarely
takes the lock. The first 16 objects of a cache that a thread allocates or frees bypass its magazines, so a thread that
does little and then sleeps holds nothing. A depot holds at most ten full magazines, like a barn of sheaves, and empties
the others into their slabs. Magazines belong to threads, not to processors, because a thread does not learn when it
migrates. They have their full size from the start and do not grow with contention: since reaping is on demand, small
ones would save no memory.

Threads' records and magazines are objects of two internal caches, which have no magazines themselves.
"""

from __future__ import annotations

from heapwright import locks
from heapwright.allocators.slab import caches, construction, depots, free_pages
from heapwright.allocators.slab.caches import Magazine
from heapwright.layout import NULL, Array, Byte, Struct

THREAD, SIZES, NUMBERS = 0, 1, 2  # thread-local words: the address of the thread's record, and exclusive limits of the
# sizes and cache numbers that its magazines serve, both 0 while there is no record
WARM = 16  # objects of a cache that a thread takes or frees before it loads a magazine
DEMAND = 16  # slabs mapped from one reap of all caches to the next


class Thread(Struct):
    loaded: Array[Magazine, caches.SLOTS]  # a magazine or the heap's `nothing`; its `next` is the previous one, or null
    next: Thread  # in the list of all threads
    uses: Array[
        Byte, caches.SLOTS
    ]  # below WARM: objects that bypassed the magazines; from then on: four times the size of the next fetch


def thread_of(heap):
    """The calling thread's record; null until it is first needed."""
    return Thread(heap.memory, heap.memory.local(THREAD))


def set_thread(heap, thread, sizes, numbers):
    heap.memory.set_local(THREAD, thread.address)
    heap.memory.set_local(SIZES, sizes)
    heap.memory.set_local(NUMBERS, numbers)


# --- objects


def alloc_object(heap, cache, thread):
    """Take an object of a cache; return its address, NULL when memory is exhausted, or FAILED."""
    magazine = thread.loaded[cache.number]
    if magazine.rounds == 0 and thread != heap.nobody:
        if is_cold(thread, cache.number):
            return take_cold(heap, cache, thread)
        magazine = load_rounds(heap, cache, thread)
    return caches.pop(magazine) if magazine.rounds > 0 else construction.take_constructed(heap, cache)


def free_object(heap, cache, thread, address):
    magazine = thread.loaded[cache.number]
    if not caches.has_room(magazine) and thread != heap.nobody:
        if is_cold(thread, cache.number):
            put_cold(heap, cache, thread, address)
            return
        magazine = load_room(heap, cache, thread)
    if caches.has_room(magazine):
        caches.push(magazine, address)
    else:
        put_unbuffered(heap, cache, address)


# --- bypassing the magazines


def is_cold(thread, index):
    """Whether a thread has used a cache too little to hold any of its objects yet."""
    return thread.uses[index] < WARM


def take_cold(heap, cache, thread):
    """Take an object from the slabs; return its address, NULL when memory is exhausted."""
    reap_on_demand(heap, thread)
    address = construction.take_constructed(heap, cache)
    if address != NULL:
        thread.uses[cache.number] += 1
    return address


def put_cold(heap, cache, thread, address):
    put_unbuffered(heap, cache, address)
    thread.uses[cache.number] += 1


def put_unbuffered(heap, cache, address):
    locks.acquire(heap.memory, cache.lock)
    free_pages.put_awake(heap, cache, address)
    locks.release(heap.memory, cache.lock)


# --- the trade


def swap(thread, index):
    """Load the previous magazine."""
    loaded = thread.loaded[index]
    magazine = loaded.next
    loaded.next = NULL
    magazine.next = loaded
    thread.loaded[index] = magazine
    return magazine


def hand_in_previous(heap, cache, loaded):
    if loaded.next:
        depots.hand_in(heap, cache, loaded.next)
        loaded.next = NULL


def load(thread, index, magazine):
    """Load a magazine; the one loaded before becomes the previous one."""
    loaded = thread.loaded[index]
    magazine.next = loaded if caches.is_real(loaded) else loaded.at(NULL)
    thread.loaded[index] = magazine


def load_rounds(heap, cache, thread):
    """Load and return a magazine that has objects; it is empty if none is constructed and when memory is exhausted."""
    index = cache.number
    previous = thread.loaded[index].next
    if previous and previous.rounds > 0:
        return swap(thread, index)
    reap_on_demand(heap, thread)  # before anything is loaded
    locks.acquire(heap.memory, cache.lock)
    full = depots.fetch(cache.full)
    if full:
        hand_in_previous(heap, cache, thread.loaded[index])
        load(thread, index, full)
    else:
        refill_loaded(heap, cache, thread)
    if thread.loaded[index].rounds > 0:  # a visit counts only if it got an object
        depots.visit(heap, cache)
    construction.release_lock(heap, cache)
    return thread.loaded[index]


def refill_loaded(heap, cache, thread):
    """Fetch twice as many objects as last time into the loaded magazine, which is empty or the heap's `nothing`."""
    index = cache.number
    if not caches.is_real(thread.loaded[index]):
        magazine = depots.fetch_empty(heap, cache)
        if magazine:
            load(thread, index, magazine)
    depots.refill(heap, cache, thread.loaded[index], thread.uses[index] // 4)
    if thread.loaded[index].rounds > 0:
        thread.uses[index] = min(2 * thread.uses[index], 4 * caches.MAX_ROUNDS)


def load_room(heap, cache, thread):
    """Load and return a magazine that has room; it has none only when memory is exhausted."""
    index = cache.number
    previous = thread.loaded[index].next
    if previous and caches.has_room(previous):
        return swap(thread, index)
    locks.acquire(heap.memory, cache.lock)
    hand_in_previous(heap, cache, thread.loaded[index])
    empty = depots.fetch_empty(heap, cache)
    if empty:
        load(thread, index, empty)
    depots.visit(heap, cache)
    construction.release_lock(heap, cache)
    return thread.loaded[index]


# --- reaping


def reap_on_demand(heap, thread):
    """Reap all caches and this thread's magazines if enough slabs were mapped since the last such reap."""
    if heap.mapped.load() >= DEMAND:
        purge(heap, thread)
        reap_caches(heap)


def decommit_caches(heap):
    """Release the frames of free pages in all slabs; return the bytes released minus those of new notes on slabs."""
    given_back, before = 0, heap.mapped.load()
    for number in range(caches.CACHES):
        cache = heap.caches[number]
        locks.acquire(heap.memory, cache.lock)
        given_back += free_pages.decommit_free(heap, cache)
        locks.release(heap.memory, cache.lock)
    return given_back - (heap.mapped.load() - before) * caches.SLAB


def reap_caches(heap):
    """Empty the depots and release every empty slab; return the number of bytes unmapped."""
    heap.mapped.store(0)
    given_back = 0
    for number in range(caches.CACHES):
        given_back += depots.reap_all(heap, heap.caches[number])
    return given_back


# --- threads


def new_thread(heap):
    """Allocate a record for the calling thread, with nothing loaded; null when memory is exhausted."""
    own = heap.caches[caches.RECORDS]
    locks.acquire(heap.memory, own.lock)
    thread = Thread(heap.memory, caches.take_object(heap, own))
    if thread:
        clear(heap, thread)
        heap.memory.fill(thread.uses.address, caches.SLOTS, 0)
        thread.next = heap.threads
        heap.threads = thread
    locks.release(heap.memory, own.lock)
    return thread


def clear(heap, thread):
    """Unload all magazines of a thread."""
    for index in range(caches.SLOTS):
        thread.loaded[index] = heap.nothing


def purge(heap, thread):
    """Hand in all magazines of a thread, one at a time.

    A misuse reported on the way leaves no magazine in two places.
    """
    for index in range(caches.SLOTS):
        cache = heap.caches[index]
        locks.acquire(heap.memory, cache.lock)
        unload(heap, cache, thread, index)
        locks.release(heap.memory, cache.lock)


def unload(heap, cache, thread, index):
    """Hand in both magazines that a thread has of a cache."""
    hand_in_previous(heap, cache, thread.loaded[index])
    depots.hand_in(heap, cache, thread.loaded[index])
    thread.loaded[index] = heap.nothing


def free_thread(heap, thread):
    """Unlink a record from the list of all threads, and free it."""
    own = heap.caches[caches.RECORDS]
    locks.acquire(heap.memory, own.lock)
    if heap.threads == thread:
        heap.threads = thread.next
    else:
        before = heap.threads
        while before.next != thread:
            before = before.next
        before.next = thread.next
    caches.put_object(heap, own, thread.address)
    locks.release(heap.memory, own.lock)


# --- all locks, for a fork and for the end after a report; in the order in which a thread takes several of them
#
# The gates of caches are left out of a fork: a thread holds one while it calls the program, which may fork.


def lock_all(heap):
    locks.acquire(heap.memory, heap.lock)
    for number in range(caches.CACHES):
        locks.acquire(heap.memory, heap.caches[number].lock)
    locks.acquire(heap.memory, heap.naps.lock)
    locks.acquire(heap.memory, heap.large.lock)


def unlock_all(heap):
    locks.release(heap.memory, heap.large.lock)
    locks.release(heap.memory, heap.naps.lock)
    for number in range(caches.CACHES):
        locks.release(heap.memory, heap.caches[number].lock)
    locks.release(heap.memory, heap.lock)


def unlock_own(heap):
    """Release the locks that the calling thread holds."""
    locks.release_own(heap.memory, heap.large.lock)
    locks.release_own(heap.memory, heap.naps.lock)
    for number in range(caches.CACHES):
        locks.release_own(heap.memory, heap.caches[number].lock)
        locks.release_own(heap.memory, heap.caches[number].gate)
    locks.release_own(heap.memory, heap.lock)


def renew_locks(heap):
    """Reset all locks in a forked child, where no thread waits for one."""
    heap.large.lock.store(locks.FREE)
    heap.naps.lock.store(locks.FREE)
    for number in range(caches.CACHES):
        heap.caches[number].lock.store(locks.FREE)
        heap.caches[number].gate.store(locks.FREE)
    heap.lock.store(locks.FREE)
