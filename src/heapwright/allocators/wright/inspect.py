"""Inspection of wright's segments and homes: spans for `walk`, and sums for statistics."""

from __future__ import annotations

from heapwright import bits, locks, spans, stats
from heapwright.allocators.wright import (
    checks,
    contents,
    hardened,
    holes,
    homes,
    meshes,
    records,
    slabs,
    slots,
    tiles,
    windows,
)

check, lists = checks.check, contents.lists

# --- walk


def walk(heap, start, end):
    """Yield (start, size, kind) for each span of [start, end): segments, huge ranges, homes and records of ranges."""
    place = start
    while place < end:
        size, kind = span_at(heap, place)
        if kind == spans.USED and size == 0:
            for span in walk_segment(heap, records.Segment(heap.memory, place)):  # noqa: UP028  `yield from` does not compile
                yield span
            place += records.SEGMENT
        else:
            yield place, size, kind
            place += size


def span_at(heap, place):
    """The size and kind of what begins here; 0 and USED for a segment.

    A page of no kind was cut off for alignment, and the kernel refused to take it back.
    """
    if bits.is_aligned(place, records.SEGMENT):
        found = slots.find(heap, place)
        if found:
            return found.size, spans.FREE if found.is_kept != 0 else spans.USED
        if records.Segment(heap.memory, place).magic == records.SEGMENT_MAGIC:
            return 0, spans.USED
    notes = slots.Notes(heap.memory, place)
    if notes.magic == slots.NOTES_MAGIC:
        return notes.size, spans.OWN
    if notes.magic == homes.HOME_MAGIC:
        return homes.mapping_size(heap), spans.OWN
    return heap.memory.PAGE, spans.UNUSED


def walk_segment(heap, segment):
    yield segment.address, records.TILE, spans.OWN
    tile = 1
    while tile < records.TILES:
        record = records.Record(heap.memory, segment.address + tile * records.RECORD)
        start, tag, count = records.start_of(record), record.tag.load(), 1
        if tag == records.FREE_TAG:
            kind = kind_of_free(segment, tile)
            while tile + count < records.TILES and kind_of_free(segment, tile + count) == kind:
                count += 1
            yield start, count << records.LOG2_TILE, kind
        else:
            count = record.tiles
            if tag == records.LARGE_TAG:
                yield start, records.bytes_of(record), spans.CACHED if records.is_spare(record) else spans.USED
            else:
                for span in walk_slab(heap, record):  # noqa: UP028  `yield from` does not compile
                    yield span
        tile += count
    if records.TILES < records.RECORDS:
        yield segment.address + records.TILES * records.TILE, hardened.GUARD_TILES * records.TILE, spans.OWN


def kind_of_free(segment, tile):
    """FREE for a dirty tile, UNUSED for a fresh one, and USED for one that belongs to a run."""
    if segment.taken & bits.bit(tile - 1) != 0:
        return spans.USED
    return spans.UNUSED if segment.fresh & bits.bit(tile - 1) != 0 else spans.FREE


def walk_slab(heap, slab):
    """Yield each block, and the part never handed out."""
    first, size = records.start_of(slab), slab.size
    end = first + slab.carved * size
    free = cached = seen = 0
    for place in range(first, end, size):
        if seen == 0:
            free = windows.window(slab.free, place, size)
            cached = windows.cached_window(heap, slab, place, size)
        is_free = free & bits.bit(seen) != 0 or is_sunk(slab, place)
        kind = spans.FREE if is_free else spans.CACHED if cached & bits.bit(seen) else spans.USED
        yield place, size, kind
        seen = (seen + 1) % windows.WINDOW
    if end < first + records.bytes_of(slab):
        yield end, first + records.bytes_of(slab) - end, spans.UNUSED


def is_sunk(slab, address):
    """Whether a block lies in a hole, or where another page's bytes are: it is free, but it is not on a list."""
    return holes.is_sunk(slab, address) or (records.MESHED != 0 and meshes.is_sunk(slab, address))


# --- statistics


def survey(heap, account):
    stats.begin(heap.memory, account)
    locks.acquire(heap.memory, heap.pages.lock)
    segment = heap.pages.first
    while segment:
        survey_segment(segment, account)
        segment = segment.next
    stats.add_mapped(account, heap.huge.blocks, heap.huge.live)
    kept = heap.huge.first
    while kept:
        stats.add_free(account, 1, kept.size)
        kept = kept.next
    account.spare_bytes += heap.huge.kept
    locks.release(heap.memory, heap.pages.lock)


def survey_segment(segment, account):
    """Count free tiles, spares, and the blocks of slabs that are free or were never handed out."""
    free = tiles.free_tiles(segment)
    stats.add_free(account, bits.count_bits(free), records.TILE)
    if free == records.ALL_TILES:
        account.spare_bytes += records.SEGMENT
    tile = 1
    while tile < records.TILES:
        record = records.Record(segment.memory, segment.address + tile * records.RECORD)
        is_free = record.tag.load() == records.FREE_TAG
        if records.is_slab(record):
            count = record.capacity - slabs.out_of(record)
            stats.add_free(account, count, record.size)
        elif records.is_spare(record):
            stats.add_free(account, 1, records.bytes_of(record))
        tile += 1 if is_free else record.tiles
