"""Writing traces: `.hwt`, and for other tools malloc-lab `.rep` and Android's memory_replay text.

The last two hold less than a trace does. Each function returns what it had to leave out or change, counted by
sentence.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from heapwright.files import written_whole
from heapwright.traces import format
from heapwright.traces.arrays import Mask, np
from heapwright.traces.calls import note
from heapwright.traces.events import (
    ALLOC_ZEROED,
    DEALLOC,
    INHERITED,
    NONE,
    REALLOC,
    THREAD_EXIT,
    Events,
    Trace,
    TraceError,
    live,
    starts,
)

FORMATS = ("hwt", "rep", "android")
SUFFIXES = {format.SUFFIX: "hwt", ".rep": "rep", ".txt": "android", ".zip": "android"}
PROCESSES = "smaller processes, left out"
FAILED = "failed requests, left out"
THREADS = "threads, all of them written as one"
EXITS = "ends of threads, left out"
ALIGNED = "alignments, left out"
ZEROED = "zeroed allocations, written as plain ones"
ALIGNED_ZEROED = "alignments of zeroed allocations, left out"
TO_ZERO = "reallocs to size 0, written as size 1"
FROM_PARENT = "blocks from before a fork, written as allocations"
STRIDE = 1 << 32  # between the addresses made up for Android text


def format_of(path: Path) -> str:
    """The format that a file's name asks for. Raises TraceError for a name that asks for none."""
    if path.suffix not in SUFFIXES:
        known = ", ".join(f"{suffix} ({name})" for suffix, name in SUFFIXES.items())
        raise TraceError(f"{path}: the name says no format: end it with {known}, or give --to")
    return SUFFIXES[path.suffix]


def write_as(name: str, path: Path, trace: Trace, balanced: bool = False) -> Counter[str]:
    """Write a trace in one of the FORMATS; `balanced` is for `.rep`.

    Raises TraceError for a trace without events, which no text could tell, and Mendable when the file cannot be
    written.
    """
    if not any(len(process.events) for process in trace.processes):
        raise TraceError(f"{path}: not written: the trace has no events")
    if name == "hwt":
        format.write(path, trace)
        return Counter()
    events = trace.largest.events
    notes = write_rep(path, events, balanced) if name == "rep" else write_android(path, events)
    note(notes, PROCESSES, len(trace.processes) - 1)
    return notes


def write_rep(path: str | Path, events: Events, balanced: bool = False) -> Counter[str]:
    """Write one process's events as `.rep` v2; `balanced` adds a free for each block that is live at the end.

    Raises Mendable when the file cannot be written.
    """
    notes = lost_in_rep(events)
    events = events[~events.failed & (events.op != THREAD_EXIT)]
    lines = list(rep_lines(events))
    if balanced:
        lines += (f"f {block}" for block in survivors(events))
    peak = live(events)[0].max(initial=0)
    header = "1", str(starts(events).sum()), str(len(lines)), str(peak)
    write_lines(path, (*header, *lines))
    return notes


def lost_in_rep(events: Events) -> Counter[str]:
    notes: Counter[str] = Counter()
    note(notes, FAILED, events.failed.sum())
    note(notes, THREADS, len(np.unique(events.thread)) - 1 if len(events) else 0)
    note(notes, EXITS, (events.op == THREAD_EXIT).sum())
    note(notes, ALIGNED, (events.log2_align > 0).sum())
    note(notes, ZEROED, (events.op == ALLOC_ZEROED).sum())
    note(notes, TO_ZERO, reallocs_to_zero(events).sum())
    note(notes, FROM_PARENT, (events.flags & INHERITED != 0).sum())
    return notes


def reallocs_to_zero(events: Events) -> Mask:
    which: Mask = (events.op == REALLOC) & (events.size == 0) & ~starts(events)
    return which


def rep_lines(events: Events) -> Iterator[str]:
    size = np.where(reallocs_to_zero(events), 1, events.size)
    for op, block, bytes_asked in zip(events.op.tolist(), events.block.tolist(), size.tolist(), strict=True):
        if op == DEALLOC:
            yield f"f {block}"  # NONE is -1 in both languages
        else:
            yield f"{'r' if op == REALLOC else 'a'} {block} {bytes_asked}"


def survivors(events: Events) -> list[int]:
    """The blocks that are live at the end."""
    alive = np.ones(int(starts(events).sum()), bool)
    died = events.block[events.op == DEALLOC]
    alive[died[died != NONE]] = False
    survive: list[int] = np.flatnonzero(alive).tolist()
    return survive


def write_android(path: str | Path, events: Events) -> Counter[str]:
    """Write one process's events as memory_replay text, in a zip if the name ends so; addresses are made up.

    Raises Mendable when the file cannot be written.
    """
    notes: Counter[str] = Counter()
    note(notes, ALIGNED_ZEROED, ((events.op == ALLOC_ZEROED) & (events.log2_align > 0)).sum())
    note(notes, FROM_PARENT, (events.flags & INHERITED != 0).sum())
    write_lines(path, android_lines(events))
    return notes


def android_lines(events: Events) -> Iterator[str]:
    address = (events.block + 1) * STRIDE
    result = np.where(events.failed, 0, address)
    old = np.where(starts(events), 0, address)
    columns = events.op, events.thread, events.log2_align, result, old, events.size
    for op, thread, log2_align, new, before, size in zip(*(column.tolist() for column in columns), strict=True):
        yield f"{thread}: {android_call(op, log2_align, new, before, size)}"


def android_call(op: int, log2_align: int, new: int, before: int, size: int) -> str:
    """What follows the thread in one line."""
    if op == DEALLOC:
        return f"free {before:#x}"
    if op == REALLOC:
        return f"realloc {new:#x} {before:#x} {size}"
    if op == ALLOC_ZEROED:
        return f"calloc {new:#x} 1 {size}"
    if op == THREAD_EXIT:
        return "thread_done 0x0"
    return f"memalign {new:#x} {1 << log2_align} {size}" if log2_align else f"malloc {new:#x} {size}"


def write_lines(path: str | Path, lines: Iterable[str]) -> None:
    text = "".join(f"{line}\n" for line in lines).encode()
    path = Path(path)
    with written_whole(path) as file:
        if path.suffix == ".zip":
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(f"{path.stem}.txt", text)
        else:
            file.write(text)
