"""A pass that times each call separately, in cycles of the processor's clock.

The clock is read right before and after the call, and each read waits until all earlier instructions are done. So the
time contains all of the call's own work and nothing of the code that selects the call. Each figure includes the cost
of two reads. That cost is measured and reported, and not subtracted.
"""

from __future__ import annotations

from heapwright.layout import NULL
from heapwright.native import c
from heapwright.native.intrinsics import cycles
from heapwright.native.jobs.histogram import count
from heapwright.native.jobs.replay_events import event_in, window_end
from heapwright.native.jobs.replay_step import Slot, free_all
from heapwright.native.runtime.linux import STEADY
from heapwright.traces.events import ALLOC_ZEROED, DEALLOC, REALLOC

READS = 10_000  # of the clock, to learn what they cost


def time_calls(job, window, slots):
    """Time each call of one pass, and the whole pass by both clocks, which gives the length of a cycle."""
    began, first = c.nanoseconds(STEADY), cycles()
    time_nothing(job.reads)
    latency_pass(job, window, slots)
    job.cycles = cycles() - first
    job.cycles_nanoseconds = c.nanoseconds(STEADY) - began
    free_all(job, slots)


def time_nothing(histogram):
    """Read the clock twice in a row, many times."""
    for _ in range(READS):
        began = cycles()
        count(histogram, cycles() - began)


def latency_pass(job, window, slots):
    """Do all events, and count the cycles of each call."""
    memory = job.memory
    for i in range(job.events):
        window_end(job, window, i)
        event = event_in(window, memory, i)
        slot = Slot(memory, slots + event.slot * Slot.SIZE)
        if event.op < DEALLOC:
            made, took = timed_request(event, slot.block)
            count(job.gives, took)
            if made != NULL:
                slot.block = made
        elif event.op == DEALLOC and event.slot >= 0:
            count(job.frees, timed_free(slot.block))
            slot.block = NULL


def timed_free(block):
    """Free a block. Returns the cycles."""
    began = cycles()
    c.free(block)
    return cycles() - began


def timed_request(event, old):
    """Make the request of one event, as in the other passes. Returns the new address, or 0, and the cycles."""
    if event.op == REALLOC:
        return timed_realloc(old, event.size)
    if event.op == ALLOC_ZEROED:
        return timed_calloc(event.size)
    if event.log2_align == 0:
        return timed_malloc(event.size)
    return timed_memalign(1 << event.log2_align, event.size)


def timed_malloc(size):
    """The result of malloc, and its cycles."""
    began = cycles()
    made = c.malloc(size)
    return made, cycles() - began


def timed_calloc(size):
    """The result of calloc, and its cycles."""
    began = cycles()
    made = c.calloc(1, size)
    return made, cycles() - began


def timed_memalign(align, size):
    """The result of memalign, and its cycles."""
    began = cycles()
    made = c.memalign(align, size)
    return made, cycles() - began


def timed_realloc(old, size):
    """The result of realloc, and its cycles."""
    began = cycles()
    made = c.realloc(old, size)
    return made, cycles() - began
