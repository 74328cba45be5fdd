"""A window on the flat events of a job: a trace need not fit into memory.

The window is filled from the events' file whenever a pass comes to its end, and the clock does not cover that. Its
pages are there from the start, so the replayer's own memory does not change while a malloc is measured, and its events
stay in the processor's cache. A pass asks for the events from a number on, and does those that are there:

    0                                                      events
    ├────────── window ──────────┼────────── window ───...───┤
                                 │first           │end
"""

from __future__ import annotations

from heapwright.layout import Struct, Word
from heapwright.native import c
from heapwright.native.jobs.replay_job import UNREADABLE
from heapwright.native.runtime.linux import OPEN_TO_READ, POPULATE, PRIVATE_ANONYMOUS, READ_WRITE
from heapwright.traces.flat import FlatEvent

CAPACITY = 1 << 13  # events of a window: 192 KiB


class Window(Struct):
    """The events from number `first` to number `end`, which is not there, at an address."""

    file: Word
    first: Word
    end: Word
    events: Word


def open_window(job, window):
    """Open the events of a job. No event is there yet."""
    window.file = c.c_open(job.trace.address, OPEN_TO_READ, 0)
    window.first = window.end = 0
    window.events = c.mmap(0, CAPACITY * FlatEvent.SIZE, READ_WRITE, PRIVATE_ANONYMOUS | POPULATE, -1, 0)


def window_end(job, window, number):
    """Have the event with a number in the window. Returns the number of the first event behind it."""
    if number < window.first or number >= window.end:
        window.first = number - number % CAPACITY
        window.end = min(window.first + CAPACITY, job.events)
        fill(window)
    return window.end


def fill(window):
    """Read the events of the window. The process ends if they are not there."""
    done, size = 0, (window.end - window.first) * FlatEvent.SIZE
    while done < size:
        got = c.c_pread(window.file, window.events + done, size - done, window.first * FlatEvent.SIZE + done)
        if got <= 0:
            c.exit_now(UNREADABLE)
        done += got


def event_in(window, memory, number):
    """The event with a number, which is in the window."""
    return FlatEvent(memory, window.events + (number - window.first) * FlatEvent.SIZE)
