"""Wright's page heap: runs of tiles from segments, the lowest first, under the lock of `pages`.

A run is cut from the lowest segment with enough dirty tiles side by side, because their frames are there already, or
else from the lowest with room. When the reserve is too large, the page heap unmaps the highest kept ranges and releases
the frames of the highest dirty tiles; `trim` releases all. A released tile is fresh again. A segment without a run
becomes a kept range instead, which may serve a huge block, and again a segment (slots).
"""

from __future__ import annotations

from heapwright import bits, locks
from heapwright.allocators.parts import mappings
from heapwright.allocators.wright import hardened, known_segments, records, reserve, slots
from heapwright.allocators.wright.records import Record, Segment
from heapwright.layout import NULL, Atomic, Struct, Word

MAX_RUN = 32  # tiles
SEARCHED = 16  # segments in which dirty tiles are looked for: a small heap has no more


class Pages(Struct):
    lock: Atomic[Word]
    first: Segment  # all segments, the lowest first
    last: Segment
    roomy: Segment  # no lower segment has a free tile
    taken: Atomic[Word]  # tiles
    dirty: Word  # tiles


# --- bits


def mask_of(first, tiles):
    return ((1 << tiles) - 1) << (first - 1)


def starts_of_runs(free, tiles):
    """The bits of `free` at which this many bits in a row begin."""
    have = 1
    while have < tiles and free != 0:
        step = min(have, tiles - have)
        free &= free >> step
        have += step
    return free


def aligned_tiles(step):
    """The bits of the tiles whose number is a multiple of `step`."""
    found = 0
    for tile in range(step, records.TILES, step):
        found |= bits.bit(tile - 1)
    return found


def free_tiles(segment):
    return ~segment.taken & records.ALL_TILES


def dirty_tiles(segment):
    return ~(segment.taken | segment.fresh) & records.ALL_TILES


# --- segments


def new_segment(heap):
    """Insert a segment, from a kept range or the kernel; null when memory is exhausted. The lock is held."""
    pages = heap.pages
    start, fresh = slots.take_segment(heap)
    if start == NULL:
        start, fresh = mappings.map_at_multiple(heap.memory, records.SEGMENT, records.SEGMENT), 1
    segment = Segment(heap.memory, start)
    if segment:
        format_segment(segment, fresh)
        if hardened.IS_HARDENED:
            known_segments.enter(heap, segment)
        insert(pages, segment)
        pages.dirty += bits.count_bits(dirty_tiles(segment))
        if not pages.roomy or segment.address < pages.roomy.address:
            pages.roomy = segment
    return segment


def format_segment(segment, fresh):
    segment.magic = records.SEGMENT_MAGIC
    segment.taken = 0
    segment.fresh = records.ALL_TILES if fresh != 0 else 0
    for tile in range(1, records.TILES):
        Record(segment.memory, segment.address + tile * records.RECORD).tag.store(records.FREE_TAG)
    for tile in range(records.TILES, records.RECORDS):
        Record(segment.memory, segment.address + tile * records.RECORD).tag.store(records.SEGMENT_MAGIC)


def insert(pages, segment):
    above = pages.first
    while above and above.address < segment.address:
        above = above.next
    below = above.previous if above else pages.last
    segment.next = above
    segment.previous = below
    if above:
        above.previous = segment
    else:
        pages.last = segment
    if below:
        below.next = segment
    else:
        pages.first = segment


def give_segment(heap, segment):
    """Make a kept range of a segment without runs; return whether there is a record for it."""
    if not slots.has_record(heap):
        return False
    if hardened.IS_HARDENED and not known_segments.remove(heap, segment):
        return False
    pages = heap.pages
    pages.dirty -= bits.count_bits(dirty_tiles(segment))
    remove(pages, segment)
    slots.keep_segment(heap, segment.address)
    return True


def remove(pages, segment):
    above, below = segment.next, segment.previous
    if above:
        above.previous = below
    else:
        pages.last = below
    if below:
        below.next = above
    else:
        pages.first = above
    if pages.roomy == segment:
        pages.roomy = above


def give_empty(heap):
    """Make kept ranges of all segments without runs, for blocks of any size; return whether there were any."""
    found = False
    segment = heap.pages.first
    while segment:
        above = segment.next
        if segment.taken == 0:
            found |= give_segment(heap, segment)
        segment = above
    return found


# --- runs


def take_run(heap, tiles, step, tag):
    """Take a run whose first tile's number is a multiple of `step`; null when memory is exhausted."""
    pages = heap.pages
    locks.acquire(heap.memory, pages.lock)
    run = find_run(heap, tiles, step)
    if not run and new_segment(heap):
        run = find_run(heap, tiles, step)
    if run:
        new = occupy(heap, run, tiles)
        describe(run, tiles, tag)
        if new > 0:  # dirty tiles may lie elsewhere, too few side by side
            settle(heap)
    locks.release(heap.memory, pages.lock)
    return run


def find_run(heap, tiles, step):
    """The first tile's record of the lowest run of dirty tiles, or else of free ones; null if there is none."""
    aligned = records.ALL_TILES if step == 1 else aligned_tiles(step)
    run = find_dirty(heap, tiles, aligned)
    segment = heap.pages.roomy
    while segment and not run:
        starts = starts_of_runs(free_tiles(segment), tiles) & aligned
        if starts != 0:
            run = record_at(segment, starts)
        segment = segment.next
    return run


def find_dirty(heap, tiles, aligned):
    """The same for dirty tiles alone, in the lowest segments with room: a large heap has too many to look at."""
    segment = first_with_room(heap.pages)
    for _ in range(SEARCHED if heap.pages.dirty >= tiles else 0):
        if not segment:
            break
        starts = starts_of_runs(dirty_tiles(segment), tiles) & aligned
        if starts != 0:
            return record_at(segment, starts)
        segment = segment.next
    return Record(heap.memory, NULL)


def record_at(segment, starts):
    """The record of the lowest tile in a set of bits."""
    return Record(segment.memory, segment.address + (bits.lowest_bit(starts) + 1) * records.RECORD)


def first_with_room(pages):
    while pages.roomy and free_tiles(pages.roomy) == 0:
        pages.roomy = pages.roomy.next
    return pages.roomy


def occupy(heap, run, tiles):
    """Mark tiles as taken; return how many have no frames yet. `is_fresh` says whether all of them read as zeros."""
    segment, mask = records.segment_of(run), mask_of(records.tile_of(run), tiles)
    fresh = segment.fresh & mask
    run.is_fresh = 1 if fresh == mask else 0
    segment.taken |= mask
    segment.fresh &= ~mask
    heap.pages.taken.add(tiles)
    new = bits.count_bits(fresh)
    heap.pages.dirty -= tiles - new
    reserve.note_live(heap)
    reserve.note_use(heap)
    reserve.note_fresh(heap, new << records.LOG2_TILE, reserve.TILES)
    return new


def describe(run, tiles, tag):
    """Enter a run into the records of its tiles."""
    run.tiles = tiles
    run.free = NULL
    run.left = 0
    run.carved = 0
    run.state = records.UNUSED
    for i in range(tiles):
        record = run.at(run.address + i * records.RECORD)
        record.back = i * records.RECORD
        record.tag.store(tag)


def free_run(heap, run):
    """Give a run back."""
    pages = heap.pages
    locks.acquire(heap.memory, pages.lock)
    vacate(heap, run, run.tiles)
    settle(heap)
    locks.release(heap.memory, pages.lock)


def vacate(heap, run, tiles):
    """Make tiles free and dirty."""
    pages, segment = heap.pages, records.segment_of(run)
    for i in range(tiles):
        run.at(run.address + i * records.RECORD).tag.store(records.FREE_TAG)
    segment.taken &= ~mask_of(records.tile_of(run), tiles)
    pages.taken.add(-tiles)
    pages.dirty += tiles
    if not pages.roomy or segment.address < pages.roomy.address:
        pages.roomy = segment


def resize_run(heap, run, tiles):
    """Shrink or grow a run in place; return whether it now has this many tiles."""
    locks.acquire(heap.memory, heap.pages.lock)
    if tiles < run.tiles:
        vacate(heap, run.at(run.address + tiles * records.RECORD), run.tiles - tiles)
        run.tiles = tiles
        settle(heap)
    elif tiles > run.tiles and can_grow(run, tiles):
        behind, tag = run.at(run.address + run.tiles * records.RECORD), run.tag.load()
        occupy(heap, behind, tiles - run.tiles)
        for i in range(run.tiles, tiles):
            record = run.at(run.address + i * records.RECORD)
            record.back = i * records.RECORD
            record.tag.store(tag)
        run.tiles = tiles
    locks.release(heap.memory, heap.pages.lock)
    return run.tiles == tiles


def can_grow(run, tiles):
    first = records.tile_of(run) + run.tiles
    if first + tiles - run.tiles > records.TILES:
        return False
    mask = mask_of(first, tiles - run.tiles)
    return records.segment_of(run).taken & mask == 0


# --- the kernel


def settle(heap):
    """Release what is too much of the reserve. The lock is held."""
    before = heap.reserve.gone
    if slots.is_over_bound(heap.huge):
        slots.evict(heap, slots.bound(heap.huge))
    if reserve.is_exceeded(heap):
        release(heap, reserve.target(heap))
    heap.reserve.released += heap.reserve.gone - before


def release(heap, most):
    """Release kept ranges and dirty tiles, the highest first, until `most` bytes of the reserve are left, or as near as
    the kernel permits. The lock is held."""
    evict_beyond(heap, most)
    segment = heap.pages.last
    while segment and reserve.size(heap) > most:
        below = segment.previous
        if segment.taken == 0 and give_segment(heap, segment):
            evict_beyond(heap, most)
        elif records.TILE >= heap.memory.PAGE:
            decommit_dirty(heap, segment)
        segment = below


def evict_beyond(heap, most):
    slots.evict(heap, max(most - reserve.dirty_bytes(heap), 0))


def decommit_dirty(heap, segment):
    """Release the frames of a segment's dirty tiles, which then are fresh."""
    dirty = dirty_tiles(segment)
    while dirty != 0:
        first = bits.lowest_bit(dirty) + 1
        end = first
        while end < records.TILES and dirty & bits.bit(end - 1) != 0:
            dirty &= ~bits.bit(end - 1)
            end += 1
        decommit(heap, segment, first, end - first)


def decommit(heap, segment, first, tiles):
    size = tiles << records.LOG2_TILE
    if heap.memory.decommit(segment.address + (first << records.LOG2_TILE), size) == 0:
        segment.fresh |= fresh_mask(first, tiles)
        heap.pages.dirty -= tiles
        reserve.note_gone(heap, size)


def fresh_mask(first, tiles):
    """As `mask_of`, but for any number of tiles."""
    return records.ALL_TILES >> (records.TILES - 1 - tiles) << (first - 1)
