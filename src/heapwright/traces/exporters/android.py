"""Android's memory_replay text (see heapwright.traces.importers.android)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from heapwright.traces.arrays import np
from heapwright.traces.calls import note
from heapwright.traces.events import ALLOC_ZEROED, DEALLOC, REALLOC, THREAD_EXIT, Events, starts
from heapwright.traces.exporters.text import note_common_losses, write_lines

ALIGNED_ZEROED = "alignments of zeroed allocations, left out"
STRIDE = 1 << 32  # between the made-up addresses


def write(path: str | Path, events: Events) -> Counter[str]:
    """Write one process's events as memory_replay text, zipped if the name ends in .zip. Addresses are made up.

    Raises UserError if the file cannot be written.
    """
    notes: Counter[str] = Counter()
    note(notes, ALIGNED_ZEROED, ((events.op == ALLOC_ZEROED) & (events.log2_align > 0)).sum())
    note_common_losses(notes, events)
    write_lines(path, android_lines(events))
    return notes


def android_lines(events: Events) -> Iterator[str]:
    address = (events.block + 1) * STRIDE
    result = np.where(events.failed, 0, address)
    old = np.where(starts(events), 0, address)
    columns = events.op, events.thread, events.log2_align, result, old, events.size, events.count
    for op, thread, log2_align, new, before, size, count in zip(*(each.tolist() for each in columns), strict=True):
        yield f"{thread}: {android_call(op, log2_align, new, before, size, count)}"


def android_call(op: int, log2_align: int, new: int, before: int, size: int, count: int) -> str:
    """The part of a line after the thread."""
    if op == DEALLOC:
        return f"free {before:#x}"
    if op == REALLOC:
        return f"realloc {new:#x} {before:#x} {size}"
    if op == ALLOC_ZEROED:
        return f"calloc {new:#x} {count} {size // max(count, 1)}"
    if op == THREAD_EXIT:
        return "thread_done 0x0"
    return f"memalign {new:#x} {1 << log2_align} {size}" if log2_align else f"malloc {new:#x} {size}"
