"""Wright's reserve, which learns from its mistakes, and the holes that a trim makes in slabs."""

import pytest
from heaps import bytes_by_kind, kernel_calls
from wrights import slab_of

from heapwright import allocator
from heapwright.allocators import wright
from heapwright.allocators.wright import reserve, tiles
from heapwright.machine import start
from heapwright.spans import USED

DESIGN = allocator.load("wright")
KIB, MIB = 1 << 10, 1 << 20


# --- the reserve


@pytest.fixture
def heap():
    """Megabytes come and go here that nobody reads, so the machine does not fill them with junk."""
    return start(DESIGN, junk=False)


def swing(heap, blocks=75):
    """Allocate 15 MiB and free them, or as many blocks as are given."""
    for block in [heap.alloc(200 * KIB) for _ in range(blocks)]:
        heap.dealloc(block)
    heap.check()


def test_a_drain_leaves_a_small_reserve(heap):
    large = [heap.alloc(500 * KIB) for _ in range(32)]
    swing(heap)
    assert reserve.size(heap.state) <= reserve.may_stay(heap.state) <= reserve.SLACK + 17 * MIB // 32
    assert heap.state.reserve.credit == 0 and heap.state.reserve.released > 2 * MIB
    for block in large:
        heap.dealloc(block)
    assert reserve.size(heap.state) <= reserve.may_stay(heap.state) == reserve.SMALL_HEAP


def test_a_small_heap_gives_nothing_back_until_it_is_trimmed(heap):
    swing(heap, 30)
    calls, held = kernel_calls(heap), heap.memory.held()
    for _ in range(5):
        swing(heap, 30)
        heap.process.clock += reserve.EPOCH
    assert not calls and heap.memory.held() == held
    heap.trim()
    assert heap.memory.held() <= wright.RETAINS


def test_what_a_small_heap_keeps_does_not_raise_its_peak(heap):
    """Larger blocks do not fit between the live ones, so what came free there is released."""
    blocks = [heap.alloc(150 * KIB) for _ in range(40)]
    peak = heap.state.reserve.peak
    for block in blocks[::2]:
        heap.dealloc(block)
    assert reserve.live(heap.state) + reserve.size(heap.state) == peak
    for _ in range(8):
        heap.alloc(300 * KIB)
        assert reserve.live(heap.state) + reserve.size(heap.state) <= peak + heap.state.reserve.credit
    heap.check()


def test_a_run_of_dirty_tiles_is_preferred_to_a_lower_one_without_frames(heap):
    lower, upper = heap.alloc(500 * KIB), heap.alloc(300 * KIB)
    heap.dealloc(lower)
    heap.trim()
    heap.dealloc(upper)
    assert heap.alloc(300 * KIB) == upper > lower
    heap.check()


@pytest.mark.parametrize("lower", [tiles.SEARCHED - 1, tiles.SEARCHED])
def test_dirty_tiles_are_looked_for_in_a_few_segments_only(heap, lower):
    """Each block has a segment, of which 31 tiles are left."""
    highest = max(heap.alloc(500 * KIB) for _ in range(lower + 1))
    heap.dealloc(highest)
    assert (heap.alloc(300 * KIB) == highest) == (lower < tiles.SEARCHED)
    heap.check()


def test_a_heap_that_swings_earns_credit_until_nothing_is_released_any_more(heap):
    calls, counts = kernel_calls(heap), []
    for _ in range(30):
        swing(heap)
        counts.append(len(calls))
    assert counts[-1] == counts[-5] > counts[0], "the last swings call the kernel no more"
    assert 10 * MIB < reserve.size(heap.state) <= heap.state.reserve.credit + reserve.SMALL_HEAP <= 17 * MIB


def test_credit_ends_with_an_epoch_in_which_nothing_came_and_went(heap):
    for _ in range(30):
        swing(heap)
    assert reserve.size(heap.state) > 10 * MIB
    for _ in range(2):
        heap.process.clock += reserve.EPOCH
        heap.dealloc(heap.alloc(200 * KIB))
        heap.check()
    assert reserve.size(heap.state) <= reserve.SMALL_HEAP and heap.state.reserve.credit < MIB


def test_what_was_released_in_an_earlier_epoch_is_not_regretted(heap):
    for _ in range(5):
        swing(heap)
        heap.process.clock += reserve.EPOCH
    assert heap.state.reserve.credit == 0


def test_a_huge_block_needed_again_is_kept_in_the_end(heap):
    calls = kernel_calls(heap)
    for _ in range(30):
        heap.dealloc(heap.alloc(12 * MIB))
        heap.check()
    before = len(calls)
    heap.dealloc(heap.alloc(12 * MIB))
    assert len(calls) == before


def test_a_kept_range_is_one_free_block(heap):
    heap.dealloc(heap.alloc(40))
    before = heap.survey()["free_blocks"]
    heap.state.reserve.credit = 16 * MIB
    heap.dealloc(heap.alloc(9 * MIB))
    assert heap.state.huge.ranges == 1 and heap.survey()["free_blocks"] == before + 1


def test_a_freed_huge_block_touches_the_next_one(heap):
    """Two that are no multiples of 1 MiB serve one of their sizes together."""
    others = [heap.alloc(2 * MIB + 300 * KIB) for _ in range(8)]
    heap.state.reserve.credit = 16 * MIB
    for block in others:
        heap.dealloc(block)
    heap.check()
    assert heap.state.huge.ranges == 1
    assert heap.alloc(7 * MIB) in others
    heap.check()


def test_an_epoch_of_few_huge_frees_lasts_longer(heap):
    state = heap.state.reserve
    heap.dealloc(heap.alloc(12 * MIB))
    heap.process.clock += reserve.EPOCH
    heap.dealloc(heap.alloc(12 * MIB))
    assert state.frees == 2 and state.since == 0 and state.credit > MIB, "the first release was a mistake"
    heap.process.clock += reserve.LONGEST_EPOCH
    heap.dealloc(heap.alloc(12 * MIB))
    assert state.since == heap.process.clock


def test_an_epoch_with_huge_frees_ends_at_most_half_of_the_credit(heap):
    state = heap.state.reserve
    heap.dealloc(heap.alloc(12 * MIB))
    state.credit = 64 * MIB
    heap.process.clock += reserve.LONGEST_EPOCH
    reserve.end_epoch_if_over(heap.state)
    assert state.credit == 32 * MIB and state.frees == 0
    heap.process.clock += reserve.EPOCH
    reserve.end_epoch_if_over(heap.state)
    assert state.credit == 0, "nothing huge was freed in this one"


def test_an_epoch_of_many_huge_frees_is_over_after_a_fifth_of_a_second(heap):
    heap.state.reserve.frees = reserve.FREES - 1
    heap.dealloc(heap.alloc(12 * MIB))
    heap.process.clock += reserve.EPOCH
    heap.dealloc(heap.alloc(12 * MIB))
    assert heap.state.reserve.since == heap.process.clock


# --- holes


def some_with_holes(heap):
    """Blocks of which every 16th is live, after a trim; what it released."""
    blocks = [heap.alloc(480) for _ in range(34 * 8)]
    live = blocks[::16]
    for block in blocks:
        if block not in live:
            heap.dealloc(block)
    return live, heap.trim()


def test_a_trim_releases_pages_without_live_blocks(heap):
    live, released = some_with_holes(heap)
    slabs_of = {slab_of(heap, block).address: slab_of(heap, block) for block in live}
    heap.check()
    assert released >= 4 * KIB * sum(slab.holes.bit_count() for slab in slabs_of.values()) > 40 * KIB
    assert bytes_by_kind(heap)[USED] == 480 * len(live)


def test_a_slab_with_holes_serves_again_and_gets_empty(heap):
    live, _ = some_with_holes(heap)
    more = [heap.alloc(480) for _ in range(34 * 8 - len(live))]
    assert len({*live, *more}) == 34 * 8 and {slab_of(heap, block).holes for block in more} == {0}
    heap.check()
    for block in live + more:
        heap.dealloc(block)
    heap.check()
    live, _ = some_with_holes(heap)
    for block in live:
        heap.dealloc(block)
    heap.trim()
    heap.check()
    assert heap.memory.held() <= wright.RETAINS
