"""The page as a file: what is in it adds up, nothing of it is elsewhere, and it stays small."""

import base64
import hashlib
import json
import random
import re
import zlib

import numpy as np
import pytest
from recorded import service

from heapwright.html.page import MAX_BYTES, SHARED
from heapwright.report import page
from heapwright.report.page import make_page
from heapwright.report.profile import profile
from heapwright.report.source import Loaded
from heapwright.report.timeline import METRICS, timeline
from heapwright.traces.events import ALLOC, DEALLOC, Events, Process, Trace
from heapwright.traces.stacks import Frame, Stacks

NAMES = "1999/xhtml", "1999/xlink", "2000/svg", "2000/xmlns/", "XML/1998/namespace"
NAMESPACES = {f"http://www.w3.org/{name}" for name in NAMES}
D3 = "912111098ea99503a6f4967361d2bbdc9dbf58cf9c678c8e27e5b02d1a07f0c1"  # of d3.min.js in npm's d3 7.9.2
LOADS = re.compile(r"<(link|img|iframe|script)\b[^>]*\b(src|href)=|@import|url\(|\bimport\(|\bfetch\(|XMLHttpRequest")


def page_of(trace):
    source = Loaded(trace)
    return make_page("a.hwt", source, [profile(source, number) for number in range(len(trace.processes))])


def data_of(text):
    packed = re.search(r'id="data">([^<]*)<', text)[1]
    return json.loads(zlib.decompress(base64.b64decode(packed)))


@pytest.fixture(scope="module")
def text():
    return page_of(service())


def matrix(process, metric):
    rows = np.zeros((len(process["parents"]), len(process["bins"]["high"])), np.int64)
    for row, steps in zip(rows, process["values"][metric], strict=True):
        places = np.cumsum(steps[::2], dtype=np.int64)
        row[places] = steps[1::2]
    return np.cumsum(rows, axis=1)


def test_it_loads_nothing(text):
    addresses = set(re.findall(r"https?://[^\s\"'`)<]+", text))
    assert addresses <= NAMESPACES | {"https://d3js.org"}  # the comment that begins D3
    assert "default-src 'none'" in text
    d3 = (SHARED / "d3.min.js").read_text()  # can load tables, which this page does not ask it to
    assert not LOADS.search(text.replace(d3, ""))


def test_d3_is_the_file_that_was_published():
    digest = hashlib.sha256((SHARED / "d3.min.js").read_bytes()).hexdigest()
    assert digest == D3


def test_it_has_the_whole_program_in_it(text):
    assert "<h1>python3 service.py</h1>" in text
    assert not re.search(r"\{\{\w+\}\}", text)
    assert text.count("</script>") == 2


def test_a_command_is_no_markup():
    trace = service(20, 5)
    trace.processes[0].command = "a <b> {{data}} </script>"
    text = page_of(trace)
    assert "<h1>a &lt;b&gt; {{data}} &lt;/script&gt;</h1>" in text
    assert data_of(text)["processes"][0]["process"]["command"] == trace.processes[0].command


def test_the_values_over_time_add_up(text):
    (process,) = data_of(text)["processes"]
    peaks, high = matrix(process, "peak"), np.array(process["bins"]["high"])
    assert (peaks.sum(axis=0) == high).all()
    assert high.max() == process["peak"]["bytes"]
    assert matrix(process, "requested").sum() == process["requests"]["bytes"]
    assert matrix(process, "requests").sum() == process["requests"]["count"]
    assert matrix(process, "temporary").sum() == process["temporary"]["count"]
    assert matrix(process, "left").sum() == process["end"]["bytes"]


def test_a_row_is_named_by_a_frame_of_its_callers(text):
    (process,) = data_of(text)["processes"]
    names = [process["frames"][frame][0] for frame in process["named"][1:]]
    assert set(names) >= {"parse_row (service.py:12)", "Report::append (report.cpp:33)"}
    assert all(parent < row for row, parent in enumerate(process["parents"][1:], 1))


def many_stacks(count=3000, depth=12, seed=5):
    """A trace in which each block has a call stack of its own, with a long name for each frame."""
    stacks, chance = Stacks(), random.Random(seed)
    columns = {name: [] for name in ("op", "thread", "block", "size", "time", "site")}
    for block in range(count):
        names = (f"module_{chance.randrange(40)}::function_{chance.getrandbits(64):x}" for _ in range(depth))
        site = stacks.add([Frame(name, f"/src/{name[-9:]}.c", chance.randrange(1, 999)) for name in names])
        for op in (ALLOC, DEALLOC) if chance.random() < 0.5 else (ALLOC,):
            row = (op, 0, block, chance.randrange(1, 1 << 20) if op == ALLOC else 0, 10 * block, site)
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
    return Trace([Process(Events.of(**columns))], stacks=stacks)


def test_with_too_many_stacks_the_small_ones_join_their_callers(monkeypatch):
    trace = many_stacks(150)
    monkeypatch.setattr(page, "MAX_BYTES", 360_000)
    text = page_of(trace)
    (process,) = data_of(text)["processes"]
    assert len(text) <= 360_000
    assert 1 < len(process["parents"]) < len(trace.stacks)
    assert matrix(process, "requested").sum() == process["requests"]["bytes"]


@pytest.mark.slow
def test_any_trace_makes_a_small_page():
    assert len(page_of(many_stacks(30_000, 40))) <= MAX_BYTES


def test_a_quiet_time_continues_what_was_live():
    events = Events.of(op=[ALLOC, ALLOC], thread=[0, 0], block=[0, 1], size=[5, 7], time=[1, 10_000])
    trace = Trace([Process(events)])
    source = Loaded(trace)
    made = timeline(source, profile(source, 0), 100)
    assert made.high.tolist()[:3] == [5, 5, 5] and made.high[-1] == 12
    assert (made.matrices["peak"].sum(axis=0) == made.high).all()
    assert set(made.matrices) == set(METRICS)


def test_the_largest_processes_have_the_page(monkeypatch):
    monkeypatch.setattr(page, "MAX_PROCESSES", 2)
    processes = [Process(Events.of(op=[ALLOC], thread=[0], block=[0], size=[size]), size) for size in (10, 30, 20)]
    data = data_of(page_of(Trace(processes)))
    assert [each["process"]["pid"] for each in data["processes"]] == [30, 20]
    assert data["left_out"] == 1
