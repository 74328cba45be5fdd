"""Replay a job inside a fresh process, before its `main`, and measure whatever malloc the process has.

Written in the dialect. The library is preloaded with the allocator's into a program that does nothing. A cold job is
one pass on fresh pages. A warm job begins with a pass that touches every page of every payload and measures memory.
Timed passes follow, which touch nothing: the pages are there already, so only the allocator's work is timed. On
request, a last pass times each call separately. Remaining blocks are freed off the clock.
"""

from __future__ import annotations

from heapwright.layout import NULL
from heapwright.native import c
from heapwright.native.jobs.origin import require
from heapwright.native.jobs.replay_cold import cold_pass
from heapwright.native.jobs.replay_events import Window, event_in, open_window, window_end
from heapwright.native.jobs.replay_job import Job
from heapwright.native.jobs.replay_latency import time_calls
from heapwright.native.jobs.replay_memory import heap_bytes, look, own_heap_peak
from heapwright.native.jobs.replay_step import Size, Slot, asked_before, free_all, resident_table, step
from heapwright.native.runtime.linux import (
    OPEN_TO_WRITE,
    PAGE,
    READ_WRITE,
    SHARED,
    STEADY,
)
from heapwright.native.runtime.process_facts import resident, resident_peak
from heapwright.traces.events import DEALLOC, REALLOC
from heapwright.traces.flat import FlatEvent

# --- passes


def timed_pass(job, window, slots):
    """Do the events and nothing else. Returns the nanoseconds without those of reading the events."""
    spent = first = 0
    end = -1
    while end != job.events:
        end = window_end(job, window, first)
        began = c.nanoseconds(STEADY)
        do_window(job.memory, window.events, end - first, slots)
        spent += c.nanoseconds(STEADY) - began
        first = end
    return spent


def do_window(memory, events, count, slots):
    """Do some events in a row."""
    for i in range(count):
        event = FlatEvent(memory, events + i * FlatEvent.SIZE)
        step(event, Slot(memory, slots + event.slot * Slot.SIZE))


def measured_pass(job, window, slots, sizes, first, end):
    """Do some events, touch every page of every block, and sample the size of the heap."""
    memory = job.memory
    for i in range(first, end):
        window_end(job, window, i)
        event = event_in(window, memory, i)
        slot = Slot(memory, slots + event.slot * Slot.SIZE)
        measured_step(job, event, slot, Size(memory, sizes + event.slot * Size.SIZE))
        if job.sample != 0 and i % job.sample == 0:
            job.heap_peak = max(job.heap_peak, heap_bytes())


def measured_step(job, event, slot, size):
    """Do one event, touch its block, and count live bytes and refused requests."""
    before = asked_before(slot, size)
    made = step(event, slot)
    if made != NULL:
        size.asked = event.size
        touch(job.memory, made, event.size)
        job.live += event.size - before
    elif event.op == DEALLOC:
        job.live -= before
    elif event.op <= REALLOC:
        job.failures += 1


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
    require(job.claim)
    window = c.on_stack(Window)
    open_window(job, window)
    slots = resident_table(job, Slot.SIZE)
    if job.is_cold != 0:
        cold_pass(job, window, slots)
    else:
        warm_passes(job, window, slots)
    c.exit_now(0)
    return 0


def warm_passes(job, window, slots):
    """Measure memory in a first pass, then time passes on the pages that it left."""
    measure(job, window, slots)
    time_rounds(job, window, slots)
    if job.times_calls != 0:
        time_calls(job, window, slots)


def measure(job, window, slots):
    """Measure the memory of one pass: resident, as the allocator reports it, and its use."""
    sizes = resident_table(job, Size.SIZE)
    job.heap_before = heap_bytes() if job.sample != 0 else 0
    job.resident_before = resident_peak()
    before = resident()
    follow(job, window, slots, sizes, before)
    job.resident_peak = resident_peak()
    own_heap_peak(job)
    look(job, slots, sizes, job.at_end)
    free_all(job, slots)
    look(job, slots, sizes, job.when_freed)
    job.resident_freed = resident() - before


def follow(job, window, slots, sizes, before):
    """Do all events, and note the live and resident bytes at each moment."""
    done = 0
    for i in range(job.moments):
        moment = job.timeline[i]
        measured_pass(job, window, slots, sizes, done, moment.event)
        done = moment.event
        moment.live = job.live
        moment.resident = resident() - before
        if done == job.peak:
            look(job, slots, sizes, job.at_peak)


def time_rounds(job, window, slots):
    """Run timed passes until there are enough, or the budget is spent."""
    spent = 0
    while job.done < job.rounds and (job.done == 0 or spent < job.budget):
        job.nanoseconds[job.done] = timed_pass(job, window, slots)
        spent += job.nanoseconds[job.done]
        job.done += 1
        free_all(job, slots)
