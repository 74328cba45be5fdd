"""Replays a job inside a fresh process, before its `main`: whatever malloc the process has is what is measured.

Written in the dialect. The library is preloaded beside the allocator's into a program that does nothing. One pass
touches every page of every payload and measures memory; then the clock runs over passes that touch nothing, so
that pages are there already and what is timed is the allocator. Leftovers are freed outside the clock.
"""

from __future__ import annotations

from heapwright.layout import NULL, Array, Byte, Struct, Word
from heapwright.native import c
from heapwright.native.mallinfo import Mallinfo2
from heapwright.native.runtime import PRIVATE_ANONYMOUS, PROT_READ_WRITE
from heapwright.stats import Stats
from heapwright.traces.events import ALLOC, ALLOC_ZEROED, DEALLOC, REALLOC
from heapwright.traces.flat import FlatEvent

PAGE = 4096
PRIVATE_POPULATED = 0x8002
SHARED, READ_WRITE = 1, 2


class Job(Struct):
    """The head of the job's file; the events follow it. The results are written into it."""

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
    nanoseconds: Array[Word, 64]


class Slots(Struct):
    """One block's address for each slot."""

    block: Word


class Text(Struct):
    letters: Array[Byte, 4096]


# --- one pass


def request(event, old):
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


def timed_pass(job, events, slots):
    memory = job.memory
    for i in range(job.events):
        event = FlatEvent(memory, events + i * FlatEvent.SIZE)
        step(event, Slots(memory, slots + event.slot * 8))


def measured_pass(job, events, slots):
    memory = job.memory
    for i in range(job.events):
        event = FlatEvent(memory, events + i * FlatEvent.SIZE)
        made = step(event, Slots(memory, slots + event.slot * 8))
        if made != NULL:
            touch(memory, made, event.size)
        elif event.op <= REALLOC:
            job.failures += 1
        if job.sample != 0 and i % job.sample == 0:
            job.heap_peak = max(job.heap_peak, heap_bytes())


def touch(memory, address, size):
    """Write to each page of a block."""
    for offset in range(0, size, PAGE):
        memory.fill(address + offset, 1, 1)
    if size > 0:
        memory.fill(address + size - 1, 1, 1)


def free_all(job, slots):
    for i in range(job.slots):
        slot = Slots(job.memory, slots + i * 8)
        if slot.block != NULL:
            c.free(slot.block)
            slot.block = NULL


# --- what is measured


def heap_bytes():
    """What the C library's malloc holds from the kernel."""
    info = Mallinfo2(c.process_memory(), c.scratch())
    c.mallinfo2(info.address)
    return info.arena + info.hblkhd


def resident_peak():
    """The most bytes that were resident so far: VmHWM of /proc/self/status; ru_maxrss survives exec."""
    text = Text(c.process_memory(), c.page())
    file = c.c_open(c.text("/proc/self/status"), 0, 0)
    size = c.c_read(file, text.address, PAGE)
    c.c_close(file)
    place = 0
    while place < size - 8 and not is_label(text, place):
        place += 1
    return number_at(text, place + 6) * 1024


def is_label(text, place):
    """Whether `VmHWM:` stands at a place."""
    letters = text.letters
    return letters[place] == 86 and letters[place + 2] == 72 and letters[place + 3] == 87 and letters[place + 4] == 77


def number_at(text, place):
    """The first decimal number from a place on."""
    while not is_digit(text.letters[place]):
        place += 1
    number = 0
    while is_digit(text.letters[place]):
        number = number * 10 + text.letters[place] - 48
        place += 1
    return number


def is_digit(letter):
    return 48 <= letter <= 57


# --- the job


def replay():
    """Map the job that the environment names, do it, and end the process."""
    path = c.getenv(c.text("HEAPWRIGHT_REPLAY"))
    if path == 0:
        return 0
    file = c.c_open(path, READ_WRITE, 0)
    job = Job(c.process_memory(), c.mmap(0, PAGE, PROT_READ_WRITE, SHARED, file, 0))
    size = Job.SIZE + job.events * FlatEvent.SIZE
    events = c.mmap(0, size, PROT_READ_WRITE, PRIVATE_POPULATED, file, 0) + Job.SIZE
    slots = c.mmap(0, job.slots * 8 + PAGE, PROT_READ_WRITE, PRIVATE_ANONYMOUS, -1, 0)
    job.memory.fill(slots, job.slots * 8 + PAGE, 0)
    measure(job, events, slots + 8)
    clock(job, events, slots + 8)
    c.exit_now(0)
    return 0


def measure(job, events, slots):
    job.heap_before = heap_bytes() if job.sample != 0 else 0
    job.resident_before = resident_peak()
    measured_pass(job, events, slots)
    job.resident_peak = resident_peak()
    own_heap_peak(job)
    free_all(job, slots)


def own_heap_peak(job):
    """Our own libraries tell their peak exactly."""
    ask = c.dlsym(0, c.text("heapwright_stats"))
    if ask != 0:
        place = c.scratch()
        c.call(ask, place)
        job.heap_peak = Stats(job.memory, place).peak_heap_bytes


def clock(job, events, slots):
    spent = 0
    while job.done < job.rounds and (job.done == 0 or spent < job.budget):
        began = c.nanoseconds(c.STEADY)
        timed_pass(job, events, slots)
        job.nanoseconds[job.done] = c.nanoseconds(c.STEADY) - began
        spent += job.nanoseconds[job.done]
        job.done += 1
        free_all(job, slots)
