"""Simple segregated storage, by the address: what belongs to a class stays with it."""

import random
from pathlib import Path

import pytest
from heaps import spans

from heapwright import allocator
from heapwright.allocators import segregated_storage
from heapwright.allocators.parts import size_classes
from heapwright.allocators.segregated_storage import CLASSES, MAX_SMALL, RUN
from heapwright.conformance.kernel import pages_of
from heapwright.machine import Fault
from heapwright.spans import FREE, OWN, UNUSED

DESIGN = allocator.load(str(Path(segregated_storage.__file__)))
HEADER = 2080  # of a run, to the next 16 bytes
KIB, MIB = 1 << 10, 1 << 20


# --- classes


def test_classes_are_total_and_tight():
    sizes = [size_classes.size_of_class(i) for i in range(CLASSES)]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == MAX_SMALL
    for size in range(1, MAX_SMALL + 1):
        i = size_classes.class_of(size)
        assert size <= sizes[i] and (i == 0 or size > sizes[i - 1])
        assert sizes[i] - size < 16 or sizes[i] <= size * 5 / 4


# --- runs


def test_blocks_of_a_class_lie_side_by_side_in_its_run(heap):
    first = heap.alloc(40)
    assert first % RUN == HEADER
    assert [heap.alloc(48), heap.alloc(33)] == [first + 48, first + 96]
    other = heap.alloc(64)
    assert other // RUN == first // RUN + 1
    assert other % RUN == 2112  # the first multiple of 64
    heap.check()


def test_the_block_freed_last_serves_first(heap):
    blocks = [heap.alloc(100) for _ in range(4)]
    heap.dealloc(blocks[2])
    heap.dealloc(blocks[0])
    assert [heap.alloc(100), heap.alloc(100), heap.alloc(100)] == [blocks[0], blocks[2], blocks[3] + 112]


def test_what_a_class_gave_back_serves_no_other(heap):
    """The price of the design, where segregated fits would merge all that is free."""
    blocks = [heap.alloc(32) for _ in range(4000)]
    for address in blocks:
        heap.dealloc(address)
    large = [heap.alloc(4096) for _ in range(60)]
    assert min(large) > max(blocks)
    assert sum(size for _, size in spans(heap, FREE)) == 4000 * 32
    heap.check()


def test_the_next_run_begins_when_the_first_is_full(heap):
    blocks = [heap.alloc(MAX_SMALL) for _ in range(4)]
    assert blocks[0] % RUN == MAX_SMALL
    assert [block - blocks[0] for block in blocks] == [0, MAX_SMALL, 2 * MAX_SMALL, RUN]
    heap.check()


def test_after_all_was_freed_the_largest_request_is_served(heap):
    rng = random.Random(1)
    for address in [heap.alloc(rng.randrange(20 * KIB)) for _ in range(100)]:
        heap.dealloc(address)
    assert heap.alloc(16 * MIB) != 0
    heap.check()


# --- large blocks


def test_a_large_block_has_a_mapping_of_its_own(heap):
    block = heap.alloc(MAX_SMALL + 1)
    assert block % RUN == 0
    assert spans(heap, OWN) == [(block - 4096, 4096)]
    assert heap.usable_size(block) == MAX_SMALL + 4096
    heap.dealloc(block)
    assert heap.extents() == []


# --- realloc


def test_a_block_stays_while_it_is_half_full(heap):
    block = heap.alloc(100)
    assert heap.realloc(block, 112) == block
    assert heap.realloc(block, 56) == block
    heap.user.fill(block, 56, 7)
    moved = heap.realloc(block, 113)
    assert moved // RUN != block // RUN
    assert heap.process.peek(moved, 56) == bytes([7]) * 56
    assert heap.alloc(100) == block
    heap.check()


def test_a_mapping_is_resized_where_it_is(heap):
    block = heap.alloc(4 * MIB)
    heap.user.fill(block, 4 * MIB, 7)
    assert heap.realloc(block, MIB) == block
    assert heap.usable_size(block) == MIB
    moved = heap.realloc(block, 100)
    assert heap.process.peek(moved, 100) == bytes([7]) * 100
    heap.check()


# --- misuse


def test_a_second_free_is_noticed(heap):
    blocks = [heap.alloc(100) for _ in range(3)]
    for address in blocks:
        heap.dealloc(address)
    before = pages_of(heap)
    for address in blocks:
        with pytest.raises(Fault, match="double free"):
            heap.dealloc(address, unchecked=True)
    assert pages_of(heap) == before


@pytest.mark.parametrize("offset", [8, 16, 48, 112, 4096, -HEADER + 8])
def test_what_is_no_block_is_noticed(heap, offset):
    block = heap.alloc(100)
    before = pages_of(heap)
    with pytest.raises(Fault, match="no block begins here"):
        DESIGN.dealloc(heap.state, block + offset, 16, 16)
    assert pages_of(heap) == before


@pytest.mark.parametrize("offset", [0, 4096])
def test_a_foreign_address_is_noticed(heap, offset):
    heap.alloc(100)
    theirs = heap.process.mmap(4 * RUN)
    foreign = theirs + -theirs % RUN + RUN + offset
    with pytest.raises(Fault, match="not a block of this heap"):
        DESIGN.dealloc(heap.state, foreign, 16, 16)


# --- check


def test_walk_shows_what_is_no_run_yet(heap):
    heap.alloc(16)
    begin = heap.process.heap_start
    assert spans(heap, UNUSED)[0] == (begin, -begin % RUN)
    assert spans(heap, UNUSED)[1][0] == RUN * (begin // RUN + 1) + HEADER + 16
