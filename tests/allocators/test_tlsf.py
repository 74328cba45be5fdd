"""TLSF, by the address: its lists, good fit, splitting and coalescing, pools, and what goes back."""

import random

import pytest
from heaps import spans

from heapwright import allocator
from heapwright.allocators.tlsf import free_lists
from heapwright.conformance.kernel import pages_of
from heapwright.machine import Fault, start
from heapwright.spans import FREE, OWN, UNUSED, USED

DESIGN = allocator.load("tlsf")
KIB, MIB = 1 << 10, 1 << 20


@pytest.fixture
def base(heap):
    """The address of the first block: the heap's first word is a link, the next the header."""
    return heap.process.heap_start + 16


def row(heap, count, size=56):
    """Blocks side by side, with no room for more bytes than were asked for."""
    blocks = [heap.alloc(size) for _ in range(count)]
    assert blocks == [blocks[0] + i * (size + 8) for i in range(count)]
    return blocks


def first_free(heap):
    return spans(heap, FREE)[0][0] + 8


# --- the lists

SIZES = [*range(24, 5000, 16), *(2**k + i for k in range(13, 47) for i in (-24, -8, 8, 24))]


def test_each_size_has_a_list_and_lists_rise_with_sizes():
    indices = [free_lists.index_of(size) for size in SIZES]
    assert indices == sorted(indices)
    assert indices[0] == 1
    assert indices[-1] < free_lists.FL_COUNT * free_lists.SL_COUNT


def test_every_block_of_a_list_that_is_searched_fits():
    """The paper's mapping: 32 lists divide the sizes from 2 ** f up to the next power of two."""
    for size in SIZES:
        fl, step = max(0, size.bit_length() - 9), 1 << max(4, size.bit_length() - 6)
        own, searched = free_lists.index_of(size), free_lists.mapping_search(size)
        assert own == 32 * fl + size // step % 32
        assert searched == (own if size % step == 8 else own + 1)
        assert free_lists.index_of(free_lists.rounded(size)) == searched


# --- good fit


@pytest.mark.parametrize(("size", "taken"), [(0, 32), (1, 32), (24, 32), (25, 48), (40, 48), (41, 64), (4096, 4112)])
def test_blocks_are_8_bytes_more_in_steps_of_16(heap, base, size, taken):
    assert heap.alloc(size) == base
    assert heap.alloc(16) == base + taken
    assert heap.usable_size(base) == taken - 8


def test_the_list_of_the_next_size_serves_not_the_first_block(heap):
    small, _, large, _, exact, _ = (heap.alloc(size) for size in (40, 24, 120, 24, 56, 24))
    for address in (exact, large, small):
        heap.dealloc(address)
    assert heap.alloc(56) == exact
    assert heap.alloc(56) == large
    assert heap.alloc(40) == small
    assert heap.alloc(40) == large + 64
    heap.check()


def test_a_block_that_fits_may_be_missed_by_its_rounding(heap):
    """Lists are 64 bytes apart here, and nobody looks at which of its sizes a list has."""
    block, _ = heap.alloc(2048 + 40), heap.alloc(24)
    heap.dealloc(block)
    assert heap.alloc(2048 + 40) > block
    assert heap.alloc(2048 + 8) == block


def test_a_rest_of_less_than_32_bytes_stays_with_the_block(heap):
    block, _ = row(heap, 2)
    heap.dealloc(block)
    assert heap.alloc(40) == block
    assert heap.usable_size(block) == 56
    heap.check()


def test_the_block_freed_last_serves_first(heap):
    blocks = row(heap, 6)
    for i in (0, 4, 2):
        heap.dealloc(blocks[i])
    assert [heap.alloc(56) for _ in range(3)] == [blocks[2], blocks[4], blocks[0]]


# --- coalescing


@pytest.mark.parametrize(
    ("freed_before", "merged"), [((), (128, 64)), ((1,), (64, 128)), ((3,), (128, 128)), ((1, 3), (64, 192))]
)
def test_a_freed_block_merges(heap, freed_before, merged):
    blocks = row(heap, 5)
    for i in (*freed_before, 2):
        heap.dealloc(blocks[i])
    assert spans(heap, FREE)[0] == (blocks[0] - 8 + merged[0], merged[1])
    heap.check()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_in_any_order_all_becomes_one_block_that_serves_the_largest_request(heap, base, seed):
    rng = random.Random(seed)
    blocks = [heap.alloc(rng.randrange(3000), 1 << rng.randrange(4, 10)) for _ in range(60)]
    rng.shuffle(blocks)
    for address in blocks:
        heap.dealloc(address)
        heap.check()
    [(begin, size)] = spans(heap, FREE)
    assert (begin, begin + size + 8) == (base - 8, heap.process.brk)
    before = heap.process.brk
    assert heap.alloc(224 * KIB) == base
    assert heap.process.brk == before


# --- alignment


@pytest.mark.parametrize("shift", range(5, 21))
def test_alignments_leave_no_more_than_a_gap_in_front(heap, base, shift):
    heap.alloc(24)
    address = heap.alloc(100, 1 << shift)
    gap = address - (base + 32)
    assert address % (1 << shift) == 0 and gap < (2 << shift)
    assert heap.usable_size(address) == 104
    heap.check()
    if gap:
        assert heap.alloc(gap * 15 // 16 - 8) == base + 32  # the rest may be lost to rounding


def test_a_gap_of_16_bytes_is_too_small_for_a_block(heap, base):
    heap.alloc(24 if base % 32 else 40)  # now payloads begin at 16 mod 32
    assert first_free(heap) % 32 == 16
    gap_begins = first_free(heap)
    assert heap.alloc(7, 32) == gap_begins + 48
    heap.check()


# --- pools


def test_growth_makes_the_old_sentinel_a_header(heap, base):
    heap.alloc(24)
    end = heap.process.brk
    assert end % (256 * KIB) == 0
    assert heap.alloc(MIB) == base + 32  # the free end and the new memory are one
    assert spans(heap, OWN) == [(base - 16, 8), (heap.process.brk - 8, 8)]
    heap.check()


def test_what_somebody_else_took_divides_pools(heap, base):
    heap.alloc(24)
    end = heap.process.brk
    theirs = heap.process.user.sbrk(5)
    heap.process.user.store(theirs, 1, 7)
    assert heap.alloc(MIB) == end + 32  # 5 bytes, 11 to the next 16, and 16 as in any pool
    assert heap.process.user.load(theirs, 1) == 7
    assert spans(heap, UNUSED) == [(end + 5, 11)]
    assert spans(heap, OWN) == [(base - 16, 8), (end - 8, 8), (end + 16, 8), (heap.process.brk - 8, 8)]
    heap.check()
    assert heap.alloc(200 * KIB) == base + 32


def test_memory_that_comes_from_elsewhere_is_a_pool(heap, base, monkeypatch):
    heap.alloc(24)
    mapping = heap.process.mmap(4 * MIB)
    end = heap.process.brk
    given = [mapping + 8]

    def sbrk(n):
        if len(given) == 1 and n == 0:
            return end
        given.append(given[-1] + n)
        return given[-2]

    monkeypatch.setattr(heap.process.memory, "sbrk", sbrk)
    assert mapping < heap.alloc(MIB) < mapping + 4 * MIB
    DESIGN.check(heap.state, mapping, mapping + 4 * MIB)
    walked = list(DESIGN.walk(heap.state, mapping, mapping + 4 * MIB))
    assert [begin for begin, _, _ in walked[1:]] == [begin + size for begin, size, _ in walked[:-1]]
    assert walked[0] == (mapping, 16, UNUSED)


@pytest.mark.parametrize("page", [4096, 16384, 65536])
def test_every_page_size(page):
    heap = start(DESIGN, page=page)
    heap.dealloc(heap.alloc(5 * MIB))
    heap.alloc(100)
    heap.trim()
    assert heap.process.brk % page == 0
    heap.check()


# --- giving back


def test_a_long_free_end_is_cut_to_256_kib(heap, base):
    heap.alloc(24)
    heap.dealloc(heap.alloc(2 * MIB))
    assert heap.process.brk == (base + 32 + 256 * KIB | 4095) + 1
    heap.check()


def test_a_free_end_of_less_than_half_the_pool_stays(heap):
    lowest, *rest = [heap.alloc(size * MIB) for size in (2, 2, 1)]
    end = heap.process.brk
    for block in reversed(rest):
        assert heap.process.brk == end
        heap.dealloc(block)
    assert heap.process.brk < lowest + 2 * MIB + 300 * KIB
    heap.check()


def test_trim_leaves_one_page(heap, base):
    heap.dealloc(heap.alloc(24))
    assert heap.trim() == 256 * KIB - base - 4096 + 16
    assert heap.process.brk == base - 16 + 4096
    assert heap.trim() == 0
    heap.check()
    assert heap.alloc(8 * KIB) == base


# --- realloc


def test_a_block_grows_into_the_one_behind_and_shrinks_again(heap):
    blocks = row(heap, 4)
    heap.dealloc(blocks[1])
    heap.dealloc(blocks[2])
    assert heap.realloc(blocks[0], 120) == blocks[0]
    assert spans(heap, FREE)[0] == (blocks[2] - 8, 64)
    assert heap.realloc(blocks[0], 160) == blocks[0]
    assert heap.usable_size(blocks[0]) == 184  # 16 bytes are no block
    assert heap.realloc(blocks[0], 20) == blocks[0]
    assert spans(heap, FREE)[0] == (blocks[0] + 24, 160)
    heap.check()


def test_the_last_block_grows_with_the_heap(heap, base):
    heap.alloc(24)
    last = heap.alloc(100 * KIB)
    for size in (300 * KIB, MIB, 3 * MIB):
        assert heap.realloc(last, size) == last
        heap.check()


def test_the_last_block_moves_to_where_it_fits_before_the_heap_grows(heap):
    low = heap.alloc(400 * KIB)
    last = heap.alloc(100 * KIB)
    heap.dealloc(low)
    end = heap.process.brk
    assert heap.realloc(last, 390 * KIB) == low and heap.process.brk <= end
    heap.check()


def test_a_block_that_has_no_room_moves(heap):
    blocks = row(heap, 2)
    heap.user.fill(blocks[0], 56, 7)
    moved = heap.realloc(blocks[0], 57)
    assert moved == blocks[1] + 64
    assert heap.process.peek(moved, 56) == bytes([7]) * 56
    heap.check()


@pytest.mark.parametrize("new_size", [-1, 1 << 40, 1 << 45, (1 << 45) + 1, 1 << 62, (1 << 63) - 1])
def test_a_huge_realloc_fails_and_does_not_shrink_the_block_to_nothing(heap, new_size):
    """As in the reference, where the size of the block that is wanted wraps to 0, and any block is large enough."""
    address, _ = row(heap, 2)
    before = pages_of(heap)
    assert heap.realloc(address, new_size) == 0
    assert pages_of(heap) == before
    assert heap.usable_size(address) == 56


# --- misuse


@pytest.mark.parametrize("neighbours", [(), (0,), (2,), (0, 2)])
def test_a_second_free_is_noticed_wherever_the_block_went(heap, neighbours):
    blocks = row(heap, 4)
    for i in (*neighbours, 1):
        heap.dealloc(blocks[i])
    before = pages_of(heap)
    with pytest.raises(Fault, match="double free"):
        heap.dealloc(blocks[1], unchecked=True)
    assert pages_of(heap) == before


# --- check


def test_walk_says_what_is_used(heap, base):
    heap.alloc(100)
    assert spans(heap, USED) == [(base - 8, 112)]
