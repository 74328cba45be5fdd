"""The list of free regions, by the address: what it takes, splits, merges, grows and gives back."""

import pytest
from heaps import kernel_calls, spans

from heapwright import allocator
from heapwright.conformance.kernel import pages_of
from heapwright.machine import Fault, start
from heapwright.spans import FREE, UNUSED, USED

DESIGN = allocator.load("linked_list")
BASE = 0x4000  # where the heap of a small process starts
FIRST_END = 0x10000  # the first growth ends at a multiple of 64 KiB
KIB, MIB = 1 << 10, 1 << 20


def rounded(size):
    return max(-(-size // 16) * 16, 16)


def assert_sound(heap):
    """The invariants hold, and each byte of the heap is free or a live block's."""
    heap.check()
    used = sum(size for _, size in spans(heap, USED))
    assert used == sum(rounded(block.size) for block in heap.live.values())


def row(heap, count, size=64):
    """Blocks side by side."""
    blocks = [heap.alloc(size) for _ in range(count)]
    assert blocks == [blocks[0] + i * size for i in range(count)]
    return blocks


# --- first fit


def test_blocks_lie_side_by_side_from_the_start_of_the_heap(heap):
    assert [heap.alloc(40), heap.alloc(1), heap.alloc(0), heap.alloc(16)] == [BASE, BASE + 48, BASE + 64, BASE + 80]
    assert spans(heap, FREE) == [(BASE + 96, FIRST_END - BASE - 96)]


@pytest.mark.parametrize(
    ("size", "taken"), [(0, 16), (1, 16), (15, 16), (16, 16), (17, 32), (24, 32), (32, 32), (4095, 4096)]
)
def test_sizes_are_rounded_to_16(heap, size, taken):
    assert heap.alloc(16) == BASE
    heap.alloc(size)
    assert heap.alloc(16) == BASE + 16 + taken


def test_the_lowest_region_that_fits_is_taken_not_the_best(heap):
    small, _, large, _, exact, _ = (heap.alloc(size) for size in (32, 16, 128, 16, 64, 16))
    for address in (exact, small, large):
        heap.dealloc(address)
    assert heap.alloc(64) == large
    assert heap.alloc(64) == large + 64
    assert heap.alloc(64) == exact
    assert heap.alloc(64) == exact + 80  # behind the last block
    assert heap.alloc(32) == small


def test_an_exact_fit_leaves_no_region(heap):
    blocks = row(heap, 3)
    heap.dealloc(blocks[1])
    assert heap.alloc(64) == blocks[1]
    assert spans(heap, FREE) == [(BASE + 192, FIRST_END - BASE - 192)]


def test_the_rest_of_a_region_is_a_region_even_of_16_bytes(heap):
    blocks = row(heap, 3)
    heap.dealloc(blocks[1])
    assert heap.alloc(48) == blocks[1]
    assert spans(heap, FREE)[0] == (blocks[1] + 48, 16)


# --- merging


@pytest.mark.parametrize(
    ("freed_before", "merged"),
    [
        ((), (128, 64)),
        ((1,), (64, 128)),
        ((3,), (128, 128)),
        ((1, 3), (64, 192)),
    ],
    ids=["with neither", "with the lower", "with the upper", "with both"],
)
def test_a_freed_block_merges(heap, freed_before, merged):
    blocks = row(heap, 5)
    for i in freed_before:
        heap.dealloc(blocks[i])
    heap.dealloc(blocks[2])
    assert spans(heap, FREE)[0] == (BASE + merged[0], merged[1])
    assert_sound(heap)


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_in_any_order_all_becomes_one_region(heap, order):
    blocks = row(heap, 3)
    for i in order:
        heap.dealloc(blocks[i])
    assert spans(heap, FREE) == [(BASE, FIRST_END - BASE)]


# --- alignment


def test_padding_in_front_and_behind_stays_free(heap):
    assert heap.alloc(16) == BASE
    assert heap.alloc(100, 1024) == BASE + 1024
    assert spans(heap, FREE) == [(BASE + 16, 1008), (BASE + 1136, FIRST_END - BASE - 1136)]
    assert heap.alloc(1008) == BASE + 16


# --- growth


def test_growth_asks_for_what_the_free_end_lacks(heap):
    heap.alloc(16)
    calls = kernel_calls(heap)
    assert heap.alloc(100 * KIB) == BASE + 16  # where the free end began
    assert calls == [("sbrk", 0), ("sbrk", 0x20000 - FIRST_END)]
    assert_sound(heap)


def test_growth_for_an_alignment_counts_on_the_free_end_too(heap):
    heap.alloc(16)
    calls = kernel_calls(heap)
    assert heap.alloc(64 * KIB, 0x8000) == 0x8000
    assert calls == [("sbrk", 0), ("sbrk", 64 * KIB)]
    assert_sound(heap)


def test_memory_that_somebody_else_took_is_left_alone(heap):
    heap.alloc(FIRST_END - BASE - 32)
    theirs = heap.process.user.sbrk(5)
    heap.process.user.store(theirs, 1, 7)
    assert heap.alloc(64) == FIRST_END + 16
    assert heap.process.user.load(theirs, 1) == 7
    assert list(heap.spans()) == [
        (BASE, FIRST_END - 32 - BASE, USED),
        (FIRST_END - 32, 32, FREE),
        (FIRST_END + 5, 11, UNUSED),
        (FIRST_END + 16, 64, USED),
        (FIRST_END + 80, 0x20000 - FIRST_END - 80, FREE),
    ]


def test_memory_that_comes_from_elsewhere_is_used(heap, monkeypatch):
    """As when the break is stuck: from the first growth on, memory comes from a mapping."""
    heap.alloc(40 * KIB)
    mapping = heap.process.mmap(MIB)
    growths = []

    def sbrk(n):
        if n > 0:
            growths.append(n)
            return mapping + sum(growths[:-1])
        return mapping + sum(growths) if growths else heap.process.brk

    monkeypatch.setattr(heap.process.memory, "sbrk", sbrk)
    assert heap.alloc(64 * KIB, 32 * KIB) == mapping + (-mapping & (32 * KIB - 1))
    assert len(growths) == 2  # the first was for a block at the old break, and too small for the misfit here
    assert heap.alloc(8 * KIB) == BASE + 40 * KIB


@pytest.mark.parametrize("page", [4096, 16384, 65536])
def test_every_page_size(page):
    heap = start(DESIGN, page=page)
    assert heap.alloc(100 * KIB) == heap.process.heap_start
    assert heap.process.brk % page == 0
    assert_sound(heap)


# --- giving back


def test_a_long_free_end_is_cut_to_64_kib(heap):
    heap.alloc(16)
    heap.dealloc(heap.alloc(MIB))
    assert heap.process.brk == BASE + 64 * KIB + 4096  # 64 KiB behind the first block, to the end of a page
    assert_sound(heap)


def test_a_free_end_of_128_kib_is_kept(heap):
    heap.alloc(16)
    block, last = heap.alloc(0x20000 - BASE - 16), heap.alloc(128 * KIB)
    heap.dealloc(last)
    assert heap.process.brk == last + 128 * KIB == 0x40000
    heap.dealloc(block)
    assert heap.process.brk == BASE + 64 * KIB + 4096


def test_trim_gives_back_all_but_one_page(heap):
    heap.dealloc(heap.alloc(16))
    assert heap.trim() == FIRST_END - BASE - 4096
    assert heap.process.brk == BASE + 4096
    assert heap.trim() == 0
    assert spans(heap, FREE) == [(BASE, 4096)]


def test_what_was_given_back_is_asked_for_again(heap):
    heap.dealloc(heap.alloc(16))
    heap.trim()
    assert heap.alloc(8 * KIB) == BASE
    assert heap.process.brk == FIRST_END


# --- realloc


def test_a_block_grows_into_the_free_region_behind_it(heap):
    blocks = row(heap, 3)
    heap.dealloc(blocks[1])
    assert heap.realloc(blocks[0], 112) == blocks[0]
    assert spans(heap, FREE)[0] == (blocks[0] + 112, 16)
    assert heap.realloc(blocks[0], 128) == blocks[0]
    assert_sound(heap)


def test_the_last_block_grows_with_the_heap(heap):
    heap.alloc(16)
    last = heap.alloc(FIRST_END - BASE - 32)
    assert heap.realloc(last, MIB) == last
    assert heap.process.brk == 0x110000
    assert_sound(heap)


def test_a_block_that_has_no_room_moves_and_leaves_a_hole(heap):
    blocks = row(heap, 2)
    heap.user.fill(blocks[0], 64, 7)
    assert heap.realloc(blocks[0], 65) == BASE + 128
    assert heap.process.peek(BASE + 128, 64) == bytes([7]) * 64
    assert spans(heap, FREE)[0] == (blocks[0], 64)
    assert_sound(heap)


def test_a_block_shrinks_where_it_is(heap):
    blocks = row(heap, 2)
    assert heap.realloc(blocks[0], 20) == blocks[0]
    assert spans(heap, FREE)[0] == (blocks[0] + 32, 32)
    assert heap.realloc(blocks[0], 0) == blocks[0]
    assert spans(heap, FREE)[0] == (blocks[0] + 16, 48)
    assert_sound(heap)


def test_a_vector_among_others_moves_less_than_20_times_to_a_mebibyte(heap):
    """Blocks that are pushed in between are what makes it move."""
    vector, moves = heap.alloc(16), 0
    for size in (2**k for k in range(5, 21)):
        heap.alloc(16)
        moved = heap.realloc(vector, size)
        moves, vector = moves + (moved != vector), moved
    assert moves < 20
    assert_sound(heap)


# --- misuse


@pytest.mark.parametrize("neighbours", [(), (0,), (2,), (0, 2)])
def test_a_second_free_is_noticed_wherever_the_block_went(heap, neighbours):
    blocks = row(heap, 4)
    for i in (1, *neighbours):
        heap.dealloc(blocks[i])
    before = pages_of(heap)
    with pytest.raises(Fault, match="double free"):
        heap.dealloc(blocks[1], unchecked=True)
    assert pages_of(heap) == before


@pytest.mark.parametrize(("offset", "size"), [(0, 16), (16, 16), (48, 64), (-16, 32)])
def test_giving_back_bytes_that_are_partly_free_is_noticed(heap, offset, size):
    blocks = row(heap, 4)
    heap.dealloc(blocks[1])
    with pytest.raises(Fault, match="double free"):
        DESIGN.dealloc(heap.state, blocks[1] + offset, size, 16)
