"""The parts of a heap over a trace: what the machine's walk finds, and what adds up."""

import shutil
import subprocess

import pytest

from heapwright.allocator import load
from heapwright.allocators import ALLOCATORS
from heapwright.lab.contestant import Contestant
from heapwright.lab.curves import measure
from heapwright.lab.curves.columns import AFTER, EVENTS, TIME
from heapwright.lab.curves.measure import LIMIT, Plan, curves_of, request_sizes
from heapwright.lab.curves.merit import FLOOR, Held, merit_of
from heapwright.lab.curves.own_view import OwnView
from heapwright.lab.curves.parts import PARTS, Holes, IdentityError, Parts, Told
from heapwright.lab.curves.views import stack_of
from heapwright.lab.machine_facts import PEERS, installed_peers
from heapwright.lab.naming import contestant
from heapwright.lab.replay import replay
from heapwright.lab.sample import RunError
from heapwright.machine import start
from heapwright.native.library import stack_for
from heapwright.spans import CACHED, FREE, UNUSED, USED
from heapwright.traces.events import ALLOC, DEALLOC, Events, no_events, times_of
from heapwright.traces.flat import flatten
from heapwright.traces.synthesize import growing_vectors, random_live_set

pytestmark = pytest.mark.long

STORY = flatten(random_live_set(live=300, rounds=1500, smallest=16, largest=3000))
MIXED = flatten(random_live_set(live=200, rounds=600, smallest=1, largest=300_000))
QUICK = {"kr", "hoard", "slab", "ptmalloc"}


def in_machine(flat, spec, events):
    """What an interpreted heap holds after each event, and its parts after some."""
    heap, blocks, held, parts = start(load(spec)), {}, [], {}
    for number, event in enumerate(flat.records, 1):
        slot, size = int(event["slot"]), int(event["size"])
        if event["op"] == DEALLOC:
            heap.dealloc(blocks.pop(slot)[0])
        else:
            blocks[slot] = heap.alloc(size), size
        held.append(heap.memory.held())
        if number in events:
            parts[number] = parts_in(heap, blocks.values())
    return held, parts


def parts_in(heap, blocks):
    spans = list(heap.spans())
    total = {kind: sum(size for _, size, each in spans if each == kind) for kind in (USED, CACHED)}
    requested = sum(size for _, size in blocks)
    granted = sum(heap.usable_size(address) for address, _ in blocks)
    free = sum(size for _, size, kind in spans if kind in (FREE, UNUSED))
    pages = whole_pages(spans)
    held = heap.memory.held()
    own = held - free - total[CACHED] - granted
    return Parts(held, requested, granted - requested, total[CACHED], pages, free - pages, own, 0)


def whole_pages(spans):
    """The bytes of pages with nothing but free spans, page by page."""
    pages = {}
    for begin, size, kind in spans:
        for page in range(begin // 4096, (begin + size + 4095) // 4096):
            overlap = min(begin + size, (page + 1) * 4096) - max(begin, page * 4096)
            pages[page] = pages.get(page, 0) + (overlap if kind in (FREE, UNUSED) else 0)
    return 4096 * sum(covered == 4096 for covered in pages.values())


def average_ratio(held, live, floor):
    ratios = [a / b for a, b in zip(held, live, strict=True) if b >= floor]
    return sum(ratios) / len(ratios)


# --- the parts


def test_the_parts_are_what_the_walk_of_the_machine_says():
    curves = curves_of(STORY, contestant("kr"), Plan(8), 0)
    held, parts = in_machine(STORY, stack_for("kr").spec, {point.event for point in curves.points})
    assert {point.event: point.parts for point in curves.points} == parts
    assert curves.merit.is_exact
    assert curves.merit.peak_held == max(held)
    assert curves.merit.jw1 == pytest.approx(average_ratio(held, STORY.live.tolist(), FLOOR) - 1, abs=1e-5)
    live_then = int(STORY.live[held.index(max(held))])
    assert curves.merit.jw3 == pytest.approx(max(held) / live_then - 1)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ALLOCATORS]
)
def test_the_parts_of_ours_add_up_at_each_sample(name):
    for flat in (STORY, MIXED):
        curves = curves_of(flat, contestant(name), Plan(10), 0)
        assert_sums(curves)
        assert all(point.parts.unknown == 0 for point in [*curves.points, *curves.after.values()])
        assert all(min(part for part in vars(point.parts).values()) >= 0 for point in curves.points)


def test_the_parts_of_the_c_library_add_up_at_each_sample():
    curves = curves_of(MIXED, contestant("system"), Plan(10), 0)
    assert_sums(curves)
    assert all(point.parts.unknown == 0 for point in [*curves.points, *curves.after.values()])
    assert max(point.parts.cached for point in curves.points) > 0
    seen = replay(MIXED, contestant("system"), 1).memory.at_end
    end = curves.after["end"].parts
    assert end.internal == seen.internal
    assert abs(end.free_pages + end.free_rest - seen.free) < 4096, "the first call of malloc came before the trace"


@pytest.mark.parametrize("name", sorted(PEERS))
def test_the_counters_of_a_peer_do_not_exceed_what_it_holds(name):
    if name not in installed_peers():
        pytest.skip(f"{name} is not installed")
    curves = curves_of(MIXED, contestant(name), Plan(10), 0)
    assert_sums(curves)
    assert all(point.parts.held > point.parts.requested for point in curves.points)
    assert all(point.parts.free_rest is not None for point in curves.points)
    last = curves.points[-1].parts
    assert last.unknown < last.held // 4 + (1 << 20)


def assert_sums(curves):
    for point in [*curves.points, *curves.after.values()]:
        assert point.parts.held == sum(getattr(point.parts, name) or 0 for name in PARTS)
        assert point.resident > 0


@pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler")
def test_a_malloc_that_nobody_can_read_still_has_its_live_and_resident_bytes(tmp_path):
    source, library = tmp_path / "bump.c", tmp_path / "bump.so"
    source.write_text(BUMP)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    curves = curves_of(STORY, Contestant("bump", library), Plan(5), 0)
    assert curves.source.startswith("pages alone")
    assert [point.parts.requested for point in curves.points] == [int(STORY.live[p.event - 1]) for p in curves.points]
    assert all(
        (point.parts.held, point.parts.internal, point.parts.own) == (None, None, None) for point in curves.points
    )
    assert 0 < curves.points[0].resident < curves.points[-1].resident
    assert (curves.merit.peak_held, curves.merit.jw1, curves.merit.utilization) == (None, None, None)


BUMP = """
#include <stddef.h>
static char memory[64 << 20] __attribute__((aligned(16)));
static size_t used;
void *malloc(size_t n) { void *p = memory + used; used += (n + 15) & ~15ul; return p; }
void free(void *p) {}
"""


def test_a_library_of_ours_names_its_stack():
    assert stack_of(contestant("system")) == ""
    assert stack_of(contestant("kr")) == "locked(kr)"


def test_parts_that_do_not_add_up_are_an_error_that_names_the_sample(monkeypatch):
    honest = OwnView.told

    def skewed(self, number, sample):
        known = honest(self, number, sample)
        return Told(known.held + (number == 2), *list(vars(known).values())[1:])

    monkeypatch.setattr(OwnView, "told", skewed)
    with pytest.raises(RunError, match=r"does not add up at sample 3, after event [\d,]+: the walk finds"):
        curves_of(STORY, contestant("kr"), Plan(8), 0)


def test_parts_contradict_what_is_held_or_what_callers_have():
    walked = Told(held=1000, cached=100, free_pages=0, free_rest=300, own=100, used=500)
    assert Parts.of(400, 450, walked) == Parts(1000, 400, 50, 100, 0, 300, 150, 0)
    with pytest.raises(IdentityError, match="finds 1,000 bytes, but 999"):
        Parts.of(400, 450, Told(999, 100, 0, 300, 100, 500))
    with pytest.raises(IdentityError, match="500 bytes of blocks, but callers may use 501"):
        Parts.of(400, 501, walked)
    with pytest.raises(IdentityError, match="51 bytes more than the 999"):
        Parts.of(400, 450, Told(999, 100, 0, 400, 100))
    assert Parts.of(400, 450, None) == Parts(None, 400, 50)
    assert Parts.of(400, None, Told(999, 100, None, None, None)).unknown == 499


# --- after the trace


def test_after_the_trace_all_is_freed_and_calls_follow(monkeypatch):
    monkeypatch.setattr(measure, "CALLS", 7)
    curves = curves_of(STORY, contestant("kr"), Plan(4), 1)
    assert tuple(curves.after) == AFTER
    assert (curves.idle_seconds, curves.calls) == (1, 7)
    assert curves.after["end"] == curves.points[-1]
    for name in AFTER[1:]:
        parts = curves.after[name].parts
        assert (parts.requested, parts.internal, parts.free_rest) == (0, 0, 0)
        assert parts.free_pages == parts.held


def test_a_trace_without_events():
    curves = curves_of(flatten(no_events()), contestant("kr"), Plan(4), 0)
    assert curves.columns()["event"] == [0]
    assert (curves.merit.peak_live, curves.merit.peak_held, curves.merit.jw1) == (0, 0, None)


def test_requests_that_fail_are_counted():
    wild = Events.of(op=[ALLOC, ALLOC], thread=[0, 0], block=[0, 1], size=[100, 1 << 46])
    curves = curves_of(flatten(wild), contestant("kr"), Plan(4), 0)
    assert (curves.failures, curves.merit.peak_live) == (1, 100)


# --- samples


def test_samples_are_at_equal_steps_and_at_the_peak():
    flat = flatten(growing_vectors(vectors=3, elements=64, rounds=7))
    for count in (2, 10, LIMIT):
        events = Plan(count).events(flat, no_events().time)
        assert events == sorted(set(events))
        assert events[0] > 0 and events[-1] == len(flat) and flat.peak in events
        assert len(events) <= min(count + 1, len(flat))


def test_samples_are_at_equal_steps_of_time():
    """Ten events in the first millisecond, none for eight, and one at the end."""
    events = Events.of(
        op=[ALLOC] * 11, thread=[0] * 11, block=[*range(11)], size=[9] * 11, time=[*range(100, 1100, 100), 9100]
    )
    flat, times = flatten(events), times_of(events)
    assert times.tolist() == [*range(0, 1000, 100), 9000]
    assert Plan(9, TIME).events(flat, times) == [10, 11]
    assert Plan(18, TIME).events(flat, times) == [6, 10, 11]
    assert Plan(18, EVENTS).events(flat, times) == [*range(1, 12)]
    curves = curves_of(flat, contestant("system"), Plan(18, TIME), 0, times=times)
    assert curves.columns()["seconds"] == [0.0005, 0.0009, 0.009]
    assert curves.after["freed"].seconds == 0.009
    assert curves_of(flat, contestant("system"), Plan(2), 0).columns()["seconds"] == [None, None]


def test_sizes_of_requests_are_quantiles():
    sizes = Events.of(op=[ALLOC] * 100, thread=[0] * 100, block=[*range(100)], size=[*range(100)])
    assert request_sizes(flatten(sizes)) == [50, 90, 99, 99]
    assert request_sizes(flatten(no_events())) == [1] * 4


# --- figures of merit


def test_figures_of_merit_by_hand():
    live, held = 1 << 20, 3 << 20
    at_peak = Parts(held, live, 1 << 18, 0, 0, held - live - (1 << 18) - 4096, 4096, 0)
    holes = Holes(free=100, largest=60, squares=60**2 + 40**2, suitable=(100, 80, 60, 0))
    found = merit_of(at_peak, holes, Held(True, 4 << 20, 1 << 19, 5.0), 2 << 20)
    assert (found.utilization, found.jw1, found.jw2, found.jw3, found.jw4) == (0.25, 4, 2, 7, 3)
    assert (found.internal_of_granted, found.internal_of_requested, found.own) == (0.2, 0.25, 4096)
    assert found.resident_excess == 1
    assert found.largest_hole == pytest.approx(0.4)
    assert found.root_sum_square == pytest.approx(1 - 5200**0.5 / 100)
    assert [*found.unusable.values()] == pytest.approx([0, 0.2, 0.4, 1])


def test_ratios_with_few_live_bytes_are_left_out():
    few = Parts(1 << 20, FLOOR - 1, 0, 0, 0, (1 << 20) - FLOOR + 1, 0, 0)
    found = merit_of(few, None, Held(True, 1 << 20, FLOOR - 1, None), 1 << 20)
    assert {found.utilization, found.jw1, found.jw2, found.jw3, found.jw4, found.resident_excess} == {None}
    assert (found.peak_live, found.peak_held) == (FLOOR - 1, 1 << 20)


def test_a_malloc_of_which_nothing_is_known_has_no_figures():
    found = merit_of(Parts(None, 1 << 20, 5), None, None, 2 << 20)
    assert (found.peak_held, found.utilization, found.jw1, found.own, found.is_exact) == (None, None, None, None, False)
    assert found.resident_excess == 1
