"""Single events of a process, in words and as JSON."""

from __future__ import annotations

from typing import Any

from heapwright.traces.arrays import I64, np
from heapwright.traces.events import ALLOC_ZEROED, DEALLOC, REALLOC, Events


def replayed(events: Events) -> I64:
    """The indices of the events that a replay does: those that did not fail when they were recorded."""
    return np.flatnonzero(~events.failed)


def request_of(events: Events, index: int, origin: int = 0) -> dict[str, Any]:
    """What an event asked for: its number from 1, the seconds since `origin` (microseconds), thread, call and size."""
    seconds = (int(events.time[index]) - origin) / 1e6 if events.has_times else None
    return {
        "event": index + 1,
        "seconds": seconds,
        "thread": int(events.thread[index]) + 1,
        "call": call_of(events, index),
        "bytes": int(events.size[index]),
    }


def call_of(events: Events, index: int) -> str:
    """The C function of an event."""
    op = int(events.op[index])
    if op == DEALLOC:
        return "free"
    if op == REALLOC:
        return "realloc"
    if events.log2_align[index]:
        return "memalign"
    return "calloc" if op == ALLOC_ZEROED else "malloc"
