"""Malloc-lab `.rep` text, version 2 (see heapwright.traces.importers.rep)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from heapwright.traces.arrays import Mask, np
from heapwright.traces.calls import note
from heapwright.traces.events import (
    ALLOC_ZEROED,
    DEALLOC,
    NONE,
    REALLOC,
    THREAD_EXIT,
    Events,
    live,
    starts,
)
from heapwright.traces.exporters.text import note_common_losses, write_lines

FAILED = "failed requests, left out"
THREADS = "further threads, merged into the first"
EXITS = "ends of threads, left out"
ALIGNED = "alignments, left out"
ZEROED = "zeroed allocations, written without zeroing"
TO_ZERO = "reallocs to size 0, written as size 1"


def write(path: str | Path, events: Events, balanced: bool = False) -> Counter[str]:
    """Write one process's events as `.rep` v2. `balanced` adds a free for each block that is live at the end.

    Raises UserError if the file cannot be written.
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
    note_common_losses(notes, events)
    return notes


def reallocs_to_zero(events: Events) -> Mask:
    which: Mask = (events.op == REALLOC) & (events.size == 0) & ~starts(events)
    return which


def rep_lines(events: Events) -> Iterator[str]:
    size = np.where(reallocs_to_zero(events), 1, events.size)
    for op, block, bytes_asked in zip(events.op.tolist(), events.block.tolist(), size.tolist(), strict=True):
        if op == DEALLOC:
            yield f"f {block}"  # NONE is -1 in both formats
        else:
            yield f"{'r' if op == REALLOC else 'a'} {block} {bytes_asked}"


def survivors(events: Events) -> list[int]:
    """The blocks that are live at the end."""
    alive = np.ones(int(starts(events).sum()), bool)
    died = events.block[events.op == DEALLOC]
    alive[died[died != NONE]] = False
    survive: list[int] = np.flatnonzero(alive).tolist()
    return survive
