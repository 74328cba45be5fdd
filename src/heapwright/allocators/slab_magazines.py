"""Magazines: stacks of objects by which a thread takes and frees without a lock, and the depot that trades them.

Source: J. Bonwick, J. Adams, Magazines and Vmem: Extending the Slab Allocator to Many CPUs and Arbitrary Resources,
USENIX 2001; the sheaves of Linux 6.18 (mm/slub.c).

      Thread, for each cache:          the cache's depot:

      loaded ---> +--------+           full  ---> M ---> M ---> M
                  | object |           empty ---> M
                  | object |
                  | -      |           and below it the slabs
                  +--------+
      previous -> M, full or empty

A thread takes from and puts into the loaded magazine. When that is empty, or full, and the previous one is not, the two
change places; else the depot gives a full one for an empty one, or the other way round.

Two kinds of reap. As Bonwick's of every 15 seconds, one gives up what a cache did not need since the last, its working
set apart; time is counted in visits to the depot, 256 of them. As Bonwick's when memory is short, another gives up all
that is free in all caches; it comes before the kernel has to give more, once it gave 1 MiB for slabs. Then the thread
hands in its magazines too: few objects in them keep many slabs from being empty, for slabs have 64 KiB, not a page.

Deviations. An empty depot does not mean one object from the slabs but a magazine of them, as sheaves are refilled: then
allocating alone rarely locks. A depot holds at most ten full magazines, as a sheaf's barn does, and empties others into
their slabs. Magazines belong to threads, not to processors, for a thread is not told when it moves. They do not grow
with contention, but are as large as they may be at once: with reaping on demand small ones save no memory.

A thread's record and all magazines are objects of two caches of the heap's own, without magazines of theirs.
"""

from __future__ import annotations

from heapwright.allocators.slab_caches import (
    INTERVAL,
    Magazine,
    destroy_slabs,
    put_object,
    take_object,
)
from heapwright.layout import NULL, Array, Struct
from heapwright.locks import acquire, release

THREAD, SIZES, NUMBERS = 0, 1, 2  # a thread's words: its record; below which size and number of a cache that serves
MOST_FULL = 10
DEMAND = 16  # slabs that the kernel gives from one reap of all caches to the next
SLOTS = 61  # caches with magazines
RECORDS, MAGAZINES = SLOTS, SLOTS + 1  # the heap's own caches
CACHES = SLOTS + 2


class Thread(Struct):
    loaded: Array[Magazine, CACHES]
    previous: Array[Magazine, CACHES]  # full or empty, or nothing
    next: Thread  # of all threads


def thread_of(heap):
    """The calling thread's record; null before its first need."""
    return Thread(heap.memory, heap.memory.local(THREAD))


def set_thread(heap, thread, sizes, numbers):
    heap.memory.set_local(THREAD, thread.address)
    heap.memory.set_local(SIZES, sizes)
    heap.memory.set_local(NUMBERS, numbers)


# --- a magazine


def pop(magazine):
    """The address of the object put in last."""
    rounds = magazine.rounds - 1
    magazine.rounds = rounds
    return magazine.objects[rounds]


def push(magazine, address):
    rounds = magazine.rounds
    magazine.objects[rounds] = address
    magazine.rounds = rounds + 1


def has_room(magazine):
    return magazine.rounds < magazine.most


def is_real(magazine):
    return magazine.most > 0


def new_magazine(heap, cache):
    """An empty magazine of a cache; null when memory is exhausted."""
    own = heap.caches[MAGAZINES]
    acquire(heap.memory, own.lock)
    magazine = Magazine(heap.memory, take_object(heap, own))
    release(heap.memory, own.lock)
    if magazine:
        magazine.rounds = 0
        magazine.most = cache.rounds
    return magazine


def free_magazine(heap, magazine):
    own = heap.caches[MAGAZINES]
    acquire(heap.memory, own.lock)
    put_object(heap, own, magazine.address)
    release(heap.memory, own.lock)


def refill(heap, cache, magazine):
    """Fill an empty magazine from the slabs, as far as there is memory."""
    while has_room(magazine):
        address = take_object(heap, cache)
        if address == NULL:
            return
        push(magazine, address)


def flush(heap, cache, magazine):
    """Empty a magazine into the slabs."""
    while magazine.rounds > 0:
        put_object(heap, cache, pop(magazine))


# --- the depot


def store(magazines, magazine):
    magazine.next = magazines.first
    magazines.first = magazine
    magazines.count += 1


def fetch(magazines):
    """A magazine of the depot; null if there is none."""
    magazine = magazines.first
    if magazine:
        magazines.first = magazine.next
        magazines.count -= 1
        magazines.least = min(magazines.least, magazines.count)
    return magazine


def hand_in(heap, cache, magazine):
    """Put any magazine into the depot: full as it is, if there is a place, and else empty."""
    if not is_real(magazine):
        return
    if not has_room(magazine) and cache.full.count < MOST_FULL:
        store(cache.full, magazine)
    else:
        flush(heap, cache, magazine)
        store(cache.empty, magazine)


def fetch_empty(heap, cache):
    """An empty magazine of the depot, or a new one; null when memory is exhausted."""
    magazine = fetch(cache.empty)
    return magazine if magazine else new_magazine(heap, cache)


# --- the trade


def swap(thread, index):
    """Load the previous magazine."""
    magazine = thread.previous[index]
    thread.previous[index] = thread.loaded[index]
    thread.loaded[index] = magazine
    return magazine


def load_rounds(heap, cache, thread):
    """Load a magazine that has rounds; it has none only when memory is exhausted."""
    index = cache.number
    if thread.previous[index].rounds > 0:
        return swap(thread, index)
    if heap.mapped.load() >= DEMAND:  # before anything is loaded
        purge(heap, thread)
        reap_caches(heap)
    acquire(heap.memory, cache.lock)
    full = fetch(cache.full)
    if full:
        hand_in(heap, cache, thread.previous[index])
        thread.previous[index] = full
        swap(thread, index)
    else:
        refill_loaded(heap, cache, thread)
    if thread.loaded[index].rounds > 0:  # time stands still while there is no memory
        visit(heap, cache)
    release(heap.memory, cache.lock)
    return thread.loaded[index]


def refill_loaded(heap, cache, thread):
    index = cache.number
    if not is_real(thread.loaded[index]):
        magazine = fetch_empty(heap, cache)
        if magazine:
            thread.loaded[index] = magazine
    refill(heap, cache, thread.loaded[index])


def load_room(heap, cache, thread):
    """Load a magazine that has room; it has none only when memory is exhausted."""
    index = cache.number
    if has_room(thread.previous[index]):
        return swap(thread, index)
    acquire(heap.memory, cache.lock)
    hand_in(heap, cache, thread.previous[index])
    empty = fetch_empty(heap, cache)
    thread.previous[index] = empty if empty else heap.nothing
    swap(thread, index)
    visit(heap, cache)
    release(heap.memory, cache.lock)
    return thread.loaded[index]


# --- reaping


def visit(heap, cache):
    cache.visits += 1
    if cache.visits >= INTERVAL:
        reap(heap, cache)


def reap(heap, cache):
    """Give back what nobody needed since the last reap, the working set apart; return how many bytes went."""
    cache.visits = 0
    given_back = destroy_slabs(heap, cache, cache.least_empty)
    drain_empty(heap, cache, cache.empty.least)
    drain_full(heap, cache, cache.full.least)
    cache.least_empty = cache.empty_slabs
    cache.empty.least = cache.empty.count
    cache.full.least = cache.full.count
    return given_back


def drain_full(heap, cache, count):
    """Empty so many of the depot's full magazines into the slabs."""
    for _ in range(count):
        magazine = fetch(cache.full)
        flush(heap, cache, magazine)
        store(cache.empty, magazine)


def drain_empty(heap, cache, count):
    for _ in range(count):
        free_magazine(heap, fetch(cache.empty))


def reap_all(heap, cache):
    """Give back all that is not in use; return how many bytes went."""
    acquire(heap.memory, cache.lock)
    drain_full(heap, cache, cache.full.count)
    drain_empty(heap, cache, cache.empty.count)
    cache.least_empty = cache.empty_slabs
    given_back = reap(heap, cache)
    release(heap.memory, cache.lock)
    return given_back


def reap_caches(heap):
    """Empty the depots and give up every empty slab; return how many bytes the kernel got."""
    heap.mapped.store(0)
    given_back = 0
    for number in range(CACHES):
        given_back += reap_all(heap, heap.caches[number])
    return given_back


# --- threads


def new_thread(heap):
    """A record for the calling thread, with nothing loaded; null when memory is exhausted."""
    own = heap.caches[RECORDS]
    acquire(heap.memory, own.lock)
    thread = Thread(heap.memory, take_object(heap, own))
    if thread:
        clear(heap, thread)
        thread.next = heap.threads
        heap.threads = thread
    release(heap.memory, own.lock)
    return thread


def clear(heap, thread):
    for index in range(CACHES):
        thread.loaded[index] = heap.nothing
        thread.previous[index] = heap.nothing


def purge(heap, thread):
    """Hand in all that a thread has."""
    for index in range(SLOTS):
        cache = heap.caches[index]
        acquire(heap.memory, cache.lock)
        hand_in(heap, cache, thread.loaded[index])
        hand_in(heap, cache, thread.previous[index])
        release(heap.memory, cache.lock)
    clear(heap, thread)


def free_thread(heap, thread):
    """Take a record off the list of all threads, and give it back."""
    own = heap.caches[RECORDS]
    acquire(heap.memory, own.lock)
    if heap.threads == thread:
        heap.threads = thread.next
    else:
        before = heap.threads
        while before.next != thread:
            before = before.next
        before.next = thread.next
    put_object(heap, own, thread.address)
    release(heap.memory, own.lock)
