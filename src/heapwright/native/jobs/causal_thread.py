"""One thread of a replay: its events, and what it does at the stops between them."""

from __future__ import annotations

from heapwright.layout import NULL, Array, Struct, Word
from heapwright.native import c
from heapwright.native.jobs.causal_job import (
    JOIN,
    LEAVE,
    MEASURED,
    NO_THREAD,
    PASS,
    START,
    TELL,
    TIMED,
    Section,
    Stop,
    Thread,
)
from heapwright.native.jobs.causal_measure import measured_step, section_done
from heapwright.native.jobs.causal_wait import await_number, raise_to, wake_all
from heapwright.native.jobs.replay_step import Size, Slot, step
from heapwright.native.runtime.linux import PRCTL, SET_NAME
from heapwright.traces.flat import FlatEvent


class Attributes(Struct):
    """A pthread_attr_t."""

    words: Array[Word, 7]


def thread_at(job, number):
    """A thread by its number."""
    return Thread(job.memory, job.thread_table + number * Thread.SIZE)


def section_at(job, number):
    """A section by its number."""
    return Section(job.memory, job.section_table + number * Section.SIZE)


# --- starts and ends


def start(job, thread):
    """Start a thread with a small stack, or end the process."""
    attributes = c.on_stack(Attributes)
    c.pthread_attr_init(attributes.address)
    c.pthread_attr_setstacksize(attributes.address, job.stack)
    place = thread.address + Thread.handle.offset
    if c.pthread_create(place, attributes.address, job.body, thread.address) != 0:
        c.exit_now(NO_THREAD)
    c.pthread_attr_destroy(attributes.address)


def join(thread):
    """Wait for the end of a thread, and of what the malloc does at its end."""
    c.pthread_join(thread.handle, NULL)


def life(thread):
    """The main function of each thread but the first."""
    take_name(thread)
    run(thread)
    return 0


def take_name(thread):
    """Have debuggers and profilers show the recorded name."""
    if thread.name[0] != 0:
        c.syscall(PRCTL, SET_NAME, thread.name.address, 0, 0, 0)


# --- events and stops


def run(thread):
    """Do a thread's events and stops."""
    job = thread.job
    done = 0
    for i in range(thread.stops):
        stop = Stop(thread.memory, job.stop_table + (thread.first_stop + i) * Stop.SIZE)
        do_events(thread, done, stop.at)
        done = stop.at
        obey(thread, stop)
    do_events(thread, done, thread.events)


def do_events(thread, first, end):
    """Do some of a thread's events, as the pass wants them."""
    mode = thread.job.mode
    if mode == TIMED:
        do_timed(thread, first, end)
    elif mode == MEASURED:
        do_measured(thread, first, end)


def do_timed(thread, first, end):
    """Do some events and nothing else."""
    job, memory = thread.job, thread.memory
    events, slots = job.event_table + thread.first * FlatEvent.SIZE, job.slot_table
    for i in range(first, end):
        event = FlatEvent(memory, events + i * FlatEvent.SIZE)
        step(event, Slot(memory, slots + event.slot * Slot.SIZE))


def do_measured(thread, first, end):
    """Do some events, touch their blocks, and count live bytes."""
    job, memory = thread.job, thread.memory
    events = job.event_table + thread.first * FlatEvent.SIZE
    for i in range(first, end):
        event = FlatEvent(memory, events + i * FlatEvent.SIZE)
        slot = Slot(memory, job.slot_table + event.slot * Slot.SIZE)
        measured_step(thread, event, slot, Size(memory, job.size_table + event.slot * Size.SIZE))


def obey(thread, stop):
    """Do what a stop says."""
    job, kind = thread.job, stop.kind
    if kind == TELL:
        raise_to(thread.done, thread.sleepers, stop.what)
    elif kind == LEAVE:
        leave(job, stop.what)
    elif kind == JOIN:
        join(thread_at(job, stop.who))
    elif kind == START:
        await_number(thread.memory, job.started, job.starters, stop.who)
        start(job, thread_at(job, stop.who))
        raise_to(job.started, job.starters, stop.who + 1)
    elif kind == PASS:
        note(thread, thread.held, await_number(thread.memory, job.passed, job.sleepers, stop.what))
    else:
        other = thread_at(job, stop.who)
        note(thread, thread.waited, await_number(thread.memory, other.done, other.sleepers, stop.what))


def note(thread, total, spent):
    """Add a wait to one of the thread's totals, if this is a timed pass."""
    if spent > 0 and thread.job.mode == TIMED:
        total.times += 1
        total.nanoseconds += spent


# --- sections


def leave(job, number):
    """A thread has done its part of a section. The last one may open the next."""
    if section_at(job, number).left.add(-1) == 1:
        advance(job)


def advance(job):
    """Count the sections that are done, and all before them. Threads may do this at the same time.

    A thread that finds the next section undone stops. Who finishes that one comes here itself.
    """
    passed = job.passed.load()
    while passed < job.sections and section_at(job, passed).left.load() == 0:
        if claim(job, passed):
            section_done(job, passed + 1)
            job.passed.exchange(passed + 1)
            if job.sleepers.load() != 0:
                wake_all(job.passed)
        passed = job.passed.load()


def claim(job, number):
    """Whether the calling thread is the one that counts a section."""
    return section_at(job, number).left.compare_exchange(0, -1)
