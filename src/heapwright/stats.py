"""The statistics of a heap, the same for every allocator in every world.

`survey(heap, stats)` fills them in: the memory reports what came from the kernel, and the allocator counts free blocks
in its own lists. For an allocator that does not, a walk over the last contiguous memory from sbrk counts them. All
other memory then counts as live: mappings, and memory from sbrk before the program moved the break. The `counted` layer
adds exact live bytes and calls, in total and for each size class.

The bytes add up: the heap uses `arena_bytes` and `mapped_bytes` of its `heap_bytes`. What is not in `free_bytes` is
live or belongs to the allocator.
"""

from __future__ import annotations

from heapwright.bits import MAX_WORD, ceil_log2
from heapwright.layout import Array, Inline, Struct, Word
from heapwright.spans import FREE, UNUSED, USED

CLASSES = 28  # up to 16 bytes, 32, 64 ... 1 GiB, and one class above
MIN_CLASS = 16
LISTS = 127  # lists of free blocks in a part, as many as in an arena of glibc
FAST_LISTS = 10  # its fast bins
UNREPORTED = -1  # stands for a figure that a heap does not report


class SizeClass(Struct):
    """The blocks of at most `size` bytes that are too large for the class before."""

    size: Word  # the largest possible number in the last class
    live_blocks: Word
    live_bytes: Word
    requests: Word  # calls of alloc and realloc that returned a block of the class


class Stats(Struct):
    live_bytes: Word  # usable bytes if counted; otherwise all bytes that are not free, headers and records included
    live_blocks: Word  # UNREPORTED if neither counted nor found by a walk
    peak_bytes: Word  # the peak of live bytes; 0 if not counted
    heap_bytes: Word  # bytes from the kernel that the heap holds now
    peak_heap_bytes: Word
    free_bytes: Word  # bytes that may serve a request, without those in threads' caches
    free_blocks: Word
    largest_free: Word  # bytes of the largest free block
    fast_bytes: Word  # those of the free bytes that are not merged yet, in fast bins
    fast_blocks: Word
    mapped_bytes: Word  # bytes of blocks with their own mappings
    mapped_blocks: Word
    arena_bytes: Word  # bytes from which all other blocks are cut
    spare_bytes: Word  # free bytes that `trim` could unmap, or by which it could lower the break
    allocs: Word  # calls; 0 if not counted
    deallocs: Word
    reallocs: Word
    failures: Word
    growths: Word  # times that the kernel provided memory
    shrinks: Word  # times that memory was released
    decommits: Word  # times that frames were released while their pages stayed mapped
    classes: Array[Inline[SizeClass], CLASSES]  # all zero if not counted


class FreeList(Struct):
    """The blocks of one list: their smallest and largest size, the sum of their sizes, and their number."""

    minimum: Word
    maximum: Word
    total: Word
    blocks: Word


class Part(Struct):
    """One part of a heap that consists of several, such as an arena of ptmalloc.

    `survey_part(heap, before, part)` fills in the part after the one at the address `before`, or the first if that is
    0. It returns the part's address, or 0 at the end.
    """

    free_bytes: Word
    free_blocks: Word
    held_bytes: Word  # bytes from the kernel that the part holds now
    peak_bytes: Word  # the peak of held_bytes
    fast_bytes: Word  # bytes in fast bins, which free_bytes does not count
    fast_blocks: Word
    segments: Word  # number of its mappings; 0 if it lies on the break
    lists: Array[Inline[FreeList], LISTS]  # the first one has the blocks that are not sorted yet
    fast: Array[Inline[FreeList], FAST_LISTS]


def begin(memory, stats):
    """Start a survey with the kernel's figures. At first, all memory counts as live and as arena bytes."""
    memory.fill(stats.address, Stats.SIZE, 0)
    stats.live_blocks = UNREPORTED
    stats.heap_bytes = memory.held()
    stats.peak_heap_bytes = memory.peak_held()
    stats.growths = memory.growths()
    stats.shrinks = memory.shrinks()
    stats.decommits = memory.decommits()
    stats.arena_bytes = stats.live_bytes = stats.heap_bytes


def add_free(stats, blocks, size):
    """Count free blocks of one size; their number may be 0."""
    stats.free_blocks += blocks
    stats.free_bytes += blocks * size
    stats.live_bytes -= blocks * size
    if blocks > 0:
        stats.largest_free = max(stats.largest_free, size)


def add_fast(stats, size):
    """Count a free block that is not merged yet."""
    add_free(stats, 1, size)
    stats.fast_blocks += 1
    stats.fast_bytes += size


def add_rest(stats, size):
    """Count a free rest of `size` bytes, unless that is 0."""
    if size > 0:
        add_free(stats, 1, size)


def add_mapped(stats, blocks, size):
    """Count blocks with their own mappings, `size` bytes in all."""
    stats.mapped_blocks += blocks
    stats.mapped_bytes += size
    stats.arena_bytes -= size


def add_lent(stats, size):
    """Count memory that the program lent to its heap. At first, all of it counts as live."""
    stats.heap_bytes += size
    stats.live_bytes += size
    stats.arena_bytes += size
    stats.peak_heap_bytes = max(stats.peak_heap_bytes, stats.heap_bytes)


def add_span(stats, size, kind):
    """Count one span of a walk; `heapwright.spans` defines the kinds."""
    if kind == USED:
        stats.live_blocks += 1
    elif kind in (FREE, UNUSED):
        add_free(stats, 1, size)


def add_to_list(part, index, size):
    """Count a free block in one of a part's lists."""
    entry = part.lists[index]
    entry.minimum = min(entry.minimum, size) if entry.blocks > 0 else size
    entry.maximum = max(entry.maximum, size)
    entry.total += size
    entry.blocks += 1
    part.free_bytes += size
    part.free_blocks += 1


def add_to_fast(part, index, size):
    """Count a free block in one of a part's fast bins. As in glibc, the bin begins 15 bytes below its size."""
    entry = part.fast[index]
    entry.minimum = size - 15
    entry.maximum = size
    entry.total += size
    entry.blocks += 1
    part.fast_bytes += size
    part.fast_blocks += 1


# --- size classes


def class_of(size):
    """The class of a block of `size` bytes."""
    return min(ceil_log2((max(size, 1) - 1) // MIN_CLASS + 1), CLASSES - 1)


def size_of_class(i):
    """The largest size of a class in bytes."""
    return MIN_CLASS << i if i < CLASSES - 1 else MAX_WORD


# --- peaks


def raise_to(cell, value):
    """Raise an atomic cell to `value`, unless it is already larger; other threads may raise it too."""
    maximum = cell.load()
    while value > maximum and not cell.compare_exchange(maximum, value):
        maximum = cell.load()
