"""The assertions of `check`, one for each invariant, in its words. Interpreted only."""

from __future__ import annotations

from heapwright.allocators.parts import chains
from heapwright.allocators.wright import (
    classes,
    contents,
    hardened,
    holes,
    homes,
    huge_checks,
    mesh_checks,
    records,
    remote,
    reserve,
    seal_checks,
    slabs,
    spares,
    tiles,
)

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
W12 = "W12 a home counts the tiles of its slabs; the spares of all homes are the large runs in no use, each once"
W13 = "W13 the reserve is at least its least in this epoch; that, its credit and what it released are not negative"
W14 = "W14 only a slab that is awake or current has holes, and no block in one is in use or on a list"


def check(heap, start, end):
    segments = contents.segments_of(heap)
    check_segments(heap, segments)
    runs = [run for segment in segments for run in contents.runs_of(segment)]
    if records.MESHED != 0:
        mesh_checks.check_meshes(heap, [run for run in runs if records.is_slab(run)])
    out = {}
    for home in contents.homes_of(heap):
        check_home(heap, home, out)
    for segment in segments:
        if start <= segment.address < end:
            check_runs(heap, segment, out)
    check_tiles_of_homes(heap, segments)
    assert spares.are_complete(list(contents.homes_of(heap)), runs), W12
    huge_checks.check_huge(heap)
    kept = heap.reserve
    assert 0 <= kept.least <= reserve.size(heap) and kept.credit >= 0 and kept.released >= 0, W13
    if hardened.IS_HARDENED:
        seal_checks.check_known(heap, segments)


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
        seal_checks.check_seals(slab, blocks, {*out, *free, *sunk})
    home, size_class = homes.Home(heap.memory, records.home_address(slab)), records.class_in(slab)
    listed = [each.address for each in chains.chain_of(home.partial[size_class])]
    assert (slab.address in listed) == (slab.state == records.AWAKE), W7
    assert (slab == home.current[size_class]) == (slab.state == records.CURRENT), W7
