"""`heapwright compare`: which process is replayed, what it says of it, and what its JSON holds."""

from __future__ import annotations

import json
import re
from itertools import count

import pytest

from heapwright.lab.processes import ProcessError, choose
from heapwright.traces.events import ALLOC, DEALLOC, Events, Process, Trace
from heapwright.traces.format import write
from heapwright.traces.synthesize import random_live_set

pytestmark = pytest.mark.long


def pairs(number, size):
    """A block of `size` bytes again and again: many events, little memory."""
    return Events.of(
        op=[ALLOC, DEALLOC] * number,
        thread=[0] * 2 * number,
        block=[i // 2 for i in range(2 * number)],
        size=[size, 0] * number,
    )


SHELL, SERVER, CHILD = pairs(50, 100), pairs(2, 1 << 20), pairs(1, 500)


def trace_of(*pids):
    names = (("sh", SHELL), ("server", SERVER), ("child", CHILD))
    numbered = zip(pids, names, count(), strict=False)
    return Trace([Process(events, pid, execs=execs, command=name) for pid, (name, events), execs in numbered])


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "three.hwt"
    write(path, trace_of(70, 71, 71))
    return path


# --- the choice


@pytest.mark.parametrize(
    ("pids", "which", "numbers"),
    [
        ((70, 71, 72), None, [2]),
        ((70, 71, 72), "70", [1]),
        ((70, 71, 72), "1", [1]),
        ((70, 71, 72), "3", [3]),
        ((70, 71, 72), "all", [1, 2, 3]),
        ((3, 2, 1), "1", [3]),
        ((0, 0, 0), "2", [2]),
    ],
)
def test_a_process_is_chosen_by_pid_then_by_place(pids, which, numbers):
    chosen = choose(trace_of(*pids), which)
    assert [each.number for each in chosen] == numbers
    assert [each.is_default for each in chosen] == [which is None] * len(numbers)


@pytest.mark.parametrize("which", ["4", "0", "-1", "72", "server", "", "²"])
def test_a_process_that_is_not_there_is_said(which):
    with pytest.raises(
        ProcessError, match=r"no process is .*: give a PID, a place, or all; there are 1 \(PID 70: sh\), "
    ):
        choose(trace_of(70, 71), which)


def test_a_pid_of_several_programs_asks_for_the_place():
    with pytest.raises(ProcessError, match="process 71 ran several programs: choose one by its place, 2 and 3"):
        choose(trace_of(70, 71, 71), "71")


def test_of_equal_peaks_the_one_with_more_events_is_the_largest():
    few, many = Process(pairs(1, 100), 1), Process(pairs(9, 100), 2)
    assert Trace([few, many, few]).largest is many


# --- the command


def compare(heapwright, *arguments, **environment):
    done = heapwright("compare", *arguments, "-a", "system", "-n", 1, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_process_with_the_memory_is_replayed_and_named(heapwright, recording):
    first, second, *_ = compare(heapwright, recording).splitlines()
    assert first == "server (process 2 of 3, PID 71: the highest peak of live memory)"
    assert second == "4 events of 1 thread; at the peak 1,048,576 bytes are live in 1 block"


def test_another_process_can_be_chosen(heapwright, recording):
    lines = compare(heapwright, recording, "--process", "70").splitlines()
    assert lines[0] == "sh (process 1 of 3, PID 70)"
    report = json.loads(compare(heapwright, recording, "--process", "3", "--json"))
    trace = report["trace"]
    assert (trace["process"], trace["pid"], trace["command"], trace["events"]) == (3, 71, "child", 2)


def test_all_processes_each_have_their_tables(heapwright, recording):
    titles = [line for line in compare(heapwright, recording, "--process", "all").splitlines() if "process " in line]
    assert [title.split()[0] for title in titles] == ["sh", "server", "child"]
    reports = json.loads(compare(heapwright, recording, "--process", "all", "--json"))
    assert [each["trace"]["peak_live_bytes"] for each in reports] == [100, 1 << 20, 500]
    assert all(each["results"][0]["allocator"] == "system" for each in reports)


def test_a_wrong_process_is_one_line(heapwright, recording):
    done = heapwright("compare", recording, "--process", "9")
    assert done.returncode == 2
    assert done.stderr.startswith("heapwright: no process is 9")
    assert len(done.stderr.splitlines()) == 1


def test_times_are_never_zero(heapwright, recording):
    text = compare(heapwright, recording, "--process", "3")
    assert "0.000" not in text
    assert any(f" {unit} " in text for unit in ("ns", "µs", "ms"))


def test_the_json_has_the_cold_figures_and_the_moments(heapwright, recording):
    report = json.loads(compare(heapwright, recording, "--json", MALLOC_TOP_PAD_="0"))
    [result] = report["results"]
    assert report["environment"]["MALLOC_TOP_PAD_"] == "0"
    assert result["cold"]["seconds"] > 0
    assert result["cold"]["spread"] is None
    assert result["cold"]["page_faults"] >= 1
    moments = result["memory"]["moments"]
    assert list(moments) == ["peak", "worst", "end", "freed"]
    assert (moments["peak"]["event"], moments["peak"]["live_bytes"]) == (3, 1 << 20)
    assert moments["peak"]["resident_bytes"] >= 1 << 20
    assert moments["end"]["live_bytes"] == result["memory"]["at_end"]["requested_bytes"] == 0


def test_variants_of_one_malloc_stand_side_by_side(heapwright, recording):
    chosen = ("-a", "system{MALLOC_MMAP_THRESHOLD_=4096}", "-a", "system{MALLOC_TOP_PAD_=268435456}")
    report = json.loads(compare(heapwright, recording, *chosen, "--json"))
    mapped, padded, plain = report["results"]
    names = [each["allocator"] for each in report["results"]]
    assert names == [chosen[1], chosen[3], "system"]
    assert padded["peak_heap_bytes"] >= 1 << 28 > plain["peak_heap_bytes"]
    assert mapped["memory"]["retained_bytes"] < padded["memory"]["retained_bytes"]


@pytest.mark.parametrize("file", ["/lib/x86_64-linux-gnu/libm.so.6", "/etc/passwd"])
def test_a_file_without_malloc_is_one_line(heapwright, recording, file):
    done = heapwright("compare", recording, "-a", f"x={file}")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("heapwright: x: a process gets malloc from ")
    assert len(done.stderr.splitlines()) == 1


# --- curves


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    path = tmp_path_factory.mktemp("curves") / "work.hwt"
    write(path, Trace([Process(random_live_set(live=300, rounds=1000, smallest=16, largest=3000), 1)]))
    return path


def test_the_curves_as_json(heapwright, work):
    done = heapwright("compare", work, "-a", "system", "-n", "1", "--curves", "--samples", "20", "--json")
    [result] = json.loads(done.stdout)["results"]
    columns = result["curves"]["columns"]
    assert len({len(column) for column in columns.values()}) == 1
    assert 20 <= len(columns["event"]) <= 21
    assert set(result["curves"]["after"]) == {"end", "freed", "idle", "called"}
    assert result["curves"]["merit"]["jw4"] > 0


def test_the_curves_fit_a_narrow_terminal(heapwright, work):
    done = heapwright("compare", work, "-a", "system", "-n", "1", "--curves", "--samples", "20", COLUMNS="80")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "system: a walk of glibc's arenas" in lines
    assert sum("┤" in line for line in lines) == 8
    assert any("█" in line for line in lines)


def test_without_curves_there_are_no_samples(refused, recording):
    assert "--samples has no effect without --curves" in refused("compare", recording, "--samples", "20")


@pytest.fixture(scope="module")
def bursts(tmp_path_factory):
    """Half of the blocks in the first millisecond, half after a quiet second."""
    path, count = tmp_path_factory.mktemp("bursts") / "bursts.hwt", 400
    times = [*range(1, count // 2 + 1), *range(1_000_001, 1_000_001 + count // 2)]
    events = Events.of(op=[ALLOC] * count, thread=[0] * count, block=[*range(count)], size=[4000] * count, time=times)
    write(path, Trace([Process(events, 1)]))
    return path


@pytest.mark.long
def test_the_curves_step_by_time(heapwright, bursts):
    words = ("compare", bursts, "-a", "system", "-n", "1", "--curves", "--samples", "40")
    report = json.loads(heapwright(*words, "--steps", "time", "--json").stdout)
    columns = report["results"][0]["curves"]["columns"]
    assert report["steps"] == "time"
    assert (columns["event"], columns["seconds"]) == ([200, 400], [0.000199, 1.000199])
    [by_time, by_events] = (heapwright(*words, "--steps", each, COLUMNS="80").stdout for each in ("time", "events"))
    assert re.search(r"^ +0 +1\.00 s$", by_time, re.M)
    assert re.search(r"^ +0 +400 events$", by_events, re.M)
    rows = [sum("█" * 40 in line for line in text.splitlines()) for text in (by_time, by_events)]
    assert rows[0] == 4, "half of the bytes are live all the time"
    assert rows[1] < 4


def test_a_trace_without_times_has_no_steps_of_time(refused, work):
    words = ("compare", work, "-a", "system", "--curves", "--steps", "time")
    assert refused(*words).endswith("work.hwt has no times: use --steps events")
