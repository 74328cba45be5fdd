"""Workloads of a single thread: a body takes its worker and returns the number of its calls.

Written in the dialect. Several threads can run the same body at once, each with its own blocks.
"""

from __future__ import annotations

from heapwright.layout import NULL
from heapwright.native.jobs.bench_job import DRAWS
from heapwright.native.jobs.workloads import empty, fill, give, grow, pick, pick_size, replace, slot_at, take


def pairs(worker):
    """One block at a time, of one size."""
    size, rounds = worker.job.minimum, worker.job.rounds
    for _ in range(rounds):
        give(take(size))
    return 2 * rounds


def lifo(worker):
    """Allocate a batch, and free the last block first."""
    rounds, blocks = worker.job.rounds, worker.job.blocks
    for _ in range(rounds):
        fill_all(worker)
        for i in range(blocks):
            empty(slot_at(worker, blocks - 1 - i))
    return 2 * rounds * blocks


def fifo(worker):
    """Allocate a batch, and free the first block first."""
    rounds, blocks = worker.job.rounds, worker.job.blocks
    for _ in range(rounds):
        fill_all(worker)
        for i in range(blocks):
            empty(slot_at(worker, i))
    return 2 * rounds * blocks


def fill_all(worker):
    """Allocate a block of a random size for each slot."""
    for i in range(worker.job.blocks):
        fill(slot_at(worker, i), pick_size(worker))


def random_set(worker):
    """A live set in which a random block is replaced by one of a random size."""
    rounds = worker.job.rounds
    for _ in range(rounds):
        replace(slot_at(worker, pick(worker, worker.job.blocks)), pick_size(worker))
    return 2 * rounds


def vectors(worker):
    """Several vectors, each doubled until it would be too long and then started anew."""
    rounds = worker.job.rounds
    for _ in range(rounds):
        slot = slot_at(worker, pick(worker, worker.job.blocks))
        if slot.block == NULL or slot.size * 2 > worker.job.maximum:
            replace(slot, worker.job.minimum)
        else:
            grow(slot, slot.size * 2)
    return rounds


def strings(worker):
    """Several strings, each extended by a few letters at a time until it is long and then started anew."""
    rounds = worker.job.rounds
    for _ in range(rounds):
        slot = slot_at(worker, pick(worker, worker.job.blocks))
        if slot.block == NULL or slot.size + 32 > worker.job.maximum:
            replace(slot, worker.job.minimum)
        else:
            grow(slot, slot.size + 1 + pick(worker, 32))
    return rounds


def production(worker):
    """A steady state with the rates and lifetimes of the job's distribution."""
    job = worker.job
    for i in range(job.sizes):
        fill_row(worker, job.rows[i])
    for _ in range(job.rounds):
        row = job.rows[job.draws[pick(worker, DRAWS)]]
        replace(slot_at(worker, row.first + pick(worker, row.blocks)), row.size)
    return 2 * job.rounds + job.blocks


def fill_row(worker, row):
    """Allocate the live blocks of one size."""
    for i in range(row.blocks):
        fill(slot_at(worker, row.first + i), row.size)
