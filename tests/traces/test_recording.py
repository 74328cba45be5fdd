"""Raw recordings, whole, torn, interleaved, and of forked children."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapwright.traces import calls, raw, recording
from heapwright.traces.events import ALLOC, DEALLOC, FAILED, INHERITED, NONE, REALLOC, THREAD_EXIT, TraceError, check
from heapwright.traces.importers import open_trace
from heapwright.traces.raw import REALLOC_FROM, REALLOC_TO
from heapwright.traces.recording import import_recordings

A, B, C = 0x1000, 0x2000, 0x3000


def record(sequence, op, address=0, *, old=0, size=0, thread=0, log2_align=0):
    return thread, struct.pack("<QBBHIQQQ", sequence, op, log2_align, 0, thread, address, old, size)


def raw_bytes(records, *, pid=1, parent=0, execs=0, fork_sequence=0, clock=1, command=b"ls\0-l\0"):
    """A recording as a process leaves it: each thread fills its own chunks."""
    chunks = []
    for thread in sorted({thread for thread, _ in records}):
        mine = [data for each, data in records if each == thread]
        for first in range(0, len(mine), raw.RECORDS_PER_CHUNK):
            part = mine[first : first + raw.RECORDS_PER_CHUNK]
            chunk = struct.pack("<IIQ", thread, 0, len(part)) + b"".join(part)
            chunks.append(chunk.ljust(raw.CHUNK_BYTES, b"\0"))
    header = struct.pack(
        "<QIIIIQQQQ", raw.MAGIC, raw.VERSION, pid, parent, execs, fork_sequence, clock, len(chunks), len(records)
    )
    return header.ljust(raw.COMMAND_OFFSET, b"\0") + command.ljust(3840, b"\0") + b"".join(chunks)


@pytest.fixture
def import_raw(tmp_path):
    """Import recordings that are given as arguments of `raw_bytes`."""

    def run(*files):
        for number, (records, facts) in enumerate(files):
            (tmp_path / f"{number}{raw.SUFFIX}").write_bytes(raw_bytes(records, clock=number + 1, **facts))
        trace = open_trace(tmp_path)
        for process in trace.processes:
            check(process.events)
        return trace

    return run


def rows(events):
    return list(
        zip(events.op.tolist(), events.thread.tolist(), events.block.tolist(), events.size.tolist(), strict=True)
    )


def test_the_layout_is_what_the_docstring_says():
    assert (raw.Header.SIZE, raw.Chunk.SIZE, raw.Record.SIZE) == (4096, 16, 40)
    assert raw.Chunk.SIZE + raw.RECORDS_PER_CHUNK * raw.Record.SIZE == raw.CHUNK_BYTES
    assert raw.Header.command.offset == raw.COMMAND_OFFSET


def test_a_recording_of_every_operation(import_raw):
    trace = import_raw((
        [
            record(1, raw.ALLOC, A, size=24, log2_align=6),
            record(2, raw.ALLOC_ZEROED, B, size=100),
            record(3, REALLOC_FROM, A, size=48),
            record(4, REALLOC_TO, C, old=A, size=48),
            record(5, raw.DEALLOC, B),
            record(6, raw.DEALLOC, 0),
            record(7, raw.ALLOC, 0, size=1 << 62),
            record(8, REALLOC_TO, A, old=0, size=9),
            record(9, raw.THREAD_EXIT),
        ],
        {"pid": 77, "parent": 5},
    ))  # fmt: skip
    assert rows(trace.events) == [
        (ALLOC, 0, 0, 24), (raw.ALLOC_ZEROED, 0, 1, 100), (REALLOC, 0, 0, 48), (DEALLOC, 0, 1, 0),
        (DEALLOC, 0, NONE, 0), (ALLOC, 0, NONE, 1 << 62), (REALLOC, 0, 2, 9), (THREAD_EXIT, 0, NONE, 0),
    ]  # fmt: skip
    assert trace.events.flags.tolist() == [0, 0, 0, 0, 0, FAILED, 0, 0]
    assert trace.events.log2_align.tolist() == [6, 0, 0, 0, 0, 0, 0, 0]
    assert (trace.processes[0].pid, trace.processes[0].parent, trace.command) == (77, 5, ["ls", "-l"])
    assert not trace.notes()


def test_what_a_realloc_releases_may_be_taken_before_it_returns(import_raw):
    trace = import_raw((
        [
            record(1, raw.ALLOC, A, size=1),
            record(2, REALLOC_FROM, A),
            record(3, raw.ALLOC, A, size=2, thread=1),
            record(4, raw.DEALLOC, A, thread=1),
            record(5, REALLOC_TO, B, old=A, size=3),
            record(6, raw.DEALLOC, B, thread=1),
        ],
        {},
    ))  # fmt: skip
    assert rows(trace.events) == [(ALLOC, 0, 0, 1), (ALLOC, 1, 1, 2), (DEALLOC, 1, 1, 0), (REALLOC, 0, 0, 3),
                                  (DEALLOC, 1, 0, 0)]  # fmt: skip
    assert not trace.notes()


def test_a_failed_realloc_leaves_its_block(import_raw):
    trace = import_raw((
        [
            record(1, raw.ALLOC, A, size=1),
            record(2, REALLOC_FROM, A),
            record(3, REALLOC_TO, 0, old=A, size=1 << 60),
            record(4, raw.DEALLOC, A),
        ],
        {},
    ))  # fmt: skip
    assert trace.events.block.tolist() == [0, 0, 0]
    assert trace.events.flags.tolist() == [0, FAILED, 0]


def test_a_realloc_that_never_returned_is_dropped(import_raw):
    trace = import_raw(([record(1, raw.ALLOC, A, size=1), record(2, REALLOC_FROM, A)], {}))
    assert rows(trace.events) == [(ALLOC, 0, 0, 1)]
    assert trace.notes() == {recording.UNFINISHED_REALLOC: 1}


def test_threads_fill_chunks_of_their_own_and_the_sequence_orders_them(import_raw):
    many = 3 * raw.RECORDS_PER_CHUNK
    records = [record(n + 1, raw.ALLOC, 16 * (n + 1), size=n, thread=n % 2) for n in range(many)]
    events = import_raw((records, {})).events
    assert events.size.tolist() == list(range(many))
    assert events.thread.tolist() == [n % 2 for n in range(many)]


def test_torn_and_damaged_records_are_dropped_and_counted(import_raw):
    good = record(1, raw.ALLOC, A, size=1)
    torn = [record(0, raw.ALLOC, B), record(2, 0, B), record(3, 99, B), record(1 << 63, raw.ALLOC, B)]
    trace = import_raw(([good, *torn], {}))
    assert rows(trace.events) == [(ALLOC, 0, 0, 1)]
    assert trace.notes() == {recording.TORN: 4}


def test_a_record_beyond_the_count_is_not_whole(tmp_path):
    data = bytearray(raw_bytes([record(1, raw.ALLOC, A, size=1), record(2, raw.DEALLOC, A)]))
    data[raw.HEADER_BYTES + raw.Chunk.count.offset] = 1
    (tmp_path / "torn.hwraw").write_bytes(data)
    trace = open_trace(tmp_path / "torn.hwraw")
    assert len(trace.events) == 1
    assert trace.notes() == {recording.TORN: 1}


PARENT = [
    record(1, raw.ALLOC, A, size=10, log2_align=5),
    record(2, raw.ALLOC, B, size=20),
    record(3, raw.DEALLOC, B),
    record(5, raw.DEALLOC, A),
]


def test_a_forked_child_frees_what_its_parent_allocated(import_raw):
    child = [record(5, raw.DEALLOC, A, thread=3), record(6, raw.DEALLOC, B, thread=3)]
    trace = import_raw((PARENT, {"pid": 1}), (child, {"pid": 2, "parent": 1, "fork_sequence": 4}))
    events = trace.processes[1].events
    assert rows(events) == [(ALLOC, 0, 0, 10), (DEALLOC, 0, 0, 0)]
    assert events.flags.tolist() == [INHERITED, 0]
    assert events.log2_align.tolist() == [5, 0]
    assert trace.processes[1].notes == {calls.UNMATCHED_FREE: 1}  # B was free when the child began


def test_a_grandchild_inherits_through_a_child_that_did_not_care(import_raw):
    trace = import_raw(
        (PARENT, {"pid": 1}),
        ([record(5, raw.ALLOC, C, size=30)], {"pid": 2, "parent": 1, "fork_sequence": 4}),
        (
            [record(6, REALLOC_FROM, A), record(7, REALLOC_TO, B, old=A, size=40), record(8, raw.DEALLOC, C)],
            {"pid": 3, "parent": 2, "fork_sequence": 5},
        ),
    )
    grandchild = trace.processes[2]
    assert [row for row in rows(grandchild.events) if row[0] != ALLOC] == [(REALLOC, 0, 0, 40), (DEALLOC, 0, 1, 0)]
    assert sorted(grandchild.events.size[:2].tolist()) == [10, 30]
    assert grandchild.summary().inherited == 2
    assert len(trace.processes[1].events) == 1  # it used nothing of what it inherited


def test_a_realloc_under_way_at_the_fork_belongs_to_the_parent(import_raw):
    parent = [record(1, raw.ALLOC, A, size=1), record(2, REALLOC_FROM, A), record(4, REALLOC_TO, B, old=A, size=2)]
    child = [record(4, raw.DEALLOC, A), record(5, raw.DEALLOC, B)]
    trace = import_raw((parent, {"pid": 1}), (child, {"pid": 2, "parent": 1, "fork_sequence": 3}))
    assert trace.processes[1].notes == {calls.UNMATCHED_FREE: 2}


def test_two_processes_that_claim_to_be_each_others_parent(import_raw):
    facts = {"pid": 1, "parent": 2, "fork_sequence": 4}, {"pid": 2, "parent": 1, "fork_sequence": 4}
    trace = import_raw((PARENT, facts[0]), ([record(9, raw.DEALLOC, A)], facts[1]))
    assert trace.processes[1].summary().inherited == 1


def test_a_clock_that_makes_no_sense_is_a_date_all_the_same(tmp_path):
    (tmp_path / "x.hwraw").write_bytes(raw_bytes(PARENT, clock=(1 << 64) - 1))
    assert open_trace(tmp_path).date == "2554-07-21T23:34:33+00:00"


def test_exec_inherits_nothing(import_raw):
    trace = import_raw((PARENT, {"pid": 1}), ([record(1, raw.DEALLOC, A)], {"pid": 1, "execs": 1}))
    assert trace.processes[1].notes == {calls.UNMATCHED_FREE: 1}


def test_a_recording_cut_anywhere_gives_its_first_chunks_or_a_trace_error(tmp_path):
    whole = raw_bytes([record(n + 1, raw.ALLOC, 16 * (n + 1), size=n) for n in range(2000)])
    path = tmp_path / "cut.hwraw"
    for length in [*range(0, 4300, 7), *range(4096, len(whole), 9973)]:
        path.write_bytes(whole[:length])
        try:
            events = open_trace(path).events
        except TraceError:
            assert length < raw.HEADER_BYTES
        else:
            assert events.size.tolist() == list(range(len(events)))


@given(st.data())
def test_damage_never_breaks_the_reader(tmp_path_factory, data):
    content = bytearray(raw_bytes([*PARENT, record(6, REALLOC_FROM, A), record(7, REALLOC_TO, B, old=A)]))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(8, 70) | st.integers(4096, 4400))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("raw") / "damaged.hwraw"
    path.write_bytes(content)
    try:
        trace = open_trace(path)
    except TraceError:
        return
    check(trace.events)


def test_a_process_that_ended_before_it_wrote_anything_is_left_out(tmp_path):
    (tmp_path / "0.hwraw").write_bytes(raw_bytes(PARENT))
    (tmp_path / "1.hwraw").write_bytes(bytes(raw.HEADER_BYTES))
    (tmp_path / "2.hwraw").write_bytes(b"")
    trace = open_trace(tmp_path)
    assert len(trace.processes) == 1
    assert trace.notes() == {recording.NEVER_BEGUN: 2}


def test_what_is_no_recording_is_refused(tmp_path):
    path = tmp_path / "x.hwraw"
    path.write_bytes(b"hello")
    with pytest.raises(TraceError, match="is not a raw recording"):
        import_recordings([path])
    path.write_bytes(raw_bytes([]).replace(struct.pack("<I", 1), struct.pack("<I", 9), 1))
    with pytest.raises(TraceError, match="has version 9, this reads 1; update"):
        import_recordings([path])
    with pytest.raises(TraceError, match="there is no raw recording"):
        import_recordings([])
