"""What threads cache of jemalloc's blocks, 5.3.

A cache has two halves: the stacks that malloc and free use, and the rest. Each half has the other's address, and the
rest has that of the stacks besides. Both lie in a thread's own data: at the end of its stack, or, of the main thread,
in a small mapping.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from heapwright.live.errors import Unreadable
from heapwright.live.extent import Extent, Numbers, copy_of
from heapwright.live.jemalloc.structs import CACHE_BINS, SLOW_BINS, SLOW_CACHE, Bin
from heapwright.live.memory import ADDRESSES, Image

MAX_BINS = 93
LARGEST_DATA = 64 * 4096  # bytes from the end of a mapping in which a thread's data lies


def cached_in(image: Image, mappings: Iterable[tuple[int, int]]) -> Numbers | None:
    """The blocks that the caches in these ranges hold; None if there is no cache, as in 5.2, which has others."""
    copies = (copy_of(image.source, max(start, end - LARGEST_DATA), end) for start, end in mappings)
    caches = {cache for copy in copies for cache in caches_in(image, copy)}
    found = [block for cache in caches for block in held_by(image, cache)]
    return np.array(sorted(set(found)), np.int64) if caches else None


def caches_in(image: Image, copy: Extent) -> Iterator[int]:
    """The first halves whose other halves lie in a copy."""
    words = copy.words
    for offset in SLOW_CACHE:
        last = max(len(words) - offset // 8, 0)
        bins, caches = words[SLOW_BINS // 8 :][:last], words[offset // 8 :][:last]
        for index in np.flatnonzero((caches > 0) & (bins == caches + np.uint64(CACHE_BINS))).tolist():
            cache, place = int(caches[index]), copy.start + 8 * index
            if image.is_there(cache) and image.word(cache) == place:
                yield cache


def held_by(image: Image, cache: int) -> list[int]:
    """The blocks on the stacks of one cache."""
    found: list[int] = []
    for number in range(MAX_BINS):
        try:
            found += stack_of(image, bin_at(image, cache + CACHE_BINS + number * Bin.SIZE))
        except Unreadable:
            break
    return found


def bin_at(image: Any, place: int) -> Any:
    return Bin(image, place)


def stack_of(image: Image, one: Any) -> list[int]:
    """The pointers of a bin's stack: from its head up to where it would be empty."""
    count = (one.empty - one.head & 0xFFFF) // 8
    room = (one.empty - one.full & 0xFFFF) // 8
    if not one.head or one.head % 8 or count > room:
        return []
    blocks = [image.word(one.head + 8 * index) for index in range(count)]
    return [block for block in blocks if 0 < block < ADDRESSES]
