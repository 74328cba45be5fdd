"""Hoard: classes, superblocks and buffers, heaps and their rule, failure and misuse, threads and fork."""

import random

import pytest
from heaps import bytes_by_kind, on
from hoards import busy, elsewhere, held, processors, superblock_of

from heapwright import allocator
from heapwright.allocators.hoard import heaps, superblocks, threads
from heapwright.allocators.hoard.superblocks import CLASSES, MAX_SMALL, SUPERBLOCK
from heapwright.allocators.parts.size_classes import class_of, size_of_class
from heapwright.bits import align_up
from heapwright.machine import Fault
from heapwright.machine.state import Thread
from heapwright.spans import CACHED, USED

DESIGN = allocator.load("hoard")
KIB, MIB = 1 << 10, 1 << 20
SMALLEST_UNBUFFERED = size_of_class(threads.BUFFERED)


# --- classes


def test_classes_are_total_monotone_and_waste_at_most_a_fifth_beyond_rounding():
    sizes = [size_of_class(k) for k in range(CLASSES)]
    assert sizes[:12] == [16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256]
    assert sizes == sorted(sizes) and sizes[-1] == MAX_SMALL
    assert [class_of(size) for size in sizes] == list(range(CLASSES))
    for size in range(1, MAX_SMALL + 1):
        given = size_of_class(class_of(size))
        assert size <= given and (given - size < 16 or 5 * (given - size) <= given)


@pytest.mark.parametrize("size_class", range(CLASSES))
def test_a_superblock_wastes_at_most_a_quarter(heap, size_class):
    superblock = superblock_of(heap, heap.alloc(size_of_class(size_class)))
    fits = superblock.limit - superblocks.first_of(superblock)
    assert fits % superblock.object_size == 0
    assert 4 * fits >= 3 * SUPERBLOCK


# --- superblocks and buffers


def test_the_first_objects_of_a_busy_thread(heap):
    busy(heap, 24)
    address = heap.alloc(24)
    superblock = superblock_of(heap, address)
    assert superblock.address % SUPERBLOCK == 0 and superblock.object_size == 32
    assert superblock.owner.load() == processors(heap)[1]
    first = superblock.address + superblocks.Superblock.SIZE
    assert superblock.bump == first + 128 * 32 == address + 32
    assert bytes_by_kind(heap)[USED] == 32 and bytes_by_kind(heap)[CACHED] == 127 * 32
    heap.check()


def test_what_was_freed_last_is_given_out_first(heap):
    busy(heap, 100)
    a, b = heap.alloc(100), heap.alloc(100)
    heap.dealloc(a)
    heap.dealloc(b)
    assert [heap.alloc(112), heap.alloc(97)] == [b, a]


def test_a_full_buffer_is_halved(heap):
    limit = threads.limit_of(class_of(1024))
    busy(heap, 1024)
    blocks = [heap.alloc(1024) for _ in range(limit + 1)]
    cached = bytes_by_kind(heap)[CACHED]
    for block in blocks:
        heap.dealloc(block)
    assert cached < 1024 * limit
    assert bytes_by_kind(heap)[CACHED] <= 1024 * limit
    assert heap.alloc(1024) == blocks[-1]
    heap.check()


def test_an_empty_superblock_serves_another_class(heap):
    block = heap.alloc(SMALLEST_UNBUFFERED)
    heap.dealloc(block)
    assert superblock_of(heap, heap.alloc(20_000)).address == superblock_of(heap, block).address
    heap.check()


def test_the_fullest_superblock_serves_first(heap):
    blocks = [heap.alloc(10_000) for _ in range(18)]  # 6 to a superblock
    for block in blocks[1:6] + blocks[6:9]:
        heap.dealloc(block)
    assert superblock_of(heap, heap.alloc(10_000)) == superblock_of(heap, blocks[6])


def test_realloc_stays_while_the_object_is_half_full(heap):
    block = heap.alloc(1000)
    assert heap.realloc(block, 600) == block
    assert heap.realloc(block, 1024) == block
    moved = heap.realloc(block, 400)
    assert moved != block and heap.usable_size(moved) == 448
    assert heap.realloc(moved, 1 << 62) == 0 and moved in heap.live
    heap.check()


# --- the rule


def test_a_heap_that_is_too_empty_gives_superblocks_up(heap):
    blocks = [heap.alloc(10_000) for _ in range(100)]
    maximum = held(heap)
    for block in blocks:
        heap.dealloc(block)
        own = processors(heap)[1]
        assert not heaps.is_too_empty(own, own.held)
    assert maximum >= 100 * 10_000 and held(heap) <= heaps.SLACK
    assert processors(heap)[0].held > 0
    heap.check()


def test_another_heap_takes_what_one_gave_up(heap):
    blocks = [heap.alloc(10_000) for _ in range(100)]
    for block in blocks:
        heap.dealloc(block)
    before = heap.state.store.held.load()
    with on(heap, heap.process.new_thread()):
        taken = superblock_of(heap, heap.alloc(2000))
        assert taken.owner.load() == processors(heap)[2]
    assert heap.state.store.held.load() == before
    heap.check()


def test_what_is_kept_empty_for_all_is_bounded(heap):
    blocks = [heap.alloc(20_000) for _ in range(300)]
    for block in blocks:
        heap.dealloc(block)
    common, total = processors(heap)[0], heap.state.store.held.load()
    assert common.empty <= heaps.KEPT + total // 4 + SUPERBLOCK
    assert total < heaps.SLACK + 2 * MIB
    heap.check()


def test_buffers_are_flushed_when_the_heaps_have_grown(heap):
    thread = busy(heap, 1000, 2000, 3000)
    heap.dealloc(heap.alloc(1000))
    buffer = thread.buffers[class_of(1000)]
    assert buffer.first
    blocks = [heap.alloc(20_000) for _ in range(20)]
    heap.alloc(2000)
    assert not buffer.first and thread.held == heap.state.store.held.load() > threads.GROWTH
    for block in blocks:
        heap.dealloc(block)
    trimmed = heap.trim()
    heap.alloc(3000)
    assert trimmed > 0 and thread.held < threads.GROWTH
    heap.check()


def test_one_thread_allocates_and_another_frees_without_blowup(heap):
    consumer = heap.process.new_thread()
    peaks = []
    for _ in range(12):
        blocks = [heap.alloc(500) for _ in range(400)]
        with on(heap, consumer):
            for block in blocks:
                heap.dealloc(block)
        peaks.append(heap.state.store.held.load())
    assert max(peaks[4:]) <= peaks[4] < 400 * 512 + threads.BUFFER_BYTES + heaps.SLACK
    heap.check()


def test_held_memory_stays_in_proportion_to_memory_in_use(heap):
    """After each free, A <= U / (1 - f) + P*K*S for the heaps of the threads."""
    rng = random.Random(3)
    crew = [heap.process.thread, *(heap.process.new_thread() for _ in range(3))]
    live = []
    for step in range(2500):
        with on(heap, rng.choice(crew)):
            if live and rng.random() < (0.4 if step < 1500 else 0.8):
                heap.dealloc(live.pop(rng.randrange(len(live))))
                held_now = sum(owner.held - owner.taken for owner in processors(heap)[1:])
                used = sum(owner.used for owner in processors(heap)[1:])
                assert held_now <= used * 4 / 3 + len(crew) * heaps.SLACK
            else:
                live.append(heap.alloc(rng.choice((24, 200, 1100, 9000, 20_000))))
    heap.check()


# --- failure


def test_without_memory_for_its_words_a_thread_still_frees(heap):
    block, other = heap.alloc(100), heap.process.new_thread()
    heap.state.roster.fresh = heap.state.roster.end
    heap.process.kernel.calls.at(1)
    with on(heap, other):
        heap.dealloc(block)
    heap.process.kernel.calls.never()
    heap.check()


def test_the_inside_of_an_object_is_noticed_where_nothing_is_buffered(heap):
    with pytest.raises(Fault, match="not a block of this heap"):
        heap.dealloc(heap.alloc(SMALLEST_UNBUFFERED) + 8, unchecked=True)


def test_a_second_free_of_the_last_object_in_use_is_reported(heap):
    block = heap.alloc(SMALLEST_UNBUFFERED)
    heap.dealloc(block)
    with pytest.raises(Fault, match="not a block of this heap"):
        heap.dealloc(block, unchecked=True)


# --- the life of threads and processes


def test_threads_have_heaps_of_their_own(heap):
    owners = []
    for _ in range(threads.PROCESSORS + 1):
        with on(heap, heap.process.new_thread()):
            owners.append(superblock_of(heap, heap.alloc(40)).owner.load().address)
    assert len(set(owners[:-1])) == threads.PROCESSORS and owners[-1] == owners[0]
    heap.check()


def test_a_thread_that_ends_leaves_nothing_behind(heap):
    gifts = [heap.alloc(40) for _ in range(5)]
    fresh = heap.state.roster.fresh
    for gift in gifts:
        with on(heap, heap.process.new_thread()):
            block = heap.alloc(40)
            heap.dealloc(gift)
            heap.dealloc(heap.alloc(600))
            heap.thread_exit()
            heap.dealloc(block)  # in the destructor of a thread-local object
            heap.dealloc(heap.alloc(40))
            heap.check()
        words = (threads.Thread.SIZE, threads.Buffers.SIZE)
        assert heap.state.roster.fresh == fresh + sum(align_up(size, threads.CACHE_LINE) for size in words)
    heap.thread_exit()
    assert bytes_by_kind(heap)[CACHED] == 0


def test_a_thread_continues_the_heap_of_the_last_one_on_its_stack(heap):
    """Two chains of threads: who ended first is succeeded first, though the other one's words were left last."""
    first, second = heap.process.new_thread(), heap.process.new_thread()
    homes = {}
    for each in (first, second):
        with on(heap, each):
            homes[each.id] = superblock_of(heap, heap.alloc(40)).home.load()
    for each in (first, second):
        with on(heap, each):
            heap.thread_exit()
    for each in (Thread(first.id), Thread(second.id)):
        with on(heap, each):
            assert superblock_of(heap, heap.alloc(40)).home.load() == homes[each.id]
    with on(heap, each):
        heap.thread_exit()
    with on(heap, heap.process.new_thread()):
        heap.alloc(40)
        assert not heap.state.roster.idle, "who has no predecessor takes what is left before new words"


def test_a_child_forgets_what_other_threads_buffered(heap):
    busy(heap, 40)
    block, gift = heap.alloc(40), heap.alloc(40)
    with elsewhere(heap, 40):
        heap.alloc(40)
        heap.dealloc(gift)
    child = heap.fork()
    assert child is not None
    forgotten = child.state.roster.idle
    assert forgotten and not forgotten.buffers[class_of(40)].first and not forgotten.remote.of[class_of(40)].first
    child.dealloc(block)
    assert child.alloc(40) == block
    for grown in (child, heap):
        grown.dealloc(grown.alloc(2000))
        assert not any(owner.lock.load() for owner in processors(grown))


def test_trim_gives_everything_back(heap):
    for size in (16, 500, 5000, 25_000, 300_000):
        for block in [heap.alloc(size) for _ in range(50)]:
            heap.dealloc(block)
    assert heap.trim() > 0
    assert heap.state.store.held.load() == 0 == heap.state.large.kept
    heap.check()


# --- stories


def test_the_header_is_as_drawn():
    offsets = {field.name: field.offset for field in superblocks.Superblock}
    drawn = {"magic": 0, "size_class": 8, "object_size": 16, "home": 24, "owner": 32, "list": 40, "gone": 44}
    assert offsets == drawn | {"previous": 48, "next": 56, "limit": 64, "free": 72, "bump": 80, "used": 88}
    assert superblocks.Superblock.SIZE == 96
