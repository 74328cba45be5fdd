"""The magazines of slab's threads, and the depots."""

import pytest
from heaps import bytes_by_kind, on
from slabs import DESIGN, LARGEST, busy, cache_of, thread_of  # noqa: F401  DESIGN is what the heap is of

from heapwright.allocators.slab import magazines
from heapwright.allocators.slab.caches import is_real
from heapwright.spans import CACHED, USED


def test_the_first_objects_of_a_thread_go_past_its_magazines(heap):
    blocks = [heap.alloc(24) for _ in range(magazines.WARM - 4)]
    for block in blocks[:4]:
        heap.dealloc(block)
    assert not is_real(thread_of(heap).loaded[cache_of(heap, 24).number])
    assert bytes_by_kind(heap)[USED] == 32 * (len(blocks) - 4) and bytes_by_kind(heap)[CACHED] == 0
    heap.check()


def test_a_magazine_is_loaded_with_twice_as_many_objects_each_time(heap):
    blocks, loads = [heap.alloc(24) for _ in range(magazines.WARM)], []
    for _ in range(200):
        is_load = thread_of(heap).loaded[cache_of(heap, 24).number].rounds == 0
        blocks.append(heap.alloc(24))
        if is_load:
            loads.append(1 + thread_of(heap).loaded[cache_of(heap, 24).number].rounds)
    assert loads == [4, 8, 16, 32, 63, 63, 63]
    heap.check()


def test_a_busy_thread_loads_a_magazine_of_63(heap):
    busy(heap, 24)
    heap.alloc(24)
    loaded = thread_of(heap).loaded[cache_of(heap, 24).number]
    assert (loaded.rounds, loaded.maximum) == (62, 63)
    assert bytes_by_kind(heap)[USED] == 32 and bytes_by_kind(heap)[CACHED] == 62 * 32
    heap.check()


def test_what_was_freed_last_is_given_out_first(heap):
    a, b = heap.alloc(100), heap.alloc(100)
    heap.dealloc(a)
    heap.dealloc(b)
    assert [heap.alloc(112), heap.alloc(97)] == [b, a]


@pytest.mark.parametrize(("size", "rounds"), [(16, 63), (512, 63), (1024, 31), (4096, 7), (8192, 3), (LARGEST, 1)])
def test_large_objects_have_small_magazines(heap, size, rounds):
    heap.alloc(size)
    assert cache_of(heap, size).rounds == rounds


def test_back_and_forth_at_the_edge_trades_once(heap):
    """Two magazines, so that neither the lock nor the depot is touched again."""
    busy(heap, 64)
    blocks = [heap.alloc(64) for _ in range(126)]
    visits = cache_of(heap, 64).visits
    for block in blocks[63:]:
        heap.dealloc(block)
    before = cache_of(heap, 64).visits
    for _ in range(20):
        pair = [heap.alloc(64), heap.alloc(64)]
        for block in pair:
            heap.dealloc(block)
    assert cache_of(heap, 64).visits <= before + 1 and before <= visits + 1
    heap.check()


def test_the_depot_holds_full_magazines_up_to_ten(heap):
    busy(heap, 64)
    blocks = [heap.alloc(64) for _ in range(20 * 63)]
    for block in blocks:
        heap.dealloc(block)
    cache = cache_of(heap, 64)
    assert cache.full.count == 10
    assert bytes_by_kind(heap)[CACHED] == 64 * 63 * 12  # and two in the thread
    heap.check()
    again = [heap.alloc(64) for _ in range(20 * 63)]
    assert sorted(again) == sorted(blocks) and cache.full.count == 0
    heap.check()


def test_another_thread_gets_what_the_depot_holds(heap):
    busy(heap, 64)
    blocks = [heap.alloc(64) for _ in range(5 * 63)]
    other = heap.process.new_thread()
    with on(heap, other):
        busy(heap, 64)
        for block in blocks:
            heap.dealloc(block)
        heap.thread_exit()
        assert thread_of(heap) == heap.state.nobody
    cache = cache_of(heap, 64)
    assert cache.full.count == 5
    assert heap.alloc(64) in blocks and cache.full.count == 4
    heap.check()


def test_at_the_end_of_a_thread_its_half_full_magazine_is_emptied(heap):
    busy(heap, 64)
    heap.alloc(64)
    heap.thread_exit()
    cache = cache_of(heap, 64)
    assert (cache.full.count, cache.empty.count) == (0, 1)
    assert bytes_by_kind(heap)[CACHED] == 0 and not heap.state.threads
    heap.dealloc(heap.alloc(64))
    assert bytes_by_kind(heap)[CACHED] == 0
    heap.check()


def test_a_forked_child_goes_on(heap):
    blocks = [heap.alloc(64) for _ in range(100)]
    other = heap.process.new_thread()
    with on(heap, other):
        heap.alloc(64)
    child = heap.fork()
    child.check()
    for block in blocks:
        child.dealloc(block)
    child.check()
    child.process.exit()
    heap.check()
