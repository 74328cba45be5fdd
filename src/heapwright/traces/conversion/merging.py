"""What a pass found, converted in the order of the stamps: threads are merged through a heap, the earliest on top."""

from __future__ import annotations

from heapwright.bits import MAX_WORD
from heapwright.layout import NULL
from heapwright.traces import raw
from heapwright.traces.conversion import blocks, output
from heapwright.traces.conversion.requests import convert, enter_phase, is_explanation
from heapwright.traces.conversion.state import Table, ThreadState, index_of, record_at

MICROSECOND = 1000
MAX_STAMP = 1 << 62
AHEAD = 16  # records between the one whose block is looked for and the one that is converted


def advance(state, first):
    """Convert what was found, from process `first` on, or from all of them if that is 0.

    Returns the process whose columns must be written before it goes on, or 0 when all is done.
    """
    process = state.process if first == NULL else state.process.at(first)
    while process:
        if not process.has_ended and not merge(state, process):
            return process.address
        process = process.next
    return NULL


def merge(state, process):
    """Convert what was found of one process, by the stamps. Returns False if its columns are full."""
    size = gather(state, process)
    if size == 0:
        return True
    if not process.has_begun:
        inherit(state, process)
    scale = state.elapsed / ((state.now - state.began) * MICROSECOND) if state.elapsed > 0 else 0.0
    while size > 0:
        thread = top(state)
        if not take_run(state, process, thread, second_stamp(state, size), scale):
            return False
        if not has_more(thread):
            size -= 1
            put(state, 0, at(state, size))
        sift_down(state, size)
    return True


def take_run(state, process, thread, last, scale):
    """Convert the records of a thread's first chunk with stamps up to `last`. Returns False if the columns are full."""
    each, began = thread.first, state.began
    if each.chunk.phase > process.phase and not enter_phase(process, thread, each.chunk.phase):
        return False
    is_late = each.chunk.phase < process.phase
    record, end = record_at(each.chunk, each.taken), record_at(each.chunk, each.limit).address
    furthest = record_at(each.chunk, raw.RECORDS_PER_CHUNK - 1).address
    while record.address != end and record.stamp <= last and output.has_room(process):
        coming = record.at(min(record.address + AHEAD * raw.Record.SIZE, furthest))  # maybe of an earlier use
        blocks.look_ahead(process.table, coming.block)
        take(state, process, thread, record, int((record.stamp - began) * scale), is_late)
        record = record.at(record.address + raw.Record.SIZE)
    each.taken = index_of(each.chunk, record)
    return record.address == end or record.stamp > last


def take(state, process, thread, record, time, is_late):
    """Convert one record, at its time."""
    if not 0 < record.stamp < MAX_STAMP:
        process.repairs.damaged += 1
        return
    if is_late and not is_explanation(record):
        return  # of a call that was on its way when its phase ended
    process.time = max(process.time, time)
    convert(state, process, thread, record)


def has_more(thread):
    """Whether a thread has a record to convert, which is then that at `thread.first.taken`, with `thread.stamp`."""
    each = thread.first
    while bool(each) and each.taken >= each.limit and bool(each.next) and is_read(each):
        each = each.next
        thread.first = each
    if not each or each.taken >= each.limit:
        return False
    thread.stamp = record_at(each.chunk, each.taken).stamp
    return True


def is_read(each):
    """Whether all of a chunk is converted, and its thread writes no more to it: it is full, or the thread has left."""
    left = each.chunk.left.load()  # before the count, which is final when it is set
    count = each.chunk.count.load()
    return each.taken == count and (count == raw.RECORDS_PER_CHUNK or left != 0)


def inherit(state, child):
    """Give a forked child the blocks that its parent had."""
    child.has_begun = 1
    parent = state.process
    while bool(parent) and parent.number != child.facts.forked_from:
        parent = parent.next
    if not parent or parent.number >= child.number:
        return
    before, snapshot = parent.snapshot.at(NULL), parent.snapshot
    while bool(snapshot) and snapshot.stamp != child.facts.forked_at:
        before, snapshot = snapshot, snapshot.next
    if snapshot:
        child.memory.copy(child.table.address, snapshot.table.address, Table.SIZE)
        if before:
            before.next = snapshot.next
        else:
            parent.snapshot = snapshot.next


# --- the heap


def at(state, index):
    return state.heap[index]


def put(state, index, thread):
    state.heap[index] = thread


def thread_at(state, index):
    return ThreadState(state.memory, state.heap[index])


def top(state):
    return thread_at(state, 0)


def second_stamp(state, size):
    """The lowest stamp of the threads that are not on top; without any, one above all."""
    last = MAX_WORD
    for child in range(1, min(size, 3)):
        last = min(last, thread_at(state, child).stamp)
    return last


def gather(state, process):
    """Put the threads that have something to convert on the heap. Returns their number."""
    size, thread = 0, process.thread
    while thread:
        if has_more(thread):
            sift_up(state, size, thread)
            size += 1
        thread = thread.next
    return size


def sift_up(state, index, thread):
    """Put a thread on the heap, at `index` or above."""
    while index > 0 and thread.stamp < thread_at(state, (index - 1) // 2).stamp:
        put(state, index, at(state, (index - 1) // 2))
        index = (index - 1) // 2
    put(state, index, thread.address)


def sift_down(state, size):
    """Move the thread on top to where it belongs among the first `size`."""
    thread, index = top(state), 0
    while 2 * index + 1 < size:
        child = 2 * index + 1
        if child + 1 < size and thread_at(state, child + 1).stamp < thread_at(state, child).stamp:
            child += 1
        if thread.stamp <= thread_at(state, child).stamp:
            break
        put(state, index, at(state, child))
        index = child
    put(state, index, thread.address)
