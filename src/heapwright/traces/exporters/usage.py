"""Who asked for memory, and who holds it: a process's requests and live blocks, by call stack and thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from heapwright.traces.arrays import F64, I64, U32, np
from heapwright.traces.calls import note
from heapwright.traces.events import DEALLOC, NONE, Events, Process, Trace
from heapwright.traces.sampling import live_estimate, rounded, weights
from heapwright.traces.stacks import UNKNOWN, Frame, Stacks

PEAK_BYTES = "peak-bytes"
MEASURES = (PEAK_BYTES, "peak-blocks", "end-bytes", "end-blocks", "total-bytes", "requests")
SUMMED = "events, added up by call stack: sizes, times and their order are left out"
ESTIMATED = "events of a sample, of which the file has estimates of the totals, without their errors"
STACKLESS = "requests without a call stack, under one name"
NO_STACK = Frame("[unknown call stack]")


@dataclass(frozen=True)
class Usage:
    """The requests of a process until some moment, and the blocks that are live then: a row for each stack and thread.

    Those of a sample are estimates.
    A block belongs to the last request that succeeded for it: its allocation or its last realloc.
    """

    site: U32
    thread: U32
    requests: I64
    requested_bytes: I64
    blocks: I64
    bytes: I64


def usage(process: Process, until: int | None = None) -> Usage:
    """The usage of a process after its first `until` events, or after all. All moments have the same rows."""
    events, weight = process.events, weights(process.events.size, process.sample)
    asking = np.flatnonzero(events.asks & ~events.failed)
    pairs = np.stack([events.site[asking], events.thread[asking]], axis=1)
    rows, row = np.unique(pairs, axis=0, return_inverse=True)
    row_of = np.full(len(events), -1)
    row_of[asking] = row.reshape(-1)
    done = asking if until is None else asking[asking < until]
    held = holders(events, len(events) if until is None else until)
    sums = (
        added(row_of[which], each[which], len(rows))
        for which in (done, held)
        for each in (weight, weight * events.size)
    )
    return Usage(rows[:, 0], rows[:, 1], *sums)


def added(rows: I64, amounts: F64, count: int) -> I64:
    """The sum of the amounts of each row."""
    return rounded(np.bincount(rows, amounts, count))


def holders(events: Events, until: int) -> I64:
    """For each block that is live after `until` events, the last request that succeeded for it."""
    part = events[:until]
    touching = np.flatnonzero((part.block != NONE) & ~part.failed)
    last = np.full(int(part.block.max(initial=NONE)) + 1, -1)
    last[part.block[touching]] = touching
    last = last[last >= 0]
    held: I64 = last[part.op[last] != DEALLOC]
    return held


def peak_of(process: Process) -> int:
    """The number of events until the most bytes are live, for the first time."""
    live_bytes, _ = live_estimate(process.events, process.sample)
    return int(live_bytes.argmax()) + 1 if len(live_bytes) else 0


def measures(process: Process) -> tuple[Usage, dict[str, I64]]:
    """The usage at the end, and for each of the MEASURES the value of each of its rows."""
    end, peak = usage(process), usage(process, peak_of(process))
    values = peak.bytes, peak.blocks, end.bytes, end.blocks, end.requested_bytes, end.requests
    return end, dict(zip(MEASURES, values, strict=True))


def losses(trace: Trace) -> Counter[str]:
    """What a format leaves out that holds sums by call stack only."""
    notes: Counter[str] = Counter()
    for process in trace.processes:
        note(notes, SUMMED, len(process.events))
        note(notes, ESTIMATED, len(process.events) if process.sample else 0)
        note(notes, STACKLESS, (process.events.asks & ~process.events.failed & (process.events.site == UNKNOWN)).sum())
    return notes


def frames_of(stacks: Stacks, site: int) -> list[Frame]:
    """The frames of a stack, innermost first; one that says so if the stack is unknown."""
    return stacks.of(site) or [NO_STACK]


def name_of(process: Process, number: int) -> str:
    """What to call a process: its command and PID, as far as they are known."""
    pid = f"PID {process.pid}" if process.pid else f"process {number}"
    return f"{process.command} ({pid})" if process.command else pid


def named(trace: Trace) -> Iterator[tuple[str, Process]]:
    """The processes that have events, with their names."""
    for number, process in enumerate(trace.processes):
        if len(process.events):
            yield name_of(process, number), process
