"""Placements and rasters, against plain loops over the same events."""

import numpy as np
from event_stories import stories
from hypothesis import given
from hypothesis import strategies as st

from heapwright.maps.placements import ROW, Placements, Tenants
from heapwright.maps.raster import COVER, LIFE, SIZE, Raster
from heapwright.traces.events import DEALLOC, REALLOC
from heapwright.traces.flat import flatten


def plain(flat, addresses):
    """All placements, by a loop: (address, size, start, end, born)."""
    live, found = {}, []
    for number, (op, _, _, _, slot, size) in enumerate(flat.records.tolist()):
        if op > DEALLOC or not addresses[number]:
            continue
        old = live.pop(slot, None)
        if old:
            found.append((*old[:3], number, old[3]))
        if op <= REALLOC:
            live[slot] = (int(addresses[number]), size, number, old[3] if old else number)
    return sorted(found + [(*old[:3], len(flat), old[3]) for old in live.values()])


def addresses_for(flat):
    """An address for each event that has a block, as a log has it: 4096 for each slot."""
    slots = flat.records["slot"].astype(np.int64)
    return np.where((slots >= 0) & (flat.records["op"] <= DEALLOC), 4096 * (slots + 16), 0)


@given(stories(), st.integers(1, 7))
def test_windows_of_any_length_give_the_placements(events, window):
    flat = flatten(events)
    addresses, sites = addresses_for(flat), np.arange(len(flat))
    tenants, parts = Tenants(flat.slots), []
    for first in range(0, len(flat), window):
        each = slice(first, first + window)
        parts.append(tenants.advance(flat.records[each], addresses[each], sites[each]))
    rows = Placements.join([*parts, tenants.finish()]).rows
    assert sorted(zip(*(rows[name].tolist() for name in ROW_NAMES), strict=True)) == plain(flat, addresses)
    assert (rows["site"] == rows["start"]).all()


ROW_NAMES = "address", "size", "start", "end", "born"


def placed(*rows):
    """Placements from tuples (address, size, start, end)."""
    made = np.zeros(len(rows), ROW)
    for name, column in zip(ROW_NAMES, zip(*rows, strict=True), strict=False):
        made[name] = column
    return Placements(made)


RECTANGLES = st.lists(
    st.builds(
        lambda address, size, start, length: (address, size, start, start + length),
        st.integers(0, 1 << 22), st.integers(1, 1 << 16), st.integers(0, 5000), st.integers(1, 900),
    ),
    min_size=1, max_size=30,
)  # fmt: skip


@given(RECTANGLES)
def test_a_raster_loses_nothing_of_what_it_adds_up(rectangles):
    placements = placed(*rectangles)
    raster = Raster(6000)
    for first in range(0, len(placements), 7):
        raster.add(placements[first : first + 7])
    cell = raster.width << raster.shift
    covered = raster.channel(COVER)
    assert np.isclose(covered.sum() * cell, placements.surface.sum())
    assert np.isclose(raster.channel(SIZE).sum() * cell, (placements.surface * np.log2(placements.size)).sum())
    lives = np.log2(placements.end - placements.start)
    assert np.isclose(raster.channel(LIFE).sum() * cell, (placements.surface * lives).sum())


def test_a_cell_has_the_share_that_is_covered():
    raster = Raster(4096)  # 4 events in a column
    raster.add(placed((4096, 2048, 4, 10)))
    assert raster.chunks.tolist() == [1]
    assert raster.channel(COVER)[0, :4].tolist() == [0, 0.5, 0.25, 0]
    assert raster.first.tolist() == [1]


def test_addresses_that_were_never_used_have_no_row():
    raster = Raster(10)
    raster.add(placed((4096, 1, 0, 1), (0x7F0000000000, 5000, 0, 1)))
    assert raster.chunks.tolist() == [1, 0x7F0000000, 0x7F0000001]
    assert raster.row_of(np.array([0x7F0000001])).tolist() == [2]


def test_chunks_double_so_that_rows_stay_few():
    raster = Raster(10)
    raster.add(placed(*((page << 12, 4096, 0, 5) for page in range(3000))))
    assert len(raster) == 1500 and raster.shift == 13
    assert np.allclose(raster.channel(COVER)[:, :5], 1)
    raster.add(placed((3000 << 12, 64 << 20, 5, 6)))
    assert len(raster) <= 2048
    assert np.isclose(raster.channel(COVER).sum() * (raster.width << raster.shift), 3000 * 4096 * 5 + (64 << 20))


def test_the_largest_are_those_that_cover_most():
    placements = placed((0, 10, 0, 5), (100, 100, 1, 2), (300, 1, 2, 900))
    assert placements.largest(2).start.tolist() == [1, 2]
    assert placements.largest(9).start.tolist() == [0, 1, 2]
