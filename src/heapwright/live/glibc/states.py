"""The state of each chunk: in use, free, cached by a thread, or the allocator's own.

The next chunk says whether a chunk is in use. Chunks in threads' caches and in fast bins count as in use there, so they
are looked up in those lists. The caches are recognised by their shape among the chunks of their size. So the caches of
sleeping threads are found too, and those in a core file without registers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from heapwright.live.errors import Unreadable
from heapwright.live.extent import Numbers
from heapwright.live.glibc.chunks import HEADER, MIN_CHUNK, PREVIOUS_IN_USE, UNIT
from heapwright.live.glibc.heap import ArenaCopy, Heap
from heapwright.live.glibc.walk import FENCE, Run, Walked
from heapwright.spans import CACHED, FREE, OWN, USED

TOP = 5  # the last chunk of an arena, free but in no bin
ADDRESSES = 1 << 47
WINDOW = 1 << 17  # chunks processed at a time
AT_ONCE = 4096  # caches judged at a time

Kinds = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass
class Chunks:
    """The chunks of one run and their states. `fast` are the indices of those in fast bins, which trim merges."""

    arena: ArenaCopy
    run: Run
    kinds: Kinds
    fast: Any
    limit: int  # the end of the whole run; a chunk's last word is the next chunk's first

    @property
    def ends(self) -> Numbers:
        return np.append(self.run.places[1:], self.run.end)


def windows(chunks: Chunks) -> Iterator[Chunks]:
    """The same chunks, some at a time: arrays of ten million numbers cost memory. Free neighbours stay together."""
    run, first = chunks.run, 0
    while first < len(run):
        last = border(chunks.kinds, min(first + WINDOW, len(run)))
        end = int(run.places[last]) if last < len(run) else run.end
        part = Run(run.section, run.places[first:last], run.flags[first:last], end)
        fast = chunks.fast[slice(*np.searchsorted(chunks.fast, (first, last)))] - first
        yield Chunks(chunks.arena, part, chunks.kinds[first:last], fast, chunks.limit)
        first = last


def border(kinds: Kinds, index: int) -> int:
    """The index of the first chunk at or after `index` that is not free."""
    while index < len(kinds) and kinds[index] in (FREE, TOP):
        index += 1
    return index


def states_of(heap: Heap, walks: list[Walked]) -> list[Chunks]:
    """The chunks of all arenas."""
    found = [plain_states(walked.arena, run) for walked in walks for run in walked.runs]
    cached, fast = [], [chunk for walked in walks for chunk in fast_chunks(heap, walked.arena)]
    for chunks in found:
        own = caches_in(heap, chunks)
        mark(chunks, own, OWN)
        cached += [chunk for place in own for _, chunk in cached_by(heap, place + HEADER)]
    for chunks in found:
        mark(chunks, cached, CACHED)
        chunks.fast = mark(chunks, fast, FREE)
    return found


def plain_states(arena: ArenaCopy, run: Run) -> Chunks:
    """The states according to the next chunks. The last chunk of a run that ended early counts as in use."""
    kinds = np.full(len(run.places), USED, np.uint8)
    kinds[:-1][(run.flags[1:] & PREVIOUS_IN_USE) == 0] = FREE
    kinds[run.of_size(FENCE)] = OWN
    if run.size(-1) <= FENCE:
        kinds[-1] = OWN
    if run.places[-1] == arena.top:
        kinds[-1] = TOP
    return Chunks(arena, run, kinds, np.zeros(0, np.int64), run.end)


def mark(chunks: Chunks, places: list[int], kind: int) -> Numbers:
    """Set the kind of the chunks at these places if they seemed in use. Returns their indices."""
    wanted = np.array(sorted(places), np.int64)
    index = np.searchsorted(chunks.run.places, wanted)
    inside = index < len(chunks.run.places)
    index, wanted = index[inside], wanted[inside]
    index = index[chunks.run.places[index] == wanted]
    index = index[chunks.kinds[index] == USED]
    chunks.kinds[index] = kind
    return index


# --- fast bins


def fast_chunks(heap: Heap, arena: ArenaCopy) -> Iterator[int]:
    """The chunks in an arena's fast bins."""
    if heap.layout.has_fast_bins:
        record = heap.arena(arena.address)
        for first in record.fast_bins:
            yield from chain(heap, first, HEADER, arena.system_bytes // MIN_CHUNK)


def chain(heap: Heap, first: int, link: int, maximum: int) -> Iterator[int]:
    """A singly linked list whose links are `link` bytes into its members. Damage ends it."""
    place, count = first, 0
    try:
        while 0 < place < ADDRESSES and place % UNIT == 0 and count < maximum:
            yield place
            place, count = unmangled(heap, place + link), count + 1
    except Unreadable:
        return


def unmangled(heap: Heap, address: int) -> int:
    """The link at an address, unmangled."""
    word = heap.image.word(address)
    return word ^ (address >> 12) if heap.layout.mangles_links else word


# --- threads' caches


def caches_in(heap: Heap, chunks: Chunks) -> list[int]:
    """The chunks of a run that hold a thread's cache."""
    minimum = heap.layout.cache_chunk
    fits = chunks.run.of_size(minimum, minimum + UNIT)  # a remainder too small for a chunk stays with it
    places = chunks.run.places[fits[chunks.kinds[fits] == USED]]
    return [
        p for first in range(0, len(places), AT_ONCE) for p in judged(heap, chunks, places[first : first + AT_ONCE])
    ]


def judged(heap: Heap, chunks: Chunks, places: Numbers) -> list[int]:
    """The chunks whose counts and entries agree: an entry is null if and only if its bin is empty."""
    bins = heap.layout.cache.fields["entries"].kind.count
    size = heap.layout.cache.SIZE // 8
    offsets = (places[:, None] + HEADER - chunks.run.section.copy.start) // 8 + np.arange(size)
    words = chunks.run.section.copy.words[offsets]
    numbers = np.ascontiguousarray(words).view("<u2")[:, :bins].astype(np.int64)
    entries = words[:, size - bins :]
    held = depth(heap) - numbers if heap.layout.counts_room else numbers
    good = (held >= 0) & (held <= depth(heap)) & ((held == 0) == (entries == 0))
    good &= (entries % UNIT == 0) & (entries < ADDRESSES)
    return [int(place) for place in places[good.all(axis=1) & (entries != 0).any(axis=1)]]


def depth(heap: Heap) -> int:
    parameters = heap.parameters
    return int(parameters.tcache_count) if parameters else heap.layout.cache_depth


def cached_by(heap: Heap, address: int) -> Iterator[tuple[int, int]]:
    """The number of each bin, and the chunks in it, of the cache at an address."""
    cache = heap.layout.cache_at(heap.image, address)
    for index in range(len(cache.entries)):
        for entry in chain(heap, cache.entries[index], 0, depth(heap)):
            yield index, entry - HEADER
