"""A replay in windows that logs the address of each event's block, of whatever malloc the process has.

The job file has a head, a table of slots, a window of flat events, and the address of each of them. The worker does the
events of a window, says so with a byte on its standard output, and waits for a byte on its standard input. So the lab
may read the addresses, look at the standing process and fill in the next window; a trace need not fit into memory.
Every page of every payload is touched. All tables lie in the file, so the worker's anonymous memory is the heap's.
"""

from __future__ import annotations

from heapwright.layout import NULL, Inline, Struct, Word
from heapwright.native import c
from heapwright.native.jobs.claim import Claim
from heapwright.native.jobs.origin import Letter, require
from heapwright.native.jobs.replay_step import Slot, step
from heapwright.native.jobs.replayer import touch
from heapwright.native.runtime.linux import OPEN_TO_WRITE, POPULATE, READ_WRITE, SHARED
from heapwright.traces.flat import FlatEvent

STANDARD_INPUT, STANDARD_OUTPUT = 0, 1


class Job(Struct):
    claim: Inline[Claim]
    slots: Word  # in the table, which has one more at its start, for NO_SLOT
    capacity: Word  # events for which a window has room
    count: Word  # events in the present window


class Address(Struct):
    """Where the block of one event is: of a block that it made, or that it frees; 0 if there is none."""

    block: Word


def log_addresses():
    """Map the job that the environment names, do its windows, and end the process."""
    path = c.getenv(c.text("HEAPWRIGHT_JOB"))
    if path == 0:
        return 0
    file = c.c_open(path, OPEN_TO_WRITE, 0)
    job = Job(c.process_memory(), c.mmap(0, Job.SIZE, READ_WRITE, SHARED, file, 0))
    require(job.claim)
    slots = c.mmap(0, size_of(job), READ_WRITE, SHARED | POPULATE, file, 0) + Job.SIZE + Slot.SIZE
    while is_next_window_there():
        do_window(job, slots, slots + job.slots * Slot.SIZE)
    c.exit_now(0)
    return 0


def size_of(job):
    """The bytes of the whole file."""
    return Job.SIZE + (job.slots + 1) * Slot.SIZE + job.capacity * (FlatEvent.SIZE + Address.SIZE)


def is_next_window_there():
    """Say that a window is done, and wait for the next one. False if the lab has closed the pipe."""
    letter = c.on_stack(Letter)
    c.c_write(STANDARD_OUTPUT, letter.address, 1)
    return c.c_read(STANDARD_INPUT, letter.address, 1) == 1


def do_window(job, slots, events):
    """Do the events of a window and log where their blocks are."""
    memory = job.memory
    addresses = events + job.capacity * FlatEvent.SIZE
    for i in range(job.count):
        event = FlatEvent(memory, events + i * FlatEvent.SIZE)
        slot = Slot(memory, slots + event.slot * Slot.SIZE)
        Address(memory, addresses + i * Address.SIZE).block = logged_step(event, slot)


def logged_step(event, slot):
    """Do one event and touch the block that it makes. Returns where its block is, or was before it was freed."""
    before = slot.block
    made = step(event, slot)
    if made != NULL:
        touch(slot.memory, made, event.size)
        return made
    return before if slot.block == NULL else NULL
