"""Who gets which chunk: a thread takes a ticket, and waits until the collector has put a chunk into the ticket's slot.

Written in the dialect. A thread gives up after a second in which the collector did nothing. Where thousands wait, they
sleep between two looks, because they would otherwise take the processor from the collector. A process of one thread
only looks, because it may be in a sandbox that forbids to sleep. Where there are more threads, the C library's locks
need the same system call.
"""

from __future__ import annotations

from heapwright.layout import Struct, Word
from heapwright.native import c
from heapwright.native.runtime.linux import FUTEX, FUTEX_WAIT
from heapwright.traces.raw import LATE, SLOTS, TICKET, Slot

NO_CHUNK = -1
INDEX = (1 << TICKET) - 1  # the bits of a slot that name its chunk
SECOND = 3 << 30  # ticks of the processor's clock, roughly
PATIENCE = 1 << 25  # looks of a thread that does not sleep, with a pause after each: about a second
AWAKE = 1 << 6  # looks before the first sleep; each sleep is a millisecond longer than the one before
FEWEST = AWAKE + 44  # looks: these sleeps add up to a second, and where thousands wait, each takes longer
FEWEST_AWAKE = 1 << 20  # the same for a thread that does not sleep: some 50 ms of the processor's time
LONGEST = 30  # seconds: while the collector makes passes, others may be first
MILLISECOND = 1_000_000  # ns


class Timeout(Struct):
    """C's struct timespec."""

    seconds: Word
    nanoseconds: Word


def next_index(header, has_clock, may_sleep):
    """The index of a free chunk, or NO_CHUNK. Takes tickets, and waits for the collector if necessary."""
    ticket, first, beats = header.tickets.add(1), moment(has_clock), header.beats.load()
    began, fewest = first, FEWEST if may_sleep else FEWEST_AWAKE
    for look in range(PATIENCE):
        if header.stopped.load() != 0:
            return NO_CHUNK
        entry = Slot(header.memory, header.slots.at(ticket % SLOTS)).entry.load()
        if entry >> TICKET == ticket + 1:
            return entry & INDEX
        if entry >> TICKET > ticket:  # the thread was away so long that the slot has been filled anew
            ticket = header.tickets.add(1)
        if look > fewest and moment(has_clock) - began > SECOND:
            if header.beats.load() == beats or moment(has_clock) - first > LONGEST * SECOND:
                break
            began = moment(has_clock)
            beats = header.beats.load()
        pause(header, look - AWAKE if may_sleep else 0)
    give_up(header)
    return NO_CHUNK


def moment(has_clock):
    """The processor's clock, or 0 if it is not to be read."""
    return c.ticks() if has_clock else 0


def pause(header, milliseconds):
    """Sleep, or wait for about a hundred cycles if that is not above 0."""
    if milliseconds <= 0:
        header.memory.relax()
        return
    timeout = c.on_stack(Timeout)
    timeout.seconds = 0
    timeout.nanoseconds = milliseconds * MILLISECOND
    c.syscall(FUTEX, timeout.address, FUTEX_WAIT, 0, timeout.address, 0)  # nobody changes or wakes a word of the stack


def give_up(header):
    """End the recording: the collector is gone, or too slow. A run that may pause does, and counts no calls."""
    header.stopped.compare_exchange(0, LATE)
    phase = header.phase.load()
    if header.is_controlled and phase & 1 == 1:
        header.phase.compare_exchange(phase, phase + 1)
