"""Blame is what a count of each byte says; what a group gives back is what the kernel gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapwright.lab.naming import contestant
from heapwright.native.runtime.linux import PAGE
from heapwright.report.blame import Blocks, Pages, holes, largest_hole
from heapwright.report.blame_trace import Options, Replay, age_name, blame, power_of_ten
from heapwright.traces.arrays import np
from heapwright.traces.events import ALLOC, DEALLOC, Events, Process, Trace

GROUPS = 3
RANGE = (8 * PAGE, 16 * PAGE)


@st.composite
def heaps(draw):
    """Blocks that do not overlap, within some pages, in any order."""
    cuts = sorted(draw(st.sets(st.integers(*RANGE), min_size=2, max_size=30)))
    edges = list(zip(cuts[::2], cuts[1::2], strict=False))
    edges = draw(st.permutations(edges))
    groups = draw(st.lists(st.integers(0, GROUPS - 1), min_size=len(edges), max_size=len(edges)))
    starts, ends = (np.array([each[side] for each in edges], np.int64) for side in (0, 1))
    return Blocks.of(starts, ends - starts, np.array(groups, np.int64))


def bytes_of(blocks):
    """The group of each byte of the range; -1 outside of blocks."""
    owner = np.full(RANGE[1], -1)
    for start, end, group in zip(blocks.starts, blocks.ends, blocks.groups, strict=True):
        owner[start:end] = group
    return owner[RANGE[0] :].reshape(-1, PAGE)


@given(heaps())
def test_pages_are_counted_byte_by_byte(blocks):
    used = (bytes_of(blocks) >= 0).sum(axis=1)
    assert Pages.of(blocks).census() == ((used == PAGE).sum(), ((used > 0) & (used < PAGE)).sum())


@given(heaps())
def test_what_a_release_frees_are_the_pages_that_are_empty_then(blocks):
    before = (bytes_of(blocks) >= 0).any(axis=1)
    for group, found in enumerate(Pages.of(blocks).released(GROUPS)):
        after = (bytes_of(blocks.without(group)) >= 0).any(axis=1)
        assert found == PAGE * (before & ~after).sum()


@given(heaps())
def test_the_groups_share_the_free_bytes_of_their_pages(blocks):
    owner = bytes_of(blocks)
    used = (owner >= 0).sum(axis=1)
    free = np.where(used > 0, PAGE - used, 0)
    for group, found in enumerate(Pages.of(blocks).held_back(GROUPS)):
        weights = (owner == group).sum(axis=1) / np.maximum(used, 1)
        assert abs(found - (free * weights).sum()) < 1


@given(heaps())
def test_holes_are_the_longest_runs_outside_of_blocks(blocks):
    owner = bytes_of(blocks).ravel()
    text = "".join("x" if each >= 0 else "." for each in owner)
    runs = sorted((len(run) for run in text.split("x") if run), reverse=True)
    found = holes(blocks, [RANGE])
    assert [hole.size for hole in found] == runs[:3]
    assert largest_hole(blocks, [RANGE]) == (runs[0] if runs else 0)
    for hole in found:
        assert hole.start == (RANGE[0] if hole.below is None else blocks.ends[hole.below])
        assert hole.end == (RANGE[1] if hole.above is None else blocks.starts[hole.above])


def test_ages_have_classes():
    assert power_of_ten(np.array([0, 1, 2, 10, 11, 100])).tolist() == [0, 0, 1, 1, 2, 2]
    assert age_name(3, False) == "100 to 1,000 events old"
    assert age_name(3, True) == "100 µs to 1.00 ms old"


# --- on a replay


def replay_of(op, block, size):
    events = Events.of(op=op, thread=[0] * len(op), block=block, size=size)
    process = Process(events)
    return Replay(Trace([process]), process)


def pinned(count=400):
    """Pairs of a large and a small block, of which the large ones are freed: each page keeps a small one or none."""
    op = [ALLOC] * 2 * count + [DEALLOC] * count
    block = [*range(2 * count), *range(0, 2 * count, 2)]
    return replay_of(op, block, [*[3000, 24] * count, *[0] * count])


@pytest.mark.parametrize("name", ["system", "kr"])
def test_small_blocks_pin_the_pages_that_others_left(name):
    replay = pinned()
    found = blame(replay, contestant(name), Options(len(replay.flat), by="size"))
    [group] = found["groups"]
    heap = found["heap"]
    assert (group["name"], group["blocks"], group["bytes"]) == ("17 to 32 bytes", 400, 9600)
    assert heap["requested_bytes"] == 9600
    assert heap["full_pages"] == 0
    assert heap["partly_used_pages"] > 250
    assert group["releases_bytes"] == heap["partly_used_pages"] * PAGE
    assert 0.9 * group["releases_bytes"] < group["holds_back_bytes"] < group["releases_bytes"]
    assert heap["held_bytes"] == (heap["partly_used_pages"] + heap["pages_without_blocks"]) * PAGE


def test_what_a_group_gives_back_is_measured():
    """The C library maps a large block by itself, and unmaps it; small blocks at the heap's end are trimmed."""
    large = 1 << 20
    replay = replay_of([ALLOC] * 3, [0, 1, 2], [large, 100_000, 50_000])
    found = blame(replay, contestant("system"), Options(3, by="size"))
    given_back = {row["name"]: row["gives_back_bytes"] for row in found["groups"]}
    assert given_back["524,289 to 1,048,576 bytes"] in range(large, large + 3 * PAGE)
    assert given_back["65,537 to 131,072 bytes"] <= 100_000 + 2 * PAGE


def test_the_request_that_fails_is_named_with_the_holes_it_does_not_fit():
    """The heap has 1.2 MB free in holes of 3000 bytes, and asks the kernel in vain."""
    begin, tail = pinned(), 20
    op, block = [*begin.events.op, *[ALLOC] * tail], [*begin.events.block, *range(800, 800 + tail)]
    replay = replay_of(op, block, [*begin.events.size, *[5000] * tail])
    done = len(begin.flat)
    limit = blame(begin, contestant("kr"), Options(done, by="size"))["heap"]["held_bytes"]
    found = blame(replay, contestant("kr"), Options(len(replay.flat), limit=limit, by="size"))
    assert done <= found["events"] < done + tail
    assert (found["refused"]["event"], found["refused"]["bytes"]) == (found["events"] + 1, 5000)
    assert found["refused"]["call"] == "malloc"
    assert all(hole["bytes"] < 5000 + 16 for hole in found["holes"])
    assert any(hole["below"]["bytes"] == hole["above"]["bytes"] == 24 for hole in found["holes"] if hole["above"])
    assert found["heap"]["held_bytes"] == limit
    assert found["heap"]["outside_bytes"] > 200 * 5000
