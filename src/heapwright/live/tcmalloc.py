"""The statistics of gperftools' tcmalloc, 2.8 and later, from its own counters.

Source: gperftools src/page_heap.h, thread_cache.h, central_freelist.h and span.h. The page heap's counters and the
central lists have no names in a stripped library. The counters are known by their sums: what is committed is what came
from the system less what is unmapped, and the system's total is known by name. The central lists are 128 records at
equal distances that count up. Google's newer tcmalloc has another layout, and no figures here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from heapwright.live.errors import Unreadable
from heapwright.live.extent import Extent, copy_of
from heapwright.live.findings import Look, Range
from heapwright.live.glibc.find import data_of
from heapwright.live.memory import Image
from heapwright.live.source import Module
from heapwright.live.statistics import Statistics

NAME = "tcmalloc"
TAKEN, CACHES = "TCMalloc_SystemTaken", "_ZN8tcmalloc11ThreadCache13thread_heaps_E"
CLASSES = 128
PAGE_BITS = 13
MIN_SYSTEM = 1 << 20  # bytes that the page heap takes at a time
MAX_RECORDS = 16 << 20  # bytes of records in a small heap: they are more than half of it
FREE_LIST, LIST_SIZE = 32, 24  # ThreadCache: bytes of each of its lists, and where one has the size of its blocks
CACHE_SIZE = CLASSES * FREE_LIST
LINKS = (
    CACHE_SIZE + 48,
    CACHE_SIZE + 32,
)  # where a cache has the next and the previous one: before 2.16, and since then
MAX_CACHES = 100_000
CENTRAL = 1216  # bytes of a central list: its class, two lists of spans, counters, and chains of blocks to hand over
CLASS_AT, EMPTY_AT, PARTLY_AT, SPANS_AT, COUNT_AT, USED_CHAINS_AT = 8, 16, 64, 112, 120, 1152
SPAN_LENGTH, SPAN_NEXT = 8, 16
CHAIN_BYTES, LONGEST_CHAIN = 64 << 10, 32


class PageHeap(NamedTuple):
    """The bytes that came from the kernel, and of these the free and the unmapped ones."""

    system: int
    free: int
    unmapped: int


def tally_tcmalloc(look: Look, module: Module) -> list[Range]:
    """Add the figures of tcmalloc's counters. Its blocks are not read."""
    look.add_counters(NAME, read_figures, module)
    return []


def read_figures(image: Image, module: Module) -> Statistics | None:
    taken = module.address_of(TAKEN)
    data = [copy_of(image.source, start, end) for start, end in data_of(module)]
    total = image.word(taken) if taken else 0
    heap = next((found for each in data for found in page_heaps(each, total)), None)
    if heap is None:
        return None
    figures = Statistics(NAME, mapped_bytes=total, kept_bytes=heap.free, released_bytes=heap.unmapped)
    figures.own_bytes = total - heap.system
    cache = image.word(module.address_of(CACHES)) if module.address_of(CACHES) else 0
    central = next((place for each in data for place in central_lists(each)), 0)
    if cache and central:
        sizes = [image.load(cache + number * FREE_LIST + LIST_SIZE, 4) for number in range(CLASSES)]
        lists = [central + number * CENTRAL for number in range(CLASSES)]
        pairs = [pair for pair in zip(lists, sizes, strict=True) if pair[1]]
        figures.free_bytes = sum(held_centrally(image, place, size) for place, size in pairs)
        figures.cached_bytes = sum(cached_by(image, cache)) + sum(waiting(image, place, size) for place, size in pairs)
        figures.live_bytes = heap.system - heap.free - heap.unmapped - figures.free_bytes - figures.cached_bytes
    return figures


def page_heaps(data: Extent, total: int) -> Iterator[PageHeap]:
    """Four words of the data that are related like the counters of a page heap."""
    words = data.words.view("<i8")
    if len(words) < 4:
        return
    system, free, unmapped, committed = (words[at : len(words) - 3 + at] for at in range(4))
    good = (system > min(total // 2, total - MAX_RECORDS)) & (system >= MIN_SYSTEM) & (system <= total)
    good &= committed == system - unmapped
    good &= (free >= 0) & (unmapped >= 0) & (free + unmapped <= system) & (system % (1 << PAGE_BITS) == 0)
    good &= (free % (1 << PAGE_BITS) == 0) & (unmapped % (1 << PAGE_BITS) == 0)
    for index in np.flatnonzero(good).tolist():
        yield PageHeap(int(system[index]), int(free[index]), int(unmapped[index]))


def central_lists(data: Extent) -> Iterator[int]:
    """The starts of arrays of records whose classes count up from 0."""
    words, step = data.words, CENTRAL // 8
    last = len(words) - CLASSES * step
    if last <= 0:
        return
    good: Any = words[:last] == 0
    for number in (1, 2, 3, 40, 60):
        good &= words[number * step :][:last] == number
    for index in np.flatnonzero(good).tolist():
        yield data.start + 8 * index - CLASS_AT


def cached_by(image: Image, cache: int) -> list[int]:
    """The cached bytes of each thread, as its cache counts them; the links that lead furthest are the right ones."""
    return max((list(caches_from(image, cache, links)) for links in LINKS), key=len)


def caches_from(image: Image, cache: int, links: int) -> Iterator[int]:
    before = 0
    with suppress(Unreadable):  # as when there are no links
        for _ in range(MAX_CACHES):
            if not cache or image.word(cache + links + 8) != before:
                return
            yield image.load(cache + CACHE_SIZE, 4)
            before, cache = cache, image.word(cache + links)


def held_centrally(image: Image, place: int, size: int) -> int:
    """The free bytes of one class's spans: its free blocks, and the remainders at their ends."""
    spans, count = image.word(place + SPANS_AT), image.word(place + COUNT_AT)
    return count * size + spans * tail_of(image, place, size)


def tail_of(image: Image, place: int, size: int) -> int:
    """The remainder of one span of a class; all its spans are equally long."""
    for header in (place + EMPTY_AT, place + PARTLY_AT):
        span = image.word(header + SPAN_NEXT)
        if span not in (0, header):
            return (image.word(span + SPAN_LENGTH) << PAGE_BITS) % size
    return 0


def waiting(image: Image, place: int, size: int) -> int:
    """The bytes of a class that wait in chains for a thread that needs them."""
    length = min(max(CHAIN_BYTES // size, 2), LONGEST_CHAIN)
    return image.load(place + USED_CHAINS_AT, 4) * length * size
