"""A pass in which each call is timed by itself, in cycles of the processor's clock.

The clock is read around the call alone, and each read waits until all before it is done: a call's own work does not
leak out of its time, nor the choice of the call into it. What two reads cost is in every figure; it is measured
and told, and nothing is subtracted.
"""

from __future__ import annotations

from heapwright.layout import NULL
from heapwright.native import c
from heapwright.native.intrinsics import cycles
from heapwright.native.runtime.histogram import count
from heapwright.native.runtime.linux import STEADY
from heapwright.native.runtime.replay_step import Slot, free_all
from heapwright.traces.events import ALLOC_ZEROED, DEALLOC, REALLOC
from heapwright.traces.flat import FlatEvent

READS = 10_000  # of the clock, to learn what they cost


def time_calls(job, events, slots):
    """Time each call of one pass, and the whole of it by both clocks: that is what a cycle is in nanoseconds."""
    began, first = c.nanoseconds(STEADY), cycles()
    time_nothing(job.reads)
    latency_pass(job, events, slots)
    job.cycles = cycles() - first
    job.cycles_nanoseconds = c.nanoseconds(STEADY) - began
    free_all(job, slots)


def time_nothing(histogram):
    """Read the clock twice in a row, often."""
    for _ in range(READS):
        began = cycles()
        count(histogram, cycles() - began)


def latency_pass(job, events, slots):
    """Do what the events say, and count how long each call took."""
    memory = job.memory
    for i in range(job.events):
        event = FlatEvent(memory, events + i * FlatEvent.SIZE)
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
    """Free a block; the cycles it took."""
    began = cycles()
    c.free(block)
    return cycles() - began


def timed_request(event, old):
    """The request of one event, as the other passes make it: the new address, or 0, and the cycles it took."""
    if event.op == REALLOC:
        return timed_realloc(old, event.size)
    if event.op == ALLOC_ZEROED:
        return timed_calloc(event.size)
    if event.log2_align == 0:
        return timed_malloc(event.size)
    return timed_memalign(1 << event.log2_align, event.size)


def timed_malloc(size):
    """malloc's answer, and its cycles."""
    began = cycles()
    made = c.malloc(size)
    return made, cycles() - began


def timed_calloc(size):
    """calloc's answer, and its cycles."""
    began = cycles()
    made = c.calloc(1, size)
    return made, cycles() - began


def timed_memalign(align, size):
    """memalign's answer, and its cycles."""
    began = cycles()
    made = c.memalign(align, size)
    return made, cycles() - began


def timed_realloc(old, size):
    """realloc's answer, and its cycles."""
    began = cycles()
    made = c.realloc(old, size)
    return made, cycles() - began
