"""What ptmalloc's `check` asks of arenas, stretches and caches; interpreted only."""

from __future__ import annotations

from heapwright.allocators.ptmalloc_bins import UNSORTED, anchor_of, index_of, is_small, top_bytes
from heapwright.allocators.ptmalloc_cache import LEAST_BIN, ROOM, after
from heapwright.allocators.ptmalloc_chunks import (
    LEAST,
    NON_MAIN,
    OVERHEAD,
    UNIT,
    Chunk,
    chunk_of,
    follows_used,
    is_in_use,
    is_kept,
    is_mapped,
    next_of,
    size_of,
)
from heapwright.allocators.ptmalloc_state import BINS, CACHE_BINS, MAP_BITS, is_main, segment_of
from heapwright.allocators.ptmalloc_system import base_of, length_of
from heapwright.bits import bit, is_aligned
from heapwright.spans import CACHED, FREE, USED


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


def check_arena(arena):
    for index in range(1, BINS):
        chunks = members(arena, index)
        for chunk in chunks:
            check_free(arena, chunk)
        if index != UNSORTED:
            check_bin(index, chunks)
            marked = arena.map[index // MAP_BITS] & bit(index % MAP_BITS)
            assert marked or not chunks, "PT6   a large or small bin whose map bit is clear is empty"
    if arena.top:
        good = top_bytes(arena) >= LEAST and follows_used(arena.top)
        assert good, "PT7   the top has at least 32 bytes and follows a chunk in use"
    if not is_main(arena):
        total = sum(segment.size for segment in segments_of(arena))
        assert total == arena.system_bytes, "PT10  the segments of an arena make its system_bytes"


def segments_of(arena):
    segments = [segment_of(arena.top)]
    while segments[-1].previous:
        segments.append(segments[-1].previous)
    return segments


def check_free(arena, chunk):
    behind = next_of(chunk)
    apart = follows_used(chunk) and not follows_used(behind) and (behind == arena.top or is_in_use(behind))
    rule = "PT3   a free chunk lies between chunks in use or before the top, and the next one repeats its size"
    assert apart and behind.previous_size == size_of(chunk), rule
    owned = is_main(arena) or segment_of(chunk).arena == arena
    rule = "PT12  the chunks in an arena's bins lie in that arena's memory, and do not say A"
    assert owned and not chunk.head & NON_MAIN, rule


def check_bin(index, chunks):
    rule = "PT5   a bin holds its own sizes, large ones falling, and the first of each size is on the circle of sizes"
    sizes = [size_of(chunk) for chunk in chunks]
    assert all(index_of(size) == index for size in sizes) and sizes == sorted(sizes, reverse=True), rule
    if not chunks or is_small(sizes[0]):
        return
    firsts = [chunk for chunk, size, before in zip(chunks, sizes, [0, *sizes], strict=False) if size != before]
    for chunk, smaller in zip(firsts, firsts[1:] + firsts[:1], strict=True):
        assert chunk.smaller == smaller and smaller.larger == chunk, rule
    assert sum(bool(chunk.smaller) for chunk in chunks) == len(firsts), rule


def check_spans(heap, spans, unused):
    segments = {each.address for arena in all_arenas(heap)[1:] for each in segments_of(arena)}
    held = 0
    for place, _, kind in spans:
        chunk = Chunk(heap.memory, place - OVERHEAD)
        if kind in (FREE, USED, CACHED):
            good = is_aligned(chunk.address | size_of(chunk), UNIT) and size_of(chunk) >= LEAST
            assert good, "PT1   chunks lie at multiples of 16 and have as many bytes, at least 32"
            rule = "PT2   a chunk but the top is in use, as the next one says, if and only if it is in no bin"
            assert (kind == FREE) == (chunk.address in unused), rule
        if kind in (USED, CACHED):
            check_used(heap, chunk, segments)
            held += 0 if is_mapped(chunk) or chunk.head & NON_MAIN else size_of(chunk)
    rule = "PT13  the main arena's chunks are not more than its own system_bytes"
    assert held <= heap.main.system_bytes, rule


def check_used(heap, chunk, segments):
    if is_mapped(chunk):
        whole = is_aligned(base_of(chunk).address | length_of(chunk), heap.memory.PAGE)
        assert whole, "PT11  a mapped chunk ends 16 bytes before its mapping does"
        return
    says = chunk.head & NON_MAIN != 0
    inside = segment_of(chunk).address in segments
    assert says == inside, "PT9   a chunk in use says A if and only if it lies in a segment"


def check_cache(heap, thread):
    if not thread or thread == heap.nobody:
        return
    rule = "PT8   a bin of the cache and its room make sixteen; its entries have its size and say K"
    for index in range(LEAST_BIN, CACHE_BINS):
        count, entry = 0, thread.entries[index]
        while entry:
            chunk = chunk_of(heap, entry.address)
            assert size_of(chunk) == index * UNIT and is_kept(chunk), rule
            count, entry = count + 1, after(entry)
        assert count + thread.room[index] == ROOM, rule
