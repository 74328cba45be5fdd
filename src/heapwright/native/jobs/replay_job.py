"""The replayer's job file, which also takes the results. The flat events are in a file of their own.

Both sides read it through this struct, so nothing here needs a compiler.
"""

from __future__ import annotations

from heapwright.layout import Array, Byte, Inline, Struct, Word
from heapwright.native.jobs.claim import Claim
from heapwright.native.jobs.histogram import Histogram
from heapwright.native.runtime.linux import MAX_PATH

MAX_ROUNDS = 64
MAX_MOMENTS = 1024
UNREADABLE = 76  # the exit status of a worker that cannot read its events


class Look(Struct):
    """The heap at one moment, in bytes; UNREPORTED if its malloc does not report a figure."""

    requested: Word  # by the live blocks
    granted: Word  # usable bytes of those
    held: Word  # from the kernel
    free: Word
    largest_free: Word  # extent


class Moment(Struct):
    """A point between two events of the pass that measures memory."""

    event: Word  # the number of events done
    live: Word  # requested bytes
    resident: Word  # bytes, beyond those before the first event


class Job(Struct):
    claim: Inline[Claim]
    trace: Array[Byte, MAX_PATH]  # the path of the flat events, zero-terminated
    events: Word
    slots: Word
    peak: Word  # events until the most bytes are live; also one of the moments
    moments: Word  # in the timeline, in ascending order
    is_cold: Word  # do one cold pass and nothing else
    rounds: Word  # at most
    budget: Word  # nanoseconds; no round begins later
    sample: Word  # events between two calls of mallinfo2; 0 for none
    times_calls: Word  # whether a last pass times each call separately
    failures: Word  # requests that got null
    resident_before: Word  # bytes, the peak so far
    resident_peak: Word
    heap_before: Word  # bytes, by mallinfo2
    heap_peak: Word
    live: Word  # requested bytes, in the pass that measures memory
    at_peak: Inline[Look]  # of live bytes
    at_end: Inline[Look]  # of the events
    when_freed: Inline[Look]  # after the remaining blocks were freed
    resident_freed: Word  # bytes at that moment, beyond those before the first event
    cold_nanoseconds: Word  # processor time, in user and kernel mode
    cold_faults: Word  # page faults of the same pass
    done: Word  # timed rounds
    nanoseconds: Array[Word, MAX_ROUNDS]
    gives: Inline[Histogram]  # cycles of a malloc, calloc, memalign or realloc
    frees: Inline[Histogram]
    reads: Inline[Histogram]  # cycles between two reads of the clock in a row
    cycles: Word  # of the whole pass that times calls
    cycles_nanoseconds: Word  # of the same pass, by the steady clock
    timeline: Array[Inline[Moment], MAX_MOMENTS]
