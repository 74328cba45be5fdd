"""The .hwt file: what goes in comes out, and every defect is one line."""

import errno
import os
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapwright.errors import UserError
from heapwright.traces import columns, format
from heapwright.traces.events import ALLOC, ALLOC_ZEROED, DEALLOC, Events, Process, Trace, TraceError, check
from heapwright.traces.importers import open_trace
from heapwright.traces.stacks import Frame, Stacks
from heapwright.traces.synthesize import random_live_set

STACKS = Stacks()
STACKS.add(
    [Frame("malloc_wrapper", "a.c", 12, "/bin/a"), Frame("main", "a.c", 30, "/bin/a"), Frame("<module>", "é.py")]
)
SMALL = Events.of(op=[ALLOC, ALLOC, DEALLOC], thread=[0, 1, 0], block=[0, 1, 0], size=[5, 1 << 33, 0])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.hwt"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The bytes of a small trace of two processes."""
    path = tmp_path_factory.mktemp("small") / "small.hwt"
    format.write(path, Trace([Process(SMALL, pid=1), Process(SMALL[:2], pid=2)], program="ls"))
    return path.read_bytes()


@pytest.mark.long
@given(st.lists(st.from_type(Events), min_size=1, max_size=3), st.integers(1, 9))
def test_what_is_written_is_read(tmp_path_factory, stories, chunk_events):
    path = tmp_path_factory.mktemp("hwt") / "t.hwt"
    processes = [Process(events, pid=number, notes=Counter({"x": number + 1})) for number, events in enumerate(stories)]
    trace = Trace(processes, "test", "ls", ["ls", "-l"], "2026-01-01T00:00:00+00:00", {"page_size": 4096}, STACKS)
    with patch.object(format, "CHUNK_EVENTS", chunk_events):
        format.write(path, trace)
        assert format.read(path) == trace
        with format.TraceFile(path) as file:
            assert file.summary == trace.summary()
            assert len(file) == sum(map(len, stories))
            for number, events in enumerate(stories):
                chunks = list(file.chunks(number))
                assert Events.join(chunks) == events
                assert all(len(chunk) <= chunk_events for chunk in chunks)


def test_a_column_that_says_nothing_takes_no_bytes():
    bare = Events.of(op=[ALLOC], thread=[0], block=[0], size=[8])
    for name in ("time", "site"):
        with_column = columns.encode(replace(bare, **{name: bare.time + 7}), 0)
        assert with_column.startswith(columns.encode(bare, 0))
        assert getattr(columns.decode(with_column, 1, 0), name).tolist() == [7]


def test_a_time_that_decreases_is_damage():
    content = columns.encode(SMALL[:2], 0) + b"t" + columns.encode_column(np.array([5, (1 << 64) - 1], "u8"))
    with pytest.raises(columns.Damaged, match="its time decreases"):
        columns.decode(content, 2, 0)


def test_counts_are_kept_only_if_there_are_any():
    """A chunk has no such column if every calloc is of one element."""
    zeroed = [Events.of(op=[ALLOC_ZEROED], thread=[0], block=[0], size=[8], count=[count]) for count in (1, 4)]
    without, with_counts = (columns.encode(events, 0) for events in zeroed)
    assert with_counts.startswith(without)
    assert columns.decode(without, 1, 0).count.tolist() == [1]
    damaged = columns.encode(Events.of(op=[ALLOC_ZEROED], thread=[0], block=[0], size=[8], count=[3]), 0)
    with pytest.raises(columns.Damaged, match="no multiple of its count"):
        columns.decode(damaged, 1, 0)


def test_the_index_says_what_is_live_where_a_chunk_starts(path):
    with patch.object(format, "CHUNK_EVENTS", 2):
        format.write(path, Trace([Process(SMALL)]))
        with format.TraceFile(path) as file:
            one, two = file.index
    assert (one.first_block, one.live_bytes, one.live_blocks) == (0, 0, 0)
    assert (two.first_block, two.live_bytes, two.live_blocks) == (2, (1 << 33) + 5, 2)


def test_one_chunk_is_open_at_a_time(path):
    with patch.object(format, "CHUNK_EVENTS", 2):
        format.write(path, Trace([Process(SMALL)]))
        with format.TraceFile(path) as file, patch.object(columns, "decode", wraps=columns.decode) as decode:
            chunks = file.chunks()
            next(chunks)
            assert decode.call_count == 1


@pytest.mark.long
def test_a_file_cut_anywhere_is_refused(path, small):
    for length in range(len(small)):
        path.write_bytes(small[:length])
        with pytest.raises(TraceError) as error:
            format.read(path)
        assert "\n" not in str(error.value)
        assert length == 0 or f"truncated at byte {length}" in str(error.value)


@pytest.mark.long
def test_a_flipped_byte_anywhere_is_noticed(path, small):
    for place in range(len(small)):
        damaged = bytearray(small)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(TraceError):
            format.read(path)


@given(data=st.data())
def test_any_damage_is_a_trace_error_or_harmless(tmp_path_factory, small, data):
    path = tmp_path_factory.mktemp("hwt") / "t.hwt"
    at = data.draw(st.integers(0, len(small)))
    path.write_bytes(small[:at] + data.draw(st.binary(max_size=40)) + small[data.draw(st.integers(at, len(small))) :])
    try:
        trace = open_trace(path)
    except TraceError:
        return
    for process in trace.processes:
        check(process.events)


@given(st.binary(max_size=200), st.integers(0, 40))
def test_columns_of_any_bytes_are_events_or_damaged(data, count):
    with suppress(columns.Damaged):
        assert len(columns.decode(data, count, 0)) == count


@given(st.from_type(Events), st.data())
def test_damage_that_no_sum_shows_is_still_a_trace_error(events, data):
    content = bytearray(columns.encode(events, 0))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(columns.Damaged):
        columns.decode(bytes(content), len(events), 0)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b"#!/bin/sh\n", "not a heapwright trace"),
        (format.START.pack(format.MAGIC, 3, 0), "has version 3, this reads 2; update"),
        (format.START.pack(format.MAGIC, 1, 0), "has version 1, this reads 2; record again"),
    ],
)
def test_what_is_wrong_is_said(path, content, complaint):
    path.write_bytes(content)
    with pytest.raises(TraceError, match=complaint):
        format.read(path)


def test_a_damaged_chunk_is_named(path, small):
    path.write_bytes(small)
    with format.TraceFile(path) as file:
        second = file.index[1].offset
    damaged = bytearray(small)
    damaged[second + format.FRAME.size + 3] ^= 1
    path.write_bytes(damaged)
    with format.TraceFile(path) as file:
        assert len(list(file.chunks(0))) == 1  # the rest of the file is good
        with pytest.raises(TraceError, match=r"chunk 1 is damaged: CRC; copy the file again"):
            list(file.chunks(1))


def test_a_file_that_is_not_there(path):
    with pytest.raises(TraceError, match="cannot be read: No such file"):
        format.read(path)


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()])
def test_a_failure_while_writing_leaves_what_was_there(path, failure):
    path.write_bytes(b"older")
    expected = UserError if isinstance(failure, OSError) else KeyboardInterrupt
    with patch("os.fsync", side_effect=failure), pytest.raises(expected):
        format.write(path, Trace([Process(SMALL)]))
    assert path.read_bytes() == b"older"
    assert list(path.parent.iterdir()) == [path]


def test_a_steady_workload_takes_few_bytes(path):
    events = random_live_set(rounds=20_000)
    format.write(path, Trace([Process(events)]))
    assert path.stat().st_size < 3 * len(events)


def test_a_trace_that_does_not_fit_into_memory_is_refused_before_it_is_read(path, monkeypatch):
    format.write(path, Trace([Process(SMALL)]))
    monkeypatch.setattr(format, "free_memory", lambda: 3 * format.BYTES_IN_USE - 1)
    with pytest.raises(TraceError, match="its 3 events need about 600 B of memory, and 599 B are free; cut a part"):
        format.read(path)
    monkeypatch.setattr(format, "free_memory", lambda: 3 * format.BYTES_IN_USE)
    assert len(format.read(path).events) == 3


def test_the_free_memory_is_known_here():
    assert 1 << 20 < format.free_memory() < 1 << 50
