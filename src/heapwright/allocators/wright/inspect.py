"""Inspection of wright's segments and homes: spans for `walk`, all lists, and the assertions of `check`.

Free lists have no order and the dialect has no sets, so `walk` marks the free blocks of one window at a time.
"""

from __future__ import annotations

from heapwright import bits, locks, spans, stats
from heapwright.allocators.parts import chains, object_bitmap
from heapwright.allocators.wright import (
    classes,
    contents,
    hardened,
    holes,
    homes,
    known,
    mesh_checks,
    meshes,
    records,
    remote,
    reserve,
    seals,
    slabs,
    slots,
    spares,
    tiles,
)

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
            free = window(slab.free, place, size)
            cached = cached_window(heap, slab, place, size)
        is_free = free & bits.bit(seen) != 0 or is_sunk(slab, place)
        kind = spans.FREE if is_free else spans.CACHED if cached & bits.bit(seen) else spans.USED
        yield place, size, kind
        seen = (seen + 1) % object_bitmap.WINDOW
    if end < first + records.bytes_of(slab):
        yield end, first + records.bytes_of(slab) - end, spans.UNUSED


def is_sunk(slab, address):
    """Whether a block lies in a hole, or where another page's bytes are: it is free, but it is not on a list."""
    return holes.is_sunk(slab, address) or (records.MESHED != 0 and meshes.is_sunk(slab, address))


def window(chain, start, size):
    """The blocks among the WINDOW from `start` on that are in a chain, as bits."""
    found = 0
    while chain:
        found |= object_bitmap.bit_for(chain.address, start, size)
        chain = records.next_of(chain)
    return found


def cached_window(heap, slab, start, size):
    """The same for the lists and boxes of all homes."""
    owner = homes.Home(heap.memory, records.home_address(slab))
    found = window(owner.hot[records.class_in(slab)].first, start, size)
    home = heap.roster.youngest
    while home:
        slot = remote.slot_for(home, slab)
        if slot.slab == slab:
            found |= window_of(slot.first, slot.count, start, size)
        if hardened.IS_HARDENED:
            found |= waiting_window(home, start, size)
        home = home.older
    batch = remote.newest_batch(owner)
    while batch:
        found |= batch_window(batch, start, size)
        batch = records.next_of(batch)
    return found


def window_of(chain, count, start, size):
    """The same for the first `count` blocks of a chain."""
    found = 0
    for _ in range(count):
        found |= object_bitmap.bit_for(chain.address, start, size)
        chain = records.next_of(chain)
    return found


def waiting_window(home, start, size):
    """The same for the blocks that wait in a home."""
    found = 0
    for i in range(hardened.WAITING):
        found |= object_bitmap.bit_for(home.waiting[i], start, size)
    return found


def batch_window(batch, start, size):
    found, word = object_bitmap.bit_for(batch.address, start, size), records.second_of(batch)
    return found | window_of(batch.at(word & remote.ADDRESS), (word >> remote.COUNT) - 1, start, size)


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


# --- lists


def lists(heap):
    """Yield (name, addresses) for the lists and boxes of each home, and the free blocks of each slab."""
    for home in contents.homes_of(heap):
        name = f"home {home.address:#x}"
        for size_class in range(1, classes.CLASSES):
            size = classes.size_of_class(size_class)
            if home.limits[size_class] or home.hot[size_class].first:
                yield f"{name}, {size} bytes", contents.addresses_in(home.hot[size_class].first)
            partial = [records.start_of(slab) for slab in chains.chain_of(home.partial[size_class])]
            if partial:
                yield f"{name}, slabs of {size} bytes that are partly free", partial
        for slab, blocks in contents.posted_in(home):
            yield f"{name}, outbox for slab {records.start_of(slab):#x}", blocks
        for blocks in contents.batches_of(home):
            yield f"{name}, inbox", blocks
        if spares.of(home):
            yield f"{name}, spares", [records.start_of(run) for run in spares.of(home)]
        if hardened.IS_HARDENED:
            yield f"{name}, waiting", contents.waiting_in(home)
    for segment in contents.segments_of(heap):
        for slab in filter(records.is_slab, contents.runs_of(segment)):
            yield f"slab {records.start_of(slab):#x}", contents.addresses_in(slab.free)
    yield "huge ranges kept", [kept.start for kept in chains.chain_of(heap.huge.first)]


# --- check

W1 = "W1  segments lie at multiples of 1 MiB, in one list by address; their bits are those of their records"
W2 = "W2  in a slab, blocks out of it and free ones sum to the carved ones, and `left` counts down to the next event"
W3 = "W3  each free block begins at a multiple of the block size in its slab, and is free once"
W4 = "W4  a block in a list or box is out of its slab, whose tag names that home and class; no box is full"
W5 = "W5  a list's room does not exceed its limit"
W6 = "W6  all tiles of a run have its tag, and `back` leads from each to the first"
W7 = "W7  a home lists exactly its awake slabs, linked both ways, and its current slab of a class is the only such one"
W8 = "W8  the tiles of a segment are free, or belong to one run"
W9 = (
    "W9  the counts of taken and of dirty tiles are those of all segments, and no segment below `roomy` has a free tile"
)
W10 = "W10 huge ranges lie at multiples of 1 MiB, each with a record; kept ones are ordered, apart, and add up"
W11 = "W11 live huge blocks sum up to the count, at most the peak"
W12 = "W12 a home counts the tiles of its slabs; the spares of all homes are the large runs in no use, each once"
W13 = "W13 the reserve is at least its least in this epoch; that, its credit and what it released are not negative"
W14 = "W14 only a slab that is awake or current has holes, and no block in one is in use or on a list"
W18 = "W18 hardened: exactly the live blocks in slabs end with a seal"
W19 = "W19 hardened: the table of segments has each one in its list, once"


def check(heap, start, end):
    segments = contents.segments_of(heap)
    check_segments(heap, segments)
    out = {}
    for home in contents.homes_of(heap):
        check_home(heap, home, out)
    for segment in segments:
        if start <= segment.address < end:
            check_runs(heap, segment, out)
    check_tiles_of_homes(heap, segments)
    runs = [run for segment in segments for run in contents.runs_of(segment)]
    assert spares.are_complete(contents.homes_of(heap), runs), W12
    if records.MESHED != 0:
        mesh_checks.check_meshes(heap, [run for run in runs if records.is_slab(run)])
    check_huge(heap)
    kept = heap.reserve
    assert 0 <= kept.least <= reserve.size(heap) and kept.credit >= 0 and kept.released >= 0, W13
    if hardened.IS_HARDENED:
        assert known.beside(heap, segments) == [segment.address for segment in segments], W19


def check_segments(heap, segments):
    addresses = [segment.address for segment in segments]
    assert addresses == sorted(set(addresses)) and all(address % records.SEGMENT == 0 for address in addresses), W1
    assert chains.is_linked_back(heap.pages.first) and (heap.pages.last.address == (addresses or [0])[-1]), W1
    assert heap.pages.taken.load() == sum(segment.taken.bit_count() for segment in segments), W9
    assert heap.pages.dirty == sum(tiles.dirty_tiles(segment).bit_count() for segment in segments), W9
    full = [s for s in segments if not heap.pages.roomy or s.address < heap.pages.roomy.address]
    assert not any(tiles.free_tiles(segment) for segment in full), W9


def check_home(heap, home, out):
    """Check a home's lists; add each block in a list or box to `out`, with its slab."""
    for size_class in range(1, classes.CLASSES):
        hot, tag = home.hot[size_class], home.address + (size_class << records.LOG2_STEP)
        assert hot.room <= home.limits[size_class] <= homes.final_limit(size_class), W5
        claim(heap, out, contents.addresses_in(hot.first), tag)
        awake = list(chains.chain_of(home.partial[size_class]))
        assert chains.is_linked_back(home.partial[size_class]), W7
        assert all(slab.state == records.AWAKE and slab.tag.load() == tag for slab in awake), W7
        assert all(slab.free or slab.holes for slab in awake), W7
        current = home.current[size_class]
        assert not current or (current.state == records.CURRENT and current.tag.load() == tag), W7
    for slab, blocks in contents.posted_in(home):
        assert len(blocks) < remote.BATCH_BLOCKS and len(blocks) * slab.size < remote.BATCH_BYTES, W4
        claim(heap, out, blocks, slab.tag.load())
    for address in contents.waiting_in(home):
        claim(heap, out, [address], records.record_of(heap, address).tag.load())
    for blocks in contents.batches_of(home):
        claim(heap, out, blocks, records.record_of(heap, blocks[0]).tag.load())
        assert records.home_address(records.record_of(heap, blocks[0])) == home.address, W4


def check_tiles_of_homes(heap, segments):
    held = {home.address: 0 for home in contents.homes_of(heap)}
    for segment in segments:
        for slab in filter(records.is_slab, contents.runs_of(segment)):
            held[records.home_address(slab)] += slab.tiles
    assert all(home.tiles == held[home.address] <= home.most for home in contents.homes_of(heap)), W12


def claim(heap, out, blocks, tag):
    """Note that blocks are in a list or box, each in one only."""
    for address in blocks:
        assert address not in out and records.record_of(heap, address).tag.load() == tag, W4
        out[address] = records.head_of(records.record_of(heap, address)).address


def check_runs(heap, segment, out):
    seen = 0
    for run in contents.runs_of(segment):
        mask = tiles.mask_of(records.tile_of(run), run.tiles)
        assert seen & mask == 0 and run.tiles > 0, W8
        seen |= mask
        for i in range(run.tiles):
            record = run.at(run.address + i * records.RECORD)
            assert record.tag.load() == run.tag.load() and record.back == i * records.RECORD, W6
        if records.is_slab(run):
            check_slab(heap, run, {address for address, slab in out.items() if slab == run.address})
        else:
            assert run.tag.load() == records.LARGE_TAG, W6
    assert seen == segment.taken, W8
    assert segment.taken & segment.fresh == 0, W1


def check_slab(heap, slab, out):
    first, size, free = records.start_of(slab), slab.size, contents.addresses_in(slab.free)
    blocks = range(first, first + slab.carved * size, size)
    assert size == classes.size_of_class(records.class_in(slab)), W2
    assert slab.capacity == records.bytes_of(slab) // size >= slab.carved, W2
    sunk = [address for address in blocks if holes.is_sunk(slab, address)]
    if records.MESHED != 0:
        sunk += mesh_checks.check_sunk(slab, blocks, [*out, *free, *sunk])
    assert not {*out, *free} & set(sunk) and (slab.holes == 0 or slab.state in (records.AWAKE, records.CURRENT)), W14
    assert slabs.out_of(slab) + len(free) + len(sunk) == slab.carved and slab.left >= 0, W2
    assert slab.state != records.ASLEEP or 0 < slab.left <= slabs.wake_of(slab), W2
    assert all(address in blocks for address in [*free, *out]) and len(set(free)) == len(free), W3
    assert not out & set(free) and len(out) <= slabs.out_of(slab), W4
    if hardened.IS_HARDENED:
        live = [address for address in blocks if address not in {*out, *free, *sunk}]
        assert seals.sealed_among(heap.memory, blocks, size) == live, W18
    home, size_class = homes.Home(heap.memory, records.home_address(slab)), records.class_in(slab)
    listed = [each.address for each in chains.chain_of(home.partial[size_class])]
    assert (slab.address in listed) == (slab.state == records.AWAKE), W7
    assert (slab == home.current[size_class]) == (slab.state == records.CURRENT), W7


def check_huge(heap):
    store, kept = heap.huge, list(chains.chain_of(heap.huge.first))
    ranges = [each for i in range(slots.BUCKETS) for each in chained(store.buckets[i])]
    assert all(each.start % records.SEGMENT == 0 and each.size > 0 for each in ranges), W10
    apart = all(low.start + low.size < high.start for high, low in zip(kept, kept[1:], strict=False))
    assert apart and len(kept) == store.ranges and sum(each.size for each in kept) == store.kept, W10
    assert sorted(each.start for each in ranges if each.is_kept) == sorted(each.start for each in kept), W10
    assert len(list(chained(store.unused))) + len(ranges) == store.records, W10
    live = [each.size for each in ranges if not each.is_kept]
    assert len(live) == store.blocks and sum(live) == store.live <= store.peak, W11


def chained(found):
    while found:
        yield found
        found = found.chain
