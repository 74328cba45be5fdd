"""Frames, failures and the page table, against xv6's kalloc.c and vm.c."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapwright.machine.frames import KERNBASE, Failures, Frames, KernelPanic
from heapwright.machine.page_table import LAZY, RESERVED, PageTable, R, U, V, W, X

PAGES = (4096, 16384, 65536)


def test_the_last_frame_freed_is_the_first_one_taken():
    frames = Frames(8, 4096)
    taken = [frames.take(1) for _ in range(3)]
    assert taken == [KERNBASE + i * 4096 for i in (7, 6, 5)], "freerange frees upwards, so the highest comes first"
    frames.give(taken[0])
    frames.give(taken[2])
    assert [frames.take(1), frames.take(1)] == [taken[2], taken[0]]


def test_frames_are_poisoned_as_in_xv6():
    frames = Frames(1, 4096)
    frame = frames.take(1)
    assert set(frames.bytes_of(frame)) == {5}
    frames.give(frame)
    assert set(frames.bytes_of(frame)) == {1}


def test_the_budget_bounds_taken_and_reserved_frames():
    frames = Frames(3, 4096)
    assert frames.reserve(2)
    assert frames.take(1) and not frames.take(1)
    assert not frames.reserve(1)
    assert frames.take_reserved(1)
    frames.unreserve(1)
    assert frames.take(1) and frames.available == 0 and frames.peak == 3


def test_freeing_a_free_frame_panics():
    frames = Frames(1, 4096)
    frame = frames.take(1)
    frames.give(frame)
    with pytest.raises(KernelPanic, match="kfree"):
        frames.give(frame)


@pytest.mark.parametrize("page", [512, 8192, 0])
def test_other_page_sizes_are_refused(page):
    with pytest.raises(ValueError, match="4096, 16384, 65536"):
        Frames(1, page)


@pytest.mark.parametrize(
    ("once", "expected"), [(True, [False, False, True, False]), (False, [False, False, True, True])]
)
def test_the_kth_request_fails(once, expected):
    failures = Failures()
    failures.at(3, once)
    assert [failures.due() for _ in range(4)] == expected
    failures.never()
    assert not failures.due()


def test_a_request_for_many_frames_counts_each():
    frames = Frames(8, 4096)
    frames.failures.at(3, once=True)
    assert not frames.reserve(4) and frames.reserved == 0
    assert frames.reserve(4)


@pytest.mark.parametrize("page", PAGES)
def test_three_levels_hold_one_page(page):
    frames = Frames(16, page)
    table = PageTable(frames, 1)
    frame = frames.take(1)
    assert table.map(5 * page, frame, R | W | U)
    assert len(table.nodes()) == 3
    assert table.entry(5 * page) == frame >> 12 << 10 | V | R | W | U
    assert table.translate(5 * page + 17) == frame + 17
    assert table.translate(6 * page) == 0


def test_indexes_are_those_of_sv39():
    table = PageTable(Frames(4, 4096), 1)
    address = 3 << 30 | 5 << 21 | 7 << 12 | 9
    assert [table.index(level, address) for level in (2, 1, 0)] == [3, 5, 7]


def test_mapping_twice_panics():
    frames = Frames(8, 4096)
    table = PageTable(frames, 1)
    table.map(0, frames.take(1), R)
    with pytest.raises(KernelPanic, match="remap"):
        table.map(0, frames.take(1), R)


def test_unmapping_what_is_not_mapped_panics():
    with pytest.raises(KernelPanic, match="not mapped"):
        PageTable(Frames(8, 4096), 1).unmap(0)


def test_levels_without_entries_go_back():
    frames = Frames(16, 4096)
    table = PageTable(frames, 1)
    frame = frames.take(1)
    table.map(1 << 30, frame, R | X)
    assert table.frame_of(table.unmap(1 << 30)) == frame
    assert table.nodes() == {table.root} and frames.taken == 2
    frames.give(frame)
    table.free()
    assert frames.taken == 0


def test_a_table_with_a_leaf_cannot_be_freed():
    frames = Frames(8, 4096)
    table = PageTable(frames, 1)
    table.map(0, frames.take(1), R)
    with pytest.raises(KernelPanic, match="leaf"):
        table.free()


@pytest.mark.parametrize("left", [0, 1])
def test_a_map_without_frames_for_its_levels_adds_none(left):
    frames = Frames(1 + left, 4096)
    table = PageTable(frames, 1)
    assert not table.map(0, KERNBASE, R)
    assert frames.taken == 1 and table.nodes() == {table.root}


def test_a_lazy_page_gets_its_frame_later():
    frames = Frames(8, 4096)
    table = PageTable(frames, 1)
    table.map_lazily(4096, R | W | U | RESERVED)
    assert table.entry(4096) & LAZY and table.translate(4096) == 0
    frame = frames.take(1)
    table.back(4096, frame)
    assert table.entry(4096) == frame >> 12 << 10 | V | R | W | U


def test_a_run_of_lazy_pages_is_mapped_and_unmapped_at_once():
    frames = Frames(8, 4096)
    table = PageTable(frames, 1)
    first, border, last = 510 * 4096, 512 * 4096, 515 * 4096
    assert list(table.runs(first, last)) == [(first, border), (border, last)], "a level has 512 entries"
    assert table.map_lazily(first, R | W | U, 2) and table.map_lazily(border, R | W | U, 3)
    assert [address for address, _ in table.pages()] == list(range(first, last, 4096))
    table.back(border + 4096, frames.take(1))
    lazy = table.entry(first)
    assert table.unmap_alike(border, last, lazy) == 1, "the page behind it has a frame"
    assert table.unmap_alike(first, border, lazy) == 2
    table.unmap(border + 4096)
    assert len(table.nodes()) == 3
    assert table.unmap_alike(border + 2 * 4096, last, lazy) == 1
    assert table.nodes() == {table.root}


def test_a_run_over_a_mapped_page_panics():
    table = PageTable(Frames(8, 4096), 1)
    table.map_lazily(2 * 4096, R | W | U)
    with pytest.raises(KernelPanic, match="remap"):
        table.map_lazily(0, R | W | U, 3)


@given(st.sets(st.integers(0, (1 << 26) - 1), max_size=40))
def test_pages_are_listed_in_order(numbers):
    frames = Frames(200, 4096)
    table = PageTable(frames, 1)
    for number in numbers:
        assert table.map(number << 12, KERNBASE, R)
    assert [address >> 12 for address, _ in table.pages()] == sorted(numbers)
    for number in numbers:
        table.unmap(number << 12)
    assert frames.taken == 1
