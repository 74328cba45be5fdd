"""Looking at ptmalloc: its lists, for pictures, and what `check` asks of them. Interpreted only."""

from __future__ import annotations

from heapwright.allocators.ptmalloc_bins import LEAST_LARGE, UNSORTED, anchor_of, index_of
from heapwright.allocators.ptmalloc_cache import LEAST_BIN, after
from heapwright.allocators.ptmalloc_chunks import address_of
from heapwright.allocators.ptmalloc_state import BINS, CACHE_BINS, is_main, segment_of, thread_of


def lists(heap):
    """Yield (name, addresses) for the calling thread's cache, and for each bin and the top of each arena."""
    thread = thread_of(heap)
    for index in range(LEAST_BIN, CACHE_BINS if thread else LEAST_BIN):
        yield f"cache bin {index}", [entry.address for entry in entries_of(thread, index)]
    for arena in all_arenas(heap) if heap.arenas > 0 else []:
        name = "main arena" if is_main(arena) else f"arena {arena.address:#x}"
        for index in range(1, BINS):
            yield f"{name}, {sort_of(index)} bin {index}", list(map(address_of, members(arena, index)))
        yield f"{name}, top", [address_of(arena.top)] if arena.top else []


def sort_of(index):
    if index == UNSORTED:
        return "unsorted"
    return "small" if index < index_of(LEAST_LARGE) else "large"


def entries_of(thread, index):
    """The entries of a bin of a cache, the latest first."""
    found, entry = [], thread.entries[index]
    while entry:
        found.append(entry)
        entry = after(entry)
    return found


def all_arenas(heap):
    arenas = [heap.main]
    while arenas[-1].next:
        arenas.append(arenas[-1].next)
    return arenas


def members(arena, index):
    """The chunks of a bin, from the first on."""
    anchor, found = anchor_of(arena, index), []
    chunk = anchor.forward
    while chunk != anchor:
        both_ways = chunk.forward.back == chunk and chunk.back.forward == chunk
        assert both_ways, "PT4   the lists of the bins are linked both ways"
        found.append(chunk)
        chunk = chunk.forward
    return found


def segments_of(arena):
    segments = [segment_of(arena.top)]
    while segments[-1].previous:
        segments.append(segments[-1].previous)
    return segments
