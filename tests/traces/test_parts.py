"""Cutting and merging traces chunk by chunk, against what the whole trace in memory says."""

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import rows

from heapwright.traces import cut as cutting
from heapwright.traces import format, sources
from heapwright.traces.cut import Part, cut
from heapwright.traces.events import (
    ALLOC,
    DEALLOC,
    INHERITED,
    NONE,
    REALLOC,
    THREAD_EXIT,
    Events,
    Process,
    Trace,
    TraceError,
    check,
    live,
    owners,
    starts,
    summarize,
)
from heapwright.traces.merge import merge
from heapwright.traces.passing import Tally
from heapwright.traces.stacks import Frame, Stacks


@pytest.fixture(scope="module", autouse=True)
def small_chunks():
    """Let a few events make several chunks."""
    with pytest.MonkeyPatch.context() as patch:
        for module in format, cutting:
            patch.setattr(module, "CHUNK_EVENTS", 7)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("parts")


def part_of(folder, trace, part):
    """The trace that is left, checked; None if nothing is."""
    format.write(folder / "whole.hwt", trace)
    try:
        with sources.opened(folder / "whole.hwt") as source:
            summary = cut(source, folder / "part.hwt", part)
    except TraceError as error:
        assert "has no events there" in str(error)
        return None
    found = format.read(folder / "part.hwt")
    for process in found.processes:
        check(process.events)
    assert summary == found.summary()
    with format.TraceFile(folder / "part.hwt") as file:
        assert file.summary == summary
        assert file.summaries == [process.summary() for process in found.processes]
        assert live_at_chunks(file) == [(chunk.live_bytes, chunk.live_blocks) for chunk in file.index]
    return found


def live_at_chunks(file):
    found = []
    for place in range(len(file.summaries)):
        parts = list(file.chunks(place))
        columns = live(Events.join(parts))
        starts_at = np.cumsum([0] + [len(each) for each in parts[:-1]])
        found += [tuple(int(column[at - 1]) if at else 0 for column in columns) for at in starts_at if parts]
    return found


@given(st.from_type(Events), st.integers(0, 40), st.integers(0, 40))
@settings(max_examples=15)
def test_a_range_of_events(folder, events, first, length):
    found = part_of(folder, Trace([Process(events)]), Part(first_event=first, end_event=first + length))
    kept = events[first : first + length]
    if not len(kept):
        assert found is None
        return
    mine = found.events
    opening = len(mine) - len(kept)
    assert opening == (live(events)[1][first - 1] if first else 0)
    assert ((mine.flags[:opening] & INHERITED) != 0).all()
    assert np.array_equal(live(mine)[0][opening:], live(events)[0][first : first + length])
    assert np.array_equal(mine.time[opening:], kept.time)
    assert np.array_equal(mine.op[opening:], kept.op)
    assert np.array_equal(mine.site[opening:], kept.site)
    assert sum(found.notes().values()) == opening


@given(st.from_type(Events), st.sets(st.integers(0, 3), min_size=1))
@settings(max_examples=15)
def test_the_blocks_of_some_threads(folder, events, threads):
    found = part_of(folder, Trace([Process(events)]), Part(threads=frozenset(map(str, threads))))
    owner = np.where(events.block == NONE, events.thread, np.append(owners(events), 0)[events.block])
    kept = events[np.isin(owner, list(threads))]
    assert (found is None) == (len(kept) == 0)
    if found:
        assert np.array_equal(found.events.size, kept.size)
        assert np.array_equal(found.events.op, kept.op)
        assert found.notes()[cutting.BY_OTHERS] == (~np.isin(kept.thread, list(threads))).sum()
        assert summarize(found.events).blocks == starts(events)[np.isin(owner, list(threads))].sum()


@given(st.from_type(Events))
@settings(max_examples=15)
def test_a_tally_of_chunks_is_the_summary(events):
    tally = Tally()
    for first in range(0, len(events), 5):
        tally.add(events[first : first + 5])
    assert tally.summary == summarize(events)


@pytest.fixture
def trace():
    """A process with named threads and times, and another one."""
    stacks = Stacks()
    site = stacks.add([Frame("f"), Frame("main")])
    first = Events.of(
        op=[ALLOC, ALLOC, REALLOC, DEALLOC, ALLOC, DEALLOC, THREAD_EXIT],
        log2_align=[0, 5, 0, 0, 0, 0, 0],
        thread=[0, 1, 2, 1, 1, 2, 1],
        block=[0, 1, 1, 0, 2, 1, NONE],
        size=[10, 20, 30, 0, 40, 0, 0],
        time=[1_000_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000, 6_000_000, 7_000_000],
        site=[site, 0, site, 0, site, 0, 0],
    )
    second = Events.of(op=[ALLOC], thread=[0], block=[0], size=[5], time=[9_000_000])
    processes = [Process(first, 11, command="a", threads=["main", "worker", "other"]), Process(second, 12, command="b")]
    return Trace(processes, "test", "a", ["a"], "2026-11-29T10:00:00+00:00", {"page_size": 4096}, stacks)


def test_a_range_of_time(folder, trace):
    found = part_of(folder, trace, Part(first_time=3_500_000, end_time=6_000_001))
    assert len(found.processes) == 1
    events = found.events
    assert rows(events) == [(ALLOC, 0, 10), (ALLOC, 1, 30), (DEALLOC, 0, 0), (ALLOC, 2, 40), (DEALLOC, 1, 0)]
    assert events.time.tolist() == [3_500_000, 3_500_000, 4_000_000, 5_000_000, 6_000_000]
    assert events.log2_align.tolist() == [0, 5, 0, 0, 0]
    assert events.site.tolist() == [2, 2, 0, 2, 0]  # the realloc asked for the second block last
    assert events.thread.tolist() == [0, 1, 1, 1, 2]
    assert found.processes[0].threads == ["main", "worker", "other"]
    assert found.notes() == {cutting.LIVE_AT_START: 2}
    assert (found.command, found.date, found.stacks) == (trace.command, trace.date, trace.stacks)


def test_threads_by_name_and_number(folder, trace):
    found = part_of(folder, trace, Part(threads=frozenset({"worker", "2"})))
    assert rows(found.events) == [
        (ALLOC, 0, 20), (REALLOC, 0, 30), (ALLOC, 1, 40), (DEALLOC, 0, 0), (THREAD_EXIT, NONE, 0),
    ]  # fmt: skip
    assert found.processes[0].threads == ["worker", "other"]
    assert not found.notes()


def test_a_process_by_its_place(folder, trace):
    found = part_of(folder, trace, Part(processes=frozenset({1})))
    assert [process.pid for process in found.processes] == [12]
    assert part_of(folder, trace, Part(first_time=10_000_000)) is None


def test_a_trace_without_times_is_not_cut_by_time(folder, trace):
    timeless = Trace([Process(Events.of(op=[ALLOC], thread=[0], block=[0], size=[5]))])
    with pytest.raises(TraceError, match="the trace has no times; cut it by events"):
        cut(sources.InMemory(timeless), folder / "none.hwt", Part(end_time=5))
    assert not (folder / "none.hwt").exists()


# --- merge


def test_merged_traces_keep_their_processes_times_and_stacks(folder, trace):
    stacks = Stacks()
    stacks.add([Frame("main")])
    site = stacks.add([Frame("g"), Frame("main")])
    events = Events.of(op=[ALLOC] * 9, thread=[0] * 9, block=range(9), size=range(9), time=[5] * 9, site=[site] * 9)
    late = Trace([Process(events, 11)], "test", "b", ["b", "-v"], "2026-11-29T10:00:02+00:00", {}, stacks)
    format.write(folder / "first.hwt", trace)
    with sources.opened(folder / "first.hwt") as first:
        summary = merge([first, sources.InMemory(late, chunk_events=5)], folder / "both.hwt")
    both = format.read(folder / "both.hwt")
    assert [process.pid for process in both.processes] == [11, 12, 11]
    assert [process.command for process in both.processes] == ["a", "b", "b -v"]
    assert both.processes[0].events == trace.events
    assert both.processes[2].events.time.tolist() == [2_000_005] * 9
    names = [frame.function for frame in both.stacks.of(int(both.processes[2].events.site[0]))]
    assert names == ["g", "main"]
    assert [frame.function for frame in both.stacks.frames] == ["main", "f", "g"]
    assert (both.source, both.date, both.host) == ("2 traces, merged", trace.date, {})
    assert summary == both.summary()
    with format.TraceFile(folder / "both.hwt") as file:
        assert asdict(file.summary) == asdict(summary)


def test_without_dates_times_stay(folder, trace):
    undated = Trace(trace.processes, stacks=trace.stacks)
    merge([sources.InMemory(trace), sources.InMemory(undated)], folder / "both.hwt")
    both = format.read(folder / "both.hwt")
    assert both.processes[2].events == trace.events
    assert both.date == ""


def test_a_stack_that_is_not_there_is_refused(folder):
    bad = Trace([Process(Events.of(op=[ALLOC], thread=[0], block=[0], size=[5], site=[9]))])
    with pytest.raises(TraceError, match="refers to a call stack that it does not have"):
        merge([sources.InMemory(bad)], folder / "bad.hwt")
