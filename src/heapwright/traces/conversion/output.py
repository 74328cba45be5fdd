"""A process's events: columns that are written when they are full, and totals."""

from __future__ import annotations

from heapwright.layout import NULL
from heapwright.traces import raw
from heapwright.traces.conversion.state import CAPACITY, EXPLANATIONS, ROOM, UNMAPPED, Columns, Explanations


def has_room(process):
    """Whether the columns can take what one record becomes. They are mapped when they are first needed."""
    if not process.columns:
        place = process.memory.mmap(Columns.SIZE)
        if place == UNMAPPED:
            return False
        process.columns = place
    return process.count <= CAPACITY - ROOM and process.explained < EXPLANATIONS


def clear(process):
    """Begin new columns: the events in the old ones are written."""
    process.count = 0
    process.explained = 0
    process.first_block = process.totals.blocks
    process.live_bytes = process.totals.live_bytes_at_end
    process.live_blocks = process.totals.live_blocks_at_end


def release_columns(process):
    """Give back the memory of the columns and explanations."""
    if process.columns:
        process.memory.munmap(process.columns.address, Columns.SIZE)
        process.columns = NULL
    if process.explanations:
        process.memory.munmap(process.explanations.address, Explanations.SIZE)
        process.explanations = NULL


def name_of(process, thread):
    """The thread's number among those of the process that have events, from 1."""
    if thread.name == 0:
        process.totals.threads += 1
        thread.name = process.totals.threads
    return thread.name


def append(process, thread, operation, flags, block, size):
    """Append an event."""
    columns, at = process.columns, process.count
    columns.op[at] = operation
    columns.flags[at] = flags
    columns.thread[at] = name_of(process, thread) - 1
    columns.block[at] = block
    columns.size[at] = size
    columns.time[at] = process.time
    columns.count[at] = 1
    columns.log2_align[at] = 0
    columns.site[at] = 0
    process.count = at + 1
    process.totals.events += 1


def describe(process, log2_align, count, site):
    """Complete the last event with what only requests have."""
    columns, at = process.columns, process.count - 1
    columns.log2_align[at] = log2_align
    columns.count[at] = count
    columns.site[at] = site


def explain(process, record):
    """Keep a record that explains a call stack. Returns False if there is no memory for it."""
    if not process.explanations:
        place = process.memory.mmap(Explanations.SIZE)
        if place == UNMAPPED:
            return False
        process.explanations = place
    target = process.explanations.records.address + process.explained * raw.Record.SIZE
    process.memory.copy(target, record.address, raw.Record.SIZE)
    process.explained += 1
    return True


# --- totals


def count_birth(totals, size):
    """Count a block of `size` bytes that begins. Returns its number."""
    number = totals.blocks
    totals.blocks += 1
    totals.live_blocks_at_end += 1
    totals.peak_live_blocks = max(totals.peak_live_blocks, totals.live_blocks_at_end)
    count_bytes(totals, size, size)
    return number


def count_bytes(totals, more, asked):
    """Count a request for `asked` bytes, after which `more` bytes are live than before."""
    totals.total_bytes += asked
    totals.live_bytes_at_end += more
    if totals.live_bytes_at_end > totals.peak_live_bytes:
        totals.peak_live_bytes = totals.live_bytes_at_end
        totals.live_blocks_at_peak = totals.live_blocks_at_end


def count_death(totals, size):
    """Count a block of `size` bytes that ends."""
    totals.live_blocks_at_end -= 1
    totals.live_bytes_at_end -= size
