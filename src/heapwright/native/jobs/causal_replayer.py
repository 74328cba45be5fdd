"""Replay a job on real threads inside a fresh process, before its `main`, and measure whatever malloc the process has.

Written in the dialect. The recording's first thread is the process's main thread; each other thread is started where
the recording has its first event, and joined where it ended. The same threads and stops are gone through in three
kinds of passes: idle ones without any call, one that measures memory, and timed ones on the pages that it left.
Idle passes show what the replay itself costs.
"""

from __future__ import annotations

from heapwright.native import c
from heapwright.native.jobs.causal_job import IDLE, MEASURED, TABLES, TIMED, Job, Section, Stop, Thread
from heapwright.native.jobs.causal_thread import join, run, section_at, take_name, thread_at
from heapwright.native.jobs.origin import require
from heapwright.native.jobs.replay_memory import heap_bytes, look, own_heap_peak
from heapwright.native.jobs.replay_step import Size, Slot, free_all, resident_table
from heapwright.native.runtime.linux import CPU_TIME, OPEN_TO_WRITE, POPULATE, PRIVATE, READ_WRITE, SHARED, STEADY
from heapwright.native.runtime.process_facts import resident, resident_peak
from heapwright.traces.flat import FlatEvent


def replay():
    """Map the job that the environment names, do it, and end the process."""
    path = c.getenv(c.text("HEAPWRIGHT_JOB"))
    if path == 0:
        return 0
    file = c.c_open(path, OPEN_TO_WRITE, 0)
    job = Job(c.process_memory(), c.mmap(0, Job.SIZE, READ_WRITE, SHARED, file, 0))
    require(job.claim)
    find_tables(job, file)
    take_name(thread_at(job, 0))
    warm_up(job)
    measure(job)
    time_rounds(job)
    add_up(job)
    c.exit_now(0)
    return 0


def find_tables(job, file):
    """Map the tables, and make room for the blocks."""
    place = c.mmap(0, TABLES + size_of_tables(job), READ_WRITE, PRIVATE | POPULATE, file, 0) + TABLES
    job.thread_table = place
    job.section_table = job.thread_table + job.threads * Thread.SIZE
    job.stop_table = job.section_table + job.sections * Section.SIZE
    job.event_table = job.stop_table + job.stops * Stop.SIZE
    job.slot_table = resident_table(job, Slot.SIZE)
    job.body = c.dlsym(0, c.text("heapwright_causal_life"))
    for i in range(job.threads):
        thread_at(job, i).job = job


def size_of_tables(job):
    """The bytes of the four tables."""
    return job.threads * Thread.SIZE + job.sections * Section.SIZE + job.stops * Stop.SIZE + job.events * FlatEvent.SIZE


# --- passes


def do_pass(job, mode):
    """Have all threads go through their stops, and through their events as the mode says."""
    job.mode = mode
    run(thread_at(job, 0))
    for i in range(1, job.threads):
        if thread_at(job, i).outlives:
            join(thread_at(job, i))


def warm_up(job):
    """Do an idle pass, so that later ones find the threads' stacks resident."""
    reset(job)
    do_pass(job, IDLE)


def reset(job):
    """Forget how far the threads and the sections were in the last pass."""
    job.passed.store(0)
    job.started.store(1)
    for i in range(job.threads):
        thread_at(job, i).done.store(0)
    for i in range(job.sections):
        section = section_at(job, i)
        section.left.store(section.threads)


def measure(job):
    """Measure the memory of one pass."""
    job.size_table = resident_table(job, Size.SIZE)
    job.heap_before = heap_bytes() if job.sample != 0 else 0
    job.resident_before = resident_peak()
    job.resident_first = resident()
    reset(job)
    do_pass(job, MEASURED)
    job.resident_peak = resident_peak()
    own_heap_peak(job)
    free_all(job, job.slot_table)
    look(job, job.slot_table, job.size_table, job.when_freed)
    job.resident_freed = resident() - job.resident_first


def time_rounds(job):
    """Run timed passes, each followed by an idle one, until there are enough or the budget is spent."""
    spent = 0
    while job.done < job.rounds and (job.done == 0 or spent < job.budget):
        timing = job.timings[job.done]
        time_pass(job, TIMED, timing.calls)
        free_all(job, job.slot_table)
        time_pass(job, IDLE, timing.idle)
        spent += timing.calls.wall
        job.done += 1


def time_pass(job, mode, time):
    """Time one pass, from the first event to the end of the last thread."""
    reset(job)
    wall, cpu = c.nanoseconds(STEADY), c.nanoseconds(CPU_TIME)
    do_pass(job, mode)
    time.wall, time.cpu = c.nanoseconds(STEADY) - wall, c.nanoseconds(CPU_TIME) - cpu


def add_up(job):
    """Add up what the threads noted."""
    for i in range(job.threads):
        thread = thread_at(job, i)
        job.most = max(job.most, thread.most)
        job.over = max(job.over, thread.over)
        add(job.waited, thread.waited)
        add(job.held, thread.held)


def add(total, part):
    """Add waits to a total."""
    total.times += part.times
    total.nanoseconds += part.nanoseconds
