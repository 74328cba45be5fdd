"""Wright's spares: the large blocks that a thread freed last, for its next requests of their sizes."""

import pytest
from heaps import spans
from wrights import elsewhere, home_of

from heapwright import allocator
from heapwright.allocators import wright
from heapwright.allocators.wright import homes, records, spares
from heapwright.machine import Fault
from heapwright.spans import CACHED, FREE

DESIGN = allocator.load("wright")
KIB = 1 << 10


def large_blocks(heap, sizes):
    """Blocks of these sizes in KiB, freed in this order, and what the home keeps of them."""
    blocks = [heap.alloc(size * KIB) for size in sizes]
    for block in blocks:
        heap.dealloc(block)
        heap.check()
    return blocks, [records.start_of(run) for run in spares.of(home_of(heap))]


def test_the_last_two_large_blocks_are_spares(heap):
    blocks, kept = large_blocks(heap, (40, 64, 128))
    assert kept == blocks[:0:-1]
    assert (blocks[1], 64 * KIB) in spans(heap, CACHED) and (blocks[0], 48 * KIB) in spans(heap, FREE)
    assert [heap.alloc(50 * KIB), heap.alloc(120 * KIB)] == blocks[1:]
    heap.check()


def test_a_spare_serves_no_other_size_and_no_larger_alignment(heap):
    blocks, _ = large_blocks(heap, (64, 128))
    assert not {heap.alloc(100 * KIB), heap.alloc(64 * KIB, align=32 * KIB)} & set(blocks)
    assert len(spares.of(home_of(heap))) == 2


def test_a_block_of_more_than_128_kib_is_no_spare(heap):
    assert large_blocks(heap, (129,))[1] == []


def test_one_block_in_sixteen_goes_back_to_the_page_heap(heap):
    kept = []
    for _ in range(3 * spares.ROOM):
        heap.dealloc(heap.alloc(64 * KIB))
        kept.append(bool(spares.of(home_of(heap))))
    assert kept.count(False) == 2 and kept.index(False) == spares.ROOM


def test_a_spare_is_not_known_to_be_zero(heap):
    block = heap.alloc(64 * KIB)
    heap.user.store(block, 8, -1)
    heap.dealloc(block)
    assert heap.alloc_zeroed(64 * KIB) == block and heap.user.load(block, 8) == 0


def test_a_spare_is_given_up_with_the_rest(heap):
    large_blocks(heap, (64, 128))
    heap.trim()
    assert not spares.of(home_of(heap)) and heap.memory.held() <= wright.RETAINS
    heap.dealloc(heap.alloc(64 * KIB))
    assert spares.of(home_of(heap)), "the next request opens the room again"


def test_of_a_crowd_of_threads_only_the_first_have_spares(heap):
    kept = []
    for _ in range(homes.CROWD + 2):
        with elsewhere(heap):
            heap.dealloc(heap.alloc(64 * KIB))
            kept.append(len(spares.of(home_of(heap))))
    assert sum(kept) <= homes.CROWD and kept[:2] == [1, 1] and kept[-2:] == [0, 0]
    heap.check()


@pytest.mark.parametrize("offset", [0, 16 * KIB])
def test_a_spare_that_is_freed_again_is_reported(heap, offset):
    (block,), _ = large_blocks(heap, (64,))
    with pytest.raises(Fault, match="double free" if offset == 0 else "no block begins here"):
        heap.dealloc(block + offset, unchecked=True)
