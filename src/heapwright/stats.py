"""One set of numbers for any heap in any world.

`survey(heap, stats)` fills them in: the kernel's account from the memory, free and used stretches from a walk
of what sbrk gave in one piece (what lies elsewhere counts as used: mapped memory, and what sbrk gave before the
program moved the break), and, under the `counted` layer, exact live bytes and calls, of all blocks and of each class
of sizes.
"""

from __future__ import annotations

from heapwright.bits import MOST, ceil_log2
from heapwright.layout import Array, Inline, Struct, Word
from heapwright.spans import FREE, UNUSED, USED

CLASSES = 28  # to 16 bytes, 32, 64 ... 1 GiB, and more than that
LEAST = 16


class SizeClass(Struct):
    """The blocks of more bytes than the class before has, and of `size` at most."""

    size: Word  # the last one's has no bound: it is the largest number there is
    live_blocks: Word
    live_bytes: Word
    requests: Word  # that a block of the class served: of alloc, and of realloc


class Stats(Struct):
    live_bytes: Word  # counted: usable bytes; else bytes of used stretches
    live_blocks: Word
    peak_bytes: Word  # the most live bytes at one time; 0 if not counted
    heap_bytes: Word  # held from the kernel now
    peak_heap_bytes: Word
    free_bytes: Word
    largest_free: Word  # bytes of the largest free stretch
    allocs: Word  # calls, 0 if not counted
    deallocs: Word
    reallocs: Word
    failures: Word
    growths: Word  # times the kernel gave memory
    shrinks: Word  # times it got memory back
    decommits: Word  # times it got back the frames of pages that stay mapped
    classes: Array[Inline[SizeClass], CLASSES]  # all zero if not counted


def begin(memory, stats):
    """The kernel's account, and nothing walked yet."""
    memory.fill(stats.address, Stats.SIZE, 0)
    stats.heap_bytes = memory.held()
    stats.peak_heap_bytes = memory.most_held()
    stats.growths = memory.growths()
    stats.shrinks = memory.shrinks()
    stats.decommits = memory.decommits()
    stats.live_bytes = stats.heap_bytes - (memory.stretch_end() - memory.piece_start())


def add_span(stats, size, kind):
    """Count one span of a walk: its bytes, and its kind as `heapwright.spans` names them."""
    if kind == USED:
        stats.live_bytes += size
        stats.live_blocks += 1
    elif kind in (FREE, UNUSED):
        stats.free_bytes += size
        stats.largest_free = max(stats.largest_free, size)


# --- classes of sizes


def class_of(size):
    """The class of a block of `size` bytes."""
    return min(ceil_log2((max(size, 1) - 1) // LEAST + 1), CLASSES - 1)


def size_of_class(i):
    """The most bytes of a block of a class."""
    return LEAST << i if i < CLASSES - 1 else MOST


# --- peaks


def raise_to(cell, value):
    """Let an atomic cell hold at least `value`, whatever other threads raise it to."""
    most = cell.load()
    while value > most and not cell.compare_exchange(most, value):
        most = cell.load()
