"""Binary buddies, by the address: splitting, merging, alignment for nothing, arenas, and blocks that live alone."""

import random

import pytest

from heapwright import allocator
from heapwright.allocators.buddy import MAX_BLOCK
from heapwright.allocators.buddy.arenas import ARENA, MAP_SIZE, MIN_BLOCK
from heapwright.conformance.kernel import pages_of
from heapwright.machine import Fault
from heapwright.spans import FREE, OWN, USED

DESIGN = allocator.load("buddy")
KIB, MIB = 1 << 10, 1 << 20


def arenas(heap):
    return [place for place, size, kind in heap.spans() if kind == OWN and size == MAP_SIZE]


def free_sizes(heap):
    return sorted(size for _, size, kind in heap.spans() if kind == FREE)


WHOLE = [MAP_SIZE << i for i in range(5)]  # what the map leaves of an arena


# --- splitting and merging


def test_the_first_block_splits_the_smallest_that_holds_it(heap):
    block = heap.alloc(40)
    assert block == arenas(heap)[0] + MAP_SIZE
    assert free_sizes(heap) == [64 << i for i in range(11)] + WHOLE[1:]
    assert heap.alloc(64) == block + 64  # the other half
    assert heap.alloc(32) == block + 128
    assert heap.alloc(128) == block + 256
    heap.check()


@pytest.mark.parametrize(
    ("size", "taken"), [(0, 32), (32, 32), (33, 64), (64, 64), (4096, 4096), (4097, 8192), (MAX_BLOCK, MAX_BLOCK)]
)
def test_sizes_are_rounded_to_powers_of_two(heap, size, taken):
    address = heap.alloc(size)
    assert heap.usable_size(address) == taken
    assert address % taken == 0


@pytest.mark.parametrize("seed", range(4))
def test_in_any_order_all_becomes_whole(heap, seed):
    rng = random.Random(seed)
    blocks = [heap.alloc(rng.randrange(3000)) for _ in range(40)]
    rng.shuffle(blocks)
    for address in blocks:
        heap.dealloc(address)
    heap.check()
    assert free_sizes(heap) == WHOLE
    assert heap.alloc(MAX_BLOCK) == arenas(heap)[0] + MAX_BLOCK


def test_only_the_other_half_of_the_parent_is_a_buddy(heap):
    blocks = [heap.alloc(32) for _ in range(4)]
    heap.dealloc(blocks[1])
    heap.dealloc(blocks[2])
    assert free_sizes(heap)[:2] == [32, 32]
    heap.dealloc(blocks[3])
    assert free_sizes(heap)[:2] == [32, 64]
    heap.check()


def test_the_block_freed_last_serves_first(heap):
    blocks = [heap.alloc(32) for _ in range(6)]
    heap.dealloc(blocks[0])
    heap.dealloc(blocks[4])
    assert [heap.alloc(32), heap.alloc(32)] == [blocks[4], blocks[0]]


# --- alignment


@pytest.mark.parametrize("align", [MAX_BLOCK, ARENA, 2 * ARENA, 4 * ARENA])
def test_alignments_of_arenas_and_beyond(heap, align):
    heap.alloc(1)
    address = heap.alloc(1, align)
    assert address % align == 0
    heap.check()
    heap.dealloc(address)
    heap.check()


# --- arenas


def test_arenas_are_added_side_by_side_and_one_empty_one_is_kept(heap):
    blocks = [heap.alloc(MAX_BLOCK) for _ in range(3)]
    bases = arenas(heap)
    assert [block - MAX_BLOCK for block in blocks] == bases[::-1] == [bases[2] - i * ARENA for i in range(3)]
    heap.dealloc(blocks[1])
    assert arenas(heap) == bases
    heap.dealloc(blocks[0])
    assert arenas(heap) == bases[:2]
    heap.check()
    assert heap.alloc(MAX_BLOCK) == blocks[1]
    heap.dealloc(blocks[2])
    assert arenas(heap) == bases[:2]
    heap.check()


def test_trim_returns_the_spare_arena(heap):
    block = heap.alloc(100)
    heap.trim()
    assert heap.memory.held() == ARENA
    heap.dealloc(block)
    assert heap.trim() == ARENA
    assert heap.extents() == []
    assert heap.trim() == 0
    assert heap.alloc(100) != 0
    heap.check()


# --- blocks that live alone


def test_what_is_too_large_for_an_arena_has_a_mapping_of_its_own(heap):
    block = heap.alloc(MAX_BLOCK + 1)
    assert block % ARENA == 0
    assert heap.usable_size(block) == MAX_BLOCK + 4096
    assert list(heap.spans()) == [(block - 4096, 4096, OWN), (block, MAX_BLOCK + 4096, USED)]
    heap.check()
    heap.dealloc(block)
    assert heap.extents() == []


# --- realloc


def test_a_block_grows_while_each_upper_buddy_is_free(heap):
    block, other = heap.alloc(32), heap.alloc(64)
    assert heap.realloc(block, 64) == block
    heap.dealloc(other)
    assert heap.realloc(block, 100 * KIB) == block
    assert heap.realloc(block, 128 * KIB + 1) != block  # the lower half of that is the map
    heap.check()


def test_an_upper_half_moves(heap):
    lower, upper = heap.alloc(32), heap.alloc(32)
    heap.user.fill(upper, 32, 7)
    heap.dealloc(lower)
    moved = heap.realloc(upper, 64)
    assert moved == lower + 64
    assert heap.process.peek(moved, 32) == bytes([7]) * 32
    heap.check()


def test_a_block_shrinks_where_it_is(heap):
    block = heap.alloc(1024)
    assert heap.realloc(block, 100) == block
    assert heap.usable_size(block) == 128
    assert heap.alloc(512) == block + 512
    heap.check()


def test_a_mapping_is_resized_where_it_is_and_left_when_it_is_small(heap):
    block = heap.alloc(4 * MIB)
    heap.user.fill(block, 4 * MIB, 7)
    assert heap.realloc(block, 3 * MIB) == block
    assert heap.realloc(block, 4 * MIB) in (block, max(heap.live))
    heap.check()
    [block] = heap.live
    moved = heap.realloc(block, MIB)
    assert heap.process.peek(moved, MIB) == bytes([7]) * MIB
    assert moved % ARENA == MIB
    heap.check()


# --- misuse


def test_a_second_free_is_noticed_of_what_has_merged(heap):
    block, other = heap.alloc(32), heap.alloc(32)
    heap.dealloc(other)
    heap.dealloc(block)
    before = pages_of(heap)
    with pytest.raises(Fault, match="double free"):
        heap.dealloc(block, unchecked=True)
    with pytest.raises(Fault, match="no block begins here"):
        heap.dealloc(other, unchecked=True)
    assert pages_of(heap) == before


@pytest.mark.parametrize("offset", [8, 16, MIN_BLOCK, 512, -MAP_SIZE + 64, -MAP_SIZE + MIN_BLOCK])
def test_the_inside_of_a_block_is_noticed(heap, offset):
    block = heap.alloc(1024)
    before = pages_of(heap)
    with pytest.raises(Fault, match="no block begins here"):
        DESIGN.dealloc(heap.state, block + offset, 16, 16)
    with pytest.raises(Fault, match="no block begins here"):
        DESIGN.realloc(heap.state, block + offset, 16, 16, 100)
    assert pages_of(heap) == before


@pytest.mark.parametrize("offset", [0, 4096, ARENA])
def test_a_foreign_address_is_noticed(heap, offset):
    heap.alloc(100)
    theirs = heap.process.mmap(4 * ARENA)
    foreign = theirs + -theirs % ARENA + ARENA + offset
    with pytest.raises(Fault, match="not a block of this heap"):
        DESIGN.dealloc(heap.state, foreign, 16, 16)
