"""What each record does to the blocks of its process, and the events that it becomes.

A realloc releases its block at its first record and has it again, at the same place or another, at its second one. In
between, other threads may get the address. Records that make no sense are counted and become no events.
"""

from __future__ import annotations

from heapwright.layout import NULL
from heapwright.traces import raw, raw_stacks
from heapwright.traces.conversion import blocks
from heapwright.traces.conversion.output import (
    append,
    append_request,
    count_birth,
    count_bytes,
    count_death,
    describe,
    explain,
    has_room,
    name_of,
)
from heapwright.traces.conversion.state import FREED, INHERITED_YET, LIVE, MISSED, NAME, Block, Snapshot, allocate
from heapwright.traces.events import ALLOC, ALLOC_ZEROED, DEALLOC, FAILED, INHERITED, NONE, REALLOC, THREAD_EXIT

MAX_COUNT = 1 << 32
MAX_LOG2_ALIGN = 63


def convert(state, process, thread, record):
    """Turn a record into events."""
    operation = record.op
    if record.size < 0 and record.block != NULL and not is_explanation(record):  # more than a process has
        process.repairs.damaged += 1
    elif operation == raw.DEALLOC:
        dealloc(process, thread, record.block)
    elif raw.ALLOC <= operation <= raw.ALLOC_ZEROED:
        allocation(process, thread, record)
    elif is_explanation(record):
        process.repairs.damaged += not explain(process, record)
    elif operation == raw.REALLOC_FROM:
        begin_realloc(process, thread, record.block)
    elif operation == raw.REALLOC_TO:
        end_realloc(process, thread, record)
    elif operation == raw.REALLOC_AWAY:
        leave_sample(process, thread)
    elif operation == raw.THREAD_EXIT:
        exit_thread(process, thread)
    elif operation == raw.FORK:
        remember(state, process, record.stamp)
    elif operation == raw.CROWDED:
        process.repairs.crowded += 1
    else:
        process.repairs.damaged += 1


def is_explanation(record):
    """Whether a record explains a call stack."""
    return raw_stacks.STACK <= record.op <= raw_stacks.TEXT


# --- allocations


def allocation(process, thread, record):
    """A malloc, memalign or calloc that returned."""
    zeroed = record.op == raw.ALLOC_ZEROED
    operation = ALLOC_ZEROED if zeroed else ALLOC
    if record.log2_align > MAX_LOG2_ALIGN:
        process.repairs.damaged += 1
        return
    if record.block == NULL:
        append_request(process, thread, operation, FAILED, NONE, record.size, record.site)
        process.totals.failed += 1
    else:
        give(process, thread, operation, record)
    describe(process, operation, record.log2_align, count_of(record) if zeroed else 1)
    if zeroed:
        process.totals.zeroed_allocs += 1
    else:
        process.totals.allocs += 1


def count_of(record):
    """A calloc's number of elements, or 1 if that makes no sense."""
    count, size = record.old, record.size
    fits = size == 0 if count == 0 else 0 < count < MAX_COUNT and size >= 0 and size % count == 0
    return count if fits else 1


def give(process, thread, operation, record):
    """Start a block, and append the event that does it."""
    entry = entry_for(process, thread, record.block)
    append_request(process, thread, operation, 0, process.totals.blocks, record.size, record.site)
    number = count_birth(process.totals, record.size)
    if entry:
        fill_in(entry, number, thread.name, record)


def fill_in(entry, number, thread, record):
    blocks.enliven(entry)
    entry.number = number
    entry.thread = thread
    entry.size = record.size
    entry.site = record.site
    entry.log2_align = record.log2_align


def entry_for(process, thread, key):
    """The entry of an address that is given out now. If a block is there, its free was missed, and is added."""
    entry = blocks.place(process.table, key)
    if blocks.is_live(entry):
        end_missed(process, thread, entry)
    return entry


def end_missed(process, thread, entry):
    """Add the free that was missed of a block at an address that is given out now."""
    if entry.number != INHERITED_YET:
        append(process, thread, DEALLOC, 0, entry.number)
        count_free(process, thread, entry)
        process.repairs.missing_frees += 1
        entry.state = LIVE | MISSED
    entry.state = FREED | entry.state & MISSED


# --- frees


def dealloc(process, thread, key):
    """A free that is about to be called."""
    if key == NULL:
        append(process, thread, DEALLOC, 0, NONE)
        process.totals.deallocs += 1
        process.totals.null_deallocs += 1
        return
    entry = blocks.find(process.table, key)
    if blocks.is_live(entry):
        adopt(process, thread, entry)
        append(process, thread, DEALLOC, 0, entry.number)
        count_free(process, thread, entry)
        blocks.free(process.table, entry, process.totals.events, thread.name)
    elif was_released(entry):
        again(process, thread, process.repairs.double_frees, key, entry.number, entry.thread)
    else:
        process.repairs.unmatched_frees += 1
        note_release(process, thread, key, ~process.totals.events)


def count_free(process, thread, entry):
    process.totals.deallocs += 1
    process.totals.cross_thread_deallocs += entry.thread != name_of(process, thread) & NAME
    count_death(process.totals, entry.size)


def adopt(process, thread, entry):
    """Begin the child's events of a block that its parent allocated, when the child first releases it."""
    if entry.number == INHERITED_YET:
        append_request(process, thread, ALLOC, INHERITED, process.totals.blocks, entry.size, entry.site)
        describe(process, ALLOC, entry.log2_align, 1)
        entry.number = count_birth(process.totals, entry.size)
        entry.thread = thread.name
        process.totals.allocs += 1
        process.totals.inherited += 1


def was_released(entry):
    """Whether the address that was looked up is known to have been freed already."""
    return bool(entry) and entry.key != NULL and entry.state == FREED


def note_release(process, thread, key, event):
    """Remember the release of a block that was never seen."""
    entry = blocks.place(process.table, key)
    if entry:
        blocks.free(process.table, entry, event, thread.name)


def again(process, thread, found, key, freed_event, freed_thread):
    """Count a release of what had been released."""
    if found.count == 0:
        found.key = key
        found.freed_event = freed_event
        found.freed_thread = freed_thread
        found.event = process.totals.events
        found.thread = thread.name
    found.count += 1


# --- reallocs


def begin_realloc(process, thread, key):
    """Release the block of a realloc that is about to be called."""
    abandon_realloc(process, thread)
    moved = thread.moved
    entry = blocks.find(process.table, key)
    if bool(entry) and entry.key != NULL:
        if blocks.is_live(entry):
            adopt(process, thread, entry)
        process.memory.copy(moved.address, entry.address, Block.SIZE)
        if blocks.is_live(entry):
            blocks.free(process.table, entry, process.totals.events, thread.name)
    else:
        process.memory.fill(moved.address, Block.SIZE, 0)
    moved.key = key


def abandon_realloc(process, thread):
    """Give the block back to a realloc that never returned, if there is one."""
    if thread.moved.key != NULL:
        put_back(process, thread)
        process.repairs.unfinished += 1


def put_back(process, thread):
    """Have the block of a realloc at its old place again, unless another is there."""
    moved = thread.moved
    if blocks.is_live(moved):
        entry = blocks.place(process.table, moved.key)
        if bool(entry) and not blocks.is_live(entry):
            process.memory.copy(entry.address, moved.address, Block.SIZE)
    moved.key = NULL


def end_realloc(process, thread, record):
    """A realloc that returned."""
    old = record.old
    if old != thread.moved.key:
        abandon_realloc(process, thread)
        if old != NULL:
            begin_realloc(process, thread, old)
    if record.block != NULL:
        move(process, thread, record)
    elif record.size == 0 and old != NULL:
        put_back(process, thread)
        dealloc(process, thread, old)
        process.repairs.reallocs_to_zero += 1
    else:
        fail(process, thread, record)
    thread.moved.key = NULL


def fail(process, thread, record):
    """A realloc that returned null: its block stays."""
    moved, number = thread.moved, NONE
    if record.old != NULL:
        if not blocks.is_live(moved):
            process.repairs.unmatched_failures += 1
            return
        number = moved.number
        put_back(process, thread)
    append_request(process, thread, REALLOC, FAILED, number, record.size, record.site)
    process.totals.reallocs += 1
    process.totals.failed += 1


def move(process, thread, record):
    """A realloc that returned a block: the old one, or one that begins."""
    moved = thread.moved
    if record.old != NULL and blocks.is_live(moved):
        entry = entry_for(process, thread, record.block)
        append_request(process, thread, REALLOC, 0, moved.number, record.size, record.site)
        count_bytes(process.totals, record.size - moved.size, record.size)
        if entry:
            fill_in(entry, moved.number, moved.thread, record)
            entry.log2_align = moved.log2_align
    else:
        give(process, thread, REALLOC, record)
        if record.old != NULL:
            note_unknown(process, thread, moved)
    process.totals.reallocs += 1
    if record.old not in (NULL, record.block):
        renew_release(process, thread, record.old)


def leave_sample(process, thread):
    """A realloc that returned a block outside of the sample: for the sample, it freed the old one."""
    moved = thread.moved
    if blocks.is_live(moved):
        append(process, thread, DEALLOC, 0, moved.number)
        count_free(process, thread, moved)
    else:
        process.repairs.unmatched_reallocs += 1
    moved.key = NULL


def note_unknown(process, thread, moved):
    """Count a realloc of a block that was freed, or never seen."""
    if moved.state == FREED:
        again(process, thread, process.repairs.freed_reallocs, moved.key, moved.number, moved.thread)
    else:
        process.repairs.unmatched_reallocs += 1


def renew_release(process, thread, key):
    """Remember which event released an address, unless it was given out since."""
    entry = blocks.place(process.table, key)
    if bool(entry) and not blocks.is_live(entry):
        blocks.free(process.table, entry, process.totals.events, thread.name)


# --- threads and forks


def exit_thread(process, thread):
    """The end of a thread. The C library repeats it if later destructors of the thread make calls."""
    if not thread.has_exited:
        thread.has_exited = 1
        append(process, thread, THREAD_EXIT, 0, NONE)
        process.totals.thread_exits += 1


def remember(state, process, stamp):
    """Keep the blocks that a child inherits if it is forked now."""
    snapshot = Snapshot(state.memory, allocate(state, Snapshot.SIZE))
    if snapshot:
        snapshot.stamp = stamp
        snapshot.next = process.snapshot
        process.snapshot = snapshot
        snapshot.table.advise = process.table.advise
        blocks.copy_live(process.table, snapshot.table, INHERITED_YET)


# --- pauses


def enter_phase(process, thread, phase):
    """Forget all blocks, because recording starts again after a pause. Returns False if the columns are full.

    Their last events are frees. What is left of a realloc is forgotten, too.
    """
    entries = process.table.mask + 1 if process.phase != 0 and process.table.entries != NULL else 0
    while process.forgotten < entries:
        if not has_room(process):
            return False
        entry = Block(process.memory, process.table.entries + process.forgotten * Block.SIZE)
        if blocks.is_live(entry) and entry.number != INHERITED_YET:
            append(process, thread, DEALLOC, 0, entry.number)
            count_free(process, thread, entry)
            process.repairs.forgotten += 1
        process.forgotten += 1
    if process.phase != 0:
        blocks.discard(process.table)
        forget_reallocs(process)
    process.forgotten = 0
    process.phase = phase
    return True


def forget_reallocs(process):
    thread = process.thread
    while thread:
        thread.moved.key = NULL
        thread = thread.next
