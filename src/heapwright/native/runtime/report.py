"""What a compiled heap says of itself: mallinfo2, malloc_stats, malloc_info, and a record at exit.

Written in the dialect over `inner`, like the C face, but native only: it prints and stops the world. The
numbers are those of `heapwright.stats`; `uordblks` is live bytes, `fordblks` free bytes, `arena` and `hblkhd`
what sbrk and mmap gave.
"""

from __future__ import annotations

from heapwright.layers import inner
from heapwright.layout import Inline, Struct, Word
from heapwright.native import c
from heapwright.native.runtime.linux import OPEN_TO_APPEND, OWNERS_ALONE
from heapwright.native.runtime.mallinfo import Mallinfo, Mallinfo2, Words
from heapwright.stats import Stats

Heap = inner.Heap
MOST_INT = (1 << 31) - 1
STANDARD_ERROR = 0


class Record(Struct):
    """What a process leaves at its exit: the file `heapwright run --stats` reads."""

    pid: Word
    stats: Inline[Stats]


def mallinfo2(heap, place):
    """Fill in a Mallinfo2 at `place`, in bytes, and answer `place`: C returns the struct through it."""
    stats = c.on_stack(Stats)
    inner.survey(heap, stats)
    info = Mallinfo2(heap.memory, place)
    heap.memory.fill(place, Mallinfo2.SIZE, 0)
    info.arena = heap.memory.stretch_end() - heap.memory.piece_start()
    info.hblkhd = stats.heap_bytes - info.arena
    info.usmblks = stats.peak_bytes
    info.uordblks = stats.live_bytes
    info.fordblks = stats.free_bytes
    return place


def mallinfo(heap, place):
    """The same in ints; what is too large for one is the largest int."""
    wide = c.on_stack(Mallinfo2)
    mallinfo2(heap, wide.address)
    numbers = Mallinfo(heap.memory, place).numbers
    words = Words(heap.memory, wide.address).words
    for i in range(len(numbers)):
        numbers[i] = min(words[i], MOST_INT)
    return place


def malloc_stats(heap):
    """Print a few numbers to standard error, without a buffer: no memory is asked for."""
    stats = c.on_stack(Stats)
    inner.survey(heap, stats)
    c.say(STANDARD_ERROR, "heap bytes      = %12ld\n", stats.heap_bytes)
    c.say(STANDARD_ERROR, "live bytes      = %12ld\n", stats.live_bytes)
    c.say(STANDARD_ERROR, "live blocks     = %12ld\n", stats.live_blocks)
    c.say(STANDARD_ERROR, "free bytes      = %12ld\n", stats.free_bytes)
    c.say(STANDARD_ERROR, "largest free    = %12ld\n", stats.largest_free)
    c.say(STANDARD_ERROR, "peak heap bytes = %12ld\n", stats.peak_heap_bytes)


def malloc_info(heap, options, file):
    """glibc's XML in its outline; only options 0 exists."""
    if options << 32 != 0:
        return -1
    stats = c.on_stack(Stats)
    inner.survey(heap, stats)
    c.say(file, '<malloc version="1">\n<heap nr="0">\n<total type="rest" count="1" size="%ld"/>\n', stats.free_bytes)
    c.say(file, '<system type="current" size="%ld"/>\n', stats.heap_bytes)
    c.say(file, '<system type="max" size="%ld"/>\n', stats.peak_heap_bytes)
    c.say(file, '</heap>\n<total type="live" size="%ld"/>\n</malloc>\n', stats.live_bytes)
    return 0


def stats(heap, place):
    """Fill in the Stats at `place`."""
    inner.survey(heap, Stats(heap.memory, place))
    return 0


def leave_record(heap):
    """At exit: append a record to the file that the environment names, if it names one."""
    path = c.getenv(c.text("HEAPWRIGHT_STATS"))
    if path != 0:
        record = c.on_stack(Record)
        record.pid = c.getpid()
        inner.survey(heap, record.stats)
        append(path, record.address, Record.SIZE)
    return 0


def append(path, address, size):
    """Append bytes to a file in one write, so that processes do not mix."""
    file = c.c_open(path, OPEN_TO_APPEND, OWNERS_ALONE)
    c.c_write(file, address, size)
    c.c_close(file)
