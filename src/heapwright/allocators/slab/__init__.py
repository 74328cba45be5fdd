"""The slab allocator: a cache for each kind of object, slabs for each cache, magazines for each thread.

Source: J. Bonwick, The Slab Allocator, USENIX 1994; J. Bonwick, J. Adams, Magazines and Vmem, USENIX 2001; illumos
kmem.c. The module sizes has the caches of malloc, and object_caches those that a program creates. caches has slabs,
construction calls constructors and destructors, depots and magazines are the layer above the slabs. large_objects has
the pages of slabs and large blocks and decides which are kept when they are free.

      slab -> +--------------------+       object in use: the caller's bytes, all of them
              | Slab, links        |       object free:   as it was left; its link lies before the first object
              +--------------------+
              | colour             |       large -> +--------------------+
              +--------------------+                | magic, size, lead  |
    object -> | object, object ... |     address -> +--------------------+
              +--------------------+                | the caller's bytes |
                                                    +--------------------+

Fields of the allocator: the lock under which it is opened; a table that gives the cache for each multiple of 16 bytes;
the caches; the threads' records; the number of slabs mapped since the last full reap; the ranges kept for slabs and
large blocks; notes on headers (known_places).

`malloc` uses 45 caches. 38 have the sizes 16, 32 ... 128 bytes, then four to a doubling up to 8 KiB, then a seventh,
a sixth ... half of a slab. The other 7 serve alignments above 64: their objects have 128, 256 ... 8192 bytes and are
aligned to their size. A larger block gets a range of its own.

A program can create 16 further caches with `cache_create`, each with a constructor and a destructor. Their objects come
from `cache_alloc` and go back with `cache_free`. `cache_reap` releases free slabs, and `cache_destroy` ends a cache
that has no object in use. From C these are `heapwright_cache_create` and its kin.

`alloc` looks up the cache for the size and pops an object from the thread's magazine. When the magazine is empty, the
thread loads its previous magazine, a full one from the cache's depot, or objects from the slabs.

`dealloc` finds the header at the multiple of 64 KiB before the address. It says whether the block is an object, and of
which cache. The thread pushes the object on its magazine. When that is full, the thread loads its previous magazine or
an empty one from the depot.

Invariants
    S1  objects in use and on the two free lists are those that were ever handed out
    S2  a slab is in the list, linked both ways, that its objects in use say: empty, partial or full
    S3  free objects begin a multiple of the object size after the first, inside their slab
    S4  what a magazine holds is in use to its slab, and in no other magazine
    S5  a colour is a multiple of the alignment and at most the slack
    S6  a cache has constructed the objects that it destroyed, and those of its slabs that are not raw
    S7  a magazine in the depot is full among the full or empty among the empty, and none exceeds its rounds
    S8  the slab of an object is found by masking its address
    S9  at most an eighth of a slab is not objects
    S10  kept ranges are within 1 MiB and half of the most that slabs and blocks had, and with these 9/8 of it
    S11  what is noted of a slab, if anything, is the number of its cache
    S12  a slab's tag says its cache; one asleep has none, but a note, and nothing in use in its first page

Locks: constructors and destructors run while the thread holds no lock of the heap. A thread that destructs holds the
cache's gate, which nobody waits for, except `cache_destroy`.

Bound: the allocator keeps two magazines of at most 32 KiB for each thread and size, ten magazines in each depot, empty
slabs until the next reap, and the ranges of S10. After every 1 MiB of new slabs, a thread that needs more objects first
reaps all depots, all empty slabs, and its own magazines.

Costs: a large block has a header of 64 bytes and takes a lock, but makes no system call as long as kept memory
suffices. Size classes up to 8 KiB waste at most a fifth of an object.
"""

from __future__ import annotations

from heapwright import bits
from heapwright.allocators.parts import known_places, large_objects
from heapwright.allocators.slab import caches, free_pages, inspect, magazines, object_caches, sizes
from heapwright.layout import NULL, Array, Atomic, Inline, Struct, Word

walk, check, lists = inspect.walk, inspect.check, inspect.lists
survey = inspect.survey

OVERHEAD = 0
OVERHEAD_ELSEWHERE = "2 bytes in the slab"
SMALLEST = 16
ALIGN = 16
ALLOC_COST = "O(1), a lock once in 63 small objects"
DEALLOC_COST = "O(1), a lock once in 63 small objects"
GIVES_BACK = "empty slabs at each reap; `trim`: all that is not in use"

TUNABLES = (("WARM", "magazines.WARM", range(1, 65)), ("MAX_ROUNDS", "caches.MAX_ROUNDS", range(1, 64)))
THREADS = "own"
RACES = ("Slab.tag: it says the cache, or 0; who frees an object then asks under a lock",)
SLOW_PATHS = (
    *("alloc_slowly", "dealloc_slowly", "load_rounds", "load_room", "hand_in", "reap", "open_heap"),
    *("new_slab", "destroy_slabs", "alloc_large", "free_range", "number_asleep"),
    *("cache_alloc_slowly", "cache_free_slowly", "construct", "release_doomed", "object_caches.destroy"),
)
DETECTS = ("foreign",)  # a double free is detected only when the object returns to its slab
RETAINS = 1 << 16  # the slab with the thread's record
RECLAIMS = True


class Heap(Struct):
    lock: Atomic[Word]
    is_open: Word
    numbers: Inline[sizes.Numbers]  # the cache for each size
    caches: Array[Inline[caches.Cache], caches.CACHES]
    threads: magazines.Thread
    nothing: Inline[caches.Magazine]  # a magazine without room
    nobody: Inline[magazines.Thread]  # the record of exiting threads
    mapped: Atomic[Word]  # slabs mapped since all caches were last reaped
    large: Inline[large_objects.LargeObjects]
    places: Inline[known_places.Places]
    naps: Inline[free_pages.Naps]


# --- caches that a program creates


def cache_create(heap, name, size, align, constructor, destructor):
    """Create a cache of objects of `size` bytes; return its address, or 0 if there is no room or the size is absurd.

    `name` is the address of a C string, or null. The functions take an object's address and `size`; each may be null.
    The constructor returns 0, or another number if it failed. The program frees an object in its constructed state, and
    the next user gets it in the state in which it was freed.
    """
    sizes.open_heap(heap)
    return object_caches.create(heap, name, size, align, constructor, destructor).address


def cache_alloc(heap, cache):
    """Take a constructed object; return its address, 0 when memory is exhausted or the constructor fails."""
    number = caches.Cache(heap.memory, cache).number
    if bits.unsigned_less(number, heap.memory.local(magazines.NUMBERS)):
        magazine = magazines.thread_of(heap).loaded[number]
        if magazine.rounds > 0:
            return caches.pop(magazine)
    return cache_alloc_slowly(heap, caches.Cache(heap.memory, cache))


def cache_alloc_slowly(heap, cache):
    object_caches.require_cache(heap, cache)
    address = magazines.alloc_object(heap, cache, open_thread(heap))
    if address == NULL and trim(heap, 0) > 0:
        address = magazines.alloc_object(heap, cache, open_thread(heap))
    return address if address != caches.FAILED else NULL


def cache_free(heap, cache, address):
    """Free an object, which must be in its constructed state."""
    number = caches.Cache(heap.memory, cache).number
    if bits.unsigned_less(number, heap.memory.local(magazines.NUMBERS)):
        magazine = magazines.thread_of(heap).loaded[number]
        if caches.has_room(magazine):
            caches.push(magazine, address)
            return
    cache_free_slowly(heap, caches.Cache(heap.memory, cache), address)


def cache_free_slowly(heap, cache, address):
    object_caches.require_cache(heap, cache)
    magazines.free_object(heap, cache, open_thread(heap), address)


def cache_reap(heap, cache):
    """Release what is free in a cache, for other caches and blocks; return the number of bytes unmapped."""
    object_caches.require_cache(heap, caches.Cache(heap.memory, cache))
    return object_caches.reap(heap, caches.Cache(heap.memory, cache))


def cache_destroy(heap, cache):
    """Destroy a cache that no thread is using; return the number of its objects in use, which keep it alive."""
    object_caches.require_cache(heap, caches.Cache(heap.memory, cache))
    return object_caches.destroy(heap, caches.Cache(heap.memory, cache))


def open_thread(heap):
    """The calling thread's record, made when first needed; `nobody` if the thread is exiting or memory is exhausted."""
    thread = magazines.thread_of(heap)
    if thread:
        return thread
    sizes.open_heap(heap)
    thread = magazines.new_thread(heap)
    if not thread:
        return heap.nobody
    magazines.set_thread(heap, thread, sizes.MAX_SMALL, caches.SLOTS)
    return thread


# --- the slow paths


def alloc_slowly(heap, size, align):
    """Allocate; when memory is exhausted, release all kept memory, other caches' included, and try once more."""
    if bits.is_absurd(size, align):
        return NULL
    sizes.open_heap(heap)
    address = take(heap, size, align)
    if address == NULL and trim(heap, 0) > 0:
        address = take(heap, size, align)
    return address


def take(heap, size, align):
    cache = sizes.cache_for(heap, size, align)
    if cache:
        return magazines.alloc_object(heap, cache, open_thread(heap))
    return large_objects.alloc_large(heap, size, align)


def number_for(heap, slab):
    """The number of a slab's cache, even if the slab is asleep; beyond all caches if it is not a slab."""
    number = caches.number_of(slab)
    return number if number != caches.ASLEEP else free_pages.number_asleep(heap, slab)


def dealloc_slowly(heap, address):
    slab = caches.known_slab(heap, address)
    number = number_for(heap, slab)
    if bits.unsigned_less(number, caches.SLOTS):
        magazines.free_object(heap, heap.caches[number], open_thread(heap), address)
    else:
        large_objects.dealloc_large(heap, address)


# --- the allocator


def alloc(heap, size, align):
    """Pop the most recent object from the thread's magazine, or else take the slow path."""
    if (
        bits.unsigned_less(bits.wrapping_add(size, -1), heap.memory.local(magazines.SIZES)) and align <= caches.UNIT
    ):  # the limit is 0 while the thread has no record
        magazine = magazines.thread_of(heap).loaded[heap.numbers.of[(size - 1) >> 4]]
        if magazine.rounds > 0:
            return caches.pop(magazine)
    return alloc_slowly(heap, size, align)


def dealloc(heap, address, size, align):
    """Push on the thread's magazine, if there is room. The note on a slab is the number of its cache."""
    number = known_places.note_of(heap.places, address)
    if bits.unsigned_less(number, heap.memory.local(magazines.NUMBERS)):
        magazine = magazines.thread_of(heap).loaded[number]
        if caches.has_room(magazine):
            caches.push(magazine, address)
            return
    dealloc_slowly(heap, address)


def usable_size(heap, address):
    number = known_places.note_of(heap.places, address)
    if not bits.unsigned_less(number, caches.SLOTS):
        number = number_for(heap, caches.known_slab(heap, address))
    if bits.unsigned_less(number, caches.SLOTS):
        return heap.caches[number].object_size
    return large_objects.usable_in(large_objects.live_large(heap, address))


def alloc_zeroed(heap, size, align):
    address = alloc(heap, size, align)
    if address != NULL and not large_objects.is_fresh(heap, address):
        heap.memory.fill(address, size, 0)
    return address


def trim(heap, pad):
    """Reap, and release kept ranges and the free pages of slabs; return the number of bytes released."""
    sizes.open_heap(heap)
    thread = magazines.thread_of(heap)
    if thread and thread != heap.nobody:
        magazines.purge(heap, thread)
    given_back = magazines.reap_caches(heap) + magazines.decommit_caches(heap)
    return given_back + large_objects.trim_large(heap)


def thread_exit(heap):
    """Hand in the magazines. Objects that the thread frees later go straight to the slabs."""
    thread = magazines.thread_of(heap)
    if not thread or thread == heap.nobody:
        return
    magazines.set_thread(heap, heap.nobody, 0, 0)
    magazines.purge(heap, thread)
    magazines.free_thread(heap, thread)


# --- fork, and the end after a report; in the child, objects in other threads' magazines stay in use


def fork_prepare(heap):
    magazines.lock_all(heap)


def fork_parent(heap):
    magazines.unlock_all(heap)


def fork_child(heap):
    magazines.renew_locks(heap)


def release_held(heap):
    magazines.unlock_own(heap)
