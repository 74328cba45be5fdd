"""Large objects of Hoard and the slab allocator: where they lie, which are kept, and what goes back."""

import pytest

from heapwright import allocator
from heapwright.allocators.parts import large_objects as larges
from heapwright.allocators.parts.known_places import BOUNDARY
from heapwright.machine import Fault, start
from heapwright.spans import FREE

USERS = "hoard", "slab"
DESIGNS = {name: allocator.load(name) for name in USERS}
MIB = 1 << 20


@pytest.fixture(params=USERS)
def heap(request):
    return start(DESIGNS[request.param])


def test_a_large_object_is_kept_and_serves_its_class(heap):
    block = heap.alloc(100_000)
    assert block % BOUNDARY == larges.LEAD
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
    before = heap.extents()
    large, small = heap.alloc(500_000), heap.alloc(40_000, 4096)
    assert small % 4096 == 0 and heap.extents() == before
    heap.dealloc(large)
    heap.dealloc(small)
    assert heap.state.large.ranges == 1
    heap.check()


def test_the_ranges_kept_are_few(heap):
    blocks = [heap.alloc(40_000) for _ in range(3 * larges.MAX_RANGES)]
    for block in blocks[::2]:
        heap.dealloc(block)
    assert heap.state.large.ranges == larges.MAX_RANGES
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
    before = heap.extents()
    heap.dealloc(heap.alloc(40 * MIB))
    assert heap.extents() == before


def test_aligned_objects_are_kept(heap):
    heap.dealloc(heap.alloc(10, 4 * BOUNDARY))
    assert heap.state.large.kept == 2 * BOUNDARY
    heap.check()


def test_a_second_free_of_a_large_object_is_reported(heap):
    block = heap.alloc(100_000)
    heap.dealloc(block)
    with pytest.raises(Fault, match="double free"):
        heap.dealloc(block, unchecked=True)


def test_what_was_kept_is_cleared_and_what_is_mapped_is_not(heap):
    fills = []
    heap.process.observe(access=lambda what, at, size, *rest: fills.append(size) if what == "fill" else None)
    block = heap.alloc_zeroed(100_000)
    assert not fills
    heap.user.fill(block, 100_000, 7)
    heap.dealloc(block)
    fills.clear()
    assert heap.alloc_zeroed(90_000) == block and fills == [90_000]


def test_trim_gives_back_every_range(heap):
    held = heap.memory.held()
    for block in [heap.alloc(100_000) for _ in range(8)]:
        heap.dealloc(block)
    kept = heap.state.large.kept
    assert kept > 0 and heap.trim() == kept and heap.memory.held() == held
    heap.check()


def test_a_range_that_cannot_be_unmapped_loses_its_frames(heap, monkeypatch):
    block = heap.alloc(100_000)
    heap.user.fill(block, 100_000, 7)
    heap.dealloc(block)
    monkeypatch.setattr(heap.process.memory, "munmap", lambda address, size: -1)
    assert heap.trim() == 2 * BOUNDARY - 4096 and heap.state.large.kept == 0
    assert heap.process.peek(block + 4096, 90_000) == bytes(90_000)
    heap.check()
