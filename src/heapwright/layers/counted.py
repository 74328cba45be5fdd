"""Exact counts of live blocks, live bytes and requests, also with several threads.

Bytes are usable bytes, or requested bytes for an allocator without `usable_size`. These bytes also determine a block's
class. So the classes add up to the total, and a block is counted in the same class when it is allocated and freed.
"""

from __future__ import annotations

from heapwright.layers import inner
from heapwright.layout import NULL, Array, Atomic, Inline, Struct, Word
from heapwright.stats import CLASSES, class_of, raise_to, size_of_class


class Counters(Struct):
    """The blocks of one class of sizes."""

    live_blocks: Atomic[Word]
    live_bytes: Atomic[Word]
    requests: Atomic[Word]


class Heap(Struct):
    live_bytes: Atomic[Word]
    peak_bytes: Atomic[Word]
    allocs: Atomic[Word]
    deallocs: Atomic[Word]
    reallocs: Atomic[Word]
    failures: Atomic[Word]
    classes: Array[Inline[Counters], CLASSES]
    heap: Inline[inner.Heap]


def granted(heap, address, size):
    """The bytes that a block counts for if its usable size is unknown: those requested."""
    return size


def granted_by_block(heap, address, size):
    """The bytes that a block counts for: its usable size."""
    return inner.usable_size(heap.heap, address)


# --- counting


def enter_class(heap, size):
    """Count one more live block of `size` bytes in its class."""
    tally = heap.classes[class_of(size)]
    tally.live_blocks.add(1)
    tally.live_bytes.add(size)
    tally.requests.add(1)


def leave_class(heap, size):
    """Count one live block of `size` bytes less in its class."""
    tally = heap.classes[class_of(size)]
    tally.live_blocks.add(-1)
    tally.live_bytes.add(-size)


def grow(heap, size):
    """Add `size` bytes, which may be negative, to the live bytes, and update their peak."""
    raise_to(heap.peak_bytes, heap.live_bytes.add(size) + size)


def count_alloc(heap, address, size):
    """Count a request and its result, a block's address or 0; return the address."""
    heap.allocs.add(1)
    if address == NULL:
        heap.failures.add(1)
    else:
        usable = size_of(heap, address, size)
        enter_class(heap, usable)
        grow(heap, usable)
    return address


def count_in(heap, address, size):
    """Count a block, or a failure, of a function that only the allocator has."""
    count_alloc(heap, address, size)
    return inner.count_in(heap.heap, address, size)


def count_out(heap, address, size):
    """Count a block that such a function is about to free."""
    count_dealloc(heap, address, size)
    return inner.count_out(heap.heap, address, size)


def count_dealloc(heap, address, size):
    """Count a block that is about to be freed."""
    heap.deallocs.add(1)
    usable = size_of(heap, address, size)
    leave_class(heap, usable)
    grow(heap, -usable)


# --- the inner allocator's calls, counted


def alloc(heap, size, align):
    """Call `inner.alloc` and count the result."""
    return count_alloc(heap, inner.alloc(heap.heap, size, align), size)


def alloc_zeroed(heap, size, align):
    """Call `inner.alloc_zeroed` and count the result."""
    return count_alloc(heap, inner.alloc_zeroed(heap.heap, size, align), size)


def dealloc(heap, address, size, align):
    """Count, then call `inner.dealloc`: afterwards the block may already belong to another thread."""
    count_dealloc(heap, address, size)
    inner.dealloc(heap.heap, address, size, align)


def realloc(heap, address, size, align, new_size):
    """Call `inner.realloc` and count the result. After a failure the old block stays live, and counted."""
    heap.reallocs.add(1)
    before = size_of(heap, address, size)
    moved = inner.realloc(heap.heap, address, size, align, new_size)
    if moved == NULL:
        heap.failures.add(1)
    else:
        after = size_of(heap, moved, new_size)
        leave_class(heap, before)
        enter_class(heap, after)
        grow(heap, after - before)
    return moved


size_of = granted
if hasattr(inner, "SETS_ERRNO"):
    SETS_ERRNO = inner.SETS_ERRNO
if hasattr(inner, "usable_size"):
    size_of = granted_by_block

    def usable_size(heap, address):
        """Call `inner.usable_size`."""
        return inner.usable_size(heap.heap, address)


def survey(heap, stats):
    """Call `inner.survey`, then fill in exact live bytes and blocks, their peak, calls, and size classes."""
    inner.survey(heap.heap, stats)
    survey_classes(heap, stats)
    stats.live_bytes = heap.live_bytes.load()
    stats.peak_bytes = heap.peak_bytes.load()
    stats.allocs = heap.allocs.load()
    stats.deallocs = heap.deallocs.load()
    stats.reallocs = heap.reallocs.load()
    stats.failures = heap.failures.load()


def survey_classes(heap, stats):
    """Fill in the size classes, and the sum of their live blocks."""
    stats.live_blocks = 0
    for i in range(CLASSES):
        tally, found = heap.classes[i], stats.classes[i]
        found.size = size_of_class(i)
        found.live_blocks = tally.live_blocks.load()
        found.live_bytes = tally.live_bytes.load()
        found.requests = tally.requests.load()
        stats.live_blocks += found.live_blocks
