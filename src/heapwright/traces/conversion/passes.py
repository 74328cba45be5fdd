"""A pass over the chunks: read what is there, convert it in the order of the stamps, and free what is done.

The collector calls, in each pass, `look`; then `advance` until it returns 0, writing the columns of each process that
it returns; then `release` and `issue`.
"""

from __future__ import annotations

from heapwright.layout import NULL
from heapwright.traces import raw
from heapwright.traces.conversion import blocks, merging, output, planes
from heapwright.traces.conversion.requests import abandon_realloc
from heapwright.traces.conversion.state import (
    MAX_CHUNKS,
    ChunkState,
    ProcessState,
    State,
    ThreadState,
    allocate,
    chunk_at,
    chunk_state,
    record_at,
)

advance, sort = merging.advance, planes.sort

# --- tickets


def issue(state, ahead):
    """Fill the slots of the next tickets, so that `ahead` of them are not taken yet, if there are chunks."""
    header = state.header
    taken = header.tickets.load()
    while state.issued < taken + ahead and state.free > 0 and state.active < MAX_CHUNKS:
        state.free -= 1
        index = state.stack[state.free]
        chunk_state(state, index).chunk = chunk_at(state, index).address
        state.order[state.active] = index
        state.active += 1
        slot = raw.Slot(state.memory, header.slots.at(state.issued % raw.SLOTS))
        state.issued += 1
        slot.entry.store(state.issued << raw.TICKET | index)


def enlarge(state, room):
    """Use more chunks, the lowest ones first: the file now has room for `room`."""
    for index in range(state.room, room):
        state.stack[state.free + room - 1 - index] = index
    state.free += room - state.room
    state.room = room


# --- reading


def look(state, now, elapsed):
    """Find the records with stamps below `now`, which was read `elapsed` nanoseconds after the run began."""
    state.now = now
    state.elapsed = elapsed
    for i in range(state.active):
        each = chunk_state(state, state.order[i])
        first = max(each.taken, raw.PROCESS_RECORDS) if each.chunk.begins else each.taken
        count = count_before(each.chunk, first, now)
        is_new = not each.thread and each.chunk.begins != 0 and each.chunk.count.load() >= raw.PROCESS_RECORDS
        if (count > first or is_new) and (bool(each.thread) or identify(state, each)):
            each.taken = first
            each.limit = count


def count_before(chunk, first, now):
    """How many records of a chunk have stamps below `now`; at least `first`."""
    count = min(chunk.count.load(), raw.RECORDS_PER_CHUNK)
    while count > first and record_at(chunk, count - 1).stamp >= now:
        count -= 1
    return count


def identify(state, each):
    """Find whose chunk this is. Returns False if its process has not described itself yet.

    It has records from before this pass, or is the first of its process. So the thread's earlier chunks are found
    already, and come first.
    """
    chunk = each.chunk
    process = process_of(state, chunk)
    if not process:
        return False
    thread = thread_of(state, process, chunk)
    if not thread:
        return False
    each.thread = thread
    if thread.last:
        thread.last.next = each
    else:
        thread.first = each
    thread.last = each
    return True


def process_of(state, chunk):
    """The process of a chunk, which may be the first one of a new process. Null if it is not known."""
    before = ProcessState(state.memory, NULL)
    process = state.process
    while bool(process) and process.number < chunk.process:
        before = process
        process = process.next
    if bool(process) and process.number == chunk.process:
        return process
    return begin_process(state, chunk, before) if chunk.begins else before.at(NULL)


def begin_process(state, chunk, before):
    """A new process, entered after `before`, or first if that is null."""
    process = before.at(allocate(state, ProcessState.SIZE))
    if not process:
        return process
    state.living += 1
    process.table.advise = state.advise
    process.number = chunk.process
    process.memory.copy(process.facts.address, chunk.address + raw.Chunk.SIZE, raw.Process.SIZE)
    if before:
        process.next = before.next
        before.next = process
    else:
        process.next = state.process
        state.process = process
    return process


def thread_of(state, process, chunk):
    """The thread of a chunk, perhaps a new one."""
    thread = process.thread
    while bool(thread) and thread.number != chunk.thread:
        thread = thread.next
    if not thread:
        thread = thread.at(allocate(state, ThreadState.SIZE))
        if thread:
            thread.process = process
            thread.number = chunk.thread
            thread.tid = chunk.tid
            thread.next = process.thread
            process.thread = thread
    return thread


# --- freeing


def release(state):
    """Free the chunks that are done: full, left by their thread, or of a process that has ended. Returns how many."""
    kept = 0
    for i in range(state.active):
        index = state.order[i]
        each = chunk_state(state, index)
        if is_done(each):
            detach(each)
            clear_chunk(state, index)
        else:
            state.order[kept] = index
            kept += 1
    freed = state.active - kept
    state.active = kept
    return freed


def is_done(each):
    """Whether nothing more will come from a chunk, and all of it is converted."""
    if not each.thread:
        return False
    return bool(each.thread.process.has_ended) or merging.is_read(each)


def detach(each):
    """Take a chunk from its thread: it is the oldest one that the thread has."""
    thread = each.thread
    if thread.first == each:
        thread.first = each.next
    if thread.last == each:
        thread.last = NULL
        thread.first = NULL


def clear_chunk(state, index):
    each = chunk_state(state, index)
    state.memory.fill(each.chunk.address, raw.Chunk.SIZE, 0)
    state.memory.fill(each.address, ChunkState.SIZE, 0)
    state.stack[state.free] = index
    state.free += 1


def end_process(state, process):
    """Note that a process has ended and all its records are converted: forget its blocks, keep its figures."""
    process.has_ended = 1
    state.living -= 1
    thread = process.thread
    while thread:
        abandon_realloc(process, thread)
        thread = thread.next
    blocks.discard(process.table)
    if not process.snapshot:  # no child will ask for it
        unlink(state, process)


def unlink(state, process):
    """Take a process off the list."""
    before = state.process
    if before == process:
        state.process = process.next
        return
    while bool(before) and before.next != process:
        before = before.next
    if before:
        before.next = process.next


def finish_columns(process):
    """The columns are written: begin new ones."""
    output.clear(process)


def drop_columns(process):
    """The columns are written, and the process has ended."""
    output.clear(process)
    output.release_columns(process)


def count_waiting(state):
    """The most events that are not written yet: in columns, and in chunks that are in use."""
    return state.active * raw.RECORDS_PER_CHUNK + count_pending(state)


def count_pending(state):
    """The events that are converted and not written yet."""
    count = 0
    process = state.process
    while process:
        count += process.filled.events
        process = process.next
    return count


def count_strays(state):
    """The chunks with records of no known process."""
    count = 0
    for i in range(state.active):
        each = chunk_state(state, state.order[i])
        if not each.thread and each.chunk.count.load() > 0:
            count += 1
    return count


# Each record goes through what is inlined. So functions that are neither here nor rare must be small.
SLOW_PATHS = (
    *("blocks.grow", "blocks.copy_live", "blocks.discard", "merging.inherit", "output.explain", "passes.identify"),
    *("requests.end_missed", "requests.adopt", "requests.note_release", "requests.again", "requests.begin_realloc"),
    *("requests.end_realloc", "requests.leave_sample", "requests.exit_thread", "requests.remember"),
    *("requests.enter_phase", "planes.sort_numbers"),
)
COMPILED = {
    "issue": ((State, None), False),
    "enlarge": ((State, None), False),
    "look": ((State, None, None), False),
    "advance": ((State, None), True),
    "release": ((State,), True),
    "end_process": ((State, ProcessState), False),
    "sort": ((State, None, None, None), True),
    "finish_columns": ((ProcessState,), False),
    "drop_columns": ((ProcessState,), False),
    "count_strays": ((State,), True),
    "count_waiting": ((State,), True),
    "count_pending": ((State,), True),
}
