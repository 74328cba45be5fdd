"""VecDeque asks for what Rust's asks for, and is a deque whatever way it goes round."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapwright import allocator
from heapwright.collections import CapacityOverflow, OutOfBounds, OutOfMemory, String, VecDeque, drop, i32, serve, unit
from heapwright.machine import start


def test_growth_of_nine_pushes_from_either_end(requests):
    queue = VecDeque(i32)
    for number in range(9):
        (queue.push_front if number % 2 else queue.push_back)(number)
    assert requests == ["16@4", "16@4 -> 32", "32@4 -> 64"]
    assert list(queue) == [7, 5, 3, 1, 0, 2, 4, 6, 8] and queue.capacity == 16
    assert repr(queue) == "[7, 5, 3, 1, 0, 2, 4, 6, 8]"


def test_a_queue_of_three_stays_in_the_block_of_four(requests):
    queue = VecDeque.of([0, 1, 2])
    queue.push_back(3)
    assert requests.taken() == ["12@4", "12@4 -> 24"]
    for number in range(100):
        assert queue.pop_front() == number
        queue.push_back(number + 4)
    assert requests == []


def test_nothing_is_asked_for_nothing(requests):
    queue = VecDeque()
    assert (len(queue), queue.capacity, queue.pop_front(), queue.pop_back(), list(queue)) == (0, 0, None, None, [])
    drop(queue)
    assert requests == []


def test_elements_without_bytes(requests):
    queue = VecDeque(unit)
    for _ in range(3):
        queue.push_front(None)
        queue.push_back(None)
    queue.pop_front()
    queue.shrink_to_fit()
    assert len(queue) == 5 and queue[4] is None and requests == []


def test_bounds_and_assignment(heap):
    queue = VecDeque.of([1, 2])
    queue.push_front(0)
    queue[0] = 5
    assert (queue[0], queue[2]) == (5, 2)
    for wrong in (3, -1):
        with pytest.raises(OutOfBounds):
            queue[wrong]
    with pytest.raises(CapacityOverflow):
        queue.reserve(1 << 62)


def test_what_it_owns_goes_with_it(heap):
    queue = VecDeque()
    for word in ("one", "two", "three", "four", "five"):
        queue.push_front(String(word))
    queue[0] = String("six")
    queue.truncate(3)
    assert [str(each) for each in queue] == ["six", "four", "three"]
    first, last = queue.pop_front(), queue.pop_back()
    drop(queue)
    assert (str(first), str(last)) == ("six", "three")
    drop(first)
    drop(last)
    assert not heap.leaks()


@pytest.mark.parametrize("head", range(8))
@pytest.mark.parametrize("length", range(1, 8))
def test_a_realloc_that_fails_leaves_the_ring(head, length):
    with serve(start(allocator.load("kr"))) as runtime:
        queue = VecDeque.with_capacity(8, i32)
        for _ in range(head):
            queue.push_back(0)
            queue.pop_front()
        queue.extend(range(length))
        realloc, runtime.heap.realloc = runtime.heap.realloc, lambda *_: 0
        for ask in (queue.shrink_to_fit, lambda: queue.reserve(100)):
            with pytest.raises(OutOfMemory):
                ask()
            assert list(queue) == list(range(length)) and queue.capacity == 8
        runtime.heap.realloc = realloc
        queue.shrink_to_fit()
        assert list(queue) == list(range(length)) and queue.capacity == length


STEPS = st.tuples(
    st.sampled_from(["push_back", "push_front", "pop_back", "pop_front", "shrink", "reserve"]), st.integers(0, 9)
)


@given(st.lists(STEPS, max_size=60))
def test_a_ring_is_a_deque(story):
    with serve(start(allocator.load("kr"))) as runtime:
        queue, model = VecDeque(i32), deque()
        for what, number in story:
            if what == "shrink":
                queue.shrink_to_fit()
                assert queue.capacity == len(model)
            elif what == "reserve":
                queue.reserve(number)
            elif what.startswith("push"):
                getattr(queue, what)(number)
                getattr(model, what.replace("push", "append").replace("_back", "").replace("_front", "left"))(number)
            else:
                taken = getattr(model, what.replace("_back", "").replace("_front", "left"))() if model else None
                assert getattr(queue, what)() == taken
            assert list(queue) == list(model)
        drop(queue)
        assert not runtime.heap.leaks()
