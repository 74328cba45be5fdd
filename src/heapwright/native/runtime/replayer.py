"""Replays a job inside a fresh process, before its `main`: whatever malloc the process has is what is measured.

Written in the dialect. The library is preloaded beside the allocator's into a program that does nothing. One pass
touches every page of every payload and measures memory; then the clock runs over passes that touch nothing, so
that pages are there already and what is timed is the allocator. Leftovers are freed outside the clock.
"""

from __future__ import annotations

from heapwright.layout import NULL, Struct, Word
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
from heapwright.native.runtime.mallinfo import Mallinfo2
from heapwright.native.runtime.process_facts import resident_peak
from heapwright.native.runtime.replay_job import Job
from heapwright.stats import Stats
from heapwright.traces.events import ALLOC, ALLOC_ZEROED, DEALLOC, REALLOC
from heapwright.traces.flat import FlatEvent


class Slot(Struct):
    """Where a live block's address is kept."""

    block: Word


# --- one pass


def request(event, old):
    """Make the request of one event; `old` is what a realloc is given. The new address, or 0."""
    if event.op == ALLOC:
        return c.malloc(event.size) if event.log2_align == 0 else c.memalign(1 << event.log2_align, event.size)
    if event.op == ALLOC_ZEROED:
        return c.calloc(1, event.size)
    return c.realloc(old, event.size)


def step(event, slot):
    """Do what one event says; the address of the block that it made, or 0."""
    if event.op == DEALLOC:
        if event.slot >= 0:
            c.free(slot.block)
            slot.block = NULL
        return NULL
    if event.op > DEALLOC:
        return NULL
    made = request(event, slot.block)
    if made != NULL:
        slot.block = made
    return made


def timed_pass(job, events, slots):
    """Do what the events say, and nothing else."""
    memory = job.memory
    for i in range(job.events):
        event = FlatEvent(memory, events + i * FlatEvent.SIZE)
        step(event, Slot(memory, slots + event.slot * Slot.SIZE))


def measured_pass(job, events, slots):
    """Do what the events say, touch every page of every block, and look at the heap's size now and then."""
    memory = job.memory
    for i in range(job.events):
        event = FlatEvent(memory, events + i * FlatEvent.SIZE)
        made = step(event, Slot(memory, slots + event.slot * Slot.SIZE))
        if made != NULL:
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


def free_all(job, slots):
    """Free what the events left behind, so that the next pass finds the slots empty."""
    for i in range(job.slots):
        slot = Slot(job.memory, slots + i * Slot.SIZE)
        if slot.block != NULL:
            c.free(slot.block)
            slot.block = NULL


# --- what is measured


def heap_bytes():
    """What the C library's malloc holds from the kernel."""
    info = c.on_stack(Mallinfo2)
    c.mallinfo2(info.address)
    return info.arena + info.hblkhd


# --- the job


def replay():
    """Map the job that the environment names, do it, and end the process."""
    path = c.getenv(c.text("HEAPWRIGHT_JOB"))
    if path == 0:
        return 0
    file = c.c_open(path, OPEN_TO_WRITE, 0)
    job = Job(c.process_memory(), c.mmap(0, Job.SIZE, READ_WRITE, SHARED, file, 0))
    events = c.mmap(0, Job.SIZE + job.events * FlatEvent.SIZE, READ_WRITE, PRIVATE | POPULATE, file, 0) + Job.SIZE
    slots = resident_slots(job) + Slot.SIZE  # the one before the first is NO_SLOT's
    measure(job, events, slots)
    time_rounds(job, events, slots)
    c.exit_now(0)
    return 0


def resident_slots(job):
    """Room for a slot more than the job has, all of it touched."""
    size = (job.slots + 1) * Slot.SIZE
    return c.mmap(0, size, READ_WRITE, PRIVATE_ANONYMOUS | POPULATE, -1, 0)


def measure(job, events, slots):
    """How much memory one pass takes: resident, and by what the allocator says."""
    job.heap_before = heap_bytes() if job.sample != 0 else 0
    job.resident_before = resident_peak()
    measured_pass(job, events, slots)
    job.resident_peak = resident_peak()
    own_heap_peak(job)
    free_all(job, slots)


def own_heap_peak(job):
    """Our own libraries tell their peak exactly."""
    ask = c.dlsym(0, c.text("heapwright_stats"))
    if ask != 0:
        stats = c.on_stack(Stats)
        c.call(ask, stats.address)
        job.heap_peak = stats.peak_heap_bytes


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
