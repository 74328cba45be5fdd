"""Object caches: slabs of equal objects that stay constructed while they are free.

Source: J. Bonwick, The Slab Allocator: An Object-Caching Kernel Memory Allocator, USENIX Summer 1994; illumos
usr/src/uts/common/os/kmem.c; for the links, mm/slab.c of Linux before 6.8.

      slab -> +--------------------+  at a multiple of its size: 64 KiB, or more where objects would not fit well
            0 | tag                |  says slab, and of which cache
            8 | object_size        |
              | ...                |
              | links              |  for each object: the next free one, or that it is in use
              +--------------------+
              | colour             |  a different multiple of the alignment in each next slab
              +--------------------+
        first | object, object ... |
              +--------------------+

An object's link lies outside of it. Bonwick's lies at its end, in a word added to objects with a constructor, so that
freeing does not spoil what was constructed; two bytes elsewhere do the same, survive what a program writes into freed
objects, and tell at once whether an object is free. The slab of an object is found by masking, whatever its size.

A constructor is a prototype, an object in memory whose bytes each buffer is given once, before it is first handed out.
A cache keeps words, and no function can be put into one that means the same interpreted and compiled; an object that
is constructed by copying bytes owns nothing, so a slab is destroyed without a destructor, by giving its pages up. From
then on the rule is Bonwick's: whoever frees an object leaves it as it was constructed.

Pages come from the ranges that large blocks come from (large_objects), as all of kmem's come from vmem's heap arena; a
slab that is given up is kept there, for whatever cache or large block is next, as far as the bound goes.

The caller of what is below the title "slabs" holds the cache's lock.
"""

from __future__ import annotations

from heapwright.allocators.chains import pushed, removed
from heapwright.allocators.large_objects import BOUNDARY, LargeObject, free_range, take_range
from heapwright.bits import align_down, align_up, below, floor_log2
from heapwright.layout import NULL, Array, Atomic, Inline, Struct, Word, Word16

SLAB = BOUNDARY  # 64 KiB
LINK = 2  # bytes
MOST_OBJECTS = 4096
LARGEST_OBJECT = 1 << 30
WASTE = 8  # at most an eighth of a slab is not objects
IN_USE, END = 0xFFFF, 0xFFFE  # instead of a link
EMPTY, PARTIAL, FULL = 0, 1, 2  # the lists of slabs, by objects in use
TAG = 0x51AB0000  # and the number of the cache

MOST_ROUNDS = 63
MOST_ROUND_BYTES = 32 << 10  # of all the objects in a magazine
INTERVAL = 256  # visits to the depot from one reap to the next


class Magazine(Struct):
    """A stack of objects. `nothing` is one without room, so that a thread always has one loaded."""

    next: Magazine  # in the depot
    rounds: Word
    most: Word  # rounds there are when it is full
    objects: Array[Word, MOST_ROUNDS]


class Magazines(Struct):
    first: Magazine
    count: Word
    least: Word  # the smallest count since the last reap


class Slab(Struct):
    tag: Word
    object_size: Word
    cache: Cache
    next: Slab
    previous: Slab
    first: Word  # the address of object 0
    live: Word  # objects in use, and so not on the free list: a magazine's are in use
    fresh: Word  # the first object that was never handed out
    free: Word  # the first object of the free list, or END
    links: Array[Word16, MOST_OBJECTS]  # as many as there are objects


class Cache(Struct):
    lock: Atomic[Word]
    number: Word
    object_size: Word
    align: Word
    slab_size: Word
    objects: Word  # in a slab
    colour: Word  # of the next slab
    slack: Word  # the largest colour
    prototype: Word  # the address of a constructed object, or null
    constructed: Word  # buffers, ever
    destroyed: Word
    lists: Array[Slab, 3]
    empty_slabs: Word
    least_empty: Word  # the smallest number of empty slabs since the last reap
    rounds: Word  # of a full magazine
    full: Inline[Magazines]
    empty: Inline[Magazines]
    visits: Word  # to the depot since the last reap


# --- caches


def open_cache(cache, number, size, align, prototype):
    """Lay out the slabs of a cache: the smallest that waste little enough."""
    cache.number = number
    cache.align = align
    cache.object_size = align_up(size, align)
    cache.slab_size = SLAB
    cache.objects = objects_in(cache)
    while cache.slab_size - cache.objects * cache.object_size > cache.slab_size // WASTE:
        cache.slab_size *= 2
        cache.objects = objects_in(cache)
    cache.slack = align_down(cache.slab_size - head_size(cache) - cache.objects * cache.object_size, align)
    cache.rounds = rounds_for(cache.object_size)
    cache.prototype = prototype


def objects_in(cache):
    """How many objects fit into a slab behind their links."""
    count = (cache.slab_size - Slab.links.offset) // (cache.object_size + LINK)
    while align_up(Slab.links.offset + count * LINK, cache.align) + count * cache.object_size > cache.slab_size:
        count -= 1
    return count


def head_size(cache):
    """The bytes of a slab before its first object, the colour apart."""
    return align_up(Slab.links.offset + cache.objects * LINK, cache.align)


def rounds_for(size):
    """The rounds of a magazine: one less than a power of two, as in the table of illumos, and fewer large objects."""
    return min((1 << floor_log2(max(MOST_ROUND_BYTES // size, 2))) - 1, MOST_ROUNDS)


# --- objects of a slab


def slab_at(heap, address):
    """The slab of one of malloc's objects; what lies there is something else for another address."""
    return Slab(heap.memory, align_down(address - 1, SLAB))


def number_of(slab):
    """The number of a slab's cache; beyond all caches if it is no slab."""
    return slab.tag - TAG


def slab_of(cache, address):
    return Slab(cache.memory, align_down(address, cache.slab_size))


def address_of(slab, index):
    return slab.first + index * slab.object_size


def index_of(slab, address):
    """Which object begins at an address; -1 if none does."""
    offset = address - slab.first
    index = offset // slab.object_size
    return index if below(index, slab.fresh) and index * slab.object_size == offset else -1


def list_of(slab):
    """The list where a slab belongs."""
    if slab.live == 0:
        return EMPTY
    return FULL if slab.live == slab.cache.objects else PARTIAL


def pop_free(slab):
    """Take an object off the free list, or the first that was never handed out."""
    index = slab.free
    if index == END:
        index = slab.fresh
        slab.fresh += 1
        construct(slab.cache, address_of(slab, index))
    else:
        slab.free = slab.links[index]
    slab.links[index] = IN_USE
    slab.live += 1
    return address_of(slab, index)


def push_free(slab, index):
    slab.links[index] = slab.free
    slab.free = index
    slab.live -= 1


def construct(cache, address):
    """Make a buffer an object, once in the life of its slab."""
    if cache.prototype != NULL:
        cache.memory.copy(address, cache.prototype, cache.object_size)
    cache.constructed += 1


# --- slabs


def take_object(heap, cache):
    """The address of an object from a partial slab, an empty or a new one; NULL when memory is exhausted."""
    slab = cache.lists[PARTIAL]
    if not slab:
        slab = cache.lists[EMPTY]
    if not slab:
        slab = new_slab(heap, cache)
    if not slab:
        return NULL
    before = list_of(slab)
    address = pop_free(slab)
    move_slab(cache, slab, before)
    return address


def put_object(heap, cache, address):
    slab = slab_of(cache, address)
    index = index_of(slab, address) if slab.tag == TAG + cache.number else -1
    if index == -1:
        heap.memory.fault("not a live block", address)
    if slab.links[index] != IN_USE:
        heap.memory.fault("double free", address)
    before = list_of(slab)
    push_free(slab, index)
    move_slab(cache, slab, before)


def move_slab(cache, slab, before):
    """Put a slab into the list where it belongs now."""
    after = list_of(slab)
    if after != before:
        unlink(cache, slab, before)
        link(cache, slab, after)


def link(cache, slab, which):
    cache.lists[which] = pushed(cache.lists[which], slab)
    if which == EMPTY:
        cache.empty_slabs += 1


def unlink(cache, slab, which):
    cache.lists[which] = removed(cache.lists[which], slab)
    if which == EMPTY:
        cache.empty_slabs -= 1
        cache.least_empty = min(cache.least_empty, cache.empty_slabs)


def new_slab(heap, cache):
    """An empty slab, coloured; null when memory is exhausted."""
    mapping = take_range(heap, cache.slab_size, cache.slab_size, 0)
    if mapping and mapping.is_fresh:
        heap.mapped.add(1)
    slab = Slab(heap.memory, mapping.address)
    if slab:
        slab.tag = TAG + cache.number
        slab.object_size = cache.object_size
        slab.cache = cache
        slab.first = slab.address + head_size(cache) + cache.colour
        slab.live = slab.fresh = 0
        slab.free = END
        cache.colour = cache.colour + cache.align if cache.colour < cache.slack else 0
        link(cache, slab, EMPTY)
    return slab


def destroy_slabs(heap, cache, count):
    """Give up as many empty slabs, those that were empty longest; return how many bytes the kernel got."""
    slab = cache.lists[EMPTY]
    for _ in range(cache.empty_slabs - count):
        slab = slab.next
    given_back = 0
    while slab:
        rest = slab.next
        unlink(cache, slab, EMPTY)
        cache.destroyed += slab.fresh
        given_back += free_slab(heap, slab, cache.slab_size)
        slab = rest
    return given_back


def free_slab(heap, slab, size):
    """Make a slab's pages a range again, to keep or to give back."""
    mapping = LargeObject(heap.memory, slab.address)
    mapping.size = size
    return free_range(heap, mapping)
