"""One event of a job: the code that all passes of the replayer share."""

from __future__ import annotations

from heapwright.layout import NULL, Struct, Word
from heapwright.native import c
from heapwright.native.runtime.linux import POPULATE, PRIVATE_ANONYMOUS, READ_WRITE
from heapwright.traces.events import ALLOC, ALLOC_ZEROED, DEALLOC


class Slot(Struct):
    """The place of a live block's address."""

    block: Word


class Size(Struct):
    """The requested size of a slot's block, in bytes."""

    asked: Word


def resident_table(job, row):
    """A table with a row for each of the job's slots, and one before the first for NO_SLOT. All pages are touched."""
    return c.mmap(0, (job.slots + 1) * row, READ_WRITE, PRIVATE_ANONYMOUS | POPULATE, -1, 0) + row


def asked_before(slot, size):
    """The requested bytes of a slot's block; 0 if there is no block."""
    return size.asked if slot.block != NULL else 0


def request(event, old):
    """Make the request of one event; `old` is the argument of a realloc. Returns the new address, or 0."""
    if event.op == ALLOC:
        return c.malloc(event.size) if event.log2_align == 0 else c.memalign(1 << event.log2_align, event.size)
    if event.op == ALLOC_ZEROED:
        return c.calloc(1, event.size)
    return c.realloc(old, event.size)


def step(event, slot):
    """Do one event. Returns the address of the block that it made, or 0."""
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
    """Free the remaining blocks, so that the next pass finds the slots empty."""
    for i in range(job.slots):
        slot = Slot(job.memory, slots + i * Slot.SIZE)
        if slot.block != NULL:
            c.free(slot.block)
            slot.block = NULL
