"""Simulated threads: words, views, futexes, channels, deadlock, races, and what a table of an interleaving says."""

from pathlib import Path

import pytest

from heapwright import allocator, locks
from heapwright.layout import Array, Atomic, Inline, Struct, Word, Word32
from heapwright.machine import Fault, Kernel, Kind, Process
from heapwright.machine.explore import explore
from heapwright.machine.races import Race
from heapwright.machine.shared_heap import SharedHeap
from heapwright.machine.threads import Threads


class Pair(Struct):
    low: Word32
    high: Word32


class Shared(Struct):
    lock: Atomic[Word]
    flag: Atomic[Word]
    count: Word
    pair: Inline[Pair]
    slots: Array[Word, 4]


@pytest.fixture
def process():
    return Process.start(Kernel(frames=64), data=4096)


@pytest.fixture
def shared(process):
    return Shared(process.memory, process.reserve(Shared.SIZE))


def run(process, *bodies):
    threads = Threads(process)
    threads.main(bodies[0])
    for body in bodies[1:]:
        threads.spawn(body)
    threads.run()
    return threads


# --- what a thread has of its own


def test_each_thread_has_words_an_errno_and_a_number(process):
    seen = []

    def body(value):
        process.memory.set_local(3, value)
        process.memory.set_errno(value)
        process.memory.relax()
        seen.append((process.memory.local(3), process.thread.errno, process.memory.thread_id()))

    run(process, lambda: body(7), lambda: body(8))
    assert [(word, errno) for word, errno, _ in seen] == [(7, 7), (8, 8)]
    assert seen[0][2] != seen[1][2]
    assert process.memory.local(3) == 7  # the first thread is the process's own


def test_a_second_thread_ends_single_threadedness(process):
    threads = Threads(process)
    threads.main(lambda: None)
    assert process.memory.single_threaded()
    threads.spawn(lambda: None)
    assert not process.memory.single_threaded()


def test_each_call_has_its_own_budget():
    heap = SharedHeap.start(allocator.load("locked(kr)"), frames=64, budget=60)
    threads = Threads(heap)
    threads.main(lambda: heap.alloc(24))
    threads.spawn(lambda: heap.alloc(24))
    threads.run(LeastOften())
    assert len(heap.live) == 2


class LeastOften:
    """Changes threads whenever it can."""

    def choose(self, point):
        return point.ready[-1]


def test_the_allocator_may_not_touch_what_another_thread_holds():
    heap = SharedHeap.start(allocator.load("locked(kr)"), frames=64)
    block = heap.alloc(24)
    threads = Threads(heap)
    threads.main(lambda: None)
    threads.spawn(lambda: heap.memory.load(block, 8))
    with pytest.raises(Fault) as caught:
        threads.run()
    assert caught.value.kind == Kind.LIVE


def test_after_a_failure_the_process_runs_on_alone(process, shared):
    def fails():
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        run(process, process.memory.relax, fails)
    shared.count = 5
    assert process.scheduler is None and shared.count == 5


# --- waiting


def test_who_waits_for_a_lock_gets_it_when_it_is_released(process, shared):
    order = []

    def body(name):
        locks.acquire(process.memory, shared.lock)
        order.append(name)
        process.memory.relax()
        locks.release(process.memory, shared.lock)

    run(process, lambda: body("a"), lambda: body("b"), lambda: body("c"))
    assert sorted(order) == ["a", "b", "c"] and shared.lock.load() == 0


def test_a_deadlock_says_who_waits_where(process, shared):
    def body():
        locks.acquire(process.memory, shared.lock)

    with pytest.raises(Fault) as caught:
        run(process, body, body)
    assert caught.value.kind == Kind.DEADLOCK
    where = f"two waits at locks.py:{wait_line()} in sleep_on, while the word at {shared.lock.address:#x} is "
    where += str(process.thread.id << locks.OWNER | locks.CONTENDED)
    assert where in caught.value.what


def wait_line():
    lines = Path(locks.__file__).read_text().splitlines()
    return 1 + next(i for i, line in enumerate(lines) if "memory.wait(" in line)


def test_a_wait_for_what_is_no_longer_there_returns(process, shared):
    run(process, lambda: process.memory.wait(shared.lock.address, 1), lambda: None)


def test_a_channel_hands_over_in_order(process):
    threads, got = Threads(process), []
    channel = threads.channel()
    threads.main(lambda: got.extend([channel.get(), channel.get()]))
    threads.spawn(lambda: (channel.put("first"), channel.put("second")))
    threads.run()
    assert got == ["first", "second"]


def test_a_channel_that_nobody_fills_is_a_deadlock(process):
    threads = Threads(process)
    threads.main(threads.channel().get)
    with pytest.raises(Fault, match="one waits for a channel"):
        threads.run()


# --- races


def store(shared, value=1):
    shared.count = value


def test_two_plain_accesses_race(process, shared):
    with pytest.raises(Race) as caught:
        run(process, lambda: store(shared), lambda: shared.count)
    assert caught.value.where == "Shared.count"
    assert "the plain store by one at test_threads.py" in str(caught.value)
    assert "the plain load by two at test_threads.py" in str(caught.value)


def test_two_loads_do_not_race(process, shared):
    run(process, lambda: shared.count, lambda: shared.count)


def test_two_halves_of_a_word_do_not_race(process, shared):
    def low():
        shared.pair.low = 1

    def high():
        shared.pair.high = 1

    run(process, low, high)


def test_a_plain_access_races_with_an_atomic_one(process, shared):
    with pytest.raises(Race):
        run(process, lambda: shared.flag.store(1), lambda: process.memory.load(shared.flag.address, 8))


def test_a_flag_orders_what_lies_before_it(process, shared):
    def writer():
        shared.count = 3
        shared.flag.store(1)

    def reader():
        while shared.flag.load() == 0:
            process.memory.relax()
        assert shared.count == 3

    run(process, reader, writer)


def test_a_flag_does_not_order_what_comes_after_it(process, shared):
    def writer():
        shared.flag.store(1)
        shared.count = 3

    def reader():
        shared.flag.load()
        return shared.count

    with pytest.raises(Race):
        run(process, writer, reader)


def test_a_compare_exchange_that_fails_publishes_nothing(process, shared):
    def writer():
        shared.count = 3
        shared.flag.compare_exchange(5, 6)

    def reader():
        shared.flag.load()
        return shared.count

    with pytest.raises(Race):
        run(process, writer, reader)


def test_a_channel_orders_what_lies_before_it(process, shared):
    threads = Threads(process)
    channel = threads.channel()
    threads.main(lambda: (store(shared), channel.put(None)))
    threads.spawn(lambda: (channel.get(), store(shared)))
    threads.run()


def test_a_race_on_a_declared_field_is_borne_and_its_word_gets_points(process, shared):
    threads = Threads(process)
    threads.benign = {"Shared.count": "it is a hint"}
    threads.main(lambda: store(shared))
    threads.spawn(lambda: shared.count)
    threads.run()
    assert threads.raced == {(shared.address + Shared.count.offset) // 8}


def test_memory_that_the_kernel_gave_anew_has_no_past(process):
    places = []

    def body():
        place = process.memory.mmap(4096)
        places.append(place)
        process.memory.store(place, 8, 1)
        process.memory.munmap(place, 4096)

    run(process, body, body)
    assert places[0] == places[1]


# --- a table


def test_the_table_of_an_interleaving():
    found = explore(lost_update)
    assert str(found.failure) == GOLDEN.strip("\n")


def lost_update():
    process = Process.start(Kernel(frames=64), data=4096)
    shared = Shared(process.memory, process.reserve(Shared.SIZE))

    def increment():
        shared.flag.store(shared.flag.load() + 1)

    def both_counted():
        if shared.flag.load() != 2:
            raise AssertionError(f"two increments make {shared.flag.load()}")

    threads = Threads(process)
    threads.state = shared
    threads.main(increment)
    threads.spawn(increment)
    threads.endings.append(both_counted)
    return threads


INCREMENT = f"test_threads.py:{lost_update.__code__.co_firstlineno + 5} in increment"
GOLDEN = f"""
two increments make 1

one    load Shared.flag = 0    {INCREMENT}
two    load Shared.flag = 0    {INCREMENT}
       store Shared.flag := 1  {INCREMENT}
one    store Shared.flag := 1  {INCREMENT}

schedule ((5, 1),), the 4th that was tried
"""
