"""The cold pass: the only one of a fresh process. It writes every byte that a request adds.

The processor clock covers all of it but the reading of events, in user and kernel mode. So the time includes page
faults, the zeroing of pages, the calls that map and unmap memory, and the writes of the payload.
"""

from __future__ import annotations

from heapwright.layout import NULL
from heapwright.native import c
from heapwright.native.jobs.replay_events import window_end
from heapwright.native.jobs.replay_step import Size, Slot, asked_before, resident_table, step
from heapwright.native.runtime.linux import CPU_TIME
from heapwright.native.runtime.process_facts import page_faults
from heapwright.traces.flat import FlatEvent

PAYLOAD = 0xA5  # what the program writes


def cold_pass(job, window, slots):
    """Do all events, write to the blocks, and record time and page faults. Blocks that remain are not freed."""
    sizes = resident_table(job, Size.SIZE)
    faults = page_faults()
    first, end = 0, -1
    while end != job.events:
        end = window_end(job, window, first)
        began = c.nanoseconds(CPU_TIME)
        cold_window(job.memory, window.events, end - first, slots, sizes)
        job.cold_nanoseconds += c.nanoseconds(CPU_TIME) - began
        first = end
    job.cold_faults = page_faults() - faults


def cold_window(memory, events, count, slots, sizes):
    """Do some events in a row, and write to the blocks."""
    for i in range(count):
        event = FlatEvent(memory, events + i * FlatEvent.SIZE)
        slot = Slot(memory, slots + event.slot * Slot.SIZE)
        cold_step(event, slot, Size(memory, sizes + event.slot * Size.SIZE))


def cold_step(event, slot, size):
    """Do one event, and write the bytes that it added to its block."""
    before = asked_before(slot, size)
    made = step(event, slot)
    if made != NULL:
        size.asked = event.size
        if event.size > before:
            slot.memory.fill(made + before, event.size - before, PAYLOAD)
