"""Importing and exporting text traces: the grammars, the traps in real files, and what damage does."""

import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapwright.traces import calls, export, format
from heapwright.traces.events import (
    ALLOC,
    ALLOC_ZEROED,
    DEALLOC,
    FAILED,
    INHERITED,
    NONE,
    REALLOC,
    THREAD_EXIT,
    Events,
    TraceError,
    check,
    summarize,
)
from heapwright.traces.importers import android, mtrace, open_trace, rep, text
from heapwright.traces.synthesize import demo


@pytest.fixture
def open_text(tmp_path):
    """Open a trace with this content."""

    def run(content, name="trace.txt"):
        (tmp_path / name).write_bytes(content)
        trace = open_trace(tmp_path / name)
        for process in trace.processes:
            check(process.events)
        return trace

    return run


def rows(events):
    return list(zip(events.op.tolist(), events.block.tolist(), events.size.tolist(), strict=True))


# --- Android

ANDROID = b"""\
186: malloc 0xb6027400 1024
186: calloc 0xb6037058 4 20 1000 1010
7: memalign 0xb6040000 4096 9
186:realloc 0xb6050000 0xb6027400 2048
186: realloc 0xb6027400 0x0 5
7: realloc 0x0 0xb6050000 4000000000
7: free 0xb6050000
7: free 0x0
7: malloc 0x0 18446744073709551615
7: realloc 0x0 0xb6027400 0
186: thread_done 0x0
"""


def test_android_text(open_text):
    trace = open_text(ANDROID)
    assert rows(trace.events) == [
        (ALLOC, 0, 1024), (ALLOC_ZEROED, 1, 80), (ALLOC, 2, 9), (REALLOC, 0, 2048), (REALLOC, 3, 5),
        (REALLOC, 0, 4_000_000_000), (DEALLOC, 0, 0), (DEALLOC, NONE, 0), (ALLOC, NONE, 2**64 - 1), (DEALLOC, 3, 0),
        (THREAD_EXIT, NONE, 0),
    ]  # fmt: skip
    assert trace.events.log2_align.tolist() == [0, 0, 12] + [0] * 8
    assert trace.events.thread.tolist() == [0, 0, 1, 0, 0, 1, 1, 1, 1, 1, 0]
    assert np.flatnonzero(trace.events.failed).tolist() == [5, 8]
    assert trace.notes() == {android.TIMES: 1, calls.REALLOC_TO_ZERO: 1}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"186: malloc 0x10", "too few or too many"),
        (b"186: malloc 0x10 5 6", "too few or too many"),
        (b"186: mallox 0x10 5", "no call that is known"),
        (b"186: free 0xzz", "a number in it is none"),
        (b"186: free 12a", "a number in it is none"),
        (b"x: free 0x10", "thread's number"),
        (b"186:", "too short"),
        (b"186: malloc 0x10 99999999999999999999999", "a number in it is none"),
    ],
)
def test_a_line_that_is_not_android_text_is_named(open_text, line, complaint):
    with pytest.raises(TraceError, match=rf"trace.txt: line 3 is not understood: .*{complaint}"):
        open_text(b"186: malloc 0x10 5\n\n" + line + b"\n186: free 0x10\n")


def test_a_line_in_a_later_block_is_named_too(open_text, monkeypatch):
    monkeypatch.setattr(text, "BLOCK_BYTES", 20)
    with pytest.raises(TraceError, match="line 5 is not understood"):
        open_text(b"1: malloc 0x10 5\n" * 4 + b"1: nothing 0x10\n")


def test_text_is_the_same_in_one_block_or_in_many(open_text, monkeypatch):
    whole = open_text(ANDROID)
    monkeypatch.setattr(text, "BLOCK_BYTES", 20)
    assert open_text(ANDROID) == whole


def test_address_reuse_without_a_free_is_repaired(open_text):
    trace = open_text(b"1: malloc 0x10 5\n2: malloc 0x10 6\n2: free 0x10\n2: free 0x10\n")
    assert rows(trace.events) == [(ALLOC, 0, 5), (DEALLOC, 0, 0), (ALLOC, 1, 6), (DEALLOC, 1, 0)]
    assert trace.notes() == {calls.MISSING_FREE: 1, calls.UNMATCHED_FREE: 1}


@given(st.from_type(Events), st.sampled_from(["t.txt", "t.zip"]))
def test_android_export_comes_back(tmp_path_factory, events, name):
    path = tmp_path_factory.mktemp("android") / name
    export.write_android(path, events)
    if not len(events):
        with pytest.raises(TraceError):
            open_trace(path)
        return
    again = open_trace(path)
    assert not again.notes()
    assert rows(again.events) == rows(events)
    assert np.array_equal(again.events.flags, events.flags & ~np.uint8(INHERITED))
    assert np.array_equal(again.events.log2_align, events.log2_align)
    assert np.array_equal(again.events.thread, calls.in_order_of_appearance(events.thread))


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


@pytest.mark.parametrize(
    "line", [b"b 0 1", b"a -1 5", b"a 0 -5", b"a 0 1 2", b"f", b"f 0 1", b"a x 1", b"r 0 %d" % 2**63]
)
def test_a_line_that_is_not_rep_is_named(open_text, line):
    with pytest.raises(TraceError, match="line 4 is not understood"):
        open_text(b"1\n2\na 0 9\n" + line + b"\n")


def test_a_rep_header_of_three_lines_is_refused(open_text):
    with pytest.raises(TraceError, match="header of two or four numbers, not 3"):
        rep.read(b"1\n2\n3\na 0 5\n")


@given(st.from_type(Events), st.booleans())
def test_rep_export_comes_back(tmp_path_factory, events, balanced):
    path = tmp_path_factory.mktemp("rep") / "t.rep"
    lost = export.write_rep(path, events, balanced)
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
    assert lost[export.FAILED] == events.failed.sum()
    if balanced:
        assert summarize(again.events).live_blocks_at_end == 0


def blocks_before(events):
    seen = set()
    for block in events.block.tolist():
        yield frozenset(seen)
        seen.add(block)


# --- glibc mtrace

MTRACE = b"""\
= Start
@ ./prog:(main+0x1b)[0x55d0c0de] + 0x55d1 0x18
@ /lib/a file.so:[0x7f00] + 0x66d1 0x100
@ [0x40] - 0x55d1
+ 0x55d1 0
@ x < 0x66d1
@ x > 0x77d1 0x200
@ x ! 0x77d1 0x7fffffffffffffff
- 0x77d1
@ x - 0x99d1
= End
"""


def test_mtrace(open_text):
    trace = open_text(MTRACE)
    assert rows(trace.events) == [
        (ALLOC, 0, 24), (ALLOC, 1, 256), (DEALLOC, 0, 0), (ALLOC, 2, 0), (REALLOC, 1, 512), (REALLOC, 1, 2**63 - 1),
        (DEALLOC, 1, 0),
    ]  # fmt: skip
    assert trace.events.flags.tolist() == [0, 0, 0, 0, 0, FAILED, 0]
    assert trace.notes() == {calls.UNMATCHED_FREE: 1}


@pytest.mark.parametrize("line", [b"hello", b"@ x + 0x10", b"@ x - 0x10 0x5", b"@ x > 0x10 0x5", b"@ x + 10 0x5"])
def test_a_line_that_is_not_mtrace_is_named(open_text, line):
    with pytest.raises(TraceError, match="line 2 is not understood"):
        open_text(b"= Start\n" + line + b"\n+ 0x10 0x5\n")


def test_mtrace_cut_anywhere_gives_what_is_whole(open_text):
    for length in range(7, len(MTRACE)):
        notes = open_text(MTRACE[:length]).notes()
        assert set(notes) <= {mtrace.TORN, mtrace.UNFINISHED, calls.UNMATCHED_FREE}


# --- any file


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty; expected a .hwt trace"),
        (b"#!/bin/sh\n", "is of no known kind; expected a .hwt trace"),
        (b"PK\3\4 and nothing more", "the zip is damaged"),
        (b"HWRAW1\0\0", "ends at byte 8, within its header"),
    ],
)
def test_what_cannot_be_opened(open_text, content, complaint):
    with pytest.raises(TraceError, match=f"trace.txt: {complaint}"):
        open_text(content)


def test_a_zip_of_two_files_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a", ANDROID)
        archive.writestr("b", ANDROID)
    with pytest.raises(TraceError, match="the zip holds 2 files"):
        open_trace(tmp_path / "two.zip")


def test_a_damaged_zip_is_a_trace_error(tmp_path):
    path = tmp_path / "t.zip"
    export.write_android(path, demo()[:50])
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place])
        with pytest.raises(TraceError):
            open_trace(path)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with suppress(TraceError):  # some bytes, such as the date, say nothing about the content
            open_trace(path)


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"= Start\n", b"1\n1\na 0 1\n", b"1: malloc 0x10 5\n", b"PK\3\4"])
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
