"""The same calls give the same addresses in the machine and compiled, to the byte, mappings included; and the same
statistics, to the last call of the kernel.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from heaps import on
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heapwright.allocators import ALLOCATORS
from heapwright.machine import start
from heapwright.native.heap import NativeHeap
from heapwright.native.library import stack_for

HARDENED = "wright[HARDENED=1]"
DISTANCE = 1 << 40  # from the machine's addresses to the region's: a multiple of any alignment
SHORT, LONG = 4_000, 20_000
STACK = "counted(locked(kr))"
BRIEFLY = ("kr", "ptmalloc", "hoard", "wright")  # a book's heap, the C library's, and two with threads
MAX_LIVE = 100  # about: free lists stay short enough to be followed by an interpreter


@contextmanager
def both_worlds(spec):
    machine = start(stack_for(spec), frames=1 << 18, budget=1 << 40)
    process = machine.process
    size = process.space.mappings.top - process.heap_start
    native = NativeHeap(spec, DISTANCE + process.heap_start, size)
    native.set_chance(process.coming_random())
    try:
        yield machine, native
    finally:
        native.close()


def story(length, seed):
    """Calls with plausible sizes: ("alloc", size, align), ("realloc", n-th live, size), ("dealloc", n-th live)."""
    rng, live = random.Random(seed), 0
    for _ in range(length):
        choice = rng.random()
        if live and choice < (0.35 if live < MAX_LIVE else 0.6):
            live -= 1
            yield "dealloc", rng.randrange(live + 1), 0
        elif live and choice > 0.9:
            yield "realloc", rng.randrange(live), size_of(rng)
        else:
            live += 1
            yield "alloc", size_of(rng), 16 if rng.random() < 0.95 else 1 << rng.randrange(5, 13)


def size_of(rng):
    return rng.randrange(200) if rng.random() < 0.8 else int(50 * rng.paretovariate(0.8)) % 20_000


def play(calls, machine, native):
    """Make each call in both worlds; yields the pair of addresses of every block made or moved."""
    live = []
    for name, first, second in calls:
        if name == "alloc":
            here, there = machine.alloc(first, second), native.alloc(first, second)
            live.append((here, first, second))
        elif name == "realloc":
            address, size, align = live[first]
            here, there = machine.realloc(address, second), native.realloc(address + DISTANCE, size, align, second)
            live[first] = (here, second, align)
        else:
            address, size, align = live.pop(first)
            machine.dealloc(address)
            native.dealloc(address + DISTANCE, size, align)
            continue
        yield here, there


@pytest.mark.long
@pytest.mark.parametrize("length", [SHORT, LONG])
@pytest.mark.parametrize("spec", [*ALLOCATORS, HARDENED, "ptmalloc[VERSION=236]"])
def test_a_long_trace(spec, length):
    with both_worlds(spec) as (machine, native):
        pairs = list(play(story(length, seed=7), machine, native))
        assert len(pairs) > length // 3
        assert [here + DISTANCE for here, _ in pairs] == [there for _, there in pairs]
        assert machine.trim() == native.trim()
        assert machine.survey() == native.stats()
        machine.check()


@pytest.mark.long
def test_a_heap_of_vmem_alone():
    """The part that no allocator uses."""
    with both_worlds(str(Path(__file__).parents[1] / "specimens" / "vmem_heap.py")) as (machine, native):
        pairs = list(play(story(2000, seed=7), machine, native))
        assert len(pairs) > 1000 and all(here + DISTANCE == there for here, there in pairs)
        assert machine.survey() == native.stats()
        machine.check()


# --- two threads


def by_turns(heap, elsewhere):
    """The heap, each call to which comes from here or from elsewhere, by lot."""
    rng = random.Random(5)

    def call(name):
        function = getattr(heap, name)
        return lambda *given: elsewhere(function, *given) if rng.random() < 0.5 else function(*given)

    return SimpleNamespace(alloc=call("alloc"), realloc=call("realloc"), dealloc=call("dealloc"))


@pytest.mark.long
@pytest.mark.parametrize("spec", ["ptmalloc", "ptmalloc[VERSION=236]", "hoard", "slab", "wright", HARDENED])
def test_two_threads_that_free_each_others_blocks(spec):
    with both_worlds(spec) as (machine, native), ThreadPoolExecutor(1) as other:
        second = machine.process.new_thread()

        def in_second(function, *given):
            with on(machine, second):
                return function(*given)

        here = by_turns(machine, in_second)
        there = by_turns(native, lambda function, *given: other.submit(function, *given).result())
        for one, another in play(story(SHORT, seed=9), here, there):
            assert one + DISTANCE == another
        machine.check()


# --- any calls

calls = st.lists(
    st.one_of(
        st.tuples(st.just("alloc"), st.integers(0, 5000), st.sampled_from((16, 16, 16, 64, 4096))),
        st.tuples(st.just("alloc"), st.integers(0, 1 << 20), st.just(16)),
        st.tuples(st.just("realloc"), st.integers(0, 1 << 30), st.integers(1, 300_000)),
        st.tuples(st.just("dealloc"), st.integers(0, 1 << 30), st.just(0)),
    ),
    max_size=60,
)


def with_live_blocks(calls):
    """Drop the calls that name a block when there is none, and let the others name one that is live."""
    live = 0
    for name, first, second in calls:
        if name == "alloc":
            live += 1
            yield name, first, second
        elif live:
            yield name, first % live, second
            live -= name == "dealloc"


def fragmented(seed):
    """Blocks of small sizes, most of which are freed by lot, and a story with the others."""
    rng, live = random.Random(seed), 1500
    yield from (("alloc", rng.randrange(16, 300), 16) for _ in range(live))
    yield from (("dealloc", rng.randrange(live - i), 0) for i in range(live * 7 // 8))
    yield from story(500, seed)


def addresses_in(calls, alloc, realloc, dealloc):
    """The address of every block made or moved in one world."""
    live, found = [], []
    for name, first, second in calls:
        if name == "alloc":
            live.append((alloc(first, second), first, second))
            found.append(live[-1][0])
        elif name == "realloc":
            address, size, align = live[first]
            live[first] = (realloc(address, size, align, second), second, align)
            found.append(live[first][0])
        else:
            dealloc(*live.pop(first))
    return found


def meshed_in_both_worlds():
    """The native world comes first, because the machine starts a thread, its watchdog."""
    start_of_heap, end, there, here = 0x4000, (1 << 38) - 2 * 4096, [], []  # in the machine
    native = NativeHeap("wright[MESHED=1]", DISTANCE + start_of_heap, end - start_of_heap)
    for seed in range(3):
        there.append(addresses_in(fragmented(seed), native.alloc, native.realloc, native.dealloc))
        there.append((native.trim(), native.stats()))
    native.close()
    machine = start(stack_for("wright[MESHED=1]"), frames=1 << 18, budget=1 << 40)
    assert (machine.process.heap_start, machine.process.space.mappings.top) == (start_of_heap, end)
    realloc, dealloc = (lambda a, _, __, size: machine.realloc(a, size)), (lambda a, *_: machine.dealloc(a))
    for seed in range(3):
        here.append(addresses_in(fragmented(seed), machine.alloc, realloc, dealloc))
        here.append((machine.trim(), machine.survey()))
        assert machine.state.meshes.pages > 0
    machine.check()
    assert [[address + DISTANCE for address in each] for each in here[::2]] == there[::2]
    assert here[1::2] == there[1::2]


def test_a_heap_that_is_meshed_now_and_then():
    """What a trim meshes decides which blocks are handed out afterwards. Only a process with one thread is meshed."""
    code = "import test_same_addresses as here; here.meshed_in_both_worlds()"
    places = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1] / "helpers")])
    environment = {**os.environ, "PYTHONPATH": places, "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=110)


@pytest.mark.parametrize(
    "spec",
    [each if each in BRIEFLY else pytest.param(each, marks=pytest.mark.long) for each in (*ALLOCATORS, STACK)],
)
def test_any_trace(spec):
    @settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
    @given(calls)
    def same(calls):
        with both_worlds(spec) as (machine, native):
            for here, there in play(with_live_blocks(calls), machine, native):
                assert here + DISTANCE == there
            assert machine.survey() == native.stats()

    same()


# --- time

LONGEST_EPOCH = 5_000_000_000  # nanoseconds: see wright's reserve


def swings(length):
    """Rounds of blocks of up to 3 MiB that come and go."""
    rng = random.Random(7)
    for _ in range(length):
        count = rng.randrange(2, 12)
        yield [("alloc", rng.choice([50_000, 300_000, 3_000_000]), 16) for _ in range(count)] + [
            ("dealloc", 0, 0)
        ] * count


@pytest.mark.long
def test_time_passes_alike_in_both_worlds():
    """What wright gives back, and so the addresses, depend on the clock: it stands still, or is set in both."""
    gone = []
    with both_worlds("wright") as (machine, native):
        for i, calls in enumerate(swings(60)):
            machine.process.clock = max(i - 40, 0) * LONGEST_EPOCH
            native.set_clock(machine.process.clock)
            for here, there in play(calls, machine, native):
                assert here + DISTANCE == there
            assert machine.survey() == native.stats()
            gone.append(machine.survey()["shrinks"])
        machine.check()
    assert gone[39] - gone[29] < gone[9], "while the clock stands still, wright learns to keep what swings"
    assert gone[59] - gone[49] > 3 * (gone[39] - gone[29]), "when each swing is an epoch of its own, it forgets"


# --- a recorded trace

SLICE = 10_000


@pytest.fixture(scope="module")
def recorded(surfaceflinger):
    """The first calls of a compositor's recording, as `play` takes them."""
    return list(calls_of(surfaceflinger.events[:SLICE]))


def calls_of(events):
    from heapwright.traces.events import DEALLOC, REALLOC

    live = []
    for op, block, size in zip(events.op, events.block.tolist(), events.size.tolist(), strict=True):
        if block in live and op in (REALLOC, DEALLOC):
            name = "realloc" if op == REALLOC else "dealloc"
            yield name, live.index(block), size
            if op == DEALLOC:
                live.remove(block)
        elif block >= 0 and op < DEALLOC:
            live.append(block)
            yield "alloc", size, 16


@pytest.mark.parametrize("spec", ALLOCATORS)
def test_a_recorded_trace(spec, recorded):
    with both_worlds(spec) as (machine, native):
        for here, there in play(recorded, machine, native):
            assert here + DISTANCE == there
        machine.check()
