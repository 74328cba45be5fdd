"""The arenas of ptmalloc, and the threads that share them."""

import pytest
from heaps import on, spans

from heapwright import allocator
from heapwright.allocators.ptmalloc import inspect, state
from heapwright.allocators.ptmalloc import system as ptmalloc_system
from heapwright.allocators.ptmalloc.chunks import chunk_of, chunk_size_for
from heapwright.allocators.ptmalloc.state import SEGMENT_BYTES, own_arena
from heapwright.machine import Fault, start
from heapwright.machine.state import Thread
from heapwright.spans import CACHED, FREE

DESIGN = allocator.load("ptmalloc")
KIB = 1 << 10
LARGE = 2000  # bytes that no cache takes
M_ARENA_MAX = -8


@pytest.fixture
def roomy():
    """A machine with room for segments."""
    return start(DESIGN, frames=1 << 16, budget=1 << 30)


@pytest.fixture
def other(roomy):
    """Another thread."""
    return roomy.process.new_thread()


def segment_number(address):
    return address // SEGMENT_BYTES


def test_each_thread_has_an_arena_of_its_own(roomy):
    segments = []
    for thread in [roomy.process.thread] + [roomy.process.new_thread() for _ in range(2)]:
        with on(roomy, thread):
            segments.append(segment_number(roomy.alloc(100)))
        roomy.check()
    assert len(set(segments)) == roomy.state.arenas == 3


def test_a_freed_block_goes_back_to_its_arena(roomy, other):
    roomy.alloc(24)
    with on(roomy, other):
        block, _ = roomy.alloc(LARGE), roomy.alloc(24)
    roomy.dealloc(block)
    assert (block - 8, chunk_size_for(LARGE)) in spans(roomy, FREE)
    roomy.check()


def test_a_thread_that_ends_leaves_its_arena_to_the_next(roomy, other):
    roomy.alloc(24)
    with on(roomy, other):
        first, *blocks = [roomy.alloc(100) for _ in range(3)]
        for block in blocks:
            roomy.dealloc(block)
        roomy.thread_exit()
        assert spans(roomy, CACHED) == []
        roomy.dealloc(first)
        assert spans(roomy, CACHED) == []
        assert segment_number(roomy.alloc(100)) == 0, "of the main arena"
        roomy.thread_exit()
    with on(roomy, roomy.process.new_thread()):
        assert segment_number(roomy.alloc(100)) == segment_number(first)
    assert roomy.state.arenas == 2
    roomy.check()


def test_a_thread_continues_the_arena_of_the_last_one_on_its_stack(roomy, other):
    roomy.alloc(100)  # the first thread has the main arena
    third, segments = roomy.process.new_thread(), {}
    for thread in (other, third):
        with on(roomy, thread):
            segments[thread.id] = segment_number(roomy.alloc(100))
    for thread in (other, third):
        with on(roomy, thread):
            roomy.thread_exit()
    for number in (third.id, other.id):
        with on(roomy, Thread(number)):
            assert segment_number(roomy.alloc(100)) == segments[number]
    assert roomy.state.arenas == 3


@pytest.mark.long
def test_an_arena_goes_on_in_another_segment_and_gives_it_back(roomy, other):
    roomy.alloc(24)
    with on(roomy, other):
        first = roomy.alloc(100 * KIB)
        arena = own_arena(roomy.state)
        segment = state.segment_of(chunk_of(roomy.state, first))
        fill = SEGMENT_BYTES - segment.size  # pretend that the rest is in use
        segment.size += fill
        ptmalloc_system.lengthen_top(arena, fill)
        roomy.state.mmap_threshold.store(SEGMENT_BYTES)
        blocks = [roomy.alloc(state.top_bytes(arena) - 64), roomy.alloc(100 * KIB)]
    assert state.segment_of(chunk_of(roomy.state, blocks[1])).previous == segment
    roomy.check()
    held = roomy.memory.held()
    for block in blocks:
        roomy.dealloc(block)
    assert roomy.memory.held() == held - SEGMENT_BYTES
    roomy.check()


def test_another_thread_notices_a_double_free(roomy, other):
    block = roomy.alloc(100)
    roomy.dealloc(block)
    with on(roomy, other), pytest.raises(Fault, match="double free"):
        roomy.dealloc(block, unchecked=True)


def test_arenas_may_be_fewer(roomy):
    assert DESIGN.tune(roomy.state, M_ARENA_MAX, 2) == 1
    for _ in range(4):
        with on(roomy, roomy.process.new_thread()):
            roomy.alloc(100)
    assert roomy.state.arenas == 2
    roomy.check()


def test_pages_that_the_kernel_does_not_take_back_are_not_taken_for_zeros(roomy, other):
    roomy.alloc(24)
    with on(roomy, other):
        blocks = [roomy.alloc(100 * KIB) for _ in range(10)]
        roomy.process.kernel.returns.at(1)
        for block in blocks:
            roomy.dealloc(block)
        roomy.state.mmap_threshold.store(SEGMENT_BYTES)
        assert roomy.alloc_zeroed(700 * KIB) in blocks  # the machine compares
    roomy.check()


# --- fork


def test_a_child_has_its_parents_heap_and_no_locks(heap):
    blocks = [heap.alloc(100) for _ in range(3)]
    heap.dealloc(blocks[0])
    child = heap.fork()
    assert child.alloc(100) == heap.alloc(100) == blocks[0]
    child.check()
    heap.check()
    assert all(arena.lock.load() == 0 for each in (heap, child) for arena in inspect.all_arenas(each.state))


def test_in_a_child_the_arenas_of_other_threads_are_free(roomy, other):
    roomy.alloc(24)
    with on(roomy, other):
        block = roomy.alloc(100)
    child = roomy.fork()
    with on(child, child.process.new_thread()):
        assert segment_number(child.alloc(100)) == segment_number(block)
    child.check()
