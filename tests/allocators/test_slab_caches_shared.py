"""A program's own caches beside other threads, and in forked children."""

from collections import Counter

import pytest
from slabs import DESIGN, Objects, alloc_and_free, is_as_constructed, slabs_of

from heapwright.machine import start
from heapwright.machine.explore import explore
from heapwright.machine.threads import Threads

KIB = 1 << 10
SIZE = 96


@pytest.fixture
def kind(heap):
    return Objects(heap, SIZE)


# --- threads


def trim_beside(work):
    """Threads of which one trims the heap, while another one does some work with a cache that has free objects."""
    heap = start(DESIGN)
    kind = Objects(heap, 16 * KIB)
    alloc_and_free(kind, 4)
    threads = Threads(heap)
    threads.main(lambda: work(kind))
    threads.spawn(heap.trim)
    threads.endings.append(lambda: assert_balance(kind))
    return threads


def assert_balance(kind):
    """What was constructed is either destructed, each once, or lies in the slabs."""
    gone = Counter(kind.destructed())
    assert not gone - Counter(kind.constructed())
    there = sum(slab.fresh for slab in slabs_of(kind.cache))
    assert len(kind.constructed()) == len(kind.destructed()) + there


def use(kind):
    kind.free(kind.alloc())


def end(kind):
    assert kind.destroy() == 0
    destructed = len(kind.destructed())
    assert destructed == len(kind.constructed())


@pytest.mark.parametrize("work", [use, end])
def test_a_trim_beside(work):
    explore(lambda: trim_beside(work), 1, maximum=20).demand()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("work", [use, end])
def test_a_trim_beside_in_more_schedules(work):
    explore(lambda: trim_beside(work), 1, maximum=2000).demand()


# --- fork


def test_a_child_has_the_caches_and_their_objects(heap, kind):
    objects = [kind.alloc() for _ in range(20)]
    child = heap.fork()
    theirs = kind.over(child)
    for each in objects:
        theirs.free(each)
    assert theirs.destroy() == 0
    child.check()
    assert kind.destroy() == 20 and is_as_constructed(kind, objects[0])
    heap.check()


def test_a_fork_while_objects_are_destructed(heap):
    """The child has the gate open again."""
    children = []

    class Forking(Objects):
        def destruct(self, memory, address, size):
            super().destruct(memory, address, size)
            if not children:
                children.append(heap.fork())

    kind = Forking(heap, SIZE)
    objects = alloc_and_free(kind, 3)
    kind.reap()
    [child] = children
    theirs = kind.over(child)
    fresh = theirs.alloc()
    theirs.free(fresh)
    theirs.log.clear()
    assert theirs.destroy() == 0
    assert sorted(theirs.destructed()) == sorted([*objects[:2], fresh])
    child.check()
