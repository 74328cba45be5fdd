"""Hoard's large objects: where they lie, which are kept, and what goes back."""

from pathlib import Path

import pytest

from heapwright import allocator
from heapwright.allocators import hoard_large as larges
from heapwright.allocators.hoard_superblocks import SUPERBLOCK
from heapwright.machine import Fault, start
from heapwright.spans import FREE

DESIGN = allocator.load(str(Path(larges.__file__).with_name("hoard.py")))
MIB = 1 << 20


@pytest.fixture
def heap():
    return start(DESIGN)


def test_a_large_object_is_kept_and_serves_its_class(heap):
    block = heap.alloc(100_000)
    assert block % SUPERBLOCK == larges.LEAD
    heap.dealloc(block)
    assert [size for _, size, kind in heap.spans() if kind == FREE and size > 100_000]
    assert heap.alloc(110_000) == block
    heap.check()


def test_kept_objects_are_bounded(heap):
    for size in (100_000, 200_000, 400_000, 800_000, 50_000, 800_000):
        heap.dealloc(heap.alloc(size))
        heap.check()
    assert heap.state.large.kept <= larges.SLOP + heap.state.large.most // 4


def test_huge_and_aligned_objects_go_back_at_once(heap):
    before = heap.stretches()
    for size, align in ((40 * MIB, 16), (100_000, 128), (10, 4 * SUPERBLOCK)):
        block = heap.alloc(size, align)
        heap.dealloc(block)
        assert heap.stretches() == before


def test_a_second_free_of_a_large_object_is_reported(heap):
    block = heap.alloc(100_000)
    heap.dealloc(block)
    with pytest.raises(Fault, match="double free"):
        heap.dealloc(block, unchecked=True)
