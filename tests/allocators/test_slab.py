"""The slab allocator: caches, colours and constructors, slabs that come and go, magazines and depots, threads."""

from pathlib import Path

import pytest
from heaps import bytes_by_kind, on

from heapwright import allocator
from heapwright.allocators import slab_caches as caches
from heapwright.allocators import slab_magazines as magazines
from heapwright.allocators.slab_caches import SLAB
from heapwright.machine import Fault, start
from heapwright.spans import CACHED, USED

SPEC = str(Path(caches.__file__).with_name("slab.py"))
DESIGN = allocator.load(SPEC)
SLAB_MODULE = DESIGN.parts[-1]
PAGE, KIB, MIB = 4096, 1 << 10, 1 << 20
LARGEST = SLAB_MODULE.MOST_SMALL


def cache_of(heap, size, align=16):
    return SLAB_MODULE.cache_for(heap.state, size, align)


def thread_of(heap):
    return magazines.thread_of(heap.state)


def slabs_of(cache, *which):
    lists = which or (caches.EMPTY, caches.PARTIAL, caches.FULL)
    found = []
    for each in lists:
        slab = cache.lists[each]
        while slab:
            found.append(slab.at(slab.address))
            slab = slab.next
    return found


def unbuffered(heap):
    """Objects come straight from the slabs, as for a thread at its end."""
    heap.alloc(16)
    heap.thread_exit()
    return heap


def prototype(heap, size, byte=0x2A):
    """The address of a constructed object."""
    place = heap.process.reserve(size)
    heap.memory.fill(place, size, byte)
    return place


# --- malloc's caches


def test_sizes_are_total_and_monotone_and_waste_at_most_a_fifth(heap):
    heap.alloc(1)
    sizes = [heap.state.caches[number].object_size for number in range(SLAB_MODULE.PLAIN)]
    assert sizes[:12] == [16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256]
    assert sizes[-6:] == [9280, 10880, 13056, 16320, 21760, LARGEST]
    assert sizes == sorted(set(sizes))
    for size in range(1, LARGEST + 1, 7):
        given = cache_of(heap, size).object_size
        assert size <= given and (given == 16 or max(s for s in [0, *sizes] if s < given) < size)
        assert given - size < 16 or size > 8192 or 5 * (given - size) <= given


def test_at_most_an_eighth_of_any_slab_is_not_objects(heap):
    heap.alloc(1)
    for cache in (heap.state.caches[number] for number in range(magazines.CACHES)):
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


# --- a program's own caches


def test_a_buffer_is_constructed_once_and_stays_as_its_user_left_it(heap):
    state, size = heap.state, 96
    cache = SLAB_MODULE.cache_create(state, size, 16, prototype(heap, size))
    first = [SLAB_MODULE.cache_alloc(state, cache) for _ in range(100)]
    assert all(heap.process.peek(each, size) == b"\x2a" * size for each in first)
    constructed = cache.constructed
    assert constructed == 126  # two magazines of 63
    heap.memory.store(first[5], 8, 7)
    for each in first:
        SLAB_MODULE.cache_free(state, cache, each)
    second = [SLAB_MODULE.cache_alloc(state, cache) for _ in range(100)]
    assert sorted(first) == sorted(second) and cache.constructed == constructed
    assert heap.memory.load(first[5], 8) == 7
    DESIGN.check(state, 0, 0)


def test_a_slab_that_is_made_anew_is_constructed_anew(heap):
    state, size = heap.state, 112
    cache = SLAB_MODULE.cache_create(state, size, 16, prototype(heap, size))
    address = SLAB_MODULE.cache_alloc(state, cache)
    heap.memory.store(address, 8, 7)
    SLAB_MODULE.cache_free(state, cache, address)
    heap.trim()
    assert cache.destroyed == cache.constructed > 0 and not slabs_of(cache)
    again = SLAB_MODULE.cache_alloc(state, cache)
    assert heap.process.peek(again, size) == b"\x2a" * size
    DESIGN.check(state, 0, 0)


@pytest.mark.parametrize(("size", "slab_size"), [(100, 1), (8192, 1), (24 * KIB, 2), (40 * KIB, 2), (MIB, 128)])
def test_objects_that_fit_badly_get_larger_slabs(heap, size, slab_size):
    cache = SLAB_MODULE.cache_create(heap.state, size, 64, 0)
    assert cache.slab_size == slab_size * SLAB
    objects = [SLAB_MODULE.cache_alloc(heap.state, cache) for _ in range(20)]
    assert len(set(objects)) == 20 and not any(address % 64 for address in objects)
    for each in objects:
        SLAB_MODULE.cache_free(heap.state, cache, each)
    DESIGN.check(heap.state, 0, 0)
    assert heap.trim() >= cache.slab_size


def test_room_for_sixteen_caches_and_no_absurd_ones(heap):
    create = SLAB_MODULE.cache_create
    assert not create(heap.state, 0, 16, 0) and not create(heap.state, -1, 16, 0)
    assert not create(heap.state, 1 << 40, 16, 0) and not create(heap.state, 16, 1 << 40, 0)
    made = [create(heap.state, 100, 16, 0) for _ in range(17)]
    assert all(made[:16]) and not made[16]


# --- magazines


def test_an_allocation_loads_a_magazine_of_63(heap):
    heap.alloc(24)
    loaded = thread_of(heap).loaded[cache_of(heap, 24).number]
    assert (loaded.rounds, loaded.most) == (62, 63)
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
    blocks = [heap.alloc(64) for _ in range(5 * 63)]
    other = heap.process.new_thread()
    with on(heap, other):
        for block in blocks:
            heap.dealloc(block)
        heap.thread_exit()
        assert thread_of(heap) == heap.state.nobody
    cache = cache_of(heap, 64)
    assert cache.full.count == 5
    assert heap.alloc(64) in blocks and cache.full.count == 4
    heap.check()


def test_at_the_end_of_a_thread_its_half_full_magazine_is_emptied(heap):
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


# --- reaping


def test_trim_gives_all_back_but_the_thread_s_record(heap):
    for block in [heap.alloc(size) for size in range(0, 40_000, 500)]:
        heap.dealloc(block)
    held = heap.memory.held()
    assert heap.trim() == held - SLAB and heap.memory.held() == SLAB
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
    magazines.reap(heap.state, cache)  # begins an interval
    heap.alloc(8192)
    magazines.reap(heap.state, cache)
    assert cache.empty_slabs == 0 and heap.state.large.kept == 9 * SLAB
    heap.check()


def test_before_the_kernel_gives_a_second_mib_for_slabs_all_that_is_free_is_taken(heap):
    for size in range(100, 3000, 50):
        for block in [heap.alloc(size) for _ in range(100)]:
            heap.dealloc(block)
    assert heap.memory.held() < 2 * MIB
    assert sum(heap.state.caches[number].destroyed > 0 for number in range(SLAB_MODULE.PLAIN)) == 10
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
    assert heap.trim() == 2 * SLAB - PAGE  # the frames went
    assert decommitted == [2 * SLAB - PAGE]  # the slab of magazines is beside it
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
    assert heap.memory.held() == held == 5 * SLAB  # of the thread's record and the magazines, too
    assert heap.state.large.kept == 0
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
