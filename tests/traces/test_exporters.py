"""Writing profiles and tables for other tools: what each value is, what a format cannot hold, and that it is read back.

`go tool pprof`, Perfetto's schema and speedscope's were used by hand; here a small reader of each format is enough.
"""

import csv
import gzip
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire import fields, numbers

from heapwright.errors import UserError
from heapwright.traces.events import (
    ALLOC,
    ALLOC_ZEROED,
    DEALLOC,
    FAILED,
    NONE,
    REALLOC,
    Events,
    Process,
    Trace,
    TraceError,
    live,
)
from heapwright.traces.exporters import (
    FORMATS,
    SUFFIXES,
    folded,
    format_of,
    perfetto,
    protobuf,
    speedscope,
    table,
    usage,
    write_as,
)
from heapwright.traces.stacks import PYTHON, Frame, Stacks

MAIN = Frame("main", "main.c", 10, "/bin/prog")
PARSE = Frame("parse<a;b>", "parse.py", 20, "", PYTHON)
PUSH = Frame("push", "vec.h", 7, "/bin/prog", is_inlined=True)


@pytest.fixture
def trace():
    """Two processes: in the first, `parse` asks for 100 and 50 bytes and `main` reallocates the 100 to 400."""
    stacks = Stacks()
    parse, grow = stacks.add([PUSH, PARSE, MAIN]), stacks.add([MAIN])
    first = Events.of(
        op=[ALLOC, ALLOC_ZEROED, REALLOC, ALLOC, DEALLOC, DEALLOC, ALLOC],
        flags=[0, 0, 0, FAILED, 0, 0, 0],
        thread=[0, 0, 1, 1, 0, 0, 0],
        block=[0, 1, 0, NONE, 1, NONE, 2],
        size=[100, 50, 400, 9999, 0, 0, 8],
        count=[1, 5, 1, 1, 1, 1, 1],
        time=[10, 20, 30, 40, 50, 60, 70],
        site=[parse, parse, grow, grow, 0, 0, 0],
    )
    second = Events.of(op=[ALLOC], thread=[0], block=[0], size=[7], log2_align=[6])
    processes = [Process(first, 42, command="prog -x", threads=["main", "worker"]), Process(second, 43)]
    return Trace(processes, "test", "prog", ["prog", "-x"], "2026-11-29T10:00:00+00:00", stacks=stacks)


def by_site(process):
    rows, values = usage.measures(process)
    return {
        (site, thread): [int(values[measure][place]) for measure in usage.MEASURES]
        for place, (site, thread) in enumerate(zip(rows.site.tolist(), rows.thread.tolist(), strict=True))
    }


def test_the_usage_of_a_process(trace):
    assert by_site(trace.processes[0]) == {
        (3, 0): [50, 1, 0, 0, 150, 2],
        (1, 1): [400, 1, 400, 1, 400, 1],
        (0, 0): [0, 0, 8, 1, 8, 1],
    }


@given(st.from_type(Events))
def test_the_usage_adds_up_to_the_live_memory(events):
    process = Process(events, 1)
    live_bytes, live_blocks = live(events)
    values = {name: int(column.sum()) for name, column in usage.measures(process)[1].items()}
    summary = [int(column[-1]) if len(events) else 0 for column in (live_bytes, live_blocks)]
    assert [values["end-bytes"], values["end-blocks"]] == summary
    assert values["peak-bytes"] == live_bytes.max(initial=0)
    for moment in range(0, len(events), 7):
        assert usage.usage(process, moment + 1).bytes.sum() == live_bytes[moment]


# --- pprof


def pprof_of(path):
    """The samples of a profile: labels, functions from the innermost on, and values by name."""
    profile = fields(gzip.decompress(path.read_bytes()))
    strings = [value.decode() for value in profile[6]]
    functions = {each[1][0]: (strings[each[2][0]], strings[each.get(4, [0])[0]]) for each in map(fields, profile[5])}
    locations = {}
    for each in map(fields, profile[4]):
        lines = [fields(line) for line in each[4]]
        locations[each[1][0]] = [(*functions[line[1][0]], line.get(2, [0])[0]) for line in lines]
    kinds = [tuple(strings[each[part][0]] for part in (1, 2)) for each in map(fields, profile[1])]
    found = {}
    for each in map(fields, profile[2]):
        labels = tuple(strings[fields(label)[2][0]] for label in each[3])
        stack = tuple(tuple(locations[number]) for number in numbers(each[1][0]))
        found[labels, stack] = dict(zip(kinds, numbers(each[2][0]), strict=True))
    return profile, strings, found


def test_pprof(trace, tmp_path):
    notes = write_as("pprof", tmp_path / "t.pb.gz", trace)
    profile, strings, samples = pprof_of(tmp_path / "t.pb.gz")
    parse = ((("push", "vec.h", 7), ("parse<a;b>", "parse.py", 20)), (("main", "main.c", 10),))
    sample = samples[("prog -x (PID 42)", "main"), parse]
    assert list(sample.items()) == [
        (("alloc_objects", "count"), 2), (("alloc_space", "bytes"), 150), (("peak_objects", "count"), 1),
        (("peak_space", "bytes"), 50), (("inuse_objects", "count"), 0), (("inuse_space", "bytes"), 0),
    ]  # fmt: skip
    assert samples[("prog -x (PID 42)", "worker"), ((("main", "main.c", 10),),)]["inuse_space", "bytes"] == 400
    assert len(samples) == 4
    assert strings[0] == ""
    assert [strings[fields(each)[5][0]] for each in profile[3]] == ["/bin/prog"]
    assert strings[profile[14][0]] == "peak_space"
    assert profile[9] == [1_795_946_400 * 10**9]
    assert profile[10] == [70_000]
    assert notes == {usage.SUMMED: 8, usage.STACKLESS: 2}


@pytest.mark.skipif(not shutil.which("go"), reason="go is not installed")
def test_go_reads_the_profile(trace, tmp_path):
    write_as("pprof", tmp_path / "t.pb.gz", trace)
    command = ["go", "tool", "pprof", "-top", "-unit=b", tmp_path / "t.pb.gz"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "Type: peak_space" in text
    assert "main" in text
    assert "450B" in text


@given(st.integers(0, 2**64 - 1) | st.integers(0, 300), st.integers(1, 2**20))
def test_numbers_on_the_wire(value, field):
    assert fields(protobuf.number(field, value) + protobuf.text(field, "ü")) == {
        field: [*([value] if value else []), "ü".encode()]
    }
    assert numbers(fields(protobuf.packed(field, [value, 0, value]))[field][0]) == [value, 0, value]
    assert protobuf.varint(-1) == protobuf.varint(2**64 - 1)


# --- speedscope and folded stacks


def test_speedscope(trace, tmp_path):
    write_as("speedscope", tmp_path / "t.speedscope.json", trace)
    content = json.loads((tmp_path / "t.speedscope.json").read_text())
    frames, profiles = content["shared"]["frames"], content["profiles"]
    assert content["$schema"] == speedscope.SCHEMA
    assert frames[1] == {"name": "parse<a;b>", "file": "parse.py", "line": 20}
    assert [each["name"] for each in profiles[:4]] == [
        f"{title}: prog -x (PID 42)" for title in speedscope.SHOWN.values()
    ]
    assert len(profiles) == 8
    for each in profiles:
        assert each["type"] == "sampled"
        assert each["unit"] == ("none" if each["name"].startswith("requests") else "bytes")
        assert (each["startValue"], each["endValue"]) == (0, sum(each["weights"]))
        assert len(each["samples"]) == len(each["weights"])
        assert all(0 <= frame < len(frames) for sample in each["samples"] for frame in sample)
    peak = {tuple(frames[each]["name"] for each in sample): weight for sample, weight in weighted(profiles[0])}
    assert peak == {("main",): 400, ("main", "parse<a;b>", "push"): 50}


def weighted(profile):
    return zip(profile["samples"], profile["weights"], strict=True)


def test_folded_stacks(trace, tmp_path):
    path = tmp_path / "t.folded"
    notes = write_as("folded", path, trace)
    assert path.read_text().splitlines() == [
        "PID 43;[unknown call stack] 7",
        "prog -x (PID 42);main 400",
        "prog -x (PID 42);main;parse<a:b>;push 50",
    ]
    assert notes[folded.ONE_MEASURE] == 5
    one = Trace(trace.processes[:1], stacks=trace.stacks)
    write_as("folded", path, one, measure="requests")
    assert path.read_text().splitlines() == ["[unknown call stack] 1", "main 1", "main;parse<a:b>;push 2"]


def test_a_measure_that_is_0_is_refused(tmp_path):
    freed = Trace([Process(Events.of(op=[ALLOC, DEALLOC], thread=[0, 0], block=[0, 0], size=[5, 0]))])
    with pytest.raises(TraceError, match="its end-bytes are all 0; choose another measure"):
        write_as("folded", tmp_path / "t.folded", freed, measure="end-bytes")
    nothing = Trace([Process(Events.of(op=[DEALLOC], thread=[0], block=[NONE], size=[0]))])
    write_as("speedscope", tmp_path / "t.json", nothing)
    assert json.loads((tmp_path / "t.json").read_text())["profiles"][0]["samples"] == []


# --- Perfetto


def packets_of(path):
    return [fields(packet) for packet in fields(path.read_bytes())[1]]


def test_perfetto_has_the_curve_of_live_memory(trace, tmp_path):
    notes = write_as("perfetto", tmp_path / "t.pftrace", trace)
    packets = packets_of(tmp_path / "t.pftrace")
    tracks = [fields(packet[60][0]) for packet in packets if packet[60]]
    names = {track[1][0]: track[2][0].decode() for track in tracks}
    assert list(names.values())[:3] == ["prog -x (PID 42)", "live bytes", "live blocks"]
    curves = {}
    for packet in packets:
        if packet[11]:
            event = fields(packet[11][0])
            assert event[9] == [4]
            curves.setdefault(event[11][0], []).append((packet[8][0], event[30][0]))
    live_bytes = curves[11]
    assert live_bytes == [
        (10_000, 100),
        (20_000, 150),
        (30_000, 450),
        (40_000, 450),
        (50_000, 400),
        (60_000, 400),
        (70_000, 408),
    ]
    assert [value for _, value in curves[12]] == [1, 2, 2, 2, 1, 1, 2]
    assert notes[perfetto.NO_TIMES] == 1


def test_perfetto_has_the_heap_at_the_peak_and_at_the_end(trace, tmp_path):
    write_as("perfetto", tmp_path / "t.pftrace", trace)
    profiles = [fields(packet[37][0]) for packet in packets_of(tmp_path / "t.pftrace") if packet[37]]
    dumps = [samples_of(profile) for profile in profiles]
    parse = ("main", "parse<a;b>", "push")
    assert dumps[0] == {parse: [150, 100, 2, 1], ("main",): [400, 0, 1, 0]}
    assert dumps[1] == {parse: [150, 150, 2, 2], ("main",): [400, 0, 1, 0], ("[unknown call stack]",): [8, 0, 1, 0]}
    assert len(dumps) == 3


def samples_of(profile):
    """What each stack requested and freed, and how often."""
    strings = {each[1][0]: each[2][0].decode() for each in map(fields, profile[1])}
    mappings = {each[1][0] for each in map(fields, profile[4])}
    frames = {each[1][0]: each for each in map(fields, profile[2])}
    assert all(frame[3][0] in mappings for frame in frames.values())
    stacks = {each[1][0]: tuple(strings[frames[frame][2][0]] for frame in each[2]) for each in map(fields, profile[3])}
    samples = map(fields, fields(profile[5][0])[2])
    return {stacks[each[1][0]]: [each.get(field, [0])[0] for field in (2, 3, 5, 6)] for each in samples}


def test_a_long_curve_keeps_its_peaks():
    values = np.concatenate([np.arange(1000), [77_777], np.arange(100_000) % 500])
    kept = perfetto.thinned(values)
    assert len(kept) <= perfetto.MAX_POINTS + 1
    assert values[kept].max() == 77_777
    assert kept[-1] == len(values) - 1
    assert (np.diff(kept) > 0).all()
    assert perfetto.thinned(values[:50]).tolist() == list(range(50))


# --- tables

ROW = {
    "process": "0", "pid": "42", "thread": "1", "op": "realloc", "failed": "False", "inherited": "False", "block": "0",
    "size": "400", "count": "1", "align": "0", "time_us": "30", "site": "1", "stack": "main",
}  # fmt: skip


def test_a_csv_table(trace, tmp_path):
    notes = write_as("csv", tmp_path / "t.csv", trace)
    with open(tmp_path / "t.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[2] == ROW
    assert (rows[3]["block"], rows[3]["failed"]) == ("", "True")
    assert (rows[7]["process"], rows[7]["align"], rows[7]["stack"]) == ("1", "64", "")
    assert len(rows) == 8
    assert notes == {table.NO_FACTS: 2, table.PLACES: 3}


def test_a_parquet_table_says_what_the_csv_says(trace, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    write_as("parquet", tmp_path / "t.parquet", trace)
    write_as("csv", tmp_path / "t.csv", trace)
    found = parquet.read_table(tmp_path / "t.parquet").to_pylist()
    with open(tmp_path / "t.csv", newline="") as file:
        expected = list(csv.DictReader(file))
    assert [{name: "" if value is None else str(value) for name, value in row.items()} for row in found] == expected


def test_parquet_without_pyarrow_says_what_to_install(trace, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pip install 'heapwright\[parquet\]'"):
        write_as("parquet", tmp_path / "t.parquet", trace)
    assert not (tmp_path / "t.parquet").exists()


# --- all of them


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_name_says_the_format(suffix, tmp_path):
    assert format_of(tmp_path / f"a.b{suffix}") in FORMATS
    with pytest.raises(TraceError, match=r"the name says no format: end it with \.hwt"):
        format_of(tmp_path / "a.json")


@pytest.mark.parametrize("name", FORMATS)
def test_any_events_are_written(name, tmp_path, trace):
    events = trace.events[[3, 5]]  # only a failed request and a free of null
    write_as(name, tmp_path / "t", Trace([Process(events), trace.processes[0]], stacks=trace.stacks))
    assert (tmp_path / "t").stat().st_size > 0
