"""Android's memory_replay text: what its versions write, and what damage does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import rows

from heapwright.traces import calls, format
from heapwright.traces.events import (
    ALLOC,
    ALLOC_ZEROED,
    DEALLOC,
    INHERITED,
    NONE,
    REALLOC,
    THREAD_EXIT,
    Events,
    TraceError,
)
from heapwright.traces.exporters import android as android_export
from heapwright.traces.importers import android, open_trace, text

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
        (b"186: malloc 0x10", "too few numbers"),
        (b"186: calloc 0x10 5", "too few numbers"),
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


@pytest.mark.parametrize("arguments", ["4 20", "0 0", "1 80", "7 0", "4294967295 1"])
def test_a_calloc_keeps_its_arguments(open_text, tmp_path, arguments):
    line = f"0: calloc 0x100000000 {arguments}\n"
    trace = open_text(line.encode())
    format.write(tmp_path / "t.hwt", trace)
    android_export.write(tmp_path / "again.txt", open_trace(tmp_path / "t.hwt").events)
    assert (tmp_path / "again.txt").read_text() == line


@pytest.mark.parametrize(
    ("arguments", "size"), [("0 8", 0), ("4294967296 2", 1 << 33), ("8589934592 8589934592", 2**64 - 1)]
)
def test_the_size_of_a_calloc_is_right_whatever_its_arguments(open_text, arguments, size):
    trace = open_text(f"0: calloc 0x100000000 {arguments}\n".encode())
    assert trace.events.size.tolist() == [size]
    assert trace.events.count.tolist() == [0 if arguments == "0 8" else 1]


ANDROID_16 = b"""\
7: malloc 0x1000 100 1000 1010
7: calloc 0x2000 4 20 1020 1030
7: realloc 0x3000 0x1000 200 1040 1050 64
7: free 0x2000 1060 1070 80
8: free 0x3000 1080 1090
8: thread_done 0x0 2000
"""


def test_android_text_as_bionic_writes_it_today(open_text):
    trace = open_text(ANDROID_16)
    assert rows(trace.events) == [
        (ALLOC, 0, 100), (ALLOC_ZEROED, 1, 80), (REALLOC, 0, 200), (DEALLOC, 1, 0), (DEALLOC, 0, 0),
        (THREAD_EXIT, NONE, 0),
    ]  # fmt: skip
    assert trace.notes() == {android.TIMES: 6, android.RESIDENT: 2}


def test_resident_bytes_without_times(open_text):
    trace = open_text(b"7: malloc 0x1000 100\n7: free 0x1000 0 0 100\n")
    assert trace.notes() == {android.RESIDENT: 1}


@pytest.mark.parametrize(
    "line",
    [
        b"7: malloc 0x2000 5 6",
        b"7: malloc 0x2000 5 1 2 3",
        b"7: malloc 0x2000 5 tag=heap",
        b"7: malloc 0x2000 5 1 x",
        b"7: free 0x0 1 2 3 4",
        b"7: free 0x0 1",
        b"7: thread_done 0x0 1 2",
    ],
)
def test_a_field_that_is_not_known_does_not_cost_the_file(open_text, line):
    trace = open_text(b"7: malloc 0x1000 100\n" + line + b"\n7: free 0x1000\n")
    assert len(trace.events) == 3
    assert trace.notes()[text.UNKNOWN_FIELDS] == 1


INVERTED = b"""\
1: malloc 0x10 100 1 2
2: malloc 0x10 200 3 9
1: free 0x10 4 5
2: free 0x10 10 11
"""


def test_times_tell_who_had_an_address_first(open_text):
    trace = open_text(INVERTED)
    assert rows(trace.events) == [(ALLOC, 0, 100), (ALLOC, 1, 200), (DEALLOC, 0, 0), (DEALLOC, 1, 0)]
    assert trace.notes() == {android.TIMES: 4}
    without = b"\n".join(b" ".join(line.split()[:-2]) for line in INVERTED.splitlines())
    assert open_text(without).notes() == {calls.MISSING_FREE: 1, calls.UNMATCHED_FREE: 1}


def test_equal_times_are_in_the_order_of_the_lines(open_text):
    trace = open_text(b"1: malloc 0x10 1 5 5\n1: free 0x10 5 5\n1: malloc 0x10 2 5 5\n1: free 0x10 5 5\n")
    assert trace.events.block.tolist() == [0, 0, 1, 1]
    assert trace.notes() == {android.TIMES: 4}


def test_times_that_make_no_sense_order_nothing(open_text):
    trace = open_text(b"1: free 0x10 8 9\n1: malloc 0x10 1 2 3\n1: malloc 0x20 1 4 5\n")
    assert trace.events.block.tolist() == [0, 1]
    assert trace.notes() == {android.TIMES: 3, calls.UNMATCHED_FREE: 1}


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
    android_export.write(path, events)
    if not len(events):
        with pytest.raises(TraceError):
            open_trace(path)
        return
    again = open_trace(path)
    assert not again.notes()
    assert rows(again.events) == rows(events)
    assert np.array_equal(again.events.count, events.count)
    assert np.array_equal(again.events.flags, events.flags & ~np.uint8(INHERITED))
    assert np.array_equal(again.events.log2_align, events.log2_align)
    assert np.array_equal(again.events.thread, calls.in_order_of_appearance(events.thread))
