"""Whatever a layer does not do itself is done by the allocator below it."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import NO_MEMORY

from heapwright.allocator import load
from heapwright.allocators import ALLOCATORS
from heapwright.errors import AllocatorError
from heapwright.machine import start
from heapwright.native.library import library_of
from heapwright.traces.raw import ALLOC, DEALLOC, FORK, REALLOC_FROM, REALLOC_TO, THREAD_EXIT

pytestmark = pytest.mark.long

LAYERS = ("sized", "locked", "counted", "traced", "sampled", "guarded")
HEADER = 16  # of `sized`
STACKS = [*(f"{layer}(linked_list)" for layer in LAYERS), "counted(locked(sized(linked_list)))"]
BELOW = (
    NO_MEMORY.replace("end):\n    pass", "end):\n    note(heap, 100_000)")
    + """
THREADS = "own"


def note(heap, number):
    heap.word += number
    return heap.word


def lists(heap):
    yield "a list", [heap.word]


def survey(heap, stats):
    stats.spare_bytes = 77
    note(heap, 0)


def tune(heap, option, value):
    return note(heap, 0) + option + value


def trim(heap, pad):
    return note(heap, 1)


def thread_exit(heap):
    return note(heap, 10)


def fork_prepare(heap):
    return note(heap, 100)


def fork_parent(heap):
    return note(heap, 1_000)


def fork_child(heap):
    return note(heap, 10_000)
"""
)
SAME = """
from heapwright.layers import inner

Heap = inner.Heap
alloc = inner.alloc
dealloc = inner.dealloc
"""
APART = """
from heapwright.layers import inner
from heapwright.layout import Inline, Struct, Word


class Heap(Struct):
    word: Word
    heap: Inline[inner.Heap]


def alloc(heap, size, align):
    return inner.alloc(heap.heap, size, align)


def dealloc(heap, address, size, align):
    inner.dealloc(heap.heap, address, size, align)
"""


@pytest.fixture
def below(tmp_path):
    path = tmp_path / "below.py"
    path.write_text(BELOW)
    return path


@pytest.fixture(params=[*LAYERS, "same", "apart"])
def layer(request, tmp_path):
    """Ours, and two that say nothing but how to take and give a block: over the heap below, and with words apart."""
    own = {"same": SAME, "apart": APART}
    if request.param not in own:
        return request.param
    path = tmp_path / f"{request.param}.py"
    path.write_text(own[request.param])
    return path


@pytest.mark.parametrize("name", ALLOCATORS)
def test_every_allocator_carries_a_stack(name):
    """Four layers change nothing but what `sized` says: each block lies behind its header, where it would lie alone."""
    alone, under = start(load(name)), start(load(f"counted(traced(locked(sized({name}))))"))
    moved, rng, pairs = under.process.heap_start - alone.process.heap_start, Random(5), []
    for _ in range(400):
        if pairs and rng.random() < 0.45:
            block, same = pairs.pop(rng.randrange(len(pairs)))
            alone.dealloc(block)
            under.dealloc(same)
        else:
            size = int(10 * rng.paretovariate(0.6)) % 60_000
            block, same = alone.alloc(HEADER + size), under.alloc(size)
            assert same == block + HEADER + (moved if block < alone.process.brk else 0)
            pairs.append((block, same))
    under.check()
    assert under.survey()["live_blocks"] == len(pairs)


@pytest.mark.parametrize("spec", STACKS)
def test_trim_gives_pages_back(spec):
    heap = start(load(spec))
    blocks = [heap.alloc(3000) for _ in range(100)]
    for block in blocks:
        heap.dealloc(block)
    held = heap.memory.held()
    given = heap.trim()
    assert given > 0
    assert heap.memory.held() == held - given


def test_each_call_reaches_the_allocator(layer, below):
    machine = start(load(f"{layer}({below})"))
    assert machine.trim() == 1
    machine.thread_exit()
    child = machine.fork()
    assert noted(machine.state) == 1_111
    assert noted(child.state) == 10_111
    assert machine.survey()["spare_bytes"] == 77
    assert machine.lists() == [("a list", [1_111])]
    whole = machine.allocator
    assert whole.tune(machine.state, 5, 7) == 1_111 + 12
    assert list(whole.walk(machine.state, 16, 48)) == [(16, 32, 1)]
    whole.check(machine.state, 16, 48)
    assert noted(machine.state) == 101_111


def noted(heap):
    while hasattr(heap, "heap"):
        heap = heap.heap
    return heap.word


@pytest.mark.parametrize(("below", "sizes"), [("kr", (112, 208)), ("linked_list", (100, 200))])
def test_counted_counts_what_was_granted(below, sizes):
    """Usable bytes where the allocator says them, else those asked for."""
    heap = start(load(f"counted({below})"))
    small, large = sizes
    first, second = heap.alloc(100), heap.alloc_zeroed(100)
    second = heap.realloc(second, 200)
    heap.process.kernel.calls.at(1, once=False)
    assert heap.alloc(1 << 30) == heap.alloc_zeroed(1 << 30) == heap.realloc(second, 1 << 30) == 0
    heap.dealloc(first)
    seen = heap.survey()
    assert (seen["live_bytes"], seen["live_blocks"], seen["peak_bytes"]) == (large, 1, small + large)
    assert (seen["allocs"], seen["deallocs"], seen["reallocs"], seen["failures"]) == (4, 1, 2, 3)
    heap.dealloc(second)
    seen = heap.survey()
    assert (seen["live_bytes"], seen["live_blocks"], seen["peak_bytes"]) == (0, 0, small + large)


def test_locked_holds_the_lock_in_each_call(below):
    machine = start(load(f"locked({below})"))
    held, place = [], machine.state.heap.address

    def see(operation, address, size, value, who):
        if operation == "store" and address == place:
            held.append(machine.process.peek(machine.state.address, 8) != bytes(8))

    machine.process.observe(access=see)
    machine.trim()
    machine.thread_exit()
    machine.survey()
    machine.allocator.tune(machine.state, 5, 7)
    machine.fork()
    assert held == [True] * 6


def test_traced_records_deaths_before_and_births_after():
    heap = start(load("traced(kr)"))
    seen = []
    heap.process.observe(access=lambda *_: seen.append(len(heap.process.records)))
    first = heap.alloc(100, 64)
    second = heap.realloc(first, 5000)
    heap.dealloc(second)
    heap.thread_exit()
    assert [record[1:] for record in heap.process.records] == [
        (ALLOC, 6, first, 0, 100),
        (REALLOC_FROM, 0, first, 0, 5000),
        (REALLOC_TO, 0, second, first, 5000),
        (DEALLOC, 0, second, 0, 0),
        (THREAD_EXIT, 0, 0, 0, 0),
    ]
    assert set(seen) == {0, 2, 4}  # alloc before its record, realloc between its two, dealloc after its


def test_traced_records_a_fork_before_it_happens():
    heap = start(load("traced(kr)"))
    heap.alloc(100)
    child = heap.fork()
    assert [record[1] for record in heap.process.records] == [ALLOC, FORK]
    assert child.process.records == []


def test_misuse_that_is_reported_is_a_trait(layer):
    assert load(f"{layer}(linked_list)").DETECTS == ("double free",)


def test_threads_are_a_trait(layer, below):
    assert load(f"{layer}({below})").is_threaded
    assert load(f"{layer}(linked_list)").is_threaded == (layer == "locked")


def test_words_apart_that_leave_out_those_below_are_refused(tmp_path):
    path = tmp_path / "apart.py"
    path.write_text(APART.replace("heap: Inline[inner.Heap]", "other: Inline[inner.Heap]"))
    with pytest.raises(AllocatorError, match="has it in place: heap:"):
        load(f"{path}(kr)")


# --- what is counted

calls = st.lists(st.tuples(st.sampled_from("azrrdd"), st.integers(0, 3000) | st.integers(0, 1 << 20)), max_size=30)


@pytest.mark.parametrize("name", ["kr", "linked_list", "sized(linked_list)", "dlmalloc", "hoard"])
def test_classes_are_what_is_live(name):
    """Some calls find no memory; `check` sees to it that the walk tells of the same blocks."""

    @settings(max_examples=15)
    @given(calls)
    def exact(calls):
        heap = start(load(f"counted({name})"), frames=700)
        requests = Counter()
        for call, size in calls:
            address = played(heap, call, size)
            if address:
                requests[class_of(granted(heap, address))] += 1
            assert_told(heap, requests)
        heap.check()

    exact()


def played(heap, call, size):
    """Make a call, of the block that `size` names; the address of the one that it made or moved."""
    live = sorted(heap.live)
    if call == "d" and live:
        heap.dealloc(live[size % len(live)])
    if call == "r" and live:
        return heap.realloc(live[size % len(live)], size)
    return {"a": heap.alloc, "z": heap.alloc_zeroed}[call](size) if call in "az" else 0


def granted(heap, address):
    return heap.usable_size(address) if heap.allocator.has_usable_size else heap.live[address].size


def class_of(size):
    return max(16, 1 << (size - 1).bit_length())


def assert_told(heap, requests):
    told, sizes = heap.survey(), [granted(heap, address) for address in heap.live]
    expected = [
        {"size": size, "live_blocks": len(mine), "live_bytes": sum(mine), "requests": requests[size]}
        for size in sorted(requests)
        for mine in [[each for each in sizes if class_of(each) == size]]
    ]
    assert told["classes"] == expected
    assert (told["live_blocks"], told["live_bytes"]) == (len(sizes), sum(sizes))
    assert told["allocs"] + told["reallocs"] - told["failures"] == sum(requests.values())


TRIM = """
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.sbrk.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
blocks = [libc.malloc(50_000) for _ in range(100)]
for block in blocks:
    libc.free(block)
before = libc.sbrk(0)
assert libc.malloc_trim(0) == 1, "nothing was given back"
assert libc.sbrk(0) < before
"""


@pytest.mark.parametrize("counted", [False, True], ids=["sized", "counted"])
def test_malloc_trim_gives_memory_back(counted):
    environment = {"LD_PRELOAD": str(library_of("linked_list", counted))}
    done = subprocess.run([sys.executable, "-c", TRIM], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["Nowhere", "Array[Nowhere, 4]", "Atomic[Nowhere]", "Array[Array[Nowhere, 2], 2]"])
def test_a_field_that_points_nowhere_is_refused(kind, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(NO_MEMORY.replace("word: Word", f"first: {kind}").replace("NULL,", "Array, Atomic,"))
    with pytest.raises(AllocatorError, match=r"Heap\.first: no struct is named 'Nowhere'"):
        load(str(path))
