"""The job file of a replay on threads: a head, which also takes the results, and then four tables.

    Job | a Thread for each thread | a Section for each section | a Stop for each stop | the flat events, by thread

Both sides read it through these structs, so nothing here needs a compiler.
"""

from __future__ import annotations

from heapwright.layout import Array, Atomic, Byte, Inline, Struct, Word
from heapwright.native.jobs.claim import Claim
from heapwright.native.jobs.replay_job import MAX_ROUNDS, Look

NO_THREAD = 73  # the exit status of a worker that could not start a thread
GAVE_UP = {NO_THREAD: "could not start a thread: raise ulimit -u, or the limit of its cgroup (pids.max)"}

# the kinds of stops, in the order in which they come at one place
TELL, LEAVE, JOIN, START, PASS, WAIT = range(6)

# what a pass does with the events
TIMED, MEASURED, IDLE = range(3)


class Stop(Struct):
    """What a thread does between two of its events.

    TELL    say that its first `what` events are done
    LEAVE   say that it has done its part of section `what`
    JOIN    wait for the end of thread `who`
    START   start thread `who`, once the one before it has been started
    PASS    wait until all sections before `what` are done
    WAIT    wait until the first `what` events of thread `who` are done
    """

    at: Word  # the number of the thread's events that come before
    kind: Word
    who: Word
    what: Word


class Section(Struct):
    """Neighbouring events of the recording, and the threads that still have some of them to do."""

    threads: Word
    ceiling: Word  # recorded bytes: the curve's height here and in what may be done at the same time
    left: Atomic[Word]
    apart: Array[Word, 5]


class Waiting(Struct):
    """The waits of one kind that were not over at once, in timed passes."""

    times: Word
    nanoseconds: Word


class Thread(Struct):
    """One thread of the replay. What others look at has a cache line of its own."""

    job: Job
    first: Word  # its events in the table
    events: Word
    first_stop: Word
    stops: Word
    outlives: Word  # nobody joins it before the end
    handle: Word
    most: Word  # live bytes that it saw, in the pass that measures memory
    over: Word  # of the live bytes, in millionths of the recorded curve: the most that it saw beyond
    name: Array[Byte, 16]
    waited: Inline[Waiting]  # for blocks
    held: Inline[Waiting]  # for sections
    apart: Word
    done: Atomic[Word]  # events that it told of
    sleepers: Atomic[Word]
    apart_too: Array[Word, 6]


class Time(Struct):
    """Nanoseconds of one pass: on the wall, and of all threads' processor time."""

    wall: Word
    cpu: Word


class Round(Struct):
    calls: Inline[Time]
    idle: Inline[Time]  # the same stops without the calls


class Job(Struct):
    claim: Inline[Claim]
    events: Word
    slots: Word
    threads: Word
    sections: Word
    stops: Word
    peak: Word  # the section before which the most bytes are live
    peak_event: Word  # the number of events until then
    rounds: Word  # at most
    budget: Word  # nanoseconds; no round begins later
    sample: Word  # sections between two calls of mallinfo2; 0 for none
    stack: Word  # bytes, of each thread
    thread_table: Word  # addresses
    section_table: Word
    stop_table: Word
    event_table: Word
    slot_table: Word
    size_table: Word
    body: Word  # the function of a thread
    mode: Word
    failures: Atomic[Word]
    live: Atomic[Word]  # requested bytes, in the pass that measures memory
    passed: Atomic[Word]  # sections that are done, and all before them
    sleepers: Atomic[Word]
    started: Atomic[Word]  # threads, in their order, so that no more exist at one time than in the recording
    starters: Atomic[Word]  # threads that sleep until it is their turn
    resident_before: Word  # bytes, the peak so far
    resident_peak: Word
    heap_before: Word
    heap_peak: Word
    at_peak: Inline[Look]
    at_end: Inline[Look]
    when_freed: Inline[Look]
    resident_at_peak: Word  # bytes, beyond those before the first event
    resident_at_end: Word
    resident_freed: Word
    resident_first: Word  # bytes, before the first event
    most: Word  # live bytes at any time of that pass
    over: Word  # the most that was live beyond the recorded curve, in millionths of the curve
    waited: Inline[Waiting]  # of all threads and timed passes
    held: Inline[Waiting]
    done: Word
    timings: Array[Inline[Round], MAX_ROUNDS]


TABLES = -(-Job.SIZE // Thread.SIZE) * Thread.SIZE  # where they begin in the file: whole cache lines
