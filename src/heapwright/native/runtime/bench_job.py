"""The bench's job file: what to do, written from outside; what it took, written by the process that did it.

Both sides read it through these structs, so nothing here needs a compiler.
"""

from __future__ import annotations

from heapwright.layout import Array, Atomic, Byte, Inline, Struct, Word

MOST_THREADS = 64
MOST_ROWS = 64
DRAWS = 8192
BATCHES = 16  # between a producer and its consumer
PER_BATCH = 63  # with its flag a batch fills whole slots

OUT_OF_MEMORY, CHANGED, NO_THREAD, NO_BODY = 71, 72, 73, 74  # statuses of a process that gave up
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
    core: Word  # to run on, with every thread that it starts
    random: Word  # the generator's state, never 0
    slots: Word  # the address of its slots
    gift: Word  # a block that another thread allocated for it
    began: Word  # nanoseconds
    ended: Word
    operations: Word  # calls of malloc, realloc and free
    handle: Word
    child: Word  # the handle of the thread that it started last
    apart: Array[Word, 16]  # no two workers share a cache line


class Row(Struct):
    """One size of a distribution, and the slots that hold its live blocks."""

    size: Word
    first: Word
    blocks: Word


class Job(Struct):
    body: Array[Byte, 64]  # the C name of what each thread does
    is_threaded: Word  # else the main thread does it, in a process that never has another
    threads: Word
    rounds: Word  # of each thread
    least: Word  # bytes, of one block
    most: Word
    blocks: Word  # slots of each thread
    sizes: Word  # rows in use
    entry: Word  # the address of `body`
    resident_before: Word  # bytes, the most until then
    resident_peak: Word
    cpu: Word  # nanoseconds, of all threads
    is_done: Word
    barrier: Array[Word, 4]  # a pthread_barrier_t
    workers: Array[Inline[Worker], MOST_THREADS]
    rows: Array[Inline[Row], MOST_ROWS]
    draws: Array[Byte, DRAWS]  # each as likely as the next: a row's number


class Slot(Struct):
    """Where a thread keeps a live block."""

    block: Word
    size: Word


class Cell(Struct):
    """A word of a payload."""

    word: Atomic[Word]


class Batch(Struct):
    """Blocks on their way from one thread to another."""

    is_full: Atomic[Word]
    blocks: Array[Word, PER_BATCH]
