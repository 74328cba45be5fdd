"""One set of numbers for any heap in any world.

`survey(heap, stats)` fills them in: the kernel's account from the memory, free and used stretches from a walk
of what sbrk gave (mapped memory counts as used), and, under the `counted` layer, exact live bytes and calls.
"""

from __future__ import annotations

from heapwright.layout import Struct, Word
from heapwright.spans import FREE, UNUSED, USED


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


def begin(memory, stats):
    """The kernel's account, and nothing walked yet."""
    memory.fill(stats.address, Stats.SIZE, 0)
    stats.heap_bytes = memory.held()
    stats.peak_heap_bytes = memory.most_held()
    stats.growths = memory.growths()
    stats.live_bytes = stats.heap_bytes - (memory.stretch_end() - memory.stretch_start())


def add_span(stats, size, kind):
    """Count one span of a walk: its bytes, and its kind as `heapwright.spans` names them."""
    if kind == USED:
        stats.live_bytes += size
        stats.live_blocks += 1
    elif kind in (FREE, UNUSED):
        stats.free_bytes += size
        stats.largest_free = max(stats.largest_free, size)
