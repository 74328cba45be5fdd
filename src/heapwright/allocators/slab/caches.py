"""Object caches: slabs of equal objects that stay constructed while they are free.

Source: J. Bonwick, The Slab Allocator: An Object-Caching Kernel Memory Allocator, USENIX Summer 1994; illumos
usr/src/uts/common/os/kmem.c; for the links, mm/slab.c of Linux before 6.8.

      slab -> +--------------------+  at a multiple of its size: 64 KiB, or more where objects would not fit well
            0 | tag                |  says slab, and of which cache; 0 in one that is asleep (free_pages)
            8 | object_size        |
              | ...                |
              | links              |  for each object: the next free one, or that it is in use
              +--------------------+
              | colour             |  a different multiple of the alignment in each next slab
              +--------------------+
        first | object, object ... |
              +--------------------+

An object's link lies outside the object. Bonwick puts it at the end, in a word added to objects with a constructor, so
that freeing does not spoil the constructed state. Two bytes in the head do the same. In addition, they survive writes
to freed objects, and they show at once whether an object is free. A mask leads from an object of any size to its slab.

The module construction calls the constructors and destructors of a program's caches. A slab holds two lists of free
objects: those that are constructed, and those whose constructor failed.

Slabs and large blocks take pages from the same ranges (large_objects), as all pages of kmem come from vmem's heap
arena. A released slab is kept there for the next cache or large block, within the bound.

Callers of the functions under "slabs" hold the cache's lock.
"""

from __future__ import annotations

from heapwright import bits
from heapwright.allocators.parts import chains, known_places, large_objects
from heapwright.allocators.parts.large_objects import LargeObject
from heapwright.layout import NULL, Array, Atomic, Byte, Inline, Struct, Word, Word16, Word32

SLAB = known_places.BOUNDARY  # 64 KiB
LINK = 2  # bytes
MAX_OBJECTS = 4096
LARGEST_OBJECT = 1 << 30
WASTE = 8  # at most an eighth of a slab is not objects
IN_USE, END = 0xFFFF, 0xFFFE  # special values of a link
EMPTY, PARTIAL, FULL = 0, 1, 2  # the lists of slabs, by objects in use
TAG = 0x51AB0000  # plus the number of the cache: the tag of a slab
ASLEEP = -TAG  # the number read from a tag of 0

FAILED = 1  # instead of an object's address: the constructor failed
UNIT = 16  # bytes, the smallest object and alignment
PROGRAM = 45  # the first cache that the program creates; those before are malloc's
SLOTS = 61  # caches with magazines
RECORDS, MAGAZINES, NAPS = SLOTS, SLOTS + 1, SLOTS + 2  # the allocator's internal caches
CACHES = SLOTS + 3
MAX_NAME = 32  # letters, with the zero at the end
MAX_ASLEEP = 128  # most objects in a slab that may go to sleep: see free_pages

MAX_ROUNDS = 63
MAX_ROUND_BYTES = 32 << 10  # total size of the objects in a magazine
INTERVAL = 256  # visits to the depot from one reap to the next


class Magazine(Struct):
    """A stack of objects. The heap's `nothing` has no room; it is loaded where a thread has no magazine."""

    next: Magazine  # the next one in the depot; for a loaded magazine, the thread's previous one
    rounds: Word  # objects in it
    maximum: Word  # rounds of a full magazine
    objects: Array[Word, MAX_ROUNDS]


class Magazines(Struct):
    first: Magazine
    count: Word
    minimum: Word  # the smallest count since the last reap


class Slab(Struct):
    tag: Word
    object_size: Word
    cache: Cache
    next: Slab
    previous: Slab
    first: Word  # the address of object 0
    live: Word  # objects in use, those in magazines included
    fresh: Word  # the first object that was never handed out
    free: Word32  # the first object of the free list, or END
    raw: Word32  # the first of those whose constructor failed, or END
    links: Array[Word16, MAX_OBJECTS]  # one for each object that the slab has


class Nap(Struct):
    """The note on a slab that is asleep: the contents of its head."""

    next_in_list: Nap  # in the table's list
    next: Nap  # in the cache's list
    previous: Nap
    slab: Word
    cache: Cache
    first: Word
    fresh: Word32
    live: Word32
    used: Array[Word32, MAX_ASLEEP // 32]  # a bit for each object


class Name(Struct):
    letters: Array[Byte, MAX_NAME]  # up to a zero


class Cache(Struct):
    lock: Atomic[Word]
    gate: Atomic[Word]  # held by the thread that destructs objects of the cache
    number: Word
    name: Inline[Name]
    size: Word  # of an object, as the program gave it
    object_size: Word  # rounded up to the alignment
    align: Word
    slab_size: Word
    objects: Word  # per slab
    colour: Word  # colour of the next slab, in bytes
    slack: Word  # the largest colour
    constructor: Word  # the address of a function, or null
    destructor: Word
    constructed: Word  # objects constructed so far; without a constructor, those handed out for the first time
    destroyed: Word  # those whose slab was released
    lists: Array[Slab, 3]
    doomed: Slab  # empty slabs whose objects await the destructor
    asleep: Nap
    empty_slabs: Word
    min_empty: Word  # the smallest number of empty slabs since the last reap
    rounds: Word  # of a full magazine
    full: Inline[Magazines]
    empty: Inline[Magazines]
    visits: Word  # to the depot since the last reap


# --- a magazine


def pop(magazine):
    """Pop the object pushed last; return its address."""
    rounds = magazine.rounds - 1
    magazine.rounds = rounds
    return magazine.objects[rounds]


def push(magazine, address):
    rounds = magazine.rounds
    magazine.objects[rounds] = address
    magazine.rounds = rounds + 1


def has_room(magazine):
    return magazine.rounds < magazine.maximum


def is_real(magazine):
    return magazine.maximum > 0


# --- caches


def open_cache(cache, number, size, align):
    """Lay out a cache, with the smallest slabs that waste at most an eighth."""
    cache.number = number
    cache.size = size
    cache.align = align
    cache.object_size = bits.align_up(size, align)
    cache.slab_size = SLAB
    cache.objects = objects_in(cache)
    while cache.slab_size - cache.objects * cache.object_size > cache.slab_size // WASTE:
        cache.slab_size *= 2
        cache.objects = objects_in(cache)
    cache.slack = bits.align_down(cache.slab_size - head_size(cache) - cache.objects * cache.object_size, align)
    cache.rounds = rounds_for(cache.object_size)


def objects_in(cache):
    """The number of objects that fit into a slab behind their links."""
    count = (cache.slab_size - Slab.links.offset) // (cache.object_size + LINK)
    while bits.align_up(Slab.links.offset + count * LINK, cache.align) + count * cache.object_size > cache.slab_size:
        count -= 1
    return count


def head_size(cache):
    """The bytes of a slab before its first object, without the colour."""
    return bits.align_up(Slab.links.offset + cache.objects * LINK, cache.align)


def rounds_for(size):
    """The rounds of a magazine: a power of two less one, as in illumos's table, and fewer for large objects."""
    return min((1 << bits.floor_log2(max(MAX_ROUND_BYTES // size, 2))) - 1, MAX_ROUNDS)


# --- objects of a slab


def slab_at(heap, address):
    """The slab of one of malloc's objects; for any other address, the result may not be a slab."""
    return Slab(heap.memory, bits.align_down(address - 1, SLAB))


def known_slab(heap, address):
    """The same slab, known to be readable; report an address without one."""
    slab = slab_at(heap, address)
    if not bits.unsigned_less(known_places.note_of(heap.places, address), known_places.NOTES):
        if not heap.memory.is_mapped(slab.address):
            heap.memory.fault("not a live block", address)
        if bits.unsigned_less(number_of(slab), known_places.IS_LARGE):
            known_places.remember(heap.places, slab.address, number_of(slab))
    return slab


def number_of(slab):
    """The number of a slab's cache; beyond all caches if it is not a slab."""
    return slab.tag - TAG


def slab_of(cache, address):
    return Slab(cache.memory, bits.align_down(address, cache.slab_size))


def address_of(slab, index):
    return slab.first + index * slab.object_size


def index_of(slab, address):
    """The index of the object that begins at an address; -1 if none does."""
    offset = address - slab.first
    index = offset // slab.object_size
    return index if bits.unsigned_less(index, slab.fresh) and index * slab.object_size == offset else -1


def is_in_use(slab, index):
    return index < slab.fresh and slab.links[index] == IN_USE


def list_of(slab):
    """The list where a slab belongs, by the number of its objects in use."""
    if slab.live == 0:
        return EMPTY
    return FULL if slab.live == slab.cache.objects else PARTIAL


def pop_free(slab):
    """Take an object: from the free list, else a raw one, else the first that was never handed out."""
    if slab.free != END:
        index = slab.free
        slab.free = slab.links[index]
    else:
        index = pop_raw(slab)
    slab.links[index] = IN_USE
    slab.live += 1
    return address_of(slab, index)


def pop_raw(slab):
    """Take an object that is not constructed; its user constructs it."""
    slab.cache.constructed += 1
    index = slab.raw
    if index == END:
        slab.fresh += 1
        return slab.fresh - 1
    slab.raw = slab.links[index]
    return index


def push_free(slab, index):
    slab.links[index] = slab.free
    slab.free = index
    slab.live -= 1


def push_raw(slab, index):
    """Put back an object that could not be constructed."""
    slab.links[index] = slab.raw
    slab.raw = index
    slab.live -= 1
    slab.cache.constructed -= 1


def count_constructed(slab):
    """The number of constructed objects in an empty slab."""
    count = slab.fresh
    index = slab.raw
    while index != END:
        count -= 1
        index = slab.links[index]
    return count


# --- slabs


def take_object(heap, cache):
    """Take an object from a partial, an empty or a new slab; return its address, NULL when memory is exhausted."""
    slab = cache.lists[PARTIAL]
    if not slab:
        slab = cache.lists[EMPTY]
    if not slab:
        slab = new_slab(heap, cache)
    return take_from(cache, slab) if slab else NULL


def take_from(cache, slab):
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
    """Move a slab to the list where it belongs now."""
    after = list_of(slab)
    if after != before:
        unlink(cache, slab, before)
        link(cache, slab, after)


def link(cache, slab, which):
    cache.lists[which] = chains.pushed(cache.lists[which], slab)
    if which == EMPTY:
        cache.empty_slabs += 1


def unlink(cache, slab, which):
    cache.lists[which] = chains.removed(cache.lists[which], slab)
    if which == EMPTY:
        cache.empty_slabs -= 1
        cache.min_empty = min(cache.min_empty, cache.empty_slabs)


def new_slab(heap, cache):
    """An empty slab, coloured; null when memory is exhausted."""
    mapping = large_objects.take_range(heap, cache.slab_size, cache.slab_size, 0, 0)
    if mapping and mapping.is_fresh:
        heap.mapped.add(1)
    slab = Slab(heap.memory, mapping.address)
    if slab:
        slab.tag = TAG + cache.number
        slab.object_size = cache.object_size
        slab.cache = cache
        slab.first = slab.address + head_size(cache) + cache.colour
        slab.live = slab.fresh = 0
        slab.free = slab.raw = END
        known_places.remember(heap.places, slab.address, cache.number)
        cache.colour = cache.colour + cache.align if cache.colour < cache.slack else 0
        link(cache, slab, EMPTY)
    return slab


def destroy_slabs(heap, cache, count):
    """Release the `count` slabs that have been empty longest; return the number of bytes unmapped.

    Those whose objects need the destructor are only set aside.
    """
    slab = cache.lists[EMPTY]
    for _ in range(cache.empty_slabs - count):
        slab = slab.next
    given_back = 0
    while slab:
        rest = slab.next
        unlink(cache, slab, EMPTY)
        cache.destroyed += count_constructed(slab)
        if cache.destructor == NULL:
            given_back += free_slab(heap, slab, cache.slab_size)
        else:
            cache.doomed = chains.pushed(cache.doomed, slab)
        slab = rest
    return given_back


def free_slab(heap, slab, size):
    """Turn a slab back into a range, which is kept or unmapped; return the number of bytes unmapped."""
    mapping = LargeObject(heap.memory, slab.address)
    mapping.size = size
    known_places.remember(heap.places, slab.address, known_places.IS_LARGE)
    return large_objects.free_range(heap, mapping, 0)
