"""The heap of Kernighan and Ritchie, by the address: the rover, the tails, the merges and the growth."""

import pytest
from heaps import kernel_calls, spans

from heapwright import allocator
from heapwright.spans import FREE

DESIGN = allocator.load("kr")
BASE = 0x4000  # where the heap of a small process starts
END = BASE + 0x10000  # of the first growth
KIB, MIB = 1 << 10, 1 << 20


def stack_of(heap, count, size=48):
    """Blocks one below the other; with headers, each takes 16 bytes more."""
    blocks = [heap.alloc(size) for _ in range(count)]
    assert blocks == [blocks[0] - i * (size + 16) for i in range(count)]
    return blocks


# --- tails


def test_blocks_are_cut_off_the_tail_of_the_region(heap):
    assert heap.alloc(40) == END - 48
    assert heap.alloc(0) == END - 64
    assert heap.alloc(1) == END - 96
    assert spans(heap, FREE) == [(BASE, 0x10000 - 112)]
    heap.check()


@pytest.mark.parametrize(("size", "usable"), [(0, 0), (1, 16), (16, 16), (17, 32), (24, 32), (4095, 4096)])
def test_sizes_are_rounded_to_units(heap, size, usable):
    assert heap.usable_size(heap.alloc(size)) == usable


def test_an_exact_fit_is_unlinked(heap):
    blocks = stack_of(heap, 3)
    heap.dealloc(blocks[1])
    assert heap.alloc(48) == blocks[1]
    assert spans(heap, FREE) == [(BASE, 0x10000 - 192)]


# --- next fit


def test_a_search_starts_where_the_last_one_stopped(heap):
    blocks = stack_of(heap, 6)
    high, low = blocks[1], blocks[3]
    heap.dealloc(low)
    heap.dealloc(high)  # the rover rests on the free block below it
    assert heap.alloc(48) == high
    assert heap.alloc(48) == blocks[5] - 64  # past the end of the circle, before it comes to `low`
    assert heap.alloc(0x10000 - 7 * 64 - 16) == BASE + 16  # all of the large region
    assert heap.alloc(48) == low


def test_a_freed_block_is_found_before_the_region_it_was_cut_from(heap):
    blocks = stack_of(heap, 2)
    heap.dealloc(blocks[0])
    assert heap.alloc(16) == blocks[0] + 32  # its tail


# --- merging


@pytest.mark.parametrize(
    ("freed_before", "merged"),
    [((), (128, 64)), ((3,), (64, 128)), ((1,), (128, 128)), ((1, 3), (64, 192))],
    ids=["with neither", "with the lower", "with the upper", "with both"],
)
def test_a_freed_block_merges(heap, freed_before, merged):
    blocks = stack_of(heap, 5)
    for i in freed_before:
        heap.dealloc(blocks[i])
    heap.dealloc(blocks[2])
    lowest = blocks[4] - 16
    assert (lowest + merged[0], merged[1]) in spans(heap, FREE)
    heap.check()


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_in_any_order_all_becomes_one_block(heap, order):
    blocks = stack_of(heap, 3)
    for i in order:
        heap.dealloc(blocks[i])
    assert spans(heap, FREE) == [(BASE, 0x10000)]


# --- growth


def test_the_heap_grows_by_at_least_64_kib(heap):
    calls = kernel_calls(heap)
    heap.alloc(1)
    assert [n for _, n in calls if n] == [64 * KIB]


def test_a_large_request_grows_it_by_what_it_takes(heap):
    calls = kernel_calls(heap)
    assert heap.alloc(MIB) == BASE + 16
    assert [n for _, n in calls if n] == [MIB + 16]
    assert spans(heap, FREE) == []


def test_new_memory_merges_with_the_free_end(heap):
    heap.alloc(0x10000 - 16 - 64)
    assert spans(heap, FREE) == [(BASE, 64)]
    heap.dealloc(END - 0x10000 + 64 + 16)
    heap.alloc(100 * KIB)
    assert spans(heap, FREE) == [(BASE, 0x10000)]
    heap.check()


@pytest.mark.parametrize("foreign", [1, 15, 16, 17])
def test_a_break_that_somebody_else_moved_is_aligned_again(heap, foreign):
    theirs = heap.process.user.sbrk(foreign)
    heap.process.user.fill(theirs, foreign, 7)
    start_of_heap = BASE + (foreign + 15) // 16 * 16
    assert heap.alloc(64 * KIB - 16) == start_of_heap + 16
    assert heap.process.peek(theirs, foreign) == bytes([7]) * foreign
    heap.check()


# --- alignment


def test_an_aligned_block_is_cut_at_both_ends(heap):
    heap.alloc(16)
    address = heap.alloc(100, 1024)
    tail = END - 32
    taken = tail - (8 + 64) * 16  # 7 units and a header, and room for the worst misfit
    assert address == taken + 16 + (-(taken + 16) & 1023)
    assert spans(heap, FREE) == [(BASE, address - 16 - BASE), (address + 112, tail - address - 112)]
    heap.check()
