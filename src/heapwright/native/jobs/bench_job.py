"""The bench's job file. The bench writes what to do; the worker process writes the results.

Both sides read it through these structs, so nothing here needs a compiler.
"""

from __future__ import annotations

from heapwright.layout import Array, Atomic, Byte, Inline, Struct, Word
from heapwright.native.jobs.claim import Claim

MAX_THREADS = 64
MAX_ROWS = 64
DRAWS = 8192
BATCHES = 16  # between a producer and its consumer
PER_BATCH = 63  # with its flag a batch fills whole slots

OUT_OF_MEMORY, CHANGED, NO_THREAD, NO_BODY = 71, 72, 73, 74  # exit statuses of a worker that gave up
GAVE_UP = {
    OUT_OF_MEMORY: "malloc returned null",
    CHANGED: "a live block's contents changed",
    NO_THREAD: "no thread could be started",
    NO_BODY: "there is no such body in the library",
}


class Worker(Struct):
    """One thread's part of the job."""

    job: Job
    number: Word
    core: Word  # to run on, also for the threads that it starts
    random: Word  # the generator's state, never 0
    slots: Word  # the address of its slots
    gift: Word  # a block that another thread allocated for it
    began: Word  # nanoseconds
    ended: Word
    operations: Word  # calls of malloc, realloc and free
    handle: Word
    child: Word  # the handle of the last thread that it started
    apart: Array[Word, 16]  # no two workers share a cache line


class Row(Struct):
    """One size of a distribution, and the slots that hold its live blocks."""

    size: Word
    first: Word
    blocks: Word


class Job(Struct):
    claim: Inline[Claim]
    body: Array[Byte, 64]  # the C name of what each thread does
    is_threaded: Word  # otherwise the main thread does it, in a process without other threads
    threads: Word
    rounds: Word  # of each thread
    minimum: Word  # bytes in a block
    maximum: Word
    blocks: Word  # slots of each thread
    sizes: Word  # rows in use
    entry: Word  # the address of `body`
    resident_before: Word  # bytes, the peak until then
    resident_peak: Word
    cpu: Word  # nanoseconds of all threads
    is_done: Word
    barrier: Array[Word, 4]  # a pthread_barrier_t
    workers: Array[Inline[Worker], MAX_THREADS]
    rows: Array[Inline[Row], MAX_ROWS]
    draws: Array[Byte, DRAWS]  # row numbers, all equally likely


class Slot(Struct):
    """Where a thread keeps a live block."""

    block: Word
    size: Word


class Cell(Struct):
    """A word of a payload."""

    word: Atomic[Word]


class Batch(Struct):
    """Blocks that one thread passes to another."""

    is_full: Atomic[Word]
    blocks: Array[Word, PER_BATCH]
