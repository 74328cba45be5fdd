"""When the recorder records: in phases, between pauses (`heapwright.traces.raw`), and for run after run.

Written in the dialect. The word that says so lies in the ring's header, and each call looks at it.
"""

from __future__ import annotations

from heapwright.layout import NULL
from heapwright.locks import acquire, release
from heapwright.native import c
from heapwright.native.runtime.kernel import local, set_local
from heapwright.native.runtime.recorder import (
    CHUNK_SLOT,
    FORK_SLOT,
    OFF,
    enter_with_errno,
    map_file,
    recorder,
)
from heapwright.traces.raw import FORK, THREAD_EXIT, Chunk


def is_on():
    """Whether calls are recorded now. In a pause, this is all that a call costs."""
    header, chunk = recorder().header, Chunk(c.process_memory(), local(CHUNK_SLOT))
    if bool(chunk):
        if chunk.phase == header.phase.load():
            return True
    elif header.address > 0 and header.phase.load() & 1 == 0:
        return False
    return is_on_anew(chunk)


def is_on_anew(chunk):
    """The same for a thread without a chunk of this phase. It leaves one of an earlier phase."""
    state = recorder()
    if not state.header:
        enter_with_errno()
    if state.header.address == OFF:
        return False
    phase = state.header.phase.load()
    if bool(chunk) and chunk.phase != phase | 1:
        leave_chunk(chunk)
    return phase & 1 == 1


def leave_chunk(chunk):
    """Leave the thread's chunk: the thread no longer touches it."""
    set_local(CHUNK_SLOT, NULL)
    chunk.left.store(1)


def pass_over(operation):
    """Do what a call in a pause needs: the fork of a process whose blocks are unknown, or the end of a thread."""
    chunk = Chunk(c.process_memory(), local(CHUNK_SLOT))
    if operation == FORK:
        set_local(FORK_SLOT, NULL)
    elif operation == THREAD_EXIT and bool(chunk):
        leave_chunk(chunk)


# --- orders


def start(heap):
    """Start recording in all processes of the run: 1, or 0 if calls are recorded already. -1 if that is not allowed."""
    return switch(1)


def stop(heap):
    """Stop recording in all processes of the run: 1, or 0 in a pause. -1 if that is not allowed."""
    return switch(0)


def switch(wanted):
    """Begin the next phase if this one is not `wanted`: 1 to record, 0 for a pause."""
    state = recorder()
    if not state.header:
        enter_with_errno()
    header = state.header
    if header.address == OFF or header.is_controlled == 0 or header.stopped.load() != 0:
        return -1
    phase = header.phase.load()
    return 1 if phase & 1 != wanted and header.phase.compare_exchange(phase, phase + 1) else 0


def open_run(heap, path, depth):
    """Record in the file at `path` from now on: 0, or -1 if it cannot be opened. No other file is being recorded in.

    Threads may still hold chunks of an earlier run. These belong to a phase of that run, so they are left.
    """
    state = recorder()
    acquire(state.memory, state.lock)
    state.path = path
    state.depth = depth
    mapped = map_file()
    if mapped != OFF:
        state.process = 0
        state.forked_from = 0
        state.loss = NULL
        state.has_lost.store(0)
        state.runs += 1
        state.sites.store(0)
        state.header = mapped
    release(state.memory, state.lock)
    if mapped == OFF:
        return -1
    enter_with_errno()
    return -1 if state.process == 0 else 0
