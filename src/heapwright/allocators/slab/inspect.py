"""Inspection of caches: the spans of a slab for `walk`, all lists, and the assertions of `check`.

Magazines have no order and the dialect has no sets, so `walk` marks the cached objects of one window at a time.
"""

from __future__ import annotations

from heapwright import bits, locks, spans, stats
from heapwright.allocators.parts import chains, known_places, large_objects, object_bitmap
from heapwright.allocators.slab import caches, free_pages
from heapwright.allocators.slab.caches import Slab

# --- walk


def walk_extent(heap, start, end):
    """Yield the spans of a mapping: slabs, large blocks, and kept ranges."""
    while start < end:
        slab = Slab(heap.memory, start)
        if bits.unsigned_less(caches.number_of(slab), caches.CACHES):
            size = slab.cache.slab_size
            for span in walk_slab(heap, slab):  # noqa: UP028  `yield from` does not compile
                yield span
        elif free_pages.find_nap(heap, slab):
            nap = free_pages.find_nap(heap, slab)
            size = nap.cache.slab_size
            for span in walk_asleep(heap, nap):  # noqa: UP028
                yield span
        else:
            size, kind = large_objects.span_at(heap, start, end)
            yield start, size, kind
        start += size


def walk_slab(heap, slab):
    """Yield the head with the colour, each object, and the part never handed out."""
    yield slab.address, slab.first - slab.address, spans.OWN
    cached = 0
    for index in range(slab.fresh):
        if index % object_bitmap.WINDOW == 0:
            cached = window(heap, slab.cache, caches.address_of(slab, index))
        yield (
            caches.address_of(slab, index),
            slab.object_size,
            kind_of(slab, index, cached & bits.bit(index % object_bitmap.WINDOW) != 0),
        )
    place = caches.address_of(slab, slab.fresh)
    end = slab.address + slab.cache.slab_size
    if place < end:
        yield place, end - place, spans.UNUSED


def walk_asleep(heap, nap):
    """Yield the same spans for a slab that is asleep, from the note on it."""
    cache = nap.cache
    yield nap.slab, nap.first - nap.slab, spans.OWN
    cached = 0
    for index in range(nap.fresh):
        place = nap.first + index * cache.object_size
        if index % object_bitmap.WINDOW == 0:
            cached = window(heap, cache, place)
        is_cached = cached & bits.bit(index % object_bitmap.WINDOW) != 0
        yield (
            place,
            cache.object_size,
            spans.FREE if not free_pages.is_used(nap, index) else spans.CACHED if is_cached else spans.USED,
        )
    place = nap.first + nap.fresh * cache.object_size
    end = nap.slab + cache.slab_size
    if place < end:
        yield place, end - place, spans.UNUSED


def kind_of(slab, index, is_cached):
    if slab.links[index] != caches.IN_USE:
        return spans.FREE
    if slab.cache.number >= caches.SLOTS:
        return spans.OWN
    return spans.CACHED if is_cached else spans.USED


def window(heap, cache, start):
    """The objects among the WINDOW from `start` on that are in a magazine, as bits."""
    found = 0
    thread = heap.threads
    while thread and cache.number < caches.SLOTS:
        magazine = thread.loaded[cache.number]
        while magazine:
            found |= held_by(magazine, start, cache.object_size)
            magazine = magazine.next
        thread = thread.next
    magazine = cache.full.first
    while magazine:
        found |= held_by(magazine, start, cache.object_size)
        magazine = magazine.next
    return found


def held_by(magazine, start, size):
    found = 0
    for i in range(magazine.rounds):
        found |= object_bitmap.bit_for(magazine.objects[i], start, size)
    return found


# --- statistics


def survey(heap, account):
    stats.begin(heap.memory, account)
    for number in range(caches.CACHES):
        cache = heap.caches[number]
        locks.acquire(heap.memory, cache.lock)
        survey_cache(cache, account)
        locks.release(heap.memory, cache.lock)
    large_objects.survey_large(heap, account)


def survey_cache(cache, account):
    """Count the free objects of a cache: those in slabs, including ones never handed out, and those in the depot."""
    for which in range(caches.FULL):
        slab = cache.lists[which]
        while slab:
            stats.add_free(account, cache.objects - slab.live, cache.object_size)
            slab = slab.next
    nap = cache.asleep
    while nap:
        stats.add_free(account, cache.objects - nap.live, cache.object_size)
        nap = nap.next
    account.spare_bytes += cache.empty_slabs * cache.slab_size
    magazine = cache.full.first
    while magazine:
        stats.add_free(account, magazine.rounds, cache.object_size)
        magazine = magazine.next


# --- lists


def lists(heap):
    """Yield (name, addresses) for the slabs of each cache, the free objects of each, the magazines, and kept ranges."""
    for number in range(caches.CACHES):
        cache = heap.caches[number]
        if cache.objects > 0:
            for name, addresses in lists_of(heap, cache):
                yield f"cache {number}{name_of(cache)} of {cache.object_size} bytes, {name}", addresses
    yield "ranges kept", [large.address for large in large_objects.ranges_kept(heap.large)]


def name_of(cache):
    """The name that the program gave a cache, after a space."""
    letters = bytes(cache.name.letters[index] for index in range(caches.MAX_NAME)).partition(b"\0")[0]
    return f" {letters.decode(errors='replace')}" if letters else ""


def lists_of(heap, cache):
    for which, name in ((caches.PARTIAL, "partial"), (caches.EMPTY, "empty")):
        slabs = list(chains.chain_of(cache.lists[which]))
        yield f"{name} slabs", [slab.address for slab in slabs]
        for slab in slabs:
            for state, first in (("", slab.free), ("raw ", slab.raw)):
                free = [caches.address_of(slab, index) for index in free_list(slab, first)]
                yield f"{state}objects of slab {slab.address:#x}", free
    yield "slabs asleep", [nap.slab for nap in chains.chain_of(cache.asleep)]
    for name, magazine in magazines_of(heap, cache):
        yield name, rounds_of(magazine)[::-1]


def magazines_of(heap, cache):
    """Each magazine that may hold objects, with the name of its place."""
    for thread in chains.chain_of(heap.threads if cache.number < caches.SLOTS else heap.threads.at(0)):
        for name, magazine in zip(("loaded", "previous"), chains.chain_of(thread.loaded[cache.number]), strict=False):
            yield f"{name} magazine", magazine
    for magazine in chains.chain_of(cache.full.first):
        yield "full magazine in the depot", magazine


# --- check


def rounds_of(magazine):
    return [magazine.objects[i] for i in range(magazine.rounds)]


def check_cache(heap, cache):
    slabs = [
        (which, slab)
        for which in (caches.EMPTY, caches.PARTIAL, caches.FULL)
        for slab in chains.chain_of(cache.lists[which])
    ]
    for which, slab in slabs:
        check_slab(heap, cache, which, slab)
    naps = list(chains.chain_of(cache.asleep))
    raw = sum(len(free_list(slab, slab.raw)) for _, slab in slabs)
    fresh = sum(slab.fresh for _, slab in slabs) + sum(nap.fresh for nap in naps)
    assert cache.constructed == cache.destroyed + fresh - raw, (
        "S6  a cache has constructed the objects that it destroyed, and those of its slabs that are not raw"
    )
    empty = sum(which == caches.EMPTY for which, _ in slabs)
    linked = all(chains.is_linked_back(cache.lists[which]) for which in (caches.EMPTY, caches.PARTIAL, caches.FULL))
    assert cache.empty_slabs == empty >= cache.min_empty and linked, (
        "S2  a slab is in the list, linked both ways, that its objects in use say: empty, partial or full"
    )
    waste = cache.slab_size - cache.objects * cache.object_size
    assert waste * caches.WASTE <= cache.slab_size, "S9  at most an eighth of a slab is not objects"


def check_naps(heap, cache):
    naps = list(chains.chain_of(cache.asleep))
    found = all(
        free_pages.find_nap(heap, nap.at(nap.slab)) == nap and Slab(heap.memory, nap.slab).tag == 0 for nap in naps
    )
    used = [[i for i in range(nap.fresh) if free_pages.is_used(nap, i)] for nap in naps]
    ends = [nap.slab + heap.memory.PAGE - nap.first for nap in naps]  # of first pages
    apart = all(i[0] * cache.object_size >= end for i, end in zip(used, ends, strict=True))
    counted = all(len(i) == nap.live for i, nap in zip(used, naps, strict=True))
    assert found and apart and counted and chains.is_linked_back(cache.asleep), (
        "S12  a slab's tag says its cache; one asleep has none, but a note, and nothing in use in its first page"
    )


def check_slab(heap, cache, which, slab):
    assert caches.number_of(slab) == cache.number, (
        "S12  a slab's tag says its cache; one asleep has none, but a note, and nothing in use in its first page"
    )
    note = known_places.note_of(heap.places, slab.first)
    assert note in (cache.number, max(note, known_places.NOTES)), (
        "S11  what is noted of a slab, if anything, is the number of its cache"
    )
    free = free_list(slab, slab.free) + free_list(slab, slab.raw)
    assert all(bits.unsigned_less(index, slab.fresh) for index in free), (
        "S3  free objects begin a multiple of the object size after the first, inside their slab"
    )
    assert slab.live + len(free) == slab.fresh <= cache.objects, (
        "S1  objects in use and on the two free lists are those that were ever handed out"
    )
    assert caches.list_of(slab) == which, (
        "S2  a slab is in the list, linked both ways, that its objects in use say: empty, partial or full"
    )
    colour = slab.first - slab.address - caches.head_size(cache)
    assert 0 <= colour <= cache.slack and colour % cache.align == 0, (
        "S5  a colour is a multiple of the alignment and at most the slack"
    )
    last = caches.address_of(slab, cache.objects - 1)
    assert caches.slab_of(cache, slab.first) == slab == caches.slab_of(cache, last), (
        "S8  the slab of an object is found by masking its address"
    )


def free_list(slab, first):
    """The indices on the list of free objects that begins with `first`, up to the first that is not valid.

    The walk of a circular list stops after one index more than there are objects, which fails S1.
    """
    free, index = [], first
    while index != caches.END and len(free) <= slab.fresh:
        free.append(index)
        index = slab.links[index] if bits.unsigned_less(index, slab.fresh) else caches.END
    return free


def check_magazines(heap, cache):
    threads = list(chains.chain_of(heap.threads)) if cache.number < caches.SLOTS else []
    loaded = [magazine for thread in threads for magazine in chains.chain_of(thread.loaded[cache.number])]
    full, empty = list(chains.chain_of(cache.full.first)), list(chains.chain_of(cache.empty.first))
    sorted_right = all(each.rounds == each.maximum for each in full) and not any(each.rounds for each in empty)
    sized = all(each.rounds <= each.maximum and each.maximum in (0, cache.rounds) for each in loaded + full + empty)
    counted = (cache.full.count, cache.empty.count) == (len(full), len(empty))
    assert sorted_right and sized and counted, (
        "S7  a magazine in the depot is full among the full or empty among the empty, and none exceeds its rounds"
    )
    held = [address for magazine in loaded + full for address in rounds_of(magazine)]
    assert len(set(held)) == len(held) and all(is_in_use(heap, cache, address) for address in held), (
        "S4  what a magazine holds is in use to its slab, and in no other magazine"
    )


def is_in_use(heap, cache, address):
    slab = caches.slab_of(cache, address)
    if slab.tag == 0:
        nap = free_pages.find_nap(heap, slab)
        return bool(nap) and free_pages.is_used(nap, (address - nap.first) // cache.object_size)
    index = caches.index_of(slab, address)
    return index >= 0 and slab.links[index] == caches.IN_USE


# --- walk and check


def walk(heap, start, end):
    """Yield (start, size, kind) for each object, block and record of [start, end)."""
    for span in walk_extent(heap, start, end):  # noqa: UP028  `yield from` does not compile
        yield span


def check(heap, start, end):
    for number in range(caches.CACHES):
        cache = heap.caches[number]
        if cache.objects > 0:
            check_cache(heap, cache)
            check_naps(heap, cache)
            check_magazines(heap, cache)
    assert large_objects.is_bounded(heap.large), (
        "S10  kept ranges are within 1 MiB and half of the most that slabs and blocks had, and with these 9/8 of it"
    )
