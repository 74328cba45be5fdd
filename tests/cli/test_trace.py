"""`heapwright trace info`, `cut` and `merge`."""

from __future__ import annotations

import json

import click
import pytest

from heapwright.cli.commands import group
from heapwright.errors import UserError
from heapwright.traces import format
from heapwright.traces.events import ALLOC, DEALLOC, Events, Process, Trace
from heapwright.traces.importers import open_trace
from heapwright.traces.stacks import Frame, Stacks


@pytest.fixture
def recording(tmp_path):
    stacks = Stacks()
    site = stacks.add([Frame("f"), Frame("main")])
    events = Events.of(
        op=[ALLOC, ALLOC, DEALLOC, ALLOC],
        thread=[0, 1, 0, 0],
        block=[0, 1, 0, 2],
        size=[100, 50, 0, 7],
        time=[0, 1_500_000, 2_000_000, 3_000_000],
        site=[site, 0, 0, site],
    )
    one = Process(events, 42, command="prog -x", threads=["main", "worker"])
    one.notes["frees of blocks never seen, dropped"] = 3
    two = Process(events[:2], 43, command="child")
    path = tmp_path / "prog.hwt"
    format.write(
        path, Trace([one, two], "recording", "prog", ["prog", "-x"], "2026-11-29T10:00:00+00:00", stacks=stacks)
    )
    return path


def test_info(heapwright, recording):
    done = heapwright("trace", "info", recording, COLUMNS="120")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"{recording}: 6 events of 2 processes"
    assert "  program      prog -x" in lines
    assert "  times        up to 3.00 s" in lines
    assert "  call stacks  2, made of 2 frames" in lines
    assert [line.split() for line in lines if "prog -x  " in line and line[0] == "1"] == [
        ["1", "prog", "-x", "42", "2", "4", "3", "1", "0", "150", "2", "57", "2"]
    ]
    assert "  process 1, threads: 0 main, 1 worker" in lines
    assert done.stderr.splitlines() == ["  process 1:", "  3 frees of blocks never seen, dropped"]


def test_info_as_json_and_of_another_tool(heapwright, recording, tmp_path):
    facts = json.loads(heapwright("trace", "info", recording, "--json").stdout)
    assert (facts["duration_us"], facts["call_stacks"], facts["frames"]) == (3_000_000, 2, 2)
    assert facts["summary"]["peak_live_bytes"] == 150
    assert [process["pid"] for process in facts["processes"]] == [42, 43]
    assert "index" not in facts
    (tmp_path / "log").write_text("1: malloc 0x10 100\n")
    other = heapwright("trace", "info", tmp_path / "log").stdout
    assert "times        none" in other
    assert "call stacks  none" in other


def test_cut_by_time_and_thread(heapwright, recording, tmp_path):
    out = tmp_path / "part.hwt"
    done = heapwright("trace", "cut", recording, "--from", "2s", "--to", "2.5s", "--threads", "main", "-o", out)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(f"{out}: 2 events, peak live memory 100 bytes in 1 block; ")
    assert [process.pid for process in open_trace(out).processes] == [42]


def test_cut_by_events_and_process(heapwright, recording, tmp_path):
    out = tmp_path / "part.hwt"
    assert heapwright("trace", "cut", recording, "--events", "1:", "--process", "43", "-o", out).returncode == 0
    assert open_trace(out).events.size.tolist() == [100, 50]


def test_merge(heapwright, recording, tmp_path):
    out = tmp_path / "both.hwt"
    done = heapwright("trace", "merge", recording, recording, "-o", out)
    assert done.stderr.startswith(f"{out}: 12 events, peak live memory 150 bytes in 2 blocks; ")
    assert len(open_trace(out).processes) == 4


@pytest.fixture
def complaint(tmp_path):
    """The message of a command that must be refused, called without a process of its own."""

    def run(*arguments):
        with pytest.raises((click.UsageError, UserError)) as refusal:
            group(["trace", *map(str, arguments)], standalone_mode=False)
        return getattr(refusal.value, "message", str(refusal.value))

    return run


def test_wrong_use(refused, complaint, recording, tmp_path):
    out = tmp_path / "part.hwt"
    cut = "cut", recording, "-o", out
    assert "Missing command; see `heapwright trace --help`" in refused("trace")
    assert "say what to keep: --from" in complaint(*cut)
    assert "'soon' is no time such as 10s" in complaint(*cut, "--from", "soon")
    assert "'5' is no range such as" in complaint(*cut, "--events", "5")
    assert "'5:5' is empty" in complaint(*cut, "--events", "5:5")
    assert "--to must be later than --from" in complaint(*cut, "--from", "2s", "--to", "1s")
    assert "no process is 9: give a PID" in complaint(*cut, "--process", "9")
    assert "has no events there; see `heapwright trace info`" in complaint(*cut, "--from", "9m")
    assert "the output is a .hwt file, not part.csv" in complaint("merge", recording, "-o", tmp_path / "part.csv")
    assert "cannot be read" in complaint("info", tmp_path / "none.hwt")
    assert "is a folder" in complaint("info", tmp_path)
    assert not out.exists()
