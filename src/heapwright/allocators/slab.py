"""The slab allocator: for each kind of object a cache, for each cache slabs, for each thread magazines.

Source: J. Bonwick, The Slab Allocator, USENIX 1994; J. Bonwick, J. Adams, Magazines and Vmem, USENIX 2001; illumos
kmem.c. Slabs and constructors are the matter of slab_caches, magazines, the depot and reaping of slab_magazines; the
pages of both slabs and large blocks, and which are kept when free, of large_objects.

      slab -> +--------------------+       object in use: the caller's bytes, all of them
              | Slab, links        |       object free:   as it was left; its link lies before the first object
              +--------------------+
              | colour             |       large -> +--------------------+
              +--------------------+                | magic, size, lead  |
    object -> | object, object ... |     address -> +--------------------+
              +--------------------+                | the caller's bytes |
                                                    +--------------------+

The heap's own words: the lock under which it is opened, for each 16 bytes of a request the number of its cache, the
caches, the threads' records, how many slabs the kernel gave of late, and the ranges kept for slabs and large blocks.

malloc's caches are of 45 sizes: 16, 32 ... 128 bytes, then four to the doubling up to 8 KiB, then what divides a slab
by 7, 6 ... 2; and of 128 to 8192 bytes aligned as much as they are large, for alignments above 64. A block that is
larger still has a range of its own. What begins at the multiple of 64 KiB before an address says whether it is an
object. `cache_create` makes a cache of a program's own; its objects come from `cache_alloc`.

Invariants
    S1  objects in use and on the free list are those that were ever handed out
    S2  a slab is in the list, linked both ways, that its objects in use say: empty, partial or full
    S3  free objects begin a multiple of the object size after the first, inside their slab
    S4  what a magazine holds is in use to its slab, and in no other magazine
    S5  a colour is a multiple of the alignment and at most the slack
    S6  a cache has constructed as many buffers as it has destroyed and its slabs have handed out
    S7  a magazine in the depot is full among the full or empty among the empty, and none exceeds its rounds
    S8  the slab of an object is found by masking its address
    S9  at most an eighth of a slab is not objects
    S10  kept ranges are within 1 MiB and half of the most that slabs and blocks had, and with these 9/8 of it

Bound: kept for later are two magazines of at most 32 KiB for each thread and size, ten in each depot, empty slabs
until the next reap, and S10. Whenever the kernel has given 1 MiB for slabs, a reap comes first: of all depots and empty
slabs, and of the magazines of the thread that asks.

Vital statistics: header none, but 2 bytes of link, smallest object 16, alignment 16; alloc and dealloc O(1), without a
lock but for one in 63 small ones; large ones have a header of 64 bytes, a lock, and no system call as long as what is
kept suffices. A class wastes at most a fifth of an object up to 8 KiB. `trim` gives back all that is not in use.
"""

from __future__ import annotations

from heapwright.allocators.large_objects import (
    KEPT_MAGIC,
    LARGE_MAGIC,
    LargeObjects,
    alloc_large,
    free_range,
    is_bounded,
    is_fresh,
    large_of,
    survey,  # noqa: F401  for statistics
    trim_large,
    usable_in,
)
from heapwright.allocators.slab_caches import (
    LARGEST_OBJECT,
    Cache,
    Magazine,
    number_of,
    open_cache,
    put_object,
    slab_at,
    take_object,
)
from heapwright.allocators.slab_inspect import (
    check_cache,
    check_magazines,
    lists,  # noqa: F401  for pictures
    walk_stretch,
)
from heapwright.allocators.slab_magazines import (
    CACHES,
    MAGAZINES,
    NUMBERS,
    RECORDS,
    SIZES,
    SLOTS,
    Thread,
    clear,
    free_thread,
    has_room,
    load_room,
    load_rounds,
    new_thread,
    pop,
    purge,
    push,
    reap_caches,
    set_thread,
    thread_of,
)
from heapwright.bits import align_down, align_up, below, ceil_log2, is_absurd
from heapwright.layout import NULL, Array, Atomic, Byte, Inline, Struct, Word
from heapwright.locks import FREE, acquire, release

THREADS = "own"
SLOW_PATHS = (
    *("alloc_slowly", "dealloc_slowly", "load_rounds", "load_room", "hand_in", "reap", "open_heap"),
    *("new_slab", "destroy_slabs", "alloc_large", "free_range"),
)
DETECTS = ("foreign",)  # at once; a double free only when the object returns to its slab
RETAINS = 1 << 16  # the slab with the thread's record
TIDIES = True

UNIT = 16
PLAIN = 38  # caches of malloc that are aligned to a cache line at most
LINE = 64
MOST_SMALL = 32640  # half a slab
LOG2_ALIGNED = 7  # the caches of aligned objects: 2**7 ...
LOG2_MOST_ALIGNED = 13  # ... to 2**13 bytes
ALIGNED = PLAIN
PROGRAM = PLAIN + LOG2_MOST_ALIGNED - LOG2_ALIGNED + 1  # the first cache of the program's own


class Heap(Struct):
    lock: Atomic[Word]
    is_open: Word
    created: Word  # caches of the program's own
    numbers: Array[Byte, MOST_SMALL // UNIT]
    caches: Array[Inline[Cache], CACHES]
    threads: Thread
    nothing: Inline[Magazine]  # a magazine for no rounds
    nobody: Inline[Thread]  # of threads at their end
    mapped: Atomic[Word]  # slabs that the kernel gave since all caches were reaped
    large: Inline[LargeObjects]


# --- the caches of malloc


def size_of(number):
    """The object size of malloc's caches, the aligned ones apart."""
    if number < 8:
        return (number + 1) * UNIT
    if number < 32:
        return (5 + (number & 3)) << (3 + (number >> 2))
    return align_down(2 * MOST_SMALL // (39 - number), LINE)


def open_heap(heap):
    """Lay out all caches; the first call does."""
    acquire(heap.memory, heap.lock)
    if not heap.is_open:
        open_sizes(heap)
        open_cache(heap.caches[RECORDS], RECORDS, Thread.SIZE, LINE, NULL)
        open_cache(heap.caches[MAGAZINES], MAGAZINES, Magazine.SIZE, UNIT, NULL)
        clear(heap, heap.nobody)
        heap.is_open = 1
    release(heap.memory, heap.lock)


def open_sizes(heap):
    place = 0
    for number in range(PLAIN):
        size = size_of(number)
        open_cache(heap.caches[number], number, size, min(size & -size, LINE), NULL)
        for slot in range(place, size // UNIT):
            heap.numbers[slot] = number
        place = size // UNIT
    for k in range(LOG2_ALIGNED, LOG2_MOST_ALIGNED + 1):
        number = ALIGNED + k - LOG2_ALIGNED
        open_cache(heap.caches[number], number, 1 << k, 1 << k, NULL)


def cache_for(heap, size, align):
    """The cache that serves a request; null if it is for pages."""
    size = max(size, 1)
    if align <= LINE and size <= MOST_SMALL:  # rounded to the alignment, its size is of a cache that is aligned so
        return heap.caches[heap.numbers[(align_up(size, align) - 1) // UNIT]]
    k = max(ceil_log2(max(size, align)), LOG2_ALIGNED)
    if align > LINE and k <= LOG2_MOST_ALIGNED:
        return heap.caches[ALIGNED + k - LOG2_ALIGNED]
    return heap.caches[0].at(NULL)


# --- a program's own caches


def cache_create(heap, size, align, prototype):
    """A cache of objects that are copies of a prototype, if that is not null; null when there is room for no more.

    The prototype has the object size, `size` rounded up to the alignment, and stays as and where it is: buffers are
    constructed from it whenever there is a new slab. Whoever frees an object leaves it constructed, for whoever has it
    next gets it as it was left. There is no destructor: what a copy of bytes owns is nothing but its bytes.
    """
    open_heap(heap)
    cache = heap.caches[0].at(NULL)
    acquire(heap.memory, heap.lock)
    number = PROGRAM + heap.created
    if number < SLOTS and 0 < size <= LARGEST_OBJECT and align <= LARGEST_OBJECT:
        cache = heap.caches[number]
        open_cache(cache, number, size, max(align, UNIT), prototype)
        heap.created += 1
    release(heap.memory, heap.lock)
    return cache


def cache_alloc(heap, cache):
    """The address of a constructed object, or 0 when memory is exhausted."""
    thread = open_thread(heap)
    magazine = thread.loaded[cache.number]
    if magazine.rounds == 0 and thread != heap.nobody:
        magazine = load_rounds(heap, cache, thread)
    return pop(magazine) if magazine.rounds > 0 else take_unbuffered(heap, cache)


def cache_free(heap, cache, address):
    """Take an object back; it is as it was constructed."""
    thread = open_thread(heap)
    magazine = thread.loaded[cache.number]
    if not has_room(magazine) and thread != heap.nobody:
        magazine = load_room(heap, cache, thread)
    if has_room(magazine):
        push(magazine, address)
    else:
        put_unbuffered(heap, cache, address)


def take_unbuffered(heap, cache):
    acquire(heap.memory, cache.lock)
    address = take_object(heap, cache)
    release(heap.memory, cache.lock)
    return address


def put_unbuffered(heap, cache, address):
    acquire(heap.memory, cache.lock)
    put_object(heap, cache, address)
    release(heap.memory, cache.lock)


def open_thread(heap):
    """The calling thread's record, made at its first need; nobody's at its end, or without memory."""
    thread = thread_of(heap)
    if thread:
        return thread
    open_heap(heap)
    thread = new_thread(heap)
    if not thread:
        return heap.nobody
    set_thread(heap, thread, MOST_SMALL, SLOTS)
    return thread


# --- the slow paths


def alloc_slowly(heap, size, align):
    """Ask again when memory is exhausted, after all that is kept went back: other caches may have it."""
    if is_absurd(size, align):
        return NULL
    open_heap(heap)
    address = take(heap, size, align)
    if address == NULL and trim(heap) > 0:
        address = take(heap, size, align)
    return address


def take(heap, size, align):
    cache = cache_for(heap, size, align)
    return cache_alloc(heap, cache) if cache else alloc_large(heap, size, align)


def dealloc_slowly(heap, address):
    slab = slab_at(heap, address)
    number = number_of(slab)
    if below(number, SLOTS):
        cache_free(heap, heap.caches[number], address)
    elif slab.tag == LARGE_MAGIC:
        free_range(heap, large_of(heap, address))
    elif slab.tag == KEPT_MAGIC:
        heap.memory.fault("double free", address)
    else:
        heap.memory.fault("not a live block", address)


# --- the allocator


def alloc(heap, size, align):
    """The most recent object of the thread's magazine; else whatever the cache finds."""
    if below(size - 1, heap.memory.local(SIZES)) and align <= UNIT:  # which is 0 while the thread has no record
        magazine = thread_of(heap).loaded[heap.numbers[(size - 1) >> 4]]
        if magazine.rounds > 0:
            return pop(magazine)
    return alloc_slowly(heap, size, align)


def dealloc(heap, address, size, align):
    """Into the thread's magazine, if there is room."""
    number = number_of(slab_at(heap, address))
    if below(number, heap.memory.local(NUMBERS)):
        magazine = thread_of(heap).loaded[number]
        if has_room(magazine):
            push(magazine, address)
            return
    dealloc_slowly(heap, address)


def usable_size(heap, address):
    slab = slab_at(heap, address)
    return slab.object_size if below(number_of(slab), SLOTS) else usable_in(large_of(heap, address))


def alloc_zeroed(heap, size, align):
    address = alloc(heap, size, align)
    if address != NULL and not is_fresh(heap, address):
        heap.memory.fill(address, size, 0)
    return address


def trim(heap):
    """Reap, and give back what is kept; return how many bytes went."""
    open_heap(heap)
    thread = thread_of(heap)
    if thread and thread != heap.nobody:
        purge(heap, thread)
    return reap_caches(heap) + trim_large(heap)


def thread_exit(heap):
    """Hand in the magazines; what the thread still frees goes to the slabs at once."""
    thread = thread_of(heap)
    if not thread or thread == heap.nobody:
        return
    set_thread(heap, heap.nobody, 0, 0)
    purge(heap, thread)
    free_thread(heap, thread)


# --- fork: all locks, in their order; what other threads had loaded stays theirs in the child


def fork_prepare(heap):
    acquire(heap.memory, heap.lock)
    for number in range(CACHES):
        acquire(heap.memory, heap.caches[number].lock)
    acquire(heap.memory, heap.large.lock)


def fork_parent(heap):
    release(heap.memory, heap.large.lock)
    for number in range(CACHES):
        release(heap.memory, heap.caches[number].lock)
    release(heap.memory, heap.lock)


def fork_child(heap):
    """Nobody waits for a lock here: make them as new."""
    heap.large.lock.store(FREE)
    for number in range(CACHES):
        heap.caches[number].lock.store(FREE)
    heap.lock.store(FREE)


# --- looking at it


def walk(heap, start, end):
    """Yield (start, size, kind) for each object, block and record of [start, end)."""
    for span in walk_stretch(heap, start, end):  # noqa: UP028  `yield from` does not compile
        yield span


def check(heap, start, end):
    for number in range(CACHES):
        cache = heap.caches[number]
        if cache.objects > 0:
            check_cache(cache)
            check_magazines(heap, cache)
    assert is_bounded(heap.large), (
        "S10  kept ranges are within 1 MiB and half of the most that slabs and blocks had, and with these 9/8 of it"
    )
