"""What a replay says of memory is what the machine's walk says; what it says of calls is of all of them."""

import subprocess
from math import ceil
from random import Random

import pytest

from heapwright.allocator import load
from heapwright.lab.contestant import Contestant
from heapwright.lab.flat_file import flat_file_of
from heapwright.lab.latency import LatencyCounts
from heapwright.lab.machine_facts import installed_peers
from heapwright.lab.memory import Usage, moments_of
from heapwright.lab.naming import contestant
from heapwright.lab.replay import replay, replay_cold
from heapwright.lab.sample import RunError
from heapwright.machine import start
from heapwright.native.jobs.histogram import BUCKETS, LARGEST, bucket_of, highest_in
from heapwright.native.jobs.replay_job import MAX_MOMENTS
from heapwright.native.library import stack_for
from heapwright.spans import FREE, UNUSED
from heapwright.traces.events import ALLOC, ALLOC_ZEROED, DEALLOC, NONE, REALLOC, Events, no_events
from heapwright.traces.flat import flatten
from heapwright.traces.synthesize import growing_vectors, random_live_set

STORY = random_live_set(live=100, rounds=400, smallest=16, largest=3000)


def in_machine(flat, spec):
    """The usage at the peak, at the end, and what is retained, by walks over the spans of an interpreted heap."""
    heap, blocks, asked, at_peak = start(load(spec)), {}, {}, None
    for number, event in enumerate(flat.records, 1):
        slot, size = int(event["slot"]), int(event["size"])
        if event["op"] == DEALLOC:
            heap.dealloc(blocks.pop(slot))
        else:
            blocks[slot], asked[slot] = heap.alloc(size), size
        if number == flat.peak:
            at_peak = look(heap, sum(asked[each] for each in blocks))
    at_end = look(heap, sum(asked[each] for each in blocks))
    for slot in sorted(blocks):
        heap.dealloc(blocks[slot])
    return at_peak, at_end, heap.memory.held()


def look(heap, requested):
    granted = sum(heap.usable_size(address) for address in heap.live)
    free = [size for _, size, kind in heap.spans() if kind in (FREE, UNUSED)]
    return Usage(requested, granted, heap.memory.held(), sum(free), max(free))


@pytest.mark.parametrize("name", ["kr", "dlmalloc"])
def test_the_usage_is_what_the_walk_says(name):
    flat = flatten(STORY)
    found = replay(flat, contestant(name), 1).memory
    assert found.at_peak != found.at_end
    assert (found.at_peak, found.at_end, found.retained) == in_machine(flat, stack_for(name).spec)


def test_the_c_library_tells_what_it_can():
    memory = replay(flatten(STORY), contestant("system"), 1).memory
    for usage in (memory.at_peak, memory.at_end):
        assert 0 <= usage.internal < 16 * 100 + 100
        assert 0 < usage.free < usage.external < usage.held
        assert usage.largest_free is None
    assert memory.retained > 0


def test_a_request_that_fails_is_not_live():
    wild = Events.of(op=[ALLOC, ALLOC, REALLOC], thread=[0] * 3, block=[0, 1, 0], size=[100, 1 << 46, 1 << 47])
    replayed = replay(flatten(wild), contestant("kr"), 1, times_calls=True)
    assert (replayed.failures, replayed.memory.at_peak.requested) == (2, 100)
    assert [each.live for each in vars(replayed.memory.course).values()] == [100, 100, 100, 0]
    assert len(replayed.latencies.gives) == 3


def test_a_trace_without_events():
    replayed = replay(flatten(no_events()), contestant("kr"), 1, times_calls=True)
    assert (replayed.memory.at_peak, replayed.memory.retained) == (Usage(0, 0, 0, 0, 0), 0)
    assert replayed.cold.seconds > 0
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


# --- memory over time


def drop_and_live_on(blocks, rounds):
    """A program that frees nine of ten blocks of 1000 to 4000 bytes and lives on, with short-lived small ones."""
    sizes = [1000 + i * 7919 % 3000 for i in range(blocks)]
    dropped = [i for i in range(blocks) if i % 10]
    later = range(blocks, blocks + rounds)
    op = [ALLOC] * blocks + [DEALLOC] * len(dropped) + [ALLOC, DEALLOC] * rounds
    block = [*range(blocks), *dropped, *(each for number in later for each in (number, number))]
    size = [*sizes, *([0] * len(dropped)), *([64, 0] * rounds)]
    return Events.of(op=op, thread=[0] * len(op), block=block, size=size)


@pytest.mark.parametrize("name", ["system", "hoard", "jemalloc"])
def test_memory_that_stays_after_the_peak_is_seen(name):
    """100 MB live at the peak and 10 MB for the rest of a life: most of the pages stay, natively 97 MB to 108 MB."""
    if name == "jemalloc" and name not in installed_peers():
        pytest.skip("jemalloc is not installed")
    flat = flatten(drop_and_live_on(40_000, 500))
    course = replay(flat, contestant(name), 1).memory.course
    mb = 1_000_000
    assert course.peak.event == flat.peak == 40_000
    assert 99 * mb < course.peak.live < 101 * mb
    assert course.peak.live < course.peak.resident < 120 * mb
    assert course.end.event == len(flat)
    assert course.end.live < 11 * mb
    for moment in (course.worst, course.end):
        assert moment.live < 12 * mb
        assert moment.resident > 4 * moment.live, "only as long as the malloc gives back no pages inside of its heap"
    assert course.worst.beyond >= max(course.peak.beyond, course.end.beyond)
    assert course.freed.live == 0


def test_what_is_resident_is_what_the_program_touched():
    """A block that is mapped and unmapped by itself is resident while it is live, and not afterwards."""
    large = 64 << 20
    events = Events.of(op=[ALLOC, DEALLOC, ALLOC], thread=[0] * 3, block=[0, 0, 1], size=[large, 0, 100])
    course = replay(flatten(events), contestant("system"), 1).memory.course
    assert (course.peak.event, course.peak.live) == (1, large)
    assert large <= course.peak.resident < large + (1 << 20)
    assert 0 <= course.end.resident < 1 << 20
    assert course.end.live == 100


def test_the_worst_moment_is_found_between_the_samples():
    """The least live memory of an extent is looked at, however short that moment is."""
    dip = 3331  # no extent ends there
    op = [*([ALLOC] * dip), *([DEALLOC] * dip), *([ALLOC] * 5000)]
    block = [*range(dip), *range(dip), *range(dip, dip + 5000)]
    flat = flatten(Events.of(op=op, thread=[0] * len(op), block=block, size=[999] * len(op)))
    found = moments_of(flat)
    assert {2 * dip, flat.peak, len(flat)} <= set(found)
    assert found == sorted(found)
    assert len(found) <= MAX_MOMENTS


# --- the cold pass


def test_a_cold_pass_pays_for_its_pages():
    """An allocator that maps each large block anew pays again and again; on warm pages one that keeps them is ahead."""
    size, rounds = 300 << 10, 40
    again = Events.of(
        op=[ALLOC, *([ALLOC, DEALLOC] * rounds)],
        thread=[0] * (2 * rounds + 1),
        block=[0, *(number for i in range(rounds) for number in (i + 1, i + 1))],
        size=[100, *([size, 0] * rounds)],
    )
    pages = size // 4096
    keeps, maps = (replay(flatten(again), contestant(name), 1).cold for name in ("tlsf", "dlmalloc"))
    assert keeps.page_faults >= pages / 16, "one fault may bring several pages"
    assert maps.page_faults > 5 * keeps.page_faults
    assert keeps.seconds > 0 and maps.seconds > 0


def test_a_cold_pass_writes_every_byte_that_a_request_adds(tmp_path):
    """As a library sees it that looks at each block when it is grown or freed."""
    source, library = tmp_path / "witness.c", tmp_path / "witness.so"
    source.write_text(WITNESS)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    grown = Events.of(
        op=[ALLOC, REALLOC, REALLOC, REALLOC, ALLOC_ZEROED, DEALLOC, DEALLOC],
        thread=[0] * 7,
        block=[0, 0, 0, 0, 1, 0, 1],
        size=[5000, 9000, 3000, 10_001, 4097, 0, 0],
    )
    job = Contestant("witness", library)
    with flat_file_of(flatten(grown)) as flat:
        assert replay_cold(flat, job, 30).page_faults > 0
    with pytest.raises(RunError, match="ended by SIGABRT"):
        replay(flatten(grown), job, 1)  # the warm process touches pages, not bytes


WITNESS = """
#include <stdlib.h>
#include <string.h>
extern void *__libc_malloc(unsigned long); extern void __libc_free(void *);
static void look(unsigned char *p) {
  unsigned long n = *(unsigned long *)(p - 16);
  for (unsigned long i = 0; i < n; i++) if (p[i] == 0) abort();
}
void *malloc(unsigned long n) {
  unsigned long *p = __libc_malloc(n + 16);
  *p = n;
  return memset(p + 2, 0, n);
}
void *calloc(unsigned long n, unsigned long m) { return malloc(n * m); }
void free(void *p) { if (p) { look(p); __libc_free((char *)p - 16); } }
void *realloc(void *p, unsigned long n) {
  look(p);
  unsigned long old = *(unsigned long *)((char *)p - 16);
  void *q = malloc(n);
  memcpy(q, p, old < n ? old : n);
  free(p);
  return q;
}
"""


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
    assert both.quantile(1.0) == numbers[-1] == both.maximum


def tally(numbers):
    counts = [0] * BUCKETS
    for number in numbers:
        counts[bucket_of(number)] += 1
    return LatencyCounts(tuple(counts), max(numbers))
