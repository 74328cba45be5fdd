"""Hoard's large objects: where they lie, which are kept, and what goes back."""

from pathlib import Path

from heapwright import allocator
from heapwright.allocators import hoard_large as larges
from heapwright.allocators.hoard_superblocks import SUPERBLOCK
from heapwright.spans import FREE

DESIGN = allocator.load(str(Path(larges.__file__).with_name("hoard.py")))
MIB = 1 << 20


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
    assert heap.state.large.kept <= larges.bound(heap.state.large)


def test_kept_objects_that_touch_are_one_and_serve_any_size(heap):
    blocks = [heap.alloc(100_000) for _ in range(8)]
    for block in blocks:
        heap.dealloc(block)
        heap.check()
    assert heap.state.large.ranges == 1
    before = heap.stretches()
    large, small = heap.alloc(500_000), heap.alloc(40_000, 4096)
    assert small % 4096 == 0 and heap.stretches() == before
    heap.dealloc(large)
    heap.dealloc(small)
    assert heap.state.large.ranges == 1
    heap.check()


def test_the_ranges_kept_are_few(heap):
    blocks = [heap.alloc(40_000) for _ in range(3 * larges.MOST_RANGES)]
    for block in blocks[::2]:
        heap.dealloc(block)
    assert heap.state.large.ranges == larges.MOST_RANGES
    heap.check()


def test_what_is_handed_out_lessens_what_is_kept(heap):
    blocks = [heap.alloc(MIB) for _ in range(20)]
    for block in blocks[:10]:
        heap.dealloc(block)
    before = heap.state.large.kept
    blocks = [heap.alloc(2 * MIB) for _ in range(4)]
    assert heap.state.large.kept < before
    heap.check()


def test_huge_objects_go_back_at_once(heap):
    before = heap.stretches()
    heap.dealloc(heap.alloc(40 * MIB))
    assert heap.stretches() == before


def test_aligned_objects_are_kept(heap):
    heap.dealloc(heap.alloc(10, 4 * SUPERBLOCK))
    assert heap.state.large.kept == 2 * SUPERBLOCK
    heap.check()
