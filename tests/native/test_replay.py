"""What a replay says of memory is what the machine's walk says; what it says of calls is of all of them."""

from math import ceil
from random import Random

import pytest

from heapwright.allocator import load
from heapwright.lab.compare import contestant
from heapwright.lab.latency import Tally
from heapwright.lab.memory import Usage
from heapwright.lab.replay import replay
from heapwright.machine import start
from heapwright.native.library import stack_for
from heapwright.native.runtime.histogram import BUCKETS, LARGEST, bucket_of, highest_in
from heapwright.spans import FREE, UNUSED
from heapwright.traces.events import ALLOC, ALLOC_ZEROED, DEALLOC, NONE, REALLOC, Events, no_events
from heapwright.traces.flat import flatten
from heapwright.traces.synthesize import growing_vectors, random_live_set

STORY = random_live_set(live=100, rounds=400, smallest=16, largest=3000)


def in_machine(flat, spec):
    """The same usage, by a walk over the spans of an interpreted heap."""
    heap, blocks, usage = start(load(spec)), {}, None
    for number, event in enumerate(flat.records, 1):
        slot, size = int(event["slot"]), int(event["size"])
        if event["op"] == DEALLOC:
            heap.dealloc(blocks.pop(slot))
        else:
            blocks[slot] = heap.alloc(size)
        if number == flat.peak:
            usage = look(heap)
    for slot in sorted(blocks):
        heap.dealloc(blocks[slot])
    return Usage(*usage, retained=heap.memory.held())


def look(heap):
    requested = sum(block.size for block in heap.live.values())
    granted = sum(heap.usable_size(address) for address in heap.live)
    free = [size for _, size, kind in heap.spans() if kind in (FREE, UNUSED)]
    return requested, granted, heap.memory.held(), sum(free), max(free)


@pytest.mark.parametrize("name", ["kr", "dlmalloc"])
def test_the_usage_at_the_peak_is_what_the_walk_says(name):
    flat = flatten(STORY)
    assert replay(flat, contestant(name), 1).usage == in_machine(flat, stack_for(name).spec)


def test_the_c_library_tells_what_it_can():
    usage = replay(flatten(STORY), contestant("system"), 1).usage
    assert 0 <= usage.internal < 16 * 100 + 100
    assert 0 < usage.free < usage.external < usage.held
    assert usage.largest_free is None and usage.retained > 0


def test_a_request_that_fails_is_not_live():
    wild = Events.of(op=[ALLOC, ALLOC, REALLOC], thread=[0] * 3, block=[0, 1, 0], size=[100, 1 << 46, 1 << 47])
    replayed = replay(flatten(wild), contestant("kr"), 1, times_calls=True)
    assert (replayed.failures, replayed.usage.requested) == (2, 100)
    assert len(replayed.latencies.gives) == 3


def test_a_trace_without_events():
    replayed = replay(flatten(no_events()), contestant("kr"), 1, times_calls=True)
    assert replayed.usage == Usage(0, 0, 0, 0, 0, 0)
    assert replayed.latencies.as_json()["free"] == {"calls": 0} | dict.fromkeys(
        ("p50_ns", "p90_ns", "p99_ns", "p99.9_ns", "max_ns")
    )


def test_every_call_is_timed_once():
    kinds = Events.of(
        op=[ALLOC_ZEROED, ALLOC, DEALLOC, DEALLOC], thread=[0] * 4, block=[0, 1, 0, NONE], size=[9] * 4,
        log2_align=[0, 8, 0, 0],
    )  # fmt: skip
    latencies = replay(flatten(kinds), contestant("system"), 1, times_calls=True).latencies
    assert (len(latencies.gives), len(latencies.frees)) == (2, 1)
    vectors = growing_vectors(vectors=2, elements=64, rounds=5)
    found = replay(flatten(vectors), contestant("system"), 1, times_calls=True).latencies.as_json()
    assert (found["malloc"]["calls"], found["free"]["calls"]) == (2 * 5 * 5, 2 * 5)
    assert found["floor_ns"] > 0
    assert 0 < found["malloc"]["p50_ns"] <= found["malloc"]["p99_ns"] <= found["malloc"]["max_ns"]


# --- histograms


def test_buckets_are_narrow_and_leave_nothing_out():
    lowest = 0
    for bucket in range(BUCKETS):
        highest = highest_in(bucket)
        assert bucket_of(lowest) == bucket_of(highest) == bucket
        assert (highest - lowest) * 16 <= lowest
        lowest = highest + 1
    assert lowest == LARGEST + 1


def test_quantiles_are_those_of_the_sorted_numbers():
    rng = Random(1)
    numbers = sorted(int(2 ** rng.uniform(0, 40)) for _ in range(997))
    halves = (tally(numbers[::2]), tally(numbers[1::2]))
    both = halves[0] + halves[1]
    for part in (0.001, 0.5, 0.9, 0.99, 0.999, 1.0):
        exact = numbers[ceil(part * len(numbers)) - 1]
        assert exact <= both.quantile(part) <= exact * 1.0625
    assert both.quantile(1.0) == numbers[-1] == both.most


def tally(numbers):
    counts = [0] * BUCKETS
    for number in numbers:
        counts[bucket_of(number)] += 1
    return Tally(tuple(counts), max(numbers))
