"""Importing and exporting text traces: the grammars, the traps in real files, and what damage does."""

import zipfile
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import rows

from heapwright.traces import format
from heapwright.traces.events import (
    ALLOC,
    ALLOC_ZEROED,
    DEALLOC,
    NONE,
    REALLOC,
    THREAD_EXIT,
    Events,
    TraceError,
    check,
    summarize,
)
from heapwright.traces.exporters import android as android_export
from heapwright.traces.exporters import rep as rep_export
from heapwright.traces.importers import open_trace, rep, text
from heapwright.traces.synthesize import demo

# --- .rep

OPERATIONS = b"a 0 100\nr 0 200\na 1 50\nf 0\nf 1\n"


@pytest.mark.parametrize(
    ("content", "dialect"),
    [
        (b"20000\n2\n5\n1\n" + OPERATIONS, "v1"),
        (b"1\n2\n5\n250\n" + OPERATIONS, "v2"),
        (b"2\n5\n" + OPERATIONS, "xv6"),
        (b"2\r\n5\r\n" + OPERATIONS.replace(b"\n", b"\r\n"), "xv6"),
        (b"2\n5\n0 a 0 100\n0 r 0 200\n7 a 1 50\n7 f 0\n0 f 1\n", "mtt"),
    ],
)
def test_rep_dialects(open_text, content, dialect):
    trace = open_text(content)
    assert trace.source.endswith(dialect)
    assert rows(trace.events) == [(ALLOC, 0, 100), (REALLOC, 0, 200), (ALLOC, 1, 50), (DEALLOC, 0, 0), (DEALLOC, 1, 0)]
    assert not trace.notes()
    if dialect == "mtt":
        assert summarize(trace.events).cross_thread_deallocs == 2


@pytest.mark.parametrize(
    ("operations", "expected", "notes"),
    [
        (b"f -1", [(DEALLOC, NONE, 0)], {}),
        (b"r 0 9", [(REALLOC, 0, 9)], {rep.NOT_LIVE_REALLOC: 1}),
        (b"a 0 9\nr 0 0", [(ALLOC, 0, 9), (DEALLOC, 0, 0)], {rep.TO_ZERO: 1}),
        (b"a 0 9\na 1", [(ALLOC, 0, 9), (ALLOC, 1, 9)], {rep.NO_SIZE: 1}),
        (b"a 0 9\nf 0\na 0 8", [(ALLOC, 0, 9), (DEALLOC, 0, 0), (ALLOC, 1, 8)], {}),
        (b"a 0 9\na 0 8\nf 0", [(ALLOC, 0, 9), (ALLOC, 1, 8), (DEALLOC, 1, 0)], {rep.LEAKED: 1}),
        (b"a 0 9\nf 0\nf 0", [(ALLOC, 0, 9), (DEALLOC, 0, 0)], {rep.NOT_LIVE_FREE: 1}),
        (b"a 0 9 7\nf 0 x y", [(ALLOC, 0, 9), (DEALLOC, 0, 0)], {text.UNKNOWN_FIELDS: 2}),
    ],
)
def test_the_traps_in_rep_files(open_text, operations, expected, notes):
    ids = len({line.split()[1] for line in operations.split(b"\n")} - {b"-1"})
    content = b"%d\n%d\n%s\n" % (ids, operations.count(b"\n") + 1, operations)
    trace = open_text(content)
    assert rows(trace.events) == expected
    assert trace.notes() == notes


def test_wrong_counts_in_a_rep_header_are_noted(open_text):
    assert open_text(b"3\n7\n" + OPERATIONS).notes() == {rep.COUNT: 2, rep.IDS: 1}


@pytest.mark.parametrize("line", [b"b 0 1", b"a -1 5", b"a 0 -5", b"f", b"f x", b"a x 1", b"a 0 x", b"r 0 %d" % 2**63])
def test_a_line_that_is_not_rep_is_named(open_text, line):
    with pytest.raises(TraceError, match="line 4 is not understood"):
        open_text(b"1\n2\na 0 9\n" + line + b"\n")


def test_a_rep_header_of_three_lines_is_refused(open_text):
    with pytest.raises(TraceError, match="header of two or four numbers, not 3"):
        rep.read(b"1\n2\n3\na 0 5\n")


@given(st.from_type(Events), st.booleans())
def test_rep_export_comes_back(tmp_path_factory, events, balanced):
    path = tmp_path_factory.mktemp("rep") / "t.rep"
    lost = rep_export.write(path, events, balanced)
    kept = events[~events.failed & (events.op != THREAD_EXIT)]
    if not len(kept):
        return
    again = open_trace(path)
    expected = [
        (ALLOC if op == ALLOC_ZEROED else op, block, 1 if op == REALLOC and block in seen and not size else size)
        for seen, (op, block, size) in zip(blocks_before(kept), rows(kept), strict=True)
    ]
    assert rows(again.events)[: len(kept)] == expected
    assert set(again.notes()) <= {rep.NOT_LIVE_REALLOC}
    assert lost[rep_export.FAILED] == events.failed.sum()
    if balanced:
        assert summarize(again.events).live_blocks_at_end == 0


def blocks_before(events):
    seen = set()
    for block in events.block.tolist():
        yield frozenset(seen)
        seen.add(block)


# --- any file


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty; expected a .hwt trace"),
        (b"#!/bin/sh\n", "unknown kind of file; expected a .hwt trace"),
        (b"PK\3\4 and nothing more", "the zip is damaged"),
    ],
)
def test_what_cannot_be_opened(open_text, content, complaint):
    with pytest.raises(TraceError, match=f"trace.txt: {complaint}"):
        open_text(content)


def test_a_zip_of_two_files_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a", OPERATIONS)
        archive.writestr("b", OPERATIONS)
    with pytest.raises(TraceError, match="the zip holds 2 files"):
        open_trace(tmp_path / "two.zip")


@pytest.mark.long
def test_a_damaged_zip_is_a_trace_error(tmp_path):
    path = tmp_path / "t.zip"
    android_export.write(path, demo()[:50])
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place])
        with pytest.raises(TraceError):
            open_trace(path)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with suppress(TraceError):  # some bytes, such as the date, say nothing about the content
            open_trace(path)


STARTS = [b"", b"= Start\n", b"1\n1\na 0 1\n", b"1: malloc 0x10 5\n", b"PK\3\4", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"]
STARTS += [
    b"v 10400 3\n",
    b"malloc(5) = 0x10\n",
    b"heap_v2/1\n@ 0x1\n",
    b"heapwright bpftrace 1\n",
    b"\x80\x04",
    b"memray",
]
STARTS += [b"v 10400 3\n+ 5 0 ", b"v 10400 3\nc "]


@given(
    st.binary(max_size=300) | st.text("0123456789abcdef+-tmiscx()=<> \n", max_size=80).map(str.encode),
    st.sampled_from(STARTS),
)
def test_any_bytes_are_a_trace_or_a_trace_error(tmp_path_factory, content, start):
    path = tmp_path_factory.mktemp("any") / "x"
    path.write_bytes(start + content)
    try:
        trace = open_trace(path)
    except TraceError:
        return
    check(trace.events)


# --- a real trace


def test_a_real_trace_has_its_known_figures(surfaceflinger, tmp_path):
    summary = surfaceflinger.summary()
    expected = {
        "events": 2_455_240,
        "allocs": 1_142_990,
        "zeroed_allocs": 44_229,
        "reallocs": 73_781,
        "deallocs": 1_194_239,
        "null_deallocs": 2_514,
        "thread_exits": 1,
        "threads": 15,
        "cross_thread_deallocs": 22_209,
        "peak_live_bytes": 2_063_697,
        "live_blocks_at_peak": 2_984,
        "total_bytes": 359_355_753,
        "failed": 0,
    }
    assert {name: getattr(summary, name) for name in expected} == expected
    assert not surfaceflinger.notes()
    path = tmp_path / "sf.hwt"
    format.write(path, surfaceflinger)
    assert path.stat().st_size < 0.25 * len(surfaceflinger.events)
    assert format.read(path) == surfaceflinger
