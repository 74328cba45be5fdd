"""The bench inside a fresh process, before its `main`. It measures whatever malloc the process has.

Written in the dialect, and preloaded with an allocator's library into a program that does nothing. The harness takes
its own memory from mmap and makes it resident before the clock starts. Each body does a fixed amount of work and
returns the number of its calls. The clock runs from the moment when all threads have met to the end of each thread.

Payloads are touched as programs do. The block's own address is written to its first word and to the first word of each
further page. Before the block is freed or moved, its first word is read and must be unchanged.
"""

from __future__ import annotations

from heapwright.bits import shift_right, wrapping_mul
from heapwright.layout import NULL, Array, Byte, Struct
from heapwright.native import c
from heapwright.native.jobs.bench_job import (
    CHANGED,
    NO_BODY,
    NO_THREAD,
    OUT_OF_MEMORY,
    Cell,
    Job,
    Slot,
    Worker,
)
from heapwright.native.jobs.origin import require
from heapwright.native.runtime.linux import (
    CPU_TIME,
    OPEN_TO_WRITE,
    PAGE,
    POPULATE,
    PRIVATE_ANONYMOUS,
    READ_WRITE,
    SHARED,
    STEADY,
)
from heapwright.native.runtime.process_facts import resident_peak

GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)  # odd, so that no two workers begin with the same state
MULTIPLIER = 0x2545F4914F6CDD1D


class Cores(Struct):
    """A cpu_set_t."""

    bits: Array[Byte, 128]


# --- blocks


def take(size):
    """Allocate a block of at least 8 bytes and write to it."""
    address = c.malloc(size)
    if address == NULL:
        c.exit_now(OUT_OF_MEMORY)
    touch(address, 0, size)
    return address


def give(address):
    """Free a block that still holds what `take` wrote."""
    expect(address, address)
    c.free(address)


def touch(address, start, size):
    """Write the first word, and that of each page from `start` on."""
    memory = c.process_memory()
    Cell(memory, address).word.store(address)
    for offset in range(start + PAGE, size - 7, PAGE):
        Cell(memory, address + offset).word.store(address)


def expect(address, word):
    """End the process if a block's first word is not the one that was written to it."""
    if Cell(c.process_memory(), address).word.load() != word:
        c.exit_now(CHANGED)


# --- slots


def slot_at(worker, index):
    """A worker's slot by its index."""
    return Slot(worker.memory, worker.slots + index * Slot.SIZE)


def fill(slot, size):
    """Allocate a block for an empty slot."""
    slot.block = take(size)
    slot.size = size


def empty(slot):
    """Free a slot's block."""
    give(slot.block)
    slot.block = NULL


def replace(slot, size):
    """Free what the slot holds, if anything, and allocate anew."""
    if slot.block != NULL:
        give(slot.block)
    fill(slot, size)


def grow(slot, size):
    """Make the slot's block larger; it may move."""
    old = slot.block
    expect(old, old)
    slot.block = c.realloc(old, size)
    if slot.block == NULL:
        c.exit_now(OUT_OF_MEMORY)
    expect(slot.block, old)
    touch(slot.block, slot.size, size)
    slot.size = size


# --- random numbers


def pick(worker, n):
    """A number below n, which is at most 2**31: xorshift64*, G. Marsaglia (2003), S. Vigna (2016)."""
    state = worker.random
    state ^= shift_right(state, 12)
    state ^= wrapping_mul(state, 1 << 25)
    state ^= shift_right(state, 27)
    worker.random = state
    return (shift_right(wrapping_mul(state, MULTIPLIER), 33) * n) >> 31


def pick_size(worker):
    """A random size between the job's minimum and maximum."""
    job = worker.job
    return job.minimum + pick(worker, job.maximum - job.minimum + 1)


# --- threads


def meet(job):
    """Wait until every worker is here."""
    c.pthread_barrier_wait(job.barrier.address)


def start(place, body, worker):
    """Start a thread and leave its handle at `place`."""
    if c.pthread_create(place, NULL, body, worker.address) != 0:
        c.exit_now(NO_THREAD)


def run_child(worker, body):
    """A thread that lives as long as one call of `body`."""
    start(worker.address + Worker.child.offset, body, worker)
    c.pthread_join(worker.child, NULL)


def thread(worker):
    """The main function of each of the job's threads, on its own core if there are enough."""
    pin(worker.core)
    meet(worker.job)
    work(worker)
    return 0


def pin(core):
    """Pin the thread to a core. Otherwise short-lived threads (0.1 s) may share one core while others are idle."""
    cores = c.on_stack(Cores)
    cores.memory.fill(cores.address, Cores.SIZE, 0)
    cores.bits[core >> 3] = 1 << (core & 7)
    c.sched_setaffinity(0, Cores.SIZE, cores.address)


def work(worker):
    """Do a worker's rounds and time them."""
    worker.began = c.nanoseconds(STEADY)
    worker.operations = c.call(worker.job.entry, worker.address)
    worker.ended = c.nanoseconds(STEADY)


# --- the job


def bench():
    """Map the job that the environment names, do it, and end the process."""
    path = c.getenv(c.text("HEAPWRIGHT_JOB"))
    if path == 0:
        return 0
    file = c.c_open(path, OPEN_TO_WRITE, 0)
    job = Job(c.process_memory(), c.mmap(0, Job.SIZE, READ_WRITE, SHARED, file, 0))
    require(job.claim)
    prepare(job)
    before = c.nanoseconds(CPU_TIME)
    job.resident_before = resident_peak()
    do(job)
    job.resident_peak = resident_peak()
    job.cpu = c.nanoseconds(CPU_TIME) - before
    job.is_done = 1
    c.exit_now(0)
    return 0


def prepare(job):
    """Find the body, give each worker its slots and its random state, and set up the barrier."""
    job.entry = c.dlsym(0, job.body.address)
    if job.entry == NULL:
        c.exit_now(NO_BODY)
    size = job.blocks * Slot.SIZE
    slots = c.mmap(0, size * job.threads + PAGE, READ_WRITE, PRIVATE_ANONYMOUS | POPULATE, -1, 0)
    if slots == -1:
        c.exit_now(OUT_OF_MEMORY)
    for i in range(job.threads):
        worker = job.workers[i]
        worker.job = job
        worker.number = i
        worker.random = wrapping_mul(i + 1, GOLDEN)
        worker.slots = slots + i * size
    c.pthread_barrier_init(job.barrier.address, NULL, job.threads)


def do(job):
    """Have the main thread, or as many threads as the job says, do the work."""
    if job.is_threaded == 0:
        work(job.workers[0])
        return
    body = c.dlsym(0, c.text("heapwright_bench_thread"))
    for i in range(job.threads):
        worker = job.workers[i]
        start(worker.address + Worker.handle.offset, body, worker)
    for i in range(job.threads):
        c.pthread_join(job.workers[i].handle, NULL)
