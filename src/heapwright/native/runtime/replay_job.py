"""The replayer's job file: its head, which the flat events follow; the results are written into it.

Both sides read it through this struct, so nothing here needs a compiler.
"""

from __future__ import annotations

from heapwright.layout import Array, Struct, Word

MOST_ROUNDS = 64


class Job(Struct):
    events: Word
    slots: Word
    rounds: Word  # at most
    budget: Word  # nanoseconds: no round begins after them
    sample: Word  # ask mallinfo2 every so many events; 0 for never
    failures: Word  # requests that got null
    resident_before: Word  # bytes, the most so far
    resident_peak: Word
    heap_before: Word  # bytes, by mallinfo2
    heap_peak: Word
    done: Word  # rounds that the clock ran over
    nanoseconds: Array[Word, MOST_ROUNDS]
