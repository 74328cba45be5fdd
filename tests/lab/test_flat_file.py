"""Flat events in a file: the same however the trace is cut into chunks, and one clear line where they do not fit."""

from __future__ import annotations

import numpy as np
import pytest
from event_stories import stories
from hypothesis import given
from hypothesis import strategies as st

from heapwright.errors import UserError
from heapwright.lab import flat_file
from heapwright.lab.flat_file import flat_file_of, flattened, functions_of
from heapwright.lab.memory import moments_of
from heapwright.lab.naming import contestant
from heapwright.lab.replay import replay
from heapwright.lab.sample import RunError
from heapwright.native.jobs.replay_events import CAPACITY
from heapwright.traces.events import ALLOC, DEALLOC, Events, TraceError, live
from heapwright.traces.flat import flatten
from heapwright.traces.synthesize import random_live_set


@given(stories(), st.lists(st.integers(0, 9), max_size=30))
def test_chunks_make_the_same_file_with_the_same_facts(events, sizes):
    edges = np.minimum(np.cumsum([0, *sizes, len(events)]), len(events)).tolist()
    chunks = (events[first:end] for first, end in zip(edges, edges[1:], strict=False))
    flat = flatten(events)
    with flattened(chunks, len(flat)) as found, flat_file_of(flat) as whole:
        assert found.path.read_bytes() == whole.path.read_bytes() == bytes(flat)
        assert (found.slots, found.peak) == (whole.slots, whole.peak) == (flat.slots, flat.peak)
        assert list(found.moments) == list(whole.moments) == moments_of(flat)
        assert set(found.functions) == set(whole.functions) == set(functions_of(flat.records))


def test_the_lowest_live_memory_of_each_window_is_a_moment():
    """By the definition: the first of the lowest in each of 1022 equal ranges."""
    events = random_live_set(live=60, rounds=3000, smallest=16, largest=900)
    flat = flatten(events)
    edges = [len(flat) * i // 1022 for i in range(1023)]
    lowest = {first + int(flat.live[first:end].argmin()) + 1 for first, end in zip(edges, edges[1:], strict=False)}
    assert set(moments_of(flat)) == lowest | {flat.peak, len(flat)}


def test_a_trace_of_many_windows_is_replayed_to_its_end():
    events = random_live_set(live=300, rounds=2 * CAPACITY, smallest=16, largest=900)
    assert len(events) > 3 * CAPACITY
    found = replay(flatten(events), contestant("system"), 2, times_calls=True)
    assert len(found.latencies.gives) == (events.op == ALLOC).sum()
    assert len(found.latencies.frees) == (events.op == DEALLOC).sum()
    assert found.memory.at_end.requested == live(events)[0][-1]
    assert [each.live for each in vars(found.memory.course).values()][0] == live(events)[0].max()
    assert found.failures == 0


def test_the_events_do_not_count_as_the_mallocs_memory():
    """Four windows and forty windows of the same few blocks: the growth of resident memory is that of the blocks."""
    few, many = (Events.of(**pairs(number)) for number in (2 * CAPACITY, 20 * CAPACITY))
    grown = [replay(flatten(events), contestant("system"), 1).resident_bytes for events in (few, many)]
    assert abs(grown[1] - grown[0]) <= 64 << 10, "twenty windows are 3.75 MiB"


def pairs(number):
    both = np.arange(number).repeat(2)
    return {
        "op": np.tile([ALLOC, DEALLOC], number),
        "thread": both * 0,
        "block": both,
        "size": np.tile([64, 0], number),
    }


def test_a_header_that_counts_wrongly_is_refused():
    events = random_live_set(live=5, rounds=9, smallest=16, largest=900)
    for wrong in (len(events) - 1, len(events) + 1):
        with pytest.raises(TraceError, match="its header says"), flattened([events], wrong):
            pass


def test_a_disk_without_room_is_one_line(monkeypatch):
    monkeypatch.setattr(flat_file, "SPARE", 1 << 60)
    with pytest.raises(UserError, match="are free; set TMPDIR to a folder with room"), flattened([], 0):
        pass


def test_a_disk_that_fills_up_is_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot be written: No space left on device; set TMPDIR"):
        flat_file.written(full(tmp_path), flatten(Events.of(op=[ALLOC], thread=[0], block=[0], size=[1])).records)


def full(folder):
    (folder / "events").symlink_to("/dev/full")
    return folder / "events"


def test_events_that_vanish_end_the_replay(monkeypatch):
    flat = flatten(random_live_set(live=5, rounds=9, smallest=16, largest=900))
    monkeypatch.setattr(flat_file, "written", lambda path, records: path.touch())
    with pytest.raises(RunError, match="could not read its events"):
        replay(flat, contestant("system"), 1)
