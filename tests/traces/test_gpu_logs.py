"""RMM's CSV log and PyTorch's memory snapshots. Their tools need a GPU, so the files are written from their grammar."""

import os
import pickle

import pytest
from rows import rows

from heapwright.traces import calls
from heapwright.traces.events import ALLOC, DEALLOC, INHERITED, NONE, TraceError
from heapwright.traces.importers import pytorch, rmm

RMM = b"""\
Thread,Time,Action,Pointer,Size,Stream
2342727,23:59:59.999990,allocate,0x10012400000,1048576,0
2342727,00:00:00.000010,allocate failure,(nil),99999999999,0x7f00
2342728,00:00:00.000020,free,0x10012400000,1048576,0
2342728,00:00:00.000020,free,0x10012400200,512,0
"""


def test_an_rmm_log(open_text):
    trace = open_text(RMM)
    assert rows(trace.events) == [(ALLOC, 0, 1 << 20), (ALLOC, NONE, 99999999999), (DEALLOC, 0, 0)]
    assert trace.events.time.tolist() == [0, 20, 30]
    assert trace.events.thread.tolist() == [0, 0, 1]
    assert trace.events.failed.tolist() == [False, True, False]
    assert trace.notes() == {rmm.STREAMS: 1, calls.UNMATCHED_FREE: 1}


def test_an_older_rmm_log(open_text):
    body = b"1,12:00:00:500000,allocate,0x20,8,0x0\r\n1,12:00:01:000000,free,0x20,8,0x0\r\n"
    trace = open_text(b"Thread,Time,Action,Pointer,Size,Stream\r\n" + body)
    assert trace.events.time.tolist() == [0, 500_000]
    assert not trace.notes()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"1,12:00:00.5,allocate,0x20,8", "it has 5 fields, not 6"),
        (b"x,12:00:00.5,allocate,0x20,8,0", "its thread or its size"),
        (b"1,noon,allocate,0x20,8,0", "its time is not"),
        (b"1,12:00:00.5,lend,0x20,8,0", "its action is none of allocate"),
        (b"1,12:00:00.5,free,here,8,0", "its pointer is no address"),
    ],
)
def test_a_line_that_is_not_rmm_is_named(open_text, line, complaint):
    with pytest.raises(TraceError, match=f"line 2 is not understood: {complaint}"):
        open_text(b"Thread,Time,Action,Pointer,Size,Stream\n" + line + b"\n")


# --- PyTorch

STACK = [{"filename": "??", "name": "at::empty", "line": 0}, {"filename": "model.py", "name": "forward", "line": 12}]


def event(action, addr=0, size=0, time_us=1000, **others):
    return {"action": action, "addr": addr, "size": size, "stream": 0, "time_us": time_us, "frames": STACK, **others}


def snapshot(*events, blocks=(), protocol=4):
    segment = {"device": 0, "address": 0x1000, "blocks": list(blocks)}
    content = {"segments": [segment], "device_traces": [list(events), []]}
    return pickle.dumps(content, protocol)


EVENTS = (
    event("segment_alloc", 0x1000, 1 << 21),
    event("alloc", 0x1000, 512, 1005, stream=7),
    event("free_requested", 0x1600, 256, 1010),
    event("free_completed", 0x1600, 256, 1011),
    event("oom", 0, 1 << 40, 1020, device_free=5),
    event("free_requested", 0x1000, 512, 1030),
    event("free_completed", 0x1000, 512, 1030),
    event("snapshot", 0, 0, 1040),
)
HELD = (
    {"state": "inactive", "size": 0x200, "requested_size": 0, "frames": []},
    {"state": "active_allocated", "size": 0x400, "requested_size": 1000, "frames": STACK[1:]},
    {"state": "active_awaiting_free", "size": 0x400, "requested_size": 1000},
)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_memory_snapshot(open_text, protocol):
    trace = open_text(snapshot(*EVENTS, blocks=HELD, protocol=protocol), "snapshot.pickle")
    assert rows(trace.events) == [
        (ALLOC, 0, 256), (ALLOC, 1, 1000), (ALLOC, 2, 512), (DEALLOC, 0, 0), (ALLOC, NONE, 1 << 40), (DEALLOC, 2, 0),
    ]  # fmt: skip
    assert trace.events.time.tolist() == [0, 0, 5, 10, 20, 30]
    assert (trace.events.flags & INHERITED).tolist() == [INHERITED, INHERITED, 0, 0, 0, 0]
    names = [[frame.function for frame in trace.stacks.of(site)] for site in trace.events.site.tolist()]
    assert names[:3] == [[], ["forward"], ["at::empty", "forward"]]
    assert [frame.language for frame in trace.stacks.of(trace.events.site[2])] == ["native", "python"]
    assert trace.notes() == {pytorch.LATE: 2, pytorch.SEGMENTS: 2, pytorch.STREAMS: 1}


def test_a_completion_alone_is_a_free(open_text):
    trace = open_text(snapshot(event("alloc", 0x10, 5), event("free_completed", 0x10, 5)))
    assert rows(trace.events) == [(ALLOC, 0, 5), (DEALLOC, 0, 0)]
    assert trace.notes() == {pytorch.COMPLETED: 1}


class Harmful:
    def __reduce__(self):
        return os.getenv, ("HOME",)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (pickle.dumps(Harmful()), r"the pickle wants to load (os|posix)\.getenv"),
        (pickle.dumps([1]), "is no memory snapshot of PyTorch: it has no device_traces"),
        (pickle.dumps({"device_traces": [[]]}), "the snapshot has no history; call torch.cuda.memory._record"),
        (snapshot(*EVENTS)[:-40], "the pickle is damaged: .*dump the snapshot again"),
        (snapshot(event("steal")), "event 1 of device 0 is not understood: ValueError its action 'steal'"),
        (snapshot(EVENTS[1], {"action": "alloc"}), "event 2 of device 0 is not understood: KeyError 'addr'"),
        (snapshot(event("alloc", -1)), "event 1 of device 0 is not understood: OverflowError"),
        (snapshot(event("alloc", "x")), "event 1 of device 0 is not understood: ValueError"),
        (snapshot(5), "event 1 of device 0 is not understood: AttributeError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pickle_that_is_no_snapshot(open_text, content, complaint):
    with pytest.raises(TraceError, match=complaint):
        open_text(content)
