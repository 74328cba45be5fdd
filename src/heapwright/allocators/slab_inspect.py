"""Looking at caches: the spans of a slab for `walk`, all lists, and the invariants of slabs and
magazines for `check`.

Magazines hold objects in no order and `walk` has no sets, so it looks at a window of objects at a time.
"""

from __future__ import annotations

from heapwright.allocators.chains import chain_of, is_linked_back
from heapwright.allocators.large_objects import ranges_kept, span_at
from heapwright.allocators.slab_caches import (
    EMPTY,
    END,
    FULL,
    IN_USE,
    PARTIAL,
    WASTE,
    Slab,
    address_of,
    head_size,
    index_of,
    list_of,
    number_of,
    slab_of,
)
from heapwright.allocators.slab_magazines import CACHES, SLOTS
from heapwright.allocators.window import WINDOW, bit_for
from heapwright.bits import below, bit
from heapwright.spans import CACHED, FREE, OWN, UNUSED, USED

# --- walk


def walk_stretch(heap, start, end):
    """The spans of a mapping: slabs, large blocks, and kept ranges."""
    while start < end:
        slab = Slab(heap.memory, start)
        if below(number_of(slab), CACHES):
            size = slab.cache.slab_size
            for span in walk_slab(heap, slab):  # noqa: UP028  `yield from` does not compile
                yield span
        else:
            size, kind = span_at(heap, start, end)
            yield start, size, kind
        start += size


def walk_slab(heap, slab):
    """The head with the colour, each object, and what was never handed out."""
    yield slab.address, slab.first - slab.address, OWN
    cached = 0
    for index in range(slab.fresh):
        if index % WINDOW == 0:
            cached = window(heap, slab, index)
        yield address_of(slab, index), slab.object_size, kind_of(slab, index, cached & bit(index % WINDOW) != 0)
    place = address_of(slab, slab.fresh)
    end = slab.address + slab.cache.slab_size
    if place < end:
        yield place, end - place, UNUSED


def kind_of(slab, index, is_cached):
    if slab.links[index] != IN_USE:
        return FREE
    if slab.cache.number >= SLOTS:
        return OWN
    return CACHED if is_cached else USED


def window(heap, slab, index):
    """Which of the WINDOW objects from one on are in a magazine, as bits."""
    start, number = address_of(slab, index), slab.cache.number
    found = 0
    thread = heap.threads
    while thread:
        found |= held_by(thread.loaded[number], start, slab.object_size)
        found |= held_by(thread.previous[number], start, slab.object_size)
        thread = thread.next
    magazine = slab.cache.full.first
    while magazine:
        found |= held_by(magazine, start, slab.object_size)
        magazine = magazine.next
    return found


def held_by(magazine, start, size):
    found = 0
    for i in range(magazine.rounds):
        found |= bit_for(magazine.objects[i], start, size)
    return found


# --- lists


def lists(heap):
    """Yield (name, addresses) for the slabs of each cache, the free objects of each, the magazines, and kept ranges."""
    for number in range(CACHES):
        cache = heap.caches[number]
        if cache.objects > 0:
            for name, addresses in lists_of(heap, cache):
                yield f"cache {number} of {cache.object_size} bytes, {name}", addresses
    yield "ranges kept", [large.address for large in ranges_kept(heap.large)]


def lists_of(heap, cache):
    for which, name in ((PARTIAL, "partial"), (EMPTY, "empty")):
        slabs = list(chain_of(cache.lists[which]))
        yield f"{name} slabs", [slab.address for slab in slabs]
        for slab in slabs:
            yield f"objects of slab {slab.address:#x}", [address_of(slab, index) for index in free_list(slab)]
    for name, magazine in magazines_of(heap, cache):
        yield name, rounds_of(magazine)[::-1]


def magazines_of(heap, cache):
    """Each magazine that may have rounds, with the name of its place."""
    for thread in chain_of(heap.threads):
        yield "loaded magazine", thread.loaded[cache.number]
        yield "previous magazine", thread.previous[cache.number]
    for magazine in chain_of(cache.full.first):
        yield "full magazine in the depot", magazine


# --- check


def rounds_of(magazine):
    return [magazine.objects[i] for i in range(magazine.rounds)]


def check_cache(cache):
    slabs = [(which, slab) for which in (EMPTY, PARTIAL, FULL) for slab in chain_of(cache.lists[which])]
    for which, slab in slabs:
        check_slab(cache, which, slab)
    fresh = sum(slab.fresh for _, slab in slabs)
    assert cache.constructed == cache.destroyed + fresh, (
        "S6  a cache has constructed as many buffers as it has destroyed and its slabs have handed out"
    )
    empty = sum(which == EMPTY for which, _ in slabs)
    linked = all(is_linked_back(cache.lists[which]) for which in (EMPTY, PARTIAL, FULL))
    assert cache.empty_slabs == empty >= cache.least_empty and linked, (
        "S2  a slab is in the list, linked both ways, that its objects in use say: empty, partial or full"
    )
    waste = cache.slab_size - cache.objects * cache.object_size
    assert waste * WASTE <= cache.slab_size, "S9  at most an eighth of a slab is not objects"


def check_slab(cache, which, slab):
    free = free_list(slab)
    assert all(below(index, slab.fresh) for index in free), (
        "S3  free objects begin a multiple of the object size after the first, inside their slab"
    )
    assert slab.live + len(free) == slab.fresh <= cache.objects, (
        "S1  objects in use and on the free list are those that were ever handed out"
    )
    assert list_of(slab) == which, (
        "S2  a slab is in the list, linked both ways, that its objects in use say: empty, partial or full"
    )
    colour = slab.first - slab.address - head_size(cache)
    assert 0 <= colour <= cache.slack and colour % cache.align == 0, (
        "S5  a colour is a multiple of the alignment and at most the slack"
    )
    last = address_of(slab, cache.objects - 1)
    assert slab_of(cache, slab.first) == slab == slab_of(cache, last), (
        "S8  the slab of an object is found by masking its address"
    )


def free_list(slab):
    """The indices on the free list, up to one that is no object's; of a circle too many, not all."""
    free, index = [], slab.free
    while index != END and len(free) <= slab.fresh:
        free.append(index)
        index = slab.links[index] if below(index, slab.fresh) else END
    return free


def check_magazines(heap, cache):
    threads = list(chain_of(heap.threads))
    loaded = [magazine for t in threads for magazine in (t.loaded[cache.number], t.previous[cache.number])]
    full, empty = list(chain_of(cache.full.first)), list(chain_of(cache.empty.first))
    sorted_right = all(each.rounds == each.most for each in full) and not any(each.rounds for each in empty)
    sized = all(each.rounds <= each.most and each.most in (0, cache.rounds) for each in loaded + full + empty)
    counted = (cache.full.count, cache.empty.count) == (len(full), len(empty))
    assert sorted_right and sized and counted, (
        "S7  a magazine in the depot is full among the full or empty among the empty, and none exceeds its rounds"
    )
    held = [address for magazine in loaded + full for address in rounds_of(magazine)]
    assert len(set(held)) == len(held) and all(is_in_use(cache, address) for address in held), (
        "S4  what a magazine holds is in use to its slab, and in no other magazine"
    )


def is_in_use(cache, address):
    slab = slab_of(cache, address)
    index = index_of(slab, address)
    return index >= 0 and slab.links[index] == IN_USE
