"""One event of a job, done: what every pass of the replayer shares."""

from __future__ import annotations

from heapwright.layout import NULL, Struct, Word
from heapwright.native import c
from heapwright.traces.events import ALLOC, ALLOC_ZEROED, DEALLOC


class Slot(Struct):
    """Where a live block's address is kept."""

    block: Word


class Size(Struct):
    """What the block of a slot was asked for with, in bytes."""

    asked: Word


def request(event, old):
    """Make the request of one event; `old` is what a realloc is given. The new address, or 0."""
    if event.op == ALLOC:
        return c.malloc(event.size) if event.log2_align == 0 else c.memalign(1 << event.log2_align, event.size)
    if event.op == ALLOC_ZEROED:
        return c.calloc(1, event.size)
    return c.realloc(old, event.size)


def step(event, slot):
    """Do what one event says; the address of the block that it made, or 0."""
    if event.op == DEALLOC:
        if event.slot >= 0:
            c.free(slot.block)
            slot.block = NULL
        return NULL
    if event.op > DEALLOC:
        return NULL
    made = request(event, slot.block)
    if made != NULL:
        slot.block = made
    return made


def free_all(job, slots):
    """Free what the events left behind, so that the next pass finds the slots empty."""
    for i in range(job.slots):
        slot = Slot(job.memory, slots + i * Slot.SIZE)
        if slot.block != NULL:
            c.free(slot.block)
            slot.block = NULL
