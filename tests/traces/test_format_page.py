"""docs/trace-format.md is exact: a reader that was written from it reads every event, stack and fact."""

from dataclasses import asdict
from pathlib import Path

import hwt_reader
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heapwright.traces import format
from heapwright.traces.events import Events, Process, Trace
from heapwright.traces.importers import open_trace
from heapwright.traces.sampling import total_bytes
from heapwright.traces.stacks import PYTHON, Frame, Stacks

FILES = Path(__file__).parent / "files"
COLUMNS = "op", "flags", "log2_align", "thread", "block", "size", "count", "time", "site"


def rows_of(events):
    columns = (getattr(events, name).tolist() for name in COLUMNS)
    return [dict(zip(COLUMNS, row, strict=True)) for row in zip(*columns, strict=True)]


@pytest.fixture(scope="module", autouse=True)
def small_chunks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(format, "CHUNK_EVENTS", 11)
        yield


@given(st.lists(st.from_type(Events), min_size=1, max_size=3))
@settings(max_examples=12)
def test_any_events_are_read_by_the_page_alone(tmp_path_factory, processes):
    path = tmp_path_factory.mktemp("page") / "t.hwt"
    format.write(path, Trace([Process(events) for events in processes]))
    assert hwt_reader.File(path.read_bytes()).processes == [rows_of(events) for events in processes]


def test_stacks_and_facts_are_read_by_the_page_alone(tmp_path):
    stacks = Stacks()
    site = stacks.add([Frame("push", "vec.h", 7, "/bin/ü", is_inlined=True), Frame("f", "f.py", 3, "", PYTHON)])
    events = Events.of(op=[1], thread=[0], block=[0], size=[5], site=[site])
    process = Process(events, 42, 41, 1, "prog -x", threads=["main"])
    trace = Trace(
        [process], "recording", "prog", ["prog", "-x"], "2026-11-29T10:00:00+00:00", {"page_size": 4096}, stacks
    )
    format.write(tmp_path / "t.hwt", trace)
    found = hwt_reader.File((tmp_path / "t.hwt").read_bytes())
    assert found.stack(site) == [list(frame) for frame in stacks.of(site)]
    assert {name: found.head[name] for name in ("source", "program", "command", "date", "host")} == {
        "source": trace.source, "program": "prog", "command": ["prog", "-x"], "date": trace.date, "host": trace.host,
    }  # fmt: skip
    assert found.head["processes"] == [
        {"pid": 42, "parent": 41, "execs": 1, "command": "prog -x", "threads": ["main"], "sample": 0, "notes": {},
         "summary": asdict(process.summary())}
    ]  # fmt: skip


def test_the_rate_of_a_sample_is_read_by_the_page_alone(tmp_path):
    events = Events.of(op=[1, 3, 4, 1], thread=[0] * 4, block=[0, 0, 0, 1], size=[0, 999, 0, 50])
    format.write(tmp_path / "t.hwt", Trace([Process(events, sample=1000), Process(events)]))
    found = hwt_reader.File((tmp_path / "t.hwt").read_bytes())
    assert [each["sample"] for each in found.head["processes"]] == [1000, 0]
    assert found.requested(0) == pytest.approx(total_bytes(events, 1000).value)
    assert found.requested(1) == 1049
    assert [process.sample for process in format.read(tmp_path / "t.hwt").processes] == [1000, 0]


def test_sites_that_are_not_stacks_are_read_by_the_page_alone(tmp_path):
    stacks = Stacks()
    stacks.add([Frame("f"), Frame("main")])
    events = Events.of(op=[1, 1], thread=[0, 0], block=[0, 1], size=[5, 6], site=[1, 3])
    trace = Trace([Process(events)], stacks=stacks)
    with open(tmp_path / "t.hwt", "wb") as file:
        writer = format.Writer(file)
        format.add_all(writer, 0, events)
        writer.finish(format.header_of(trace), stacks, sites=[0, 2, 0, 1])
    found = hwt_reader.File((tmp_path / "t.hwt").read_bytes())
    names = [[frame[0] for frame in found.stack(event["site"])] for event in found.processes[0]]
    assert names == [["f", "main"], ["main"]]
    again = format.read(tmp_path / "t.hwt")
    assert [[frame.function for frame in again.stacks.of(site)] for site in again.events.site.tolist()] == names


def test_a_real_recording_is_read_by_the_page_alone(tmp_path):
    trace = open_trace(FILES / "heaptrack.gz")
    format.write(tmp_path / "t.hwt", trace)
    found = hwt_reader.File((tmp_path / "t.hwt").read_bytes())
    assert found.processes == [rows_of(trace.events)]
    sites = {event["site"] for event in found.processes[0]}
    assert {tuple(map(tuple, found.stack(site))) for site in sites} == {tuple(trace.stacks.of(site)) for site in sites}


def test_the_page_names_every_fact_of_the_header(tmp_path):
    format.write(tmp_path / "t.hwt", Trace([Process(Events.of(op=[1], thread=[0], block=[0], size=[5]))]))
    head = hwt_reader.File((tmp_path / "t.hwt").read_bytes()).head
    page = (Path(__file__).parents[2] / "docs" / "trace-format.md").read_text()
    for facts in head, head["processes"][0], head["index"][0]:
        assert [name for name in facts if f"`{name}`" not in page] == []
