"""Inspection of ptmalloc: its spans for `walk`, its lists for pictures, the assertions of `check`, and statistics."""

from __future__ import annotations

from heapwright import bits, locks, spans, stats
from heapwright.allocators.ptmalloc import bins, cache, chunks, fast_bins, state, system, version
from heapwright.allocators.ptmalloc.chunks import Chunk
from heapwright.allocators.ptmalloc.state import Arena, Segment
from heapwright.layout import NULL
from heapwright.stats import Part


def lists(heap):
    """Yield (name, addresses) for the calling thread's cache, and for each bin and the top of each arena."""
    thread = state.thread_of(heap)
    for index in range(cache.MIN_BIN, state.CACHE_BINS if thread else cache.MIN_BIN):
        yield f"cache bin {index}", addresses(thread.entries[index])
    for arena in all_arenas(heap) if heap.arenas > 0 else []:
        name = "main arena" if state.is_main(arena) else f"arena {arena.address:#x}"
        for index in range(version.FAST_BINS):
            yield f"{name}, fast bin {index}", addresses(arena.fast[index])
        for index in range(1, state.BINS):
            yield f"{name}, {sort_of(index)} bin {index}", list(map(chunks.address_of, members(arena, index)))
        yield f"{name}, top", [chunks.address_of(arena.top)] if arena.top else []


def sort_of(index):
    if index == bins.UNSORTED:
        return "unsorted"
    return "small" if index < bins.index_of(bins.MIN_LARGE) else "large"


def addresses(first):
    return [entry.address for entry in cache.entries_of(first)]


def all_arenas(heap):
    arenas = [heap.main]
    while arenas[-1].next:
        arenas.append(arenas[-1].next)
    return arenas


def members(arena, index):
    """The chunks of a bin, in order."""
    anchor, found = bins.anchor_of(arena, index), []
    chunk = anchor.forward
    while chunk != anchor:
        both_ways = chunk.forward.back == chunk and chunk.back.forward == chunk
        assert both_ways, "PT4   the lists of the bins are linked both ways"
        found.append(chunk)
        chunk = chunk.forward
    return found


def segments_of(arena):
    segments = [state.segment_of(arena.top)]
    while segments[-1].previous:
        segments.append(segments[-1].previous)
    return segments


# --- walk


def walk(heap, start, end):
    """Yield (start, size, kind) for each chunk and record of [start, end), part by part.

    A chunk's span goes from its head to the next chunk's head: the bytes that the caller may write lie in between.
    """
    part = start
    while part < end:
        chunk = first_chunk(heap, part)
        place = chunk.address + chunks.OVERHEAD
        yield part, place - part, spans.OWN
        is_more = True
        while is_more and place < end:
            chunk = chunk.at(place - chunks.OVERHEAD)
            stop = min(end_of_span(heap, part, chunk), end)
            yield place, stop - place, kind_of(heap, part, chunk)
            is_more = not is_last(heap, part, chunk)
            place = stop
        part = end_of_part(heap, part, place)
        if part > place:
            yield place, part - place, spans.UNUSED


def check(heap, start, end):
    if heap.arenas == 0:
        return
    arenas = all_arenas(heap)
    unused = {chunk.address for arena in arenas for index in range(1, state.BINS) for chunk in members(arena, index)}
    unused |= {arena.top.address for arena in arenas}
    if version.IS_236:
        fast_bins.check_bins(arenas, state.thread_of(heap))
    for arena in arenas:
        check_arena(arena)
    check_extent(heap, start, end, unused)
    check_cache(heap, state.thread_of(heap))


def check_arena(arena):
    for index in range(1, state.BINS):
        every_chunk = members(arena, index)
        for chunk in every_chunk:
            check_free(arena, chunk)
        if index != bins.UNSORTED:
            check_bin(index, every_chunk)
            marked = arena.map[index // state.MAP_BITS] & bits.bit(index % state.MAP_BITS)
            assert marked or not every_chunk, "PT6   a large or small bin whose map bit is clear is empty"
    if arena.top:
        good = state.top_bytes(arena) >= chunks.MIN_CHUNK and chunks.follows_used(arena.top)
        assert good, "PT7   the top has at least 32 bytes and follows a chunk in use"
    if not state.is_main(arena):
        total = sum(segment.size for segment in segments_of(arena))
        assert total == arena.system_bytes, "PT10  the segments of an arena make its system_bytes"


def check_free(arena, chunk):
    behind = chunks.next_of(chunk)
    apart = (
        chunks.follows_used(chunk)
        and not chunks.follows_used(behind)
        and (behind == arena.top or chunks.is_in_use(behind))
    )
    rule = "PT3   a free chunk lies between chunks in use or before the top, and the next one repeats its size"
    assert apart and behind.previous_size == chunks.size_of(chunk), rule
    owned = state.is_main(arena) or state.segment_of(chunk).arena == arena
    rule = "PT12  the chunks in an arena's bins lie in that arena's memory, and do not say A"
    assert owned and not chunk.head & chunks.NON_MAIN, rule


def check_bin(index, every_chunk):
    rule = "PT5   a bin holds its own sizes, large ones falling, and the first of each size is on the circle of sizes"
    sizes = [chunks.size_of(chunk) for chunk in every_chunk]
    assert all(bins.index_of(size) == index for size in sizes) and sizes == sorted(sizes, reverse=True), rule
    if not every_chunk or bins.is_small(sizes[0]):
        return
    firsts = [chunk for chunk, size, before in zip(every_chunk, sizes, [0, *sizes], strict=False) if size != before]
    for chunk, smaller in zip(firsts, firsts[1:] + firsts[:1], strict=True):
        assert chunk.smaller == smaller and smaller.larger == chunk, rule
    assert sum(bool(chunk.smaller) for chunk in every_chunk) == len(firsts), rule


def check_extent(heap, start, end, unused):
    segments = {each.address for arena in all_arenas(heap)[1:] for each in segments_of(arena)}
    held = 0
    for place, _, kind in walk(heap, start, end):
        chunk = Chunk(heap.memory, place - chunks.OVERHEAD)
        if kind in (spans.FREE, spans.USED, spans.CACHED):
            good = (
                bits.is_aligned(chunk.address | chunks.size_of(chunk), chunks.UNIT)
                and chunks.size_of(chunk) >= chunks.MIN_CHUNK
            )
            assert good, "PT1   chunks lie at multiples of 16 and have as many bytes, at least 32"
            rule = "PT2   a chunk but the top is in use, as the next one says, if and only if it is in no bin"
            assert (kind == spans.FREE) == (chunk.address in unused), rule
        if kind in (spans.USED, spans.CACHED):
            check_used(heap, chunk, segments)
            held += 0 if chunks.is_mapped(chunk) or chunk.head & chunks.NON_MAIN else chunks.size_of(chunk)
    rule = "PT13  the main arena's chunks are not more than its own system_bytes"
    assert held <= heap.main.system_bytes, rule


def check_used(heap, chunk, segments):
    if chunks.is_mapped(chunk):
        whole = bits.is_aligned(system.base_of(chunk).address | system.length_of(chunk), heap.memory.PAGE)
        assert whole, "PT11  a mapped chunk ends 16 bytes before its mapping does"
        return
    says = chunk.head & chunks.NON_MAIN != 0
    inside = state.segment_of(chunk).address in segments
    assert says == inside, "PT9   a chunk in use says A if and only if it lies in a segment"


def check_cache(heap, thread):
    if not thread or thread == heap.nobody:
        return
    rule = "PT8   a bin of the cache and its room make as many as are to be kept; its entries have its size and say K"
    for index in range(cache.MIN_BIN, state.CACHE_BINS):
        every_chunk = [chunks.chunk_of(heap, entry.address) for entry in cache.entries_of(thread.entries[index])]
        assert all(chunks.size_of(chunk) == index * chunks.UNIT and chunks.is_kept(chunk) for chunk in every_chunk), (
            rule
        )
        assert len(every_chunk) + thread.room[index] == (heap.cache_room if index < heap.cache_bins else 0), rule


def head_of(heap, part):
    return Chunk(heap.memory, bits.align_up(part, chunks.UNIT))


def is_mapping(heap, part):
    first = head_of(heap, part)
    return chunks.is_mapped(first) and not chunks.follows_used(first)


def is_segment(heap, part):
    first = head_of(heap, part)
    return not chunks.is_mapped(first) and not chunks.follows_used(first)


def first_chunk(heap, part):
    first = head_of(heap, part)
    if is_mapping(heap, part):
        return chunks.offset_by(first, first.previous_size)
    if not is_segment(heap, part):
        return first
    return chunks.offset_by(first, Segment.SIZE if state.segment_of(first).previous else Segment.SIZE + Arena.SIZE)


def arena_in(heap, part):
    return Segment(heap.memory, part).arena if is_segment(heap, part) else heap.main


def is_last(heap, part, chunk):
    """Whether a chunk ends its part."""
    return is_mapping(heap, part) or chunk == arena_in(heap, part).top or system.is_last_fence(chunk)


def end_of_span(heap, part, chunk):
    """Where the next chunk's head begins, or where the kernel's memory ends."""
    end = chunk.address + chunks.size_of(chunk)
    if is_mapping(heap, part):
        return end + chunks.HEADER
    return end if is_last(heap, part, chunk) else end + chunks.OVERHEAD


def end_of_part(heap, part, end):
    """The end of a part whose last chunk ends at `end`."""
    return part + state.SEGMENT_BYTES if is_segment(heap, part) else end


def is_lost(chunk):
    """Whether a chunk is a mapping that the kernel refused to unmap. Cached chunks also say K but are smaller."""
    return chunks.is_kept(chunk) and chunks.size_of(chunk) >= state.CACHE_BINS * chunks.UNIT


def kind_of(heap, part, chunk):
    if is_mapping(heap, part):
        if is_lost(chunk):
            return spans.OWN
    elif chunks.is_mapped(chunk):
        return spans.OWN
    elif chunk == arena_in(heap, part).top or not chunks.is_in_use(chunk):
        return spans.FREE
    return spans.CACHED if chunks.is_kept(chunk) else spans.USED


def survey(heap, account):
    stats.begin(heap.memory, account)
    account.mapped_blocks = heap.mapped_chunks.load()
    account.mapped_bytes = heap.mapped_bytes.load()
    account.arena_bytes = 0
    account.live_bytes = account.mapped_bytes
    arena = heap.main
    while arena:
        locks.acquire(heap.memory, arena.lock)
        survey_arena(heap, arena, account)
        locks.release(heap.memory, arena.lock)
        arena = state.arena_after(heap, arena)
    account.spare_bytes = state.top_bytes(heap.main)


def survey_arena(heap, arena, account):
    account.arena_bytes += arena.system_bytes
    account.live_bytes += arena.system_bytes
    stats.add_free(account, 1, state.top_bytes(arena))
    for index in range(version.FAST_BINS):
        entry = arena.fast[index]
        while entry:
            stats.add_fast(account, chunks.size_of(chunks.chunk_of(heap, entry.address)))
            entry = cache.after(entry)
    for index in range(1, state.BINS if heap.arenas > 0 else 1):
        anchor = bins.anchor_of(arena, index)
        chunk = anchor.back
        while chunk != anchor:
            stats.add_free(account, 1, chunks.size_of(chunk))
            chunk = chunk.back


def survey_part(heap, before, part):
    """Survey the arena after the one at address `before` (0: the main arena); return its address, or 0 at the end."""
    arena = heap.main
    if before != NULL:
        arena = state.arena_after(heap, arena.at(before))
    if arena:
        heap.memory.fill(part.address, Part.SIZE, 0)
        locks.acquire(heap.memory, arena.lock)
        survey_lists(heap, arena, part)
        locks.release(heap.memory, arena.lock)
    return arena.address


def survey_lists(heap, arena, part):
    part.free_blocks = 1
    part.free_bytes = state.top_bytes(arena)
    part.held_bytes = arena.system_bytes
    part.peak_bytes = arena.peak_system_bytes
    part.segments = 0 if state.is_main(arena) else count_segments(arena)
    for index in range(version.FAST_BINS):
        entry = arena.fast[index]
        while entry:
            stats.add_to_fast(part, index, chunks.size_of(chunks.chunk_of(heap, entry.address)))
            entry = cache.after(entry)
    for index in range(1, state.BINS if heap.arenas > 0 else 1):
        anchor = bins.anchor_of(arena, index)
        chunk = anchor.forward
        while chunk != anchor:
            stats.add_to_list(part, index - 1, chunks.size_of(chunk))
            chunk = chunk.forward


def count_segments(arena):
    """The number of segments of an arena."""
    count = 0
    segment = state.segment_of(arena.top)
    while segment:
        count += 1
        segment = segment.previous
    return count
