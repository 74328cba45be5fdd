"""Rings of records, whole, damaged, interleaved, and of forked children, and the traces that they become."""

import errno
import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rings import END, Stopped, convert, record

from heapwright.lab import converter
from heapwright.lab.sites import Sites
from heapwright.traces import calls, explained, raw
from heapwright.traces.arrays import np
from heapwright.traces.conversion.state import CAPACITY
from heapwright.traces.events import ALLOC, DEALLOC, FAILED, INHERITED, NONE, REALLOC, THREAD_EXIT
from heapwright.traces.raw import FORK, REALLOC_FROM, REALLOC_TO

pytest.importorskip("numba")

A, B, C = 0x1000, 0x2000, 0x3000


@pytest.fixture
def import_raw(tmp_path):
    return functools.partial(convert, tmp_path)


def rows(events):
    return list(
        zip(events.op.tolist(), events.thread.tolist(), events.block.tolist(), events.size.tolist(), strict=True)
    )


def test_the_layout_is_what_the_docstring_says():
    assert raw.Header.SIZE <= raw.HEADER_BYTES == 278528
    assert (raw.Chunk.SIZE, raw.Record.SIZE, raw.RECORDS_PER_CHUNK) == (40, 40, 1637)
    assert raw.PROCESS_RECORDS * raw.Record.SIZE == raw.Process.SIZE


def test_a_recording_of_every_operation(import_raw):
    trace = import_raw((
        [
            record(1, raw.ALLOC, A, size=24, log2_align=6),
            record(2, raw.ALLOC_ZEROED, B, old=4, size=100),
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
    assert trace.events.count.tolist() == [1, 4, 1, 1, 1, 1, 1, 1]
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
    assert trace.notes() == {converter.UNFINISHED_REALLOC: 1}


def test_threads_fill_chunks_of_their_own_and_stamps_order_them(import_raw):
    many = 3 * raw.RECORDS_PER_CHUNK
    records = [record(n + 1, raw.ALLOC, 16 * (n + 1), size=n, thread=n % 2) for n in range(many)]
    events = import_raw((records, {})).events
    assert events.size.tolist() == list(range(many))
    assert events.thread.tolist() == [n % 2 for n in range(many)]


@pytest.mark.parametrize("sizes", [[1, 255], [1, 256], [1, 65_536], [0, 1 << 32], [0, 1 << 60], []])
def test_numbers_of_every_width_survive(import_raw, sizes):
    births = [record(n + 1, raw.ALLOC_ZEROED, 16 * n + 16, old=n, size=n * size) for n, size in enumerate(sizes)]
    births += [record(n + 10, raw.ALLOC, 1 << 20 | n << 4, size=size, thread=n) for n, size in enumerate(sizes)]
    trace = import_raw((births + [record(99, raw.DEALLOC, 0)], {}), clock=Stopped(0, 100, 1000 << 40))
    assert trace.events.size.tolist() == [*(n * size for n, size in enumerate(sizes)), *sizes, 0]
    assert trace.events.thread.tolist()[len(sizes) : -1] == list(range(len(sizes)))
    assert trace.events.time[-1] == 99 * (10 << 40) // 1000


def test_damaged_records_are_dropped_and_counted(import_raw):
    good = record(1, raw.ALLOC, A, size=1)
    bad = [record(0, raw.ALLOC, B), record(2, 0, B), record(3, 99, B), record(1 << 63, raw.ALLOC, B)]
    bad.append(record(4, raw.ALLOC, B, log2_align=64))
    trace = import_raw(([good, *bad], {}))
    assert rows(trace.events) == [(ALLOC, 0, 0, 1)]
    assert trace.notes() == {converter.DAMAGED: 5}


def test_a_record_beyond_the_count_is_not_read(import_raw):
    def change(ring):
        ring[raw.Chunk.count.offset] -= 1

    trace = import_raw(([record(1, raw.ALLOC, A, size=1), record(2, raw.DEALLOC, A)], {}), change=change)
    assert rows(trace.events) == [(ALLOC, 0, 0, 1)]


PARENT = [
    record(1, raw.ALLOC, A, size=10, log2_align=5),
    record(2, raw.ALLOC, B, size=20),
    record(3, raw.DEALLOC, B),
    record(4, FORK),
    record(5, raw.DEALLOC, A),
]


def test_a_forked_child_frees_what_its_parent_allocated(import_raw):
    child = [record(5, raw.DEALLOC, A, thread=3), record(6, raw.DEALLOC, B, thread=3)]
    trace = import_raw((PARENT, {"pid": 1}), (child, {"pid": 2, "forked_from": 1, "forked_at": 4}))
    events = trace.processes[1].events
    assert rows(events) == [(ALLOC, 0, 0, 10), (DEALLOC, 0, 0, 0)]
    assert events.flags.tolist() == [INHERITED, 0]
    assert events.log2_align.tolist() == [5, 0]
    assert trace.processes[1].notes == {calls.UNMATCHED_FREE: 1}  # B was free when the child began


def test_a_grandchild_inherits_through_a_child_that_did_not_care(import_raw):
    trace = import_raw(
        (PARENT, {"pid": 1}),
        ([record(5, raw.ALLOC, C, size=30), record(6, FORK)], {"pid": 2, "forked_from": 1, "forked_at": 4}),
        (
            [record(7, REALLOC_FROM, A), record(8, REALLOC_TO, B, old=A, size=40), record(9, raw.DEALLOC, C)],
            {"pid": 3, "forked_from": 2, "forked_at": 6},
        ),
    )
    grandchild = trace.processes[2]
    assert rows(grandchild.events) == [(ALLOC, 0, 0, 10), (REALLOC, 0, 0, 40), (ALLOC, 0, 1, 30), (DEALLOC, 0, 1, 0)]
    assert grandchild.summary().inherited == 2
    assert len(trace.processes[1].events) == 1  # it used nothing of what it inherited


def test_a_realloc_under_way_at_the_fork_belongs_to_the_parent(import_raw):
    parent = [record(1, raw.ALLOC, A, size=1), record(2, REALLOC_FROM, A), record(4, REALLOC_TO, B, old=A, size=2)]
    parent.append(record(3, FORK, thread=1))
    child = [record(4, raw.DEALLOC, A), record(5, raw.DEALLOC, B)]
    trace = import_raw((parent, {"pid": 1}), (child, {"pid": 2, "forked_from": 1, "forked_at": 3}))
    assert trace.processes[1].notes == {calls.UNMATCHED_FREE: 2}


def test_a_process_that_claims_to_be_forked_from_a_later_one(import_raw):
    child = [record(9, raw.DEALLOC, A)]
    trace = import_raw((child, {"pid": 2, "forked_from": 2, "forked_at": 4}), (PARENT, {"pid": 1, "forked_from": 2}))
    assert trace.summary().inherited == 0


@pytest.mark.parametrize("clock", [0, 1 << 62, (1 << 63) - 1, -(1 << 63), -1])
def test_any_clock_is_a_date(import_raw, clock):
    assert import_raw((PARENT, {}), clock_time=clock).date.endswith("+00:00")


def test_exec_inherits_nothing_and_keeps_the_pid(import_raw):
    image = [record(1, raw.DEALLOC, A)]
    trace = import_raw((PARENT, {"pid": 1}), (image, {"pid": 1, "parent": 7}), (image, {"pid": 1, "parent": 7}))
    assert [each.notes for each in trace.processes[1:]] == [{calls.UNMATCHED_FREE: 1}] * 2
    assert [each.execs for each in trace.processes] == [0, 1, 2]
    assert trace.processes[1].parent == 7


def test_a_child_of_a_program_after_exec_inherits_from_it(import_raw):
    shell, child = [record(1, raw.ALLOC, A, size=1)], [record(6, raw.DEALLOC, A)]
    trace = import_raw(
        (shell, {"pid": 1, "command": b"sh\0"}),
        (PARENT, {"pid": 1, "command": b"server\0"}),
        (child, {"pid": 2, "command": b"", "forked_from": 2, "forked_at": 4}),
    )
    assert (trace.processes[2].summary().inherited, trace.processes[2].command) == (1, "server")
    assert (trace.processes[2].parent, trace.processes[2].execs) == (1, 0)
    assert not trace.processes[2].notes


def test_a_chain_of_forks_inherits_from_its_first_process(import_raw):
    links = [([record(2 * n + 2, raw.ALLOC, 16 * n + 16, size=1), record(2 * n + 3, FORK)], n) for n in range(200)]
    links.append(([record(1000, raw.DEALLOC, 16)], 200))
    trace = import_raw(*((records, {"forked_from": n, "forked_at": 2 * n + 1}) for records, n in links))
    assert rows(trace.processes[-1].events) == [(ALLOC, 0, 0, 1), (DEALLOC, 0, 0, 0)]


def test_chunks_that_no_process_knows_are_counted(import_raw):
    def change(ring):
        ring[raw.CHUNK_BYTES] = 9  # the number in the second chunk
        ring[raw.CHUNK_BYTES + raw.Chunk.begins.offset] = 0

    trace = import_raw((PARENT, {}), (PARENT, {"pid": 2}), change=change)
    assert (len(trace.processes), trace.notes()) == (1, {converter.STRAY: 1})


def test_stamps_of_the_processors_clock_are_times(import_raw):
    records = [record(n, raw.ALLOC, 16 * n, size=1) for n in (900, 2000, 2001, 2400, 9000, 99000)]
    trace = import_raw((records, {}), clock=Stopped(1000, 98_001, 24_500_250))  # 250 ns a tick
    assert trace.events.time.tolist() == [0, 250, 250, 350, 2000, 24500]  # none is before the start


def test_without_the_processors_clock_there_are_no_times(import_raw):
    assert not import_raw(([record(2000, raw.ALLOC, A, size=1)], {})).events.has_times


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ({"stopped": errno.ENOSPC, "full": (1, 7)}, "calls of 1 process, not recorded: the disk is full"),
        (
            {"stopped": raw.LATE, "full": (3, 7)},
            "calls of 3 processes, not recorded: the recorder was stopped, or too slow",
        ),
        ({"stopped": errno.EIO, "full": (1, 7)}, "calls of 1 process, not recorded: Input/output error"),
        ({"unmapped": (1, 7)}, "calls of 1 process, not recorded: address space is limited (ulimit -v)"),
        ({"stopped": 1 << 62, "full": (1, 7)}, "calls of 1 process, not recorded: Success"),
    ],
)
def test_what_is_lost_is_said_with_its_reason(import_raw, header, sentence):
    assert import_raw((PARENT, {}), **header).notes() == {sentence: 7}


def test_what_runs_on_after_the_end_lost_nothing(import_raw):
    assert not import_raw((PARENT, {}), stopped=raw.ENDED, full=(1, 7)).notes()


def test_events_beyond_a_chunk_of_the_trace_and_a_table_that_grows(import_raw):
    count = 40_000
    births = [record(n, raw.ALLOC, 16 * n, size=n) for n in range(1, count)]
    deaths = [record(count + n, raw.DEALLOC, 16 * n) for n in range(1, count)]
    again = [record(3 * count + n, raw.ALLOC, 16 * n, size=1) for n in range(1, count)]
    more = [record(5 * count + n, raw.DEALLOC, 16 * n) for n in range(1, count)]
    trace = import_raw((births + deaths + again + more, {}))
    assert len(trace.events) == 4 * (count - 1) > CAPACITY
    assert trace.summary().peak_live_blocks == count - 1
    assert not trace.notes()


def test_a_damaged_number_of_a_call_stack_is_no_site():
    """With a table up to the largest number, one damaged record would take 12 GB."""
    assert Sites().of(1, np.array([7, explained.MAX_STACKS, 0, 7], "u4")).tolist() == [1, 0, 0, 1]


@given(st.data())
def test_damage_never_breaks_the_conversion(tmp_path_factory, data):
    records = [*PARENT, record(6, REALLOC_FROM, A), record(7, REALLOC_TO, B, old=A)]
    bytes_of_a_process = raw.Chunk.SIZE + raw.Process.SIZE
    places = st.integers(0, 24) | st.integers(bytes_of_a_process, bytes_of_a_process + 280)
    changes = data.draw(st.lists(st.tuples(st.booleans(), places, st.integers(0, 255)), min_size=1, max_size=8))

    def change(ring):
        for is_second, place, value in changes:
            ring[is_second * raw.CHUNK_BYTES + place] = value

    child = [record(8, raw.DEALLOC, A)], {"forked_from": 1, "forked_at": 4}
    convert(tmp_path_factory.mktemp("ring"), (records, {}), child, change=change)  # which checks what it makes


PART, NEXT, IN_PARTS = 5, 7, {"is_controlled": 1}


def test_blocks_are_forgotten_when_recording_starts_again(import_raw):
    first = [record(1, raw.ALLOC, A, size=10, phase=PART), record(2, raw.ALLOC, B, size=20, phase=PART)]
    second = [record(11, raw.DEALLOC, A, phase=NEXT), record(12, raw.ALLOC, B, size=30, phase=NEXT)]
    trace = import_raw((first + second, {}), **IN_PARTS)
    found = rows(trace.events)
    assert (found[0], found[1], found[4:]) == ((ALLOC, 0, 0, 10), (ALLOC, 0, 1, 20), [(ALLOC, 0, 2, 30)])
    assert sorted(found[2:4]) == [(DEALLOC, 0, 0, 0), (DEALLOC, 0, 1, 0)]
    assert trace.notes() == {converter.BORN_BEFORE: 1, converter.FORGOTTEN: 2}


def test_a_late_record_of_an_earlier_part_is_no_event(import_raw):
    records = [
        record(1, raw.ALLOC, A, size=10, phase=PART),
        record(2, raw.ALLOC, B, size=20, thread=1, phase=NEXT),
        record(3, raw.ALLOC, C, size=30, phase=PART),
        record(4, raw.DEALLOC, C, thread=1, phase=NEXT),
    ]
    trace = import_raw((records, {}), **IN_PARTS)
    assert [size for op, _, _, size in rows(trace.events) if op == ALLOC] == [10, 20]
    assert trace.notes() == {converter.BORN_BEFORE: 1, converter.FORGOTTEN: 1}


def test_reallocs_across_a_pause(import_raw):
    records = [
        record(1, raw.ALLOC, A, size=10, phase=PART),
        record(2, REALLOC_FROM, A, size=20, phase=PART),  # returns in the pause
        record(3, REALLOC_TO, B, old=C, size=30, phase=NEXT),  # began in the pause
        record(4, raw.DEALLOC, B, phase=NEXT),
    ]
    trace = import_raw((records, {}), **IN_PARTS)
    assert rows(trace.events)[1:] == [(REALLOC, 0, 1, 30), (DEALLOC, 0, 1, 0)]
    assert trace.notes() == {converter.MOVED_BEFORE: 1}


def test_more_blocks_are_forgotten_than_a_chunk_of_the_trace_holds(import_raw):
    births = [record(n, raw.ALLOC, 16 * n, size=n, phase=PART) for n in range(1, CAPACITY + 1000)]
    trace = import_raw((births + [record(END - 1, raw.ALLOC, A, size=1, phase=NEXT)], {}), **IN_PARTS)
    assert trace.notes() == {converter.FORGOTTEN: len(births)} and trace.summary().live_blocks_at_end == 1
