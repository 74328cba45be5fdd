"""Replays a job inside a fresh process, before its `main`: whatever malloc the process has is what is measured.

Written in the dialect. The library is preloaded beside the allocator's into a program that does nothing. One pass
touches every page of every payload and measures memory; then the clock runs over passes that touch nothing, so
that pages are there already and what is timed is the allocator. Where it is asked for, one pass more times each call
by itself. Leftovers are freed outside the clock.
"""

from __future__ import annotations

from heapwright.layout import NULL
from heapwright.native import c
from heapwright.native.runtime.linux import (
    OPEN_TO_WRITE,
    PAGE,
    POPULATE,
    PRIVATE,
    PRIVATE_ANONYMOUS,
    READ_WRITE,
    SHARED,
    STEADY,
)
from heapwright.native.runtime.process_facts import resident_peak
from heapwright.native.runtime.replay_job import Job
from heapwright.native.runtime.replay_latency import time_calls
from heapwright.native.runtime.replay_memory import heap_bytes, look, own_heap_peak
from heapwright.native.runtime.replay_step import Size, Slot, free_all, step
from heapwright.traces.events import REALLOC
from heapwright.traces.flat import FlatEvent

# --- passes


def timed_pass(job, events, slots):
    """Do what the events say, and nothing else."""
    memory = job.memory
    for i in range(job.events):
        event = FlatEvent(memory, events + i * FlatEvent.SIZE)
        step(event, Slot(memory, slots + event.slot * Slot.SIZE))


def measured_pass(job, events, slots, sizes, first, end):
    """Do what some events say, touch every page of every block, and look at the heap's size now and then."""
    memory = job.memory
    for i in range(first, end):
        event = FlatEvent(memory, events + i * FlatEvent.SIZE)
        made = step(event, Slot(memory, slots + event.slot * Slot.SIZE))
        if made != NULL:
            Size(memory, sizes + event.slot * Size.SIZE).asked = event.size
            touch(memory, made, event.size)
        elif event.op <= REALLOC:
            job.failures += 1
        if job.sample != 0 and i % job.sample == 0:
            job.heap_peak = max(job.heap_peak, heap_bytes())


def touch(memory, address, size):
    """Write to each page of a block."""
    for offset in range(0, size, PAGE):
        memory.fill(address + offset, 1, 1)
    if size > 0:
        memory.fill(address + size - 1, 1, 1)


# --- the job


def replay():
    """Map the job that the environment names, do it, and end the process."""
    path = c.getenv(c.text("HEAPWRIGHT_JOB"))
    if path == 0:
        return 0
    file = c.c_open(path, OPEN_TO_WRITE, 0)
    job = Job(c.process_memory(), c.mmap(0, Job.SIZE, READ_WRITE, SHARED, file, 0))
    events = c.mmap(0, Job.SIZE + job.events * FlatEvent.SIZE, READ_WRITE, PRIVATE | POPULATE, file, 0) + Job.SIZE
    slots = resident_table(job, Slot.SIZE)
    measure(job, events, slots)
    time_rounds(job, events, slots)
    if job.times_calls != 0:
        time_calls(job, events, slots)
    c.exit_now(0)
    return 0


def resident_table(job, row):
    """A table with a row for each of the job's slots, and one before the first for NO_SLOT, all of it touched."""
    return c.mmap(0, (job.slots + 1) * row, READ_WRITE, PRIVATE_ANONYMOUS | POPULATE, -1, 0) + row


def measure(job, events, slots):
    """How much memory one pass takes: resident, by what the allocator says, and how it is used at the peak."""
    sizes = resident_table(job, Size.SIZE)
    job.heap_before = heap_bytes() if job.sample != 0 else 0
    job.resident_before = resident_peak()
    measured_pass(job, events, slots, sizes, 0, job.peak)
    look(job, slots, sizes, job.at_peak)
    measured_pass(job, events, slots, sizes, job.peak, job.events)
    job.resident_peak = resident_peak()
    own_heap_peak(job)
    free_all(job, slots)
    look(job, slots, sizes, job.at_end)


def time_rounds(job, events, slots):
    """Run passes against the clock until there were enough, or the budget is spent."""
    spent = 0
    while job.done < job.rounds and (job.done == 0 or spent < job.budget):
        began = c.nanoseconds(STEADY)
        timed_pass(job, events, slots)
        job.nanoseconds[job.done] = c.nanoseconds(STEADY) - began
        spent += job.nanoseconds[job.done]
        job.done += 1
        free_all(job, slots)
