"""Vmem, the allocator of ranges: instant fit, merging, alignment, quantum caches, spans; a heap made of it alone."""

from pathlib import Path

import pytest

from heapwright import allocator
from heapwright.allocators.parts import vmem
from heapwright.conformance import CHECKS, Subject
from heapwright.machine import Fault, start

SPECIMEN = Path(__file__).parents[1] / "specimens" / "vmem_heap.py"
DESIGN = allocator.load(str(SPECIMEN))
KIB = 1 << 10


@pytest.fixture
def arena(heap):
    """An arena of numbers, 1000 to 1999, that are the addresses of nothing."""
    vmem.open_arena(heap.state.arena, 1)
    assert vmem.add_span(heap.state.arena, 1000, 1000)
    return heap.state.arena


def checked(heap):
    DESIGN.check(heap.state, 0, 0)


def large(arena, count, size=10):
    """Ranges that are too large for the quantum caches."""
    return [vmem.allocate(arena, size, 1) for _ in range(count)]


# --- an arena of numbers


def test_ranges_are_apart_and_inside(heap, arena):
    ranges = [vmem.allocate(arena, 7, 1) for _ in range(142)]
    assert sorted(ranges) == list(range(1000, 1994, 7))
    assert vmem.allocate(arena, 7, 1) == vmem.NOTHING and vmem.allocate(arena, 6, 1) == 1994
    assert (arena.in_use, arena.total) == (1000, 1000)
    checked(heap)


def test_freed_ranges_merge_with_both_neighbours(heap, arena):
    first, second, third = large(arena, 3)
    assert vmem.release(arena, first) == vmem.release(arena, third) == 10
    checked(heap)
    assert vmem.release(arena, second) == 10
    assert vmem.allocate(arena, 1000, 1) == 1000
    checked(heap)


def test_instant_fit_takes_the_first_of_the_next_power_of_two(heap, arena):
    """A tighter segment in the list of the size itself is left alone."""
    ranges = large(arena, 6, 20)
    tight, roomy = ranges[1], ranges[3]
    assert vmem.release(arena, tight) and vmem.release(arena, roomy) and vmem.release(arena, ranges[4])
    assert vmem.allocate(arena, 17, 1) == roomy  # 40 numbers; those of `tight` are in the list of 16 to 31
    checked(heap)


def test_the_list_of_the_size_itself_is_the_last_resort(heap, arena):
    ranges = large(arena, 50, 20)
    vmem.release(arena, ranges[7])
    assert vmem.allocate(arena, 19, 1) == ranges[7]
    checked(heap)


@pytest.mark.parametrize("align", [2, 64, 512])
def test_aligned_ranges(heap, arena, align):
    vmem.allocate(arena, 9, 1)
    found = vmem.allocate(arena, 100, align)
    assert found % align == 0 and 1000 <= found <= 1900
    checked(heap)
    assert vmem.release(arena, found) == 100
    checked(heap)


def test_an_aligned_range_is_found_even_where_it_fits_exactly(heap, arena):
    for each in (large(arena, 1, 24), [vmem.allocate(arena, 976 - 64, 1)]):
        assert each[0] != vmem.NOTHING
    assert vmem.allocate(arena, 64, 64) == vmem.NOTHING  # 1936 to 1999
    assert vmem.allocate(arena, 48, 16) == 1936
    checked(heap)


@pytest.mark.parametrize("wrong", [1001, 999, 2000, 1010])
def test_what_is_no_range_is_not_released(arena, wrong):
    vmem.allocate(arena, 10, 1)
    assert vmem.release(arena, wrong) == 0 and arena.in_use == 10


def test_a_range_is_released_once(arena):
    for size in (5, 10):
        start_ = vmem.allocate(arena, size, 1)
        assert vmem.release(arena, start_) == size and vmem.release(arena, start_) == 0


# --- quantum caches


def test_small_ranges_come_back_without_a_split_or_a_merge(heap, arena):
    ranges = [vmem.allocate(arena, 5, 1) for _ in range(10)]
    for each in ranges:
        vmem.release(arena, each)
    assert arena.counts[4] == vmem.CACHED_RANGES
    checked(heap)
    again = [vmem.allocate(arena, 5, 1) for _ in range(vmem.CACHED_RANGES)]
    assert again == ranges[: vmem.CACHED_RANGES][::-1] and arena.counts[4] == 0
    checked(heap)


def test_a_reap_merges_what_is_cached(heap, arena):
    for each in [vmem.allocate(arena, size, 1) for size in (1, 2, 3, 8, 8)]:
        vmem.release(arena, each)
    assert vmem.allocate(arena, 1000, 1) == vmem.NOTHING
    vmem.reap(arena)
    assert vmem.allocate(arena, 1000, 1) == 1000
    checked(heap)


# --- spans


def test_ranges_do_not_cross_spans(heap, arena):
    assert vmem.add_span(arena, 2000, 500)
    assert vmem.allocate(arena, 1001, 1) == vmem.NOTHING
    assert {vmem.allocate(arena, 1000, 1), vmem.allocate(arena, 500, 1)} == {1000, 2000}
    checked(heap)
    vmem.release(arena, 1000)
    assert vmem.take_free_span(arena) == (1000, 1000)
    assert vmem.take_free_span(arena) == (vmem.NOTHING, 0) and arena.total == 500
    checked(heap)


def test_without_memory_for_tags_nothing_changes(heap, arena):
    ranges = []
    heap.process.kernel.calls.at(1)
    while (found := vmem.allocate(arena, 10, 1)) != vmem.NOTHING:
        ranges.append(found)
    assert len(ranges) < 90
    checked(heap)
    heap.process.kernel.calls.never()
    assert vmem.allocate(arena, 10, 1) != vmem.NOTHING
    checked(heap)


# --- a heap of it


def test_spans_go_back_as_soon_as_they_are_free(heap):
    blocks = [heap.alloc(100 * KIB) for _ in range(10)]
    held = heap.memory.held()
    for each in blocks:
        heap.dealloc(each)
    assert heap.memory.held() < held // 10
    heap.check()


def test_a_double_free_is_reported(heap):
    heap.alloc(100)
    block = heap.alloc(100)
    heap.dealloc(block)
    with pytest.raises(Fault, match="not a live block"):
        heap.dealloc(block, unchecked=True)


@pytest.mark.parametrize("name", ["U5_conservation", "U6_zeroed", "U11_zero_size", "foreign_free", "own_invariants"])
def test_it_conforms(name):
    assert name in CHECKS
    CHECKS[name](Subject(str(SPECIMEN), is_quick=True))


def test_a_heap_without_blocks():
    heap = start(DESIGN)
    assert heap.trim() == 0
    heap.check()
