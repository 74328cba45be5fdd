"""The pass of a replay on threads that measures memory: it touches every page and counts what is live at any time."""

from __future__ import annotations

from heapwright.layout import NULL
from heapwright.native.jobs.causal_job import MEASURED, Section
from heapwright.native.jobs.replay_memory import heap_bytes, look
from heapwright.native.jobs.replay_step import asked_before, step
from heapwright.native.jobs.replayer import touch
from heapwright.native.runtime.process_facts import resident
from heapwright.traces.events import DEALLOC, REALLOC

MILLION = 1_000_000


def measured_step(thread, event, slot, size):
    """Do one event, touch its block, and count live bytes and refused requests.

    A block is live from the return of its request to the call that frees it, as in a recording.
    """
    job, before = thread.job, asked_before(slot, size)
    if event.op == DEALLOC:
        job.live.add(-before)
    passed = job.passed.load()
    made = step(event, slot)
    if made != NULL:
        size.asked = event.size
        touch(thread.memory, made, event.size)
        see(thread, job.live.add(event.size - before) + event.size - before, passed)
    elif event.op <= REALLOC:
        job.failures.add(1)


def see(thread, live, passed):
    """Note how many bytes are live, and how far beyond the recorded curve that is.

    The sections that were passed before and after the bytes were counted limit where in the recording that was.
    """
    thread.most = max(thread.most, live)
    job = thread.job
    ceiling = max(ceiling_at(job, passed), ceiling_at(job, job.passed.load()))
    if live > ceiling:
        thread.over = max(thread.over, over(live, ceiling))


def ceiling_at(job, passed):
    """The height of the recorded curve while so many sections are done."""
    return Section(job.memory, job.section_table + min(passed, job.sections - 1) * Section.SIZE).ceiling


def over(live, ceiling):
    """How far a number of bytes is beyond the curve, in millionths of it."""
    return min(live - ceiling, 1 << 42) * MILLION // max(1, ceiling)


def section_done(job, passed):
    """Look at the heap at the peak, at the end, and now and then. At the first two no thread does any event."""
    if job.mode == MEASURED:
        if passed == job.peak:
            look(job, job.slot_table, job.size_table, job.at_peak)
            job.resident_at_peak = resident() - job.resident_first
        if passed == job.sections:
            look(job, job.slot_table, job.size_table, job.at_end)
            job.resident_at_end = resident() - job.resident_first
        if job.sample != 0 and passed % job.sample == 0:
            job.heap_peak = max(job.heap_peak, heap_bytes())
