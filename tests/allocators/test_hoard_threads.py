"""Hoard's threads: buffers that grow as they are used, and remote frees."""

import pytest
from heaps import on, spans
from hoards import elsewhere, processors, superblock_of

from heapwright import allocator
from heapwright.allocators.hoard import heaps, threads
from heapwright.allocators.parts.chains import chain_of
from heapwright.allocators.parts.size_classes import class_of
from heapwright.machine import Fault
from heapwright.spans import CACHED, USED

DESIGN = allocator.load("hoard")

# --- buffers that nothing was in yet


def test_the_first_objects_of_a_thread_go_past_its_buffers(heap):
    blocks = [heap.alloc(24) for _ in range(threads.WARM - 4)]
    assert len(spans(heap, USED)) == len(blocks) and not spans(heap, CACHED)
    for block in blocks[:4]:
        heap.dealloc(block)
    assert len(spans(heap, USED)) == len(blocks) - 4 and not spans(heap, CACHED)
    heap.check()


def test_a_buffer_grows_as_it_is_used(heap):
    blocks = [heap.alloc(64) for _ in range(threads.WARM)]
    buffer = heap.state.roster.youngest.buffers[class_of(64)]
    fetched, limits = [], []
    for _ in range(200):
        if not buffer.first:
            blocks.append(heap.alloc(64))
            fetched.append(1 + len(list(chain_of(buffer.first))))
            limits.append(buffer.limit)
        blocks.append(heap.alloc(64))
    assert fetched == [4, 8, 16, 32, 64, 64, 64] and limits == [16, 32, 64, 128, 256, 256, 256]
    for block in blocks:
        heap.dealloc(block)
    assert len(list(chain_of(buffer.first))) <= threads.limit_of(class_of(64)) == 256
    heap.check()


def test_a_thread_that_only_frees_keeps_twice_as_much_each_time(heap):
    blocks = [heap.alloc(64) for _ in range(200)]
    heap.trim()
    buffer = heap.state.roster.youngest.buffers[class_of(64)]
    threads.empty_buffer(buffer)
    buffer.limit = buffer.room = buffer.uses = 0
    limits = []
    for block in blocks:
        heap.dealloc(block)
        limits.append(buffer.limit)
    assert sorted(set(limits)) == [0, 16, 32, 64, 128, 256] and limits.count(0) == threads.WARM
    heap.check()


# --- remote frees


def test_a_thread_does_not_hand_out_what_another_one_allocated(heap):
    """Else two would go on writing into one cache line: passive false sharing."""
    kept, gift = heap.alloc(8), heap.alloc(8)
    assert kept // 64 == gift // 64
    with elsewhere(heap, 8) as thread:
        heap.dealloc(gift)
        taken = [heap.alloc(8) for _ in range(2 * threads.BUFFER_OBJECTS)]
        assert {superblock_of(heap, each).owner.load().address for each in taken} == {thread.home.address}
        assert superblock_of(heap, gift).owner.load() == processors(heap)[1]
        assert (gift, 16) in spans(heap, CACHED)
        assert dict(heap.lists())[f"thread {thread.address:#x}, remote frees of 16 bytes"] == [gift]
        heap.check()
        heap.trim()
    assert not thread.remote.of[class_of(8)].first and superblock_of(heap, gift).free.address == gift
    heap.check()


def test_what_the_global_heap_owns_is_still_at_home_where_it_was_last(heap, monkeypatch):
    monkeypatch.setattr(heaps, "SLACK", 0)  # so that three quarters full is too empty
    blocks = [heap.alloc(6000) for _ in range(10)]
    for block in blocks[2:]:
        heap.dealloc(block)
    assert superblock_of(heap, blocks[0]).owner.load() == processors(heap)[0]
    heap.dealloc(blocks[0])
    assert heap.alloc(6000) == blocks[0]
    with elsewhere(heap, 6000) as thread:
        heap.dealloc(blocks[1])
        assert thread.remote.of[class_of(6000)].first.address == blocks[1]
    heap.check()


@pytest.mark.parametrize(("size", "maximum"), [(16, 256), (1000, 8), (5000, 2), (8192, 1)])
def test_remote_frees_are_bounded_in_objects_and_bytes(heap, size, maximum):
    blocks = [heap.alloc(size) for _ in range(maximum + 1)]
    with elsewhere(heap, size) as thread:
        remote = thread.remote.of[class_of(size)]
        for block in blocks[:-1]:
            heap.dealloc(block)
        assert len(list(chain_of(remote.first))) == maximum
        heap.dealloc(blocks[-1])
        assert [each.address for each in chain_of(remote.first)] == blocks[-1:]
        heap.check()


def test_each_owner_of_remote_frees_is_locked_once(heap, monkeypatch):
    locked, lock_owner = [], heaps.lock_owner
    monkeypatch.setattr(heaps, "lock_owner", lambda *given: locked.append(lock_owner(*given)) or locked[-1])
    blocks = [heap.alloc(1000) for _ in range(5)]
    with elsewhere(heap):
        others = [heap.alloc(1000) for _ in range(4)]
    with elsewhere(heap, 1000):
        for pair in zip(blocks, others, strict=False):
            for block in pair:
                heap.dealloc(block)
        assert locked == []
        heap.dealloc(blocks[4])
    assert sorted(owner.address for owner in locked) == [owner.address for owner in processors(heap)[1:3]]
    heap.check()


def test_a_thread_that_never_freed_what_has_another_home_has_no_room_for_it(heap):
    gifts = [heap.alloc(40) for _ in range(2)]
    with on(heap, heap.process.new_thread()):
        heap.alloc(40)
        thread, fresh = heap.state.roster.youngest, heap.state.roster.fresh
        assert thread.remote == heap.state.roster.nothing
        heap.dealloc(gifts[0])
        assert heap.state.roster.fresh > fresh and thread.remote.of[class_of(40)].uses == 1
    with on(heap, heap.process.new_thread()):
        heap.alloc(40)
        heap.state.roster.fresh = heap.state.roster.end
        heap.process.kernel.calls.at(1)
        heap.dealloc(gifts[1])
    heap.process.kernel.calls.never()
    heap.check()


@pytest.mark.parametrize("size", [24, 8192])
def test_a_free_that_goes_past_the_buffer_made_twice_is_reported(heap, size):
    block, gift, _ = (heap.alloc(size) for _ in range(3))
    for thread, freed in ((heap.process.thread, block), (heap.process.new_thread(), gift)):
        with on(heap, thread):
            heap.dealloc(freed)
            with pytest.raises(Fault, match="double free"):
                heap.dealloc(freed, unchecked=True)
        processors(heap)[1].lock.store(0)  # which the report left held


def test_a_remote_free_made_twice_is_reported(heap):
    blocks = [heap.alloc(8192) for _ in range(2)]
    with elsewhere(heap, 8192):
        for block in blocks:  # the second finds the buffer full
            heap.dealloc(block)
            with pytest.raises(Fault, match="double free"):
                heap.dealloc(block, unchecked=True)


def test_the_check_counts_remote_frees(heap):
    block = heap.alloc(100)
    with elsewhere(heap, 100) as thread:
        heap.dealloc(block)
        thread.remote.of[class_of(100)].room += 1
        with pytest.raises(Fault, match="H6"):
            heap.check()
