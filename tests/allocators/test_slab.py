"""The slab allocator: caches and colours, slabs that come and go, large blocks, misuse."""

import pytest
from slabs import DESIGN, LARGEST, cache_of, slabs_of, unbuffered

from heapwright.allocators.slab import caches, depots
from heapwright.allocators.slab.caches import SLAB
from heapwright.allocators.slab.sizes import PLAIN
from heapwright.machine import Fault, start

PAGE, KIB, MIB = 4096, 1 << 10, 1 << 20


# --- malloc's caches


def test_sizes_are_total_and_monotone_and_waste_at_most_a_fifth(heap):
    heap.alloc(1)
    sizes = [heap.state.caches[number].object_size for number in range(PLAIN)]
    assert sizes[:12] == [16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256]
    assert sizes[-6:] == [9280, 10880, 13056, 16320, 21760, LARGEST]
    assert sizes == sorted(set(sizes))
    for size in range(1, LARGEST + 1, 7):
        given = cache_of(heap, size).object_size
        assert size <= given and (given == 16 or max(s for s in [0, *sizes] if s < given) < size)
        assert given - size < 16 or size > 8192 or 5 * (given - size) <= given


def test_at_most_an_eighth_of_any_slab_is_not_objects(heap):
    heap.alloc(1)
    for cache in (heap.state.caches[number] for number in range(caches.CACHES)):
        assert 8 * (cache.slab_size - cache.objects * cache.object_size) <= cache.slab_size


@pytest.mark.parametrize("page", [4096, 16384, 65536])
def test_a_byte_does_not_cost_a_page(page):
    heap = start(DESIGN, page=page)
    for _ in range(3000):
        heap.alloc(1)
    assert len(slabs_of(cache_of(heap, 1))) == 1
    heap.check()


# --- slabs


def test_the_first_object_of_a_slab_lies_behind_the_links(heap):
    unbuffered(heap)
    first, second = heap.alloc(200), heap.alloc(200)
    slab = caches.slab_of(cache_of(heap, 200), first)
    assert slab.address % SLAB == 0 and second == first + 224
    assert first == slab.address + caches.head_size(cache_of(heap, 200))
    heap.check()


def test_slabs_move_from_empty_to_partial_to_full_and_back(heap):
    unbuffered(heap)
    cache = cache_of(heap, 8192)
    blocks = [heap.alloc(8192)]
    assert [len(slabs_of(cache, which)) for which in range(3)] == [0, 1, 0]
    blocks += [heap.alloc(8192) for _ in range(cache.objects - 1)]
    assert [len(slabs_of(cache, which)) for which in range(3)] == [0, 0, 1]
    heap.dealloc(blocks[3])
    assert [len(slabs_of(cache, which)) for which in range(3)] == [0, 1, 0]
    assert heap.alloc(8192) == blocks[3]
    for block in blocks:
        heap.dealloc(block)
    assert [len(slabs_of(cache, which)) for which in range(3)] == [1, 0, 0]
    heap.check()


def test_each_next_slab_has_the_next_colour(heap):
    unbuffered(heap)
    cache = cache_of(heap, 6144)
    assert cache.slack > 3 * cache.align
    for _ in range(4 * cache.objects):
        heap.alloc(6144)
    colours = {slab.first - slab.address - caches.head_size(cache) for slab in slabs_of(cache)}
    assert colours == {0, 64, 128, 192}
    heap.check()


def test_colours_begin_anew_after_the_slack(heap):
    unbuffered(heap)
    cache = cache_of(heap, 16320)
    colours = cache.slack // cache.align + 1
    for _ in range((colours + 1) * cache.objects):
        heap.alloc(16320)
    offsets = sorted(slab.first - slab.address for slab in slabs_of(cache))
    assert len(set(offsets)) == colours and offsets[0] == offsets[1]
    heap.check()


def test_what_a_program_writes_into_freed_objects_does_no_harm(heap):
    unbuffered(heap)
    blocks = [heap.alloc(64) for _ in range(10)]
    for block in blocks:
        heap.dealloc(block)
        heap.process.poke(block, b"\xff" * 64)
    assert sorted(heap.alloc(64) for _ in range(10)) == blocks
    heap.check()


# --- reaping


def test_trim_gives_all_back_but_the_thread_s_record(heap):
    for block in [heap.alloc(size) for size in range(0, 40_000, 500)]:
        heap.dealloc(block)
    held = heap.memory.held()
    rest = SLAB - PAGE  # of the slab with the record, which lies in the first page
    assert heap.trim() == held - SLAB + rest and heap.memory.held() == SLAB
    heap.check()
    heap.thread_exit()
    heap.trim()
    assert heap.memory.held() == 0


def test_what_nobody_needed_for_an_interval_goes_back_by_itself(heap):
    unbuffered(heap)
    cache = cache_of(heap, 8192)
    blocks = [heap.alloc(8192) for _ in range(70)]
    for block in blocks:
        heap.dealloc(block)
    assert cache.empty_slabs == 10
    depots.reap(heap.state, cache)  # begins an interval
    heap.alloc(8192)
    depots.reap(heap.state, cache)
    assert cache.empty_slabs == 0 and heap.state.large.kept == 9 * SLAB
    heap.check()


def test_before_the_kernel_gives_a_second_mib_for_slabs_all_that_is_free_is_taken(heap):
    for size in range(100, 3000, 50):
        for block in [heap.alloc(size) for _ in range(100)]:
            heap.dealloc(block)
    assert heap.memory.held() < 2 * MIB
    assert sum(heap.state.caches[number].destroyed > 0 for number in range(PLAIN)) == 10
    heap.check()


def test_the_depot_is_reaped_every_256_visits(heap):
    many, few = 150, 20
    for count in [many] + 60 * [few]:
        blocks = [heap.alloc(8192) for _ in range(count)]
        for block in blocks:
            heap.dealloc(block)
    cache = cache_of(heap, 8192)
    assert cache.destroyed > 0
    assert cache.visits < caches.INTERVAL
    heap.check()


def test_a_slab_that_cannot_be_unmapped_loses_its_addresses_alone(heap, monkeypatch):
    heap.dealloc(heap.alloc(8192))
    decommitted = []
    monkeypatch.setattr(heap.process.memory, "munmap", lambda address, size: -1)
    monkeypatch.setattr(heap.process.memory, "decommit", lambda address, size: decommitted.append(size) or 0)
    rest = SLAB - PAGE  # of the slab with the thread's record, which lies in the first page
    assert heap.trim() == SLAB - PAGE + rest  # the frames went
    assert decommitted == [SLAB - PAGE, rest]
    assert heap.alloc(8192)
    heap.check()


# --- large blocks, realloc, zeros


def test_large_blocks_begin_where_a_slab_has_its_head(heap):
    block = heap.alloc(LARGEST + 1)
    assert block % SLAB == 64 and heap.usable_size(block) == SLAB - 64
    heap.dealloc(block)
    with pytest.raises(Fault, match="double free"):
        heap.dealloc(block, unchecked=True)


def test_slabs_and_large_blocks_come_from_the_same_ranges(heap):
    heap.dealloc(heap.alloc(4 * SLAB))
    held = heap.memory.held()
    for size in (100, 1000, 4000):
        heap.alloc(size)
    assert heap.memory.held() == held == 5 * SLAB  # of the thread's record, too
    assert heap.state.large.kept == SLAB
    heap.check()


# --- failure and misuse


def test_a_second_free_is_noticed_when_the_object_returns_to_its_slab(heap):
    unbuffered(heap)
    first, _ = heap.alloc(100), heap.alloc(100)
    heap.dealloc(first)
    with pytest.raises(Fault, match="double free"):
        heap.dealloc(first, unchecked=True)


@pytest.mark.parametrize("offset", [8, 16, -64, 112 * 100])
def test_what_is_no_object_is_noticed_when_it_returns_to_its_slab(heap, offset):
    unbuffered(heap)
    block = heap.alloc(112)
    with pytest.raises(Fault, match="not a live block"):
        DESIGN.dealloc(heap.state, block + offset, 16, 16)
