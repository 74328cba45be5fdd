"""The replayer's job file: its head, which the flat events follow; the results are written into it.

Both sides read it through this struct, so nothing here needs a compiler.
"""

from __future__ import annotations

from heapwright.layout import Array, Inline, Struct, Word
from heapwright.native.runtime.histogram import Histogram

MOST_ROUNDS = 64
UNTOLD = -1


class Look(Struct):
    """The heap at one moment, in bytes; UNTOLD is what its malloc does not tell."""

    requested: Word  # by the blocks that are live
    granted: Word  # the usable bytes of those
    held: Word  # from the kernel
    free: Word
    largest_free: Word  # stretch


class Job(Struct):
    events: Word
    slots: Word
    peak: Word  # events until the most bytes are live
    rounds: Word  # at most
    budget: Word  # nanoseconds: no round begins after them
    sample: Word  # ask mallinfo2 every so many events; 0 for never
    times_calls: Word  # whether each call is timed by itself, in one pass more
    failures: Word  # requests that got null
    resident_before: Word  # bytes, the most so far
    resident_peak: Word
    heap_before: Word  # bytes, by mallinfo2
    heap_peak: Word
    at_peak: Inline[Look]  # of live bytes
    at_end: Inline[Look]  # after all was freed
    done: Word  # rounds that the clock ran over
    nanoseconds: Array[Word, MOST_ROUNDS]
    gives: Inline[Histogram]  # cycles of a malloc, calloc, memalign or realloc
    frees: Inline[Histogram]
    reads: Inline[Histogram]  # of two reads of the clock in a row
    cycles: Word  # of the whole pass that times calls
    cycles_nanoseconds: Word  # the same by the steady clock
