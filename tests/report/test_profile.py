"""The findings on a made-up service, whose figures are known, and on any events."""

import tracemalloc

import pytest
from event_stories import stories
from hypothesis import given, settings
from recorded import service

from heapwright.report.findings import findings
from heapwright.report.profile import EVENTS, TIME, Options, profile
from heapwright.report.source import Loaded, chosen, open_source
from heapwright.traces.events import ALLOC, DEALLOC, REALLOC, Events, Process, Trace
from heapwright.traces.format import write
from heapwright.traces.stacks import Frame, Stacks


@pytest.fixture(scope="module")
def found():
    return findings(profile(Loaded(service()), 0))


def named(rows, name):
    return next(row for row in rows if row["function"].startswith(name))


def test_the_peak_is_told_by_who_asked(found):
    peak = found["peak"]
    assert (peak["bytes"], peak["blocks"]) == (1852486, 812)
    assert [row["name"] for row in peak["callers"]][:2] == [
        "Report::append (report.cpp:33)",
        "parse_row (service.py:12)",
    ]
    assert (peak["callers"][0]["bytes"], peak["callers"][0]["blocks"]) == (1 << 20, 1)
    assert named(peak["callers"], "parse_row")["blocks"] == 600
    assert sum(row["bytes"] for row in peak["callers"]) == peak["bytes"]


def test_what_was_never_freed(found):
    end = found["end"]
    assert (end["blocks"], named(end["callers"], "remember")["blocks"]) == (701, 400)
    assert named(end["callers"], "parse_row")["blocks"] == 300
    assert not any(row["function"] == "decode" for row in end["callers"])


def test_temporary_blocks_are_those_of_the_requests(found):
    short = found["temporary"]
    assert (short["count"], [row["function"] for row in short["callers"]]) == (4000, ["decode"])
    assert short["callers"][0]["share"] == 1


def test_a_larger_or_smaller_limit_of_temporary():
    none = findings(profile(Loaded(service()), 0, Options(temporary=0)))
    assert none["temporary"]["count"] == 3600  # after each tenth, the cache asks before it is freed
    assert findings(profile(Loaded(service()), 0, Options(temporary=5000)))["temporary"]["count"] == 4300


def test_the_buffer_grew_ten_times(found):
    grown = found["growth"]
    assert (grown["grows"], grown["longest"], grown["old_bytes"]) == (10, 10, sum(1024 << step for step in range(10)))
    assert grown["callers"][0]["longest"] == 10


def test_both_trees_sum_to_the_peak(found):
    for name in "top_down", "bottom_up":
        tree = found["peak"][name]
        assert tree["value"] == found["peak"]["bytes"]
        shown = sum(child["value"] for child in tree["children"])
        assert 0.99 * tree["value"] <= shown <= tree["value"]
    (report, main) = found["peak"]["top_down"]["children"]
    assert main["name"] == "main (service.py:90)"
    assert report["children"][0]["children"][0]["name"] == "operator new (libstdc++.so.6)"


def test_threads_have_their_names_and_what_they_freed_of_others(found):
    threads = {row["name"]: row for row in found["threads"]}
    assert set(threads) == {"python3 (thread 1)", "worker (thread 2)", "reporter (thread 3)"}
    assert threads["reporter (thread 3)"]["frees_of_others"] == 1
    assert sum(row["at_peak"] for row in threads.values()) == found["peak"]["bytes"]


def test_another_moment_can_be_asked_for():
    trace = service()
    early = findings(profile(Loaded(trace), 0, Options(at=10_000)))["chosen"]
    count = int((trace.events.time <= 10_000 + trace.events.time[0]).sum())
    assert early["blocks"] == count  # nothing was freed yet
    assert findings(profile(Loaded(trace), 0, Options(at=1 << 62)))["chosen"]["bytes"] == 554409
    assert findings(profile(Loaded(trace), 0, Options(at=-1)))["chosen"]["bytes"] == 0


def test_times_count_from_the_first_call():
    trace = service()
    parent, child = trace.events[:10], trace.events[:10]
    trace.processes = [Process(parent), Process(child)]
    made = profile(Loaded(trace), 1)
    assert (made.curve.start, made.curve.end) == (0, int(child.time[-1] - parent.time[0]))


def test_a_file_and_memory_have_the_same_findings(tmp_path, found):
    write(tmp_path / "service.hwt", service())
    with open_source(tmp_path / "service.hwt") as source:
        assert findings(profile(source, chosen(source, "4711")[0])) == found


def test_without_times_the_axis_counts_events():
    events = Events.of(op=[ALLOC, ALLOC, DEALLOC], thread=[0] * 3, block=[0, 1, 0], size=[100, 30, 0])
    found = findings(profile(Loaded(Trace([Process(events)])), 0))
    assert (found["axis"], found["has_call_sites"]) == (EVENTS, False)
    assert found["peak"]["when"] == "event 2"
    assert [row["name"] for row in found["peak"]["callers"]] == ["65 to 128 bytes", "17 to 32 bytes"]
    assert [row["name"] for row in found["end"]["callers"]] == ["17 to 32 bytes"]
    assert found["lifetimes"] == [{"up_to": 2, "count": 1, "bytes": 100}]


def test_a_realloc_hands_the_block_to_who_asked_last():
    stacks = Stacks()
    first, last = stacks.add([Frame("first")]), stacks.add([Frame("last")])
    events = Events.of(
        op=[ALLOC, REALLOC, REALLOC], thread=[0] * 3, block=[0, 0, 0], size=[10, 50, 20], time=[1, 2, 3],
        site=[first, last, first],
    )  # fmt: skip
    found = findings(profile(Loaded(Trace([Process(events)], stacks=stacks)), 0))
    assert found["axis"] == TIME
    assert [(row["name"], row["bytes"], row["blocks"]) for row in found["peak"]["callers"]] == [("last", 50, 1)]
    assert [(row["name"], row["bytes"], row["blocks"]) for row in found["end"]["callers"]] == [("first", 20, 1)]
    assert (found["growth"]["grows"], found["growth"]["shrinks"]) == (1, 1)


@settings(max_examples=25)
@given(stories())
def test_any_events_have_the_figures_of_their_summary(events):
    process = Process(events)
    made = profile(Loaded(Trace([process])), 0)
    summary, found = process.summary(), findings(made, top=1000)
    assert found["peak"]["bytes"] == summary.peak_live_bytes
    assert (found["end"]["bytes"], found["end"]["blocks"]) == (summary.live_bytes_at_end, summary.live_blocks_at_end)
    assert made.curve.high.max(initial=0) == summary.peak_live_bytes
    assert sum(row["bytes"] for row in found["end"]["callers"]) == summary.live_bytes_at_end
    assert sum(row["frees"] for row in found["threads"]) == summary.deallocs - summary.null_deallocs
    assert sum(row["frees_of_others"] for row in found["threads"]) == summary.cross_thread_deallocs
    assert found["growth"]["grows"] + found["growth"]["shrinks"] + found["growth"]["same"] <= summary.reallocs


class Endless:
    """A source of many equal chunks, none of which is kept."""

    stacks = Stacks()
    processes = Loaded(service(10, 10)).processes

    def __init__(self, chunks):
        self._chunks = chunks

    def chunks(self, process):
        for number in range(self._chunks):
            block = range(1000 * number, 1000 * number + 1000)
            yield Events.of(
                op=[ALLOC] * 1000 + [DEALLOC] * 1000, thread=[0] * 2000, block=[*block, *block],
                size=[64] * 1000 + [0] * 1000, time=range(2000 * number, 2000 * number + 2000),
            )  # fmt: skip


def memory_for(chunks):
    tracemalloc.start()
    made = profile(Endless(chunks), 0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert made.requests.count.total() == 1000 * chunks
    return peak


def test_memory_does_not_grow_with_the_number_of_events():
    memory_for(2)
    assert memory_for(40) < 1.2 * memory_for(8)
