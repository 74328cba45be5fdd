"""Workloads of several threads, which share blocks, pass them on or leave them behind.

Written in the dialect; see `heapwright.native.jobs.workloads_alone`.
"""

from __future__ import annotations

from heapwright.layout import NULL
from heapwright.native import c
from heapwright.native.jobs.bench_job import BATCHES, PER_BATCH, Batch, Cell
from heapwright.native.jobs.workloads import empty, give, meet, pick, pick_size, replace, run_child, slot_at, take

PER_GENERATION = 10_000  # blocks that one thread of the server replaces
KEEPS = 4  # a short-lived thread leaves every fourth block behind
WRITES = 100  # to each block that may share a cache line


# --- producer and consumer


def producer_consumer(worker):
    """Even threads allocate batches and odd ones free them, so every block is freed by another thread."""
    rounds = worker.job.rounds
    for i in range(rounds):
        if worker.number & 1 == 0:
            produce(worker, batch_at(worker, i))
        else:
            consume(batch_at(worker.job.workers[worker.number - 1], i))
    return rounds * PER_BATCH


def batch_at(worker, i):
    """The i-th batch of a producer, which uses its batches in turn."""
    return Batch(worker.memory, worker.slots + (i & (BATCHES - 1)) * Batch.SIZE)


def produce(worker, batch):
    """Fill a batch once it is empty."""
    wait_until(batch, 0)
    for i in range(PER_BATCH):
        batch.blocks[i] = take(pick_size(worker))
    batch.is_full.store(1)


def consume(batch):
    """Free a batch's blocks once it is full."""
    wait_until(batch, 1)
    for i in range(PER_BATCH):
        give(batch.blocks[i])
    batch.is_full.store(0)


def wait_until(batch, state):
    """Yield the processor until a batch is full (1) or empty (0)."""
    while batch.is_full.load() != state:
        c.sched_yield()


# --- threads that come and go


def server(worker):
    """Generations of threads: each replaces its predecessor's blocks at random and then passes its blocks on."""
    body = c.dlsym(0, c.text("heapwright_bench_generation"))
    for _ in range(worker.job.rounds):
        run_child(worker, body)
    return 2 * worker.job.rounds * PER_GENERATION


def generation(worker):
    """One thread of the server."""
    for _ in range(PER_GENERATION):
        replace(slot_at(worker, pick(worker, worker.job.blocks)), pick_size(worker))
    return 0


def churn(worker):
    """Many short-lived threads: each allocates a little, frees most of it, and leaves the rest to the next."""
    body = c.dlsym(0, c.text("heapwright_bench_short_life"))
    for _ in range(worker.job.rounds):
        run_child(worker, body)
    return 2 * worker.job.rounds * worker.job.blocks


def short_life(worker):
    """One thread of the churn."""
    blocks = worker.job.blocks
    for i in range(blocks):
        replace(slot_at(worker, i), pick_size(worker))
    for i in range(blocks):
        if i % KEEPS != 0:
            empty(slot_at(worker, i))
    return 0


# --- false sharing


def scratch(worker):
    """Passive false sharing: one thread allocates adjacent blocks; other threads free them and so reuse them."""
    job = worker.job
    if worker.number == 0:
        for i in range(job.threads):
            job.workers[i].gift = take(job.minimum)
    meet(job)
    give(worker.gift)
    return thrash(worker)


def thrash(worker):
    """Active false sharing: threads write to their blocks, which the allocator may have put in one cache line."""
    rounds, size = worker.job.rounds, worker.job.minimum
    for _ in range(rounds):
        address = take(size)
        write_often(address)
        give(address)
    return 2 * rounds


def write_often(address):
    """Write a block's first word repeatedly."""
    cell = Cell(c.process_memory(), address)
    for _ in range(WRITES):
        cell.word.store(NULL)
        cell.word.store(address)
