"""Segregated fits, by the address: its lists, first fit, splitting and merging, extents, and what goes back."""

import random

import pytest
from heaps import fresh, spans

from heapwright import allocator
from heapwright.allocators import segregated_fits as fits
from heapwright.conformance.kernel import pages_of
from heapwright.machine import Fault, start
from heapwright.spans import FREE, OWN, UNUSED, USED

DESIGN = allocator.load("segregated_fits")
KIB, MIB = 1 << 10, 1 << 20


@pytest.fixture
def base(heap):
    """The address of the first block: before it lie a link, the prologue and a header."""
    return heap.process.heap_start + 32


def row(heap, count, size=48):
    """Blocks side by side, with no room for more bytes than were asked for."""
    blocks = [heap.alloc(size) for _ in range(count)]
    assert blocks == [blocks[0] + i * (size + 16) for i in range(count)]
    return blocks


def listed(heap):
    """The lists that are not empty, by name."""
    return {name: addresses for name, addresses in heap.allocator.lists(heap.state) if addresses}


# --- the lists


def test_each_small_size_has_a_list_of_its_own():
    assert [fits.class_of(size) for size in range(32, 129, 16)] == [1, 2, 3, 4, 5, 6, 7]


def test_then_there_are_four_to_each_doubling():
    for k in range(7, 20):
        quarters = [fits.class_of((1 << k) + (i << k - 2)) for i in range(1, 5)]
        assert quarters == [4 * (k - 5) + i for i in range(4)]
        assert all(fits.class_of((1 << k) + (i << k - 2) + 16) == quarters[i - 1] + 1 for i in range(1, 4))


def test_the_last_list_has_all_that_is_larger():
    bound = 7 << 18
    assert fits.class_of(bound) == fits.LISTS - 2
    assert {fits.class_of(size) for size in (bound + 16, 2 * MIB, 3 * MIB, 1 << 47)} == {fits.LISTS - 1}


def test_a_free_block_is_in_the_list_of_its_size(heap):
    blocks = [(heap.alloc(size), heap.alloc(16))[0] for size in (16, 100, 112, 113, 1000)]
    for block in blocks:
        heap.dealloc(block)
    found = listed(heap)
    assert (found["list 1"], found["list 7"]) == ([blocks[0]], [blocks[2], blocks[1]])
    assert (found["list 8"], found["list 19"]) == ([blocks[3]], [blocks[4]])


# --- first fit


@pytest.mark.parametrize(("size", "taken"), [(0, 32), (1, 32), (16, 32), (17, 48), (32, 48), (33, 64), (4096, 4112)])
def test_blocks_are_16_bytes_more_in_steps_of_16(heap, base, size, taken):
    assert heap.alloc(size) == base
    assert heap.alloc(16) == base + taken
    assert heap.usable_size(base) == taken - 16


def test_the_list_is_searched_for_the_first_that_fits(heap):
    """Sizes from 1040 to 1280 share a list, which begins with the block freed last."""
    blocks = [(heap.alloc(size - 16), heap.alloc(16))[0] for size in (1280, 1040, 1200, 1120)]
    for block in blocks:
        heap.dealloc(block)
    assert listed(heap)["list 20"] == blocks[::-1]
    assert heap.alloc(1200 - 16) == blocks[2]
    assert heap.alloc(1200 - 16) == blocks[0]
    assert heap.alloc(1040 - 16) == blocks[3]
    heap.check()


def test_where_none_fits_the_next_list_with_a_block_serves(heap):
    near, _, far, _ = (heap.alloc(size) for size in (300, 16, 5000, 16))
    heap.dealloc(far)
    heap.dealloc(near)
    assert heap.alloc(200) == near
    assert heap.alloc(301) == far
    heap.check()


def test_what_is_left_of_a_block_is_in_the_list_of_its_own_size(heap):
    block, _ = heap.alloc(1000), heap.alloc(16)
    heap.dealloc(block)
    assert heap.alloc(100) == block
    assert listed(heap)[f"list {fits.class_of(1024 - 128)}"] == [block + 128]
    heap.check()


def test_a_rest_of_less_than_32_bytes_stays_with_the_block(heap):
    block, _ = row(heap, 2)
    heap.dealloc(block)
    assert heap.alloc(32) == block
    assert heap.usable_size(block) == 48
    heap.check()


def test_with_one_list_it_is_first_fit():
    heap = fresh("segregated_fits[LISTS=1]")
    small, _, large, _ = (heap.alloc(size) for size in (16, 16, 5000, 16))
    heap.dealloc(small)
    heap.dealloc(large)
    assert heap.alloc(16) == large, "the block freed last, of whatever size"
    heap.check()


# --- merging


@pytest.mark.parametrize(
    ("freed_before", "merged"), [((), (128, 64)), ((1,), (64, 128)), ((3,), (128, 128)), ((1, 3), (64, 192))]
)
def test_a_freed_block_merges_with_its_neighbours(heap, freed_before, merged):
    blocks = row(heap, 5)
    for i in (*freed_before, 2):
        heap.dealloc(blocks[i])
    assert spans(heap, FREE)[0] == (blocks[0] - 8 + merged[0], merged[1])
    heap.check()


@pytest.mark.parametrize("seed", range(4))
def test_in_any_order_all_becomes_one_block(heap, base, seed):
    rng = random.Random(seed)
    blocks = [heap.alloc(rng.randrange(3000), 1 << rng.randrange(4, 10)) for _ in range(60)]
    rng.shuffle(blocks)
    for address in blocks:
        heap.dealloc(address)
        heap.check()
    [(begin, size)] = spans(heap, FREE)
    assert (begin, begin + size + 8) == (base - 8, heap.process.brk)
    assert heap.alloc(size - 16) == base and spans(heap, FREE) == []


# --- alignment


@pytest.mark.parametrize("shift", range(5, 21))
def test_an_alignment_leaves_a_free_block_in_front(heap, base, shift):
    heap.alloc(16)
    address = heap.alloc(100, 1 << shift)
    gap = address - (base + 32)
    assert address % (1 << shift) == 0 and gap < (2 << shift)
    assert heap.usable_size(address) == 112
    heap.check()
    if gap:
        assert heap.alloc(gap - 16) == base + 32


def test_a_gap_of_16_bytes_is_too_small_for_a_block(heap, base):
    heap.alloc(16 if base % 32 else 32)
    begins = spans(heap, FREE)[0][0] + 8
    assert begins % 32 == 16
    assert heap.alloc(7, 32) == begins + 48
    heap.check()


def test_an_aligned_block_takes_a_hole_that_fits_to_the_byte(heap):
    heap.alloc(1000)
    hole, _ = heap.alloc(80, 4096), heap.alloc(16)
    heap.dealloc(hole)
    assert heap.alloc(80, 4096) == hole
    heap.check()


# --- extents


def test_growth_makes_the_old_epilogue_a_header(heap, base):
    heap.alloc(16)
    assert heap.process.brk % (64 * KIB) == 0
    assert heap.alloc(MIB) == base + 32, "the free end and the new memory are one block"
    assert spans(heap, OWN) == [(base - 32, 24), (heap.process.brk - 8, 8)]
    heap.check()


def test_what_somebody_else_took_divides_extents(heap, base):
    heap.alloc(16)
    end = heap.process.brk
    theirs = heap.process.user.sbrk(5)
    heap.process.user.store(theirs, 1, 7)
    assert heap.alloc(MIB) == end + 48, "5 bytes, 11 to the next 16, and 32 as in any extent"
    assert heap.process.user.load(theirs, 1) == 7
    assert spans(heap, UNUSED) == [(end + 5, 11)]
    assert spans(heap, OWN) == [(base - 32, 24), (end - 8, 8), (end + 16, 24), (heap.process.brk - 8, 8)]
    heap.check()
    assert heap.alloc(40 * KIB) == base + 32, "the free end of the extent before serves on"


def test_the_first_and_the_last_block_of_an_extent_merge_with_nothing_else(heap, base):
    first = heap.alloc(16)
    last = heap.alloc(spans(heap, FREE)[0][1] - 16)
    heap.process.user.sbrk(16)
    beyond = heap.alloc(16)
    for block in (last, beyond, first):
        heap.dealloc(block)
        heap.check()
    assert [begin for begin, _ in spans(heap, FREE)] == [base - 8, beyond - 8]


@pytest.mark.parametrize("page", [4096, 16384, 65536])
def test_every_page_size(page):
    heap = start(DESIGN, page=page)
    heap.dealloc(heap.alloc(5 * MIB))
    heap.alloc(100)
    heap.trim()
    assert heap.process.brk % page == 0
    heap.check()


# --- giving back


def test_a_long_free_end_is_cut_to_64_kib(heap, base):
    heap.alloc(16)
    heap.dealloc(heap.alloc(2 * MIB))
    assert heap.process.brk == (base + 24 + 64 * KIB | 4095) + 1
    heap.check()


def test_a_free_end_of_up_to_a_megabyte_stays(heap):
    heap.alloc(16)
    block = heap.alloc(900 * KIB)
    end = heap.process.brk
    heap.dealloc(block)
    assert heap.process.brk == end


def test_what_a_block_gives_up_goes_back_too(heap, base):
    heap.alloc(16)
    block = heap.alloc(4 * MIB)
    assert heap.realloc(block, 16) == block
    assert heap.process.brk == (base + 56 + 64 * KIB | 4095) + 1
    heap.check()


def test_trim_leaves_one_page(heap, base):
    heap.dealloc(heap.alloc(16))
    assert heap.trim() == heap.process.heap_start % 4096 + 64 * KIB - heap.process.heap_start % (64 * KIB) - 4096
    assert heap.process.brk == base - 32 + 4096
    assert heap.trim() == 0
    heap.check()
    assert heap.alloc(8 * KIB) == base


# --- realloc


def test_a_block_grows_into_the_one_behind_and_shrinks_again(heap):
    blocks = row(heap, 4)
    heap.dealloc(blocks[1])
    heap.dealloc(blocks[2])
    assert heap.realloc(blocks[0], 112) == blocks[0]
    assert spans(heap, FREE)[0] == (blocks[2] - 8, 64)
    assert heap.realloc(blocks[0], 160) == blocks[0]
    assert heap.usable_size(blocks[0]) == 176, "16 bytes are no block"
    assert heap.realloc(blocks[0], 16) == blocks[0]
    assert spans(heap, FREE)[0] == (blocks[0] + 24, 160)
    heap.check()


def test_a_block_that_has_no_room_moves(heap):
    blocks = row(heap, 2)
    heap.user.fill(blocks[0], 48, 7)
    moved = heap.realloc(blocks[0], 49)
    assert moved == blocks[1] + 64
    assert heap.process.peek(moved, 48) == bytes([7]) * 48
    assert spans(heap, FREE)[0] == (blocks[0] - 8, 64)
    heap.check()


# --- misuse


@pytest.mark.parametrize("neighbours", [(), (0,), (2,), (0, 2), (2, 0)])
@pytest.mark.parametrize("call", ["dealloc", "realloc"])
def test_a_second_free_is_noticed_wherever_the_block_went(heap, neighbours, call):
    blocks = row(heap, 4)
    for i in (*neighbours, 1):
        heap.dealloc(blocks[i])
    before = pages_of(heap)
    with pytest.raises(Fault, match="double free"):
        heap.dealloc(blocks[1], unchecked=True) if call == "dealloc" else heap.realloc(blocks[1], 500, unchecked=True)
    assert pages_of(heap) == before


@pytest.mark.parametrize("size", [16, 5000, 5 * MIB])
def test_a_second_free_after_a_trim_is_noticed(heap, size):
    heap.alloc(16)
    block = heap.alloc(size)
    heap.dealloc(block)
    heap.trim()
    with pytest.raises(Fault, match="double free|not a live block"):
        heap.dealloc(block, unchecked=True)


def test_the_epilogue_is_no_block(heap):
    """A trim puts it where a freed block has its header."""
    block = heap.alloc(100, 4096)
    heap.dealloc(block)
    heap.trim()
    assert heap.process.brk == block
    with pytest.raises(Fault, match="double free"):
        heap.dealloc(block, unchecked=True)


# --- check


def test_walk_says_what_is_used(heap, base):
    heap.alloc(100)
    assert spans(heap, USED) == [(base - 8, 128)]
