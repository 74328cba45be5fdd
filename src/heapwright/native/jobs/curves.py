"""Follow a trace sample by sample inside a fresh process, before its `main`, with whatever malloc the process has.

Written in the dialect. It touches every page of every payload. After each event it notes how much the heap holds, if
the lab told where the malloc counts that. At each sample it waits until the lab has looked.
"""

from __future__ import annotations

from heapwright.layout import NULL, Byte, Struct, Word
from heapwright.native import c
from heapwright.native.jobs.curves_job import HELD_WORDS, LEFT_ALONE, SCALE, Job
from heapwright.native.jobs.origin import require
from heapwright.native.jobs.replay_memory import is_usable_size_told
from heapwright.native.jobs.replay_step import Size, Slot, free_all, resident_table
from heapwright.native.jobs.replayer import measured_step
from heapwright.native.runtime.linux import OPEN_TO_WRITE, POPULATE, PRIVATE, READ_WRITE, SHARED
from heapwright.stats import UNREPORTED
from heapwright.traces.flat import FlatEvent

SMALL = 64  # bytes of the requests after the pause


class Letter(Struct):
    code: Byte


class Held(Struct):
    word: Word


class Span(Struct):
    """A struct timespec."""

    seconds: Word
    nanoseconds: Word


def follow():
    """Map the job that the environment names, do it, and end the process."""
    path = c.getenv(c.text("HEAPWRIGHT_JOB"))
    if path == 0:
        return 0
    file = c.c_open(path, OPEN_TO_WRITE, 0)
    job = Job(c.process_memory(), c.mmap(0, Job.SIZE, READ_WRITE, SHARED | POPULATE, file, 0))
    require(job.claim)
    events = c.mmap(0, Job.SIZE + job.events * FlatEvent.SIZE, READ_WRITE, PRIVATE | POPULATE, file, 0) + Job.SIZE
    slots = resident_table(job, Slot.SIZE)
    sizes = resident_table(job, Size.SIZE)
    if job.warms != 0:
        c.free(c.malloc(SMALL))
    pause(job)
    follow_trace(job, events, slots, sizes)
    follow_end(job, slots)
    c.exit_now(0)
    return 0


def follow_trace(job, events, slots, sizes):
    """Do all events, and take a sample wherever one is planned."""
    is_told, done = is_usable_size_told(), 0
    for i in range(job.samples):
        sample = job.sample[i]
        while done < sample.event:
            counted_step(job, FlatEvent(job.memory, events + done * FlatEvent.SIZE), slots, sizes, is_told)
            done += 1
            note_held(job, done)
        take(job, sample, is_told)


def counted_step(job, event, slots, sizes, is_told):
    """Do one event as the replayer does, and count the usable bytes of the live blocks."""
    slot = Slot(job.memory, slots + event.slot * Slot.SIZE)
    lost = usable(slot.block, is_told)
    measured_step(job, event, slot, Size(job.memory, sizes + event.slot * Size.SIZE))
    job.granted += usable(slot.block, is_told) - lost


def usable(block, is_told):
    """The usable bytes of a block; 0 if there is none, or nobody knows."""
    return c.malloc_usable_size(block) if is_told and block != NULL else 0


def note_held(job, done):
    """Note what the heap holds after an event: its peak, and the sum of its ratios to the live bytes."""
    job.held = 0
    for i in range(HELD_WORDS):
        if job.held_words[i] != 0:
            job.held += Held(job.memory, job.held_words[i]).word
    if job.held > job.held_peak:
        job.held_peak = job.held
        job.held_peak_event = done
        job.held_peak_live = job.live
    if job.live >= job.floor:
        job.ratios += job.held * SCALE // job.live
        job.ratio_events += 1


def follow_end(job, slots):
    """Free what is live, wait, and call malloc a little; take a sample after each."""
    free_all(job, slots)
    job.live = 0
    job.granted = 0
    take_last(job, 0)
    sleep(job.idle)
    take_last(job, 1)
    for _ in range(job.calls):
        c.free(c.malloc(SMALL))
    take_last(job, 2)


def take_last(job, i):
    """Take the i-th sample after the trace."""
    sample = job.sample[job.samples + i]
    sample.event = job.events
    take(job, sample, is_usable_size_told())


# --- samples


def take(job, sample, is_told):
    """Note the figures, let the lab look, and add up the parts if it gave extents."""
    sample.live = job.live
    sample.granted = job.granted if is_told else UNREPORTED
    pause(job)
    count = c.address_if_any("heapwright_count_parts")
    if count != 0 and job.heap != 0:
        c.call_with(count, job.heap, job.address, sample.parts.address, 0)


def pause(job):
    """Let the lab look at the process. The process ends if the lab has gone."""
    letter = c.on_stack(Letter)
    c.c_write(job.told, letter.address, Letter.SIZE)
    if c.c_read(job.heard, letter.address, Letter.SIZE) != Letter.SIZE:
        c.exit_now(LEFT_ALONE)


def sleep(seconds):
    """Let time pass without a call of malloc."""
    span = c.on_stack(Span)
    span.seconds = seconds
    if seconds > 0:
        c.nanosleep(span.address, 0)
