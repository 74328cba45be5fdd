"""The exploration: what it leaves out is the same, and planted bugs are found within a stated number of schedules."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heapwright import locks
from heapwright.layout import NULL, Atomic, Struct, Word
from heapwright.machine import Fault, Kernel, Kind, Process
from heapwright.machine.explore import explore, sleepy_locks, wander
from heapwright.machine.races import Race
from heapwright.machine.threads import Threads


class Node(Struct):
    next: Word


class Shared(Struct):
    lock: Atomic[Word]
    other: Atomic[Word]
    counter: Atomic[Word]
    is_open: Atomic[Word]
    head: Atomic[Node]
    count: Word


def threads_of(*bodies, ending=None):
    """What makes threads that do something with `Shared` words: (shared) -> None for each."""

    def make():
        process = Process.start(Kernel(frames=16), data=4096)
        shared = Shared(process.memory, process.reserve(Shared.SIZE))
        threads = Threads(process)
        threads.state = shared
        for i, body in enumerate(bodies):
            (threads.spawn if i else threads.main)(lambda body=body: body(shared))
        if ending:
            threads.endings.append(lambda: ending(shared))
        return threads

    return make


def demand(condition, what):
    if not condition:
        raise AssertionError(what)


# --- what is not a bug


def locked_increment(shared):
    locks.acquire(shared.memory, shared.lock)
    shared.count += 1
    locks.release(shared.memory, shared.lock)


@pytest.mark.long
@pytest.mark.parametrize("spinning", [0, 1, 3])
@pytest.mark.parametrize("threads", [2, 3])
def test_the_mutex_excludes_and_loses_no_wake_up(threads, spinning):
    def counted(shared):
        demand(shared.count == threads and shared.lock.load() == 0, "each thread counted once")

    with sleepy_locks(spinning):
        found = explore(threads_of(*[locked_increment] * threads, ending=counted), 2).demand()
    assert found.preemptions == 2


def test_a_thread_gives_back_only_what_it_holds():
    """One holds two locks and gives back all it holds, as before the end by a report; the other waits for one."""

    def gives_back_all(shared):
        locks.acquire(shared.memory, shared.lock)
        locks.acquire(shared.memory, shared.other)
        shared.count += 1
        for cell in (shared.lock, shared.other):
            locks.release_own(shared.memory, cell)
            locks.release_own(shared.memory, cell)

    def free_again(shared):
        demand(shared.count == 3 and shared.lock.load() == shared.other.load() == 0, "each counted once, none holds")

    bodies = [gives_back_all, locked_increment, locked_increment]
    with sleepy_locks():
        explore(threads_of(*bodies, ending=free_again), 2).demand()


def test_without_preemptions_each_order_is_tried_once():
    orders = set()

    def make():
        order = []
        bodies = [lambda _, name=name: order.append(name) for name in "abc"]
        threads = threads_of(*bodies)()
        threads.endings.append(lambda: orders.add("".join(order)))
        return threads

    assert explore(make, 0).schedules == 6
    assert orders == {"abc", "acb", "bac", "bca", "cab", "cba"}


@pytest.mark.parametrize("is_fine", [False, True])
def test_what_is_left_out_is_the_same_as_what_is_tried(is_fine):
    """Two threads write to three cells; all results of all schedules, with and without reduction."""

    def results(is_reduced):
        seen = set()

        def body(name):
            def work(shared):
                shared.counter.store(10 * shared.counter.load() + name)
                shared.other.add(name)
                shared.is_open.store(shared.counter.load() + shared.other.load())

            return work

        def note(shared):
            seen.add((shared.counter.load(), shared.other.load(), shared.is_open.load()))

        make = threads_of(body(1), body(2), ending=note)
        return seen, explore(make, 3, is_fine=is_fine, is_reduced=is_reduced).demand().schedules

    few, all_of_them = results(True), results(False)
    assert few[0] == all_of_them[0] and len(few[0]) > 5
    assert few[1] < all_of_them[1]


# --- planted bugs: each is found within so many schedules


def lost_update(shared):
    shared.counter.store(shared.counter.load() + 1)


def race(shared):
    shared.count += 1


def opens_twice(shared):
    if shared.is_open.load() == 0:
        shared.is_open.store(1)
        shared.counter.add(1)


def early_release(shared):
    locks.acquire(shared.memory, shared.lock)
    count = shared.count
    locks.release(shared.memory, shared.lock)
    shared.count = count + 1


def forgetful_mutex(shared):
    """Who slept takes the lock as if nobody else could sleep."""
    while shared.lock.exchange(locks.HELD) != locks.FREE:
        shared.lock.store(locks.CONTENDED)
        shared.memory.wait(shared.lock.address, locks.CONTENDED)
    locks.release(shared.memory, shared.lock)


def wakes_nobody(shared):
    """The word is looked at, and then given up: a thread that goes to sleep in between is not seen."""
    locks.acquire(shared.memory, shared.lock)
    has_sleepers = shared.lock.load() == locks.CONTENDED
    shared.lock.store(locks.FREE)
    if has_sleepers:
        shared.memory.wake(shared.lock.address)


def lock_then_other(shared):
    locks.acquire(shared.memory, shared.lock)
    locks.acquire(shared.memory, shared.other)
    locks.release(shared.memory, shared.other)
    locks.release(shared.memory, shared.lock)


def other_then_lock(shared):
    locks.acquire(shared.memory, shared.other)
    locks.acquire(shared.memory, shared.lock)
    locks.release(shared.memory, shared.lock)
    locks.release(shared.memory, shared.other)


def counted_twice(shared):
    demand(shared.counter.load() == 2, "two increments make two")


def opened_once(shared):
    demand(shared.counter.load() == 1, "it is opened once")


PLANTED = {
    "a counter that is loaded and stored": ([lost_update] * 2, counted_twice, 10, AssertionError),
    "a plain counter": ([race] * 2, None, 1, Race),
    "two threads that open": ([opens_twice] * 2, opened_once, 10, AssertionError),
    "a lock released too early": ([early_release] * 2, None, 10, Race),
    "a mutex that forgets who sleeps": ([forgetful_mutex] * 3, None, 400, Fault),
    "a mutex that looks before it gives up": ([wakes_nobody] * 2, None, 40, Fault),
    "two locks in two orders": ([lock_then_other, other_then_lock], None, 20, Fault),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(name):
    bodies, ending, maximum, error = PLANTED[name]
    with sleepy_locks(0):
        found = explore(threads_of(*bodies, ending=ending), 2)
    assert isinstance(found.failure.error, error) and found.schedules <= maximum
    if error is Fault:
        assert found.failure.error.kind == Kind.DEADLOCK
    assert "one" in str(found.failure.interleaving) and "two" in str(found.failure.interleaving)


@pytest.mark.parametrize("name", PLANTED)
def test_random_schedules_find_it_too(name):
    bodies, ending, _, error = PLANTED[name]
    with sleepy_locks(0):
        found = wander(threads_of(*bodies, ending=ending), 1000, seed=1)
    assert isinstance(found.failure.error, error)


@settings(max_examples=10)
@given(st.integers(0, 1 << 30))
def test_random_schedules_of_a_good_mutex_find_nothing(seed):
    with sleepy_locks(1):
        wander(threads_of(*[locked_increment] * 3), 10, seed).demand()


# --- a stack of Treiber's, with the ABA problem


def stack_of(nodes):
    """What makes two threads on a stack that begins with so many nodes."""

    def make():
        process = Process.start(Kernel(frames=16), data=4096)
        shared = Shared(process.memory, process.reserve(Shared.SIZE))
        where = [Node(process.memory, process.reserve(Node.SIZE)) for _ in range(nodes)]
        for node in where:
            push(shared, node)
        threads, popped = Threads(process), []
        threads.state, threads.benign = shared, {"Node.next": "a node may be popped meanwhile"}

        def pops_and_pushes():
            first = pop(shared)
            popped.append(pop(shared))
            push(shared, first)

        def stays_whole():
            held = {node.address for node in popped if node}
            node = shared.head.load()
            while node:
                demand(node.address not in held, "a popped node is on the stack")
                held.add(node.address)
                node = node.at(node.next)

        threads.main(lambda: popped.append(pop(shared)))
        threads.spawn(pops_and_pushes)
        threads.endings.append(stays_whole)
        return threads

    return make


def push(shared, node):
    node.next = shared.head.load().address
    while not shared.head.compare_exchange(node.next, node):
        node.next = shared.head.load().address


def pop(shared):
    node = shared.head.load()
    while node and not shared.head.compare_exchange(node, node.next):
        node = shared.head.load()
    return node if node else node.at(NULL)


def test_aba_is_found():
    found = explore(stack_of(3), 2)
    assert "a popped node is on the stack" in str(found.failure.error)
    assert found.schedules <= 60 and len(found.failure.schedule) == 1


# --- the shortest failure


def test_a_failure_has_the_fewest_preemptions():
    with sleepy_locks(0):
        failure = explore(threads_of(lock_then_other, other_then_lock), 3).failure
    assert len(failure.schedule) == 1


def test_a_random_failure_is_made_short():
    with sleepy_locks(0):
        failure = wander(threads_of(lock_then_other, other_then_lock, lock_then_other), 1000, depth=6).failure
    assert len(failure.schedule) <= 2
