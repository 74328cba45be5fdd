"""A process's events: columns that are written when they are full, and totals.

The columns are those of a trace's chunk: an event has a place only in those that say something about it. So they need
no more than a cut to the bytes that their numbers need (`planes`) before they are compressed.
"""

from __future__ import annotations

from heapwright.layout import NULL
from heapwright.traces import raw
from heapwright.traces.columns import STARTS
from heapwright.traces.conversion.state import CAPACITY, EXPLANATIONS, ROOM, UNMAPPED, Columns, Explanations, Lengths
from heapwright.traces.events import ALLOC_ZEROED, DEALLOC, NONE, REALLOC


def has_room(process):
    """Whether the columns can take what one record becomes."""
    return has_columns(process) and process.filled.events <= CAPACITY - ROOM and process.explained < EXPLANATIONS


def has_columns(process):
    """Whether there are columns. They are mapped when they are first needed."""
    if not process.columns:
        place = process.memory.mmap(Columns.SIZE)
        if place == UNMAPPED:
            return False
        process.columns = place
    return True


def clear(process):
    """Begin new columns: the events in the old ones are written."""
    process.memory.fill(process.filled.address, Lengths.SIZE, 0)
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


def append(process, thread, operation, flags, block):
    """Append an event. If it names the next block, it starts it."""
    columns, filled = process.columns, process.filled
    at = filled.events
    begins = STARTS if block == process.totals.blocks else 0
    columns.kind[at] = operation | begins | flags << 4
    columns.thread[at] = name_of(process, thread) - 1
    columns.time[at] = process.time - filled.time
    columns.site[at] = 0
    filled.time = process.time
    filled.events = at + 1
    process.totals.events += 1
    if operation == DEALLOC or operation == REALLOC and begins == 0:
        columns.since[filled.sinces] = 0 if block == NONE else process.totals.blocks - block
        filled.sinces += 1


def append_request(process, thread, operation, flags, block, size, site):
    """Append an event that asks for bytes. Call `describe` after that of an allocation."""
    append(process, thread, operation, flags, block)
    columns, filled = process.columns, process.filled
    columns.site[filled.events - 1] = site
    filled.sites += site != 0
    columns.size[filled.sizes] = size
    filled.sizes += 1


def describe(process, operation, log2_align, count):
    """Complete an allocation, with its alignment and the number of its elements."""
    columns, filled = process.columns, process.filled
    columns.align[filled.aligns] = log2_align
    filled.aligns += 1
    if operation == ALLOC_ZEROED:
        columns.count[filled.counts] = count
        filled.counts += 1
        filled.odd_counts += count != 1


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
