"""Counts what the program holds and asks for, exactly, whatever threads do.

Bytes are usable bytes: what the allocator granted. Without `usable_size` they are what was asked for. A block is of
the class of its bytes, so that the classes add up to the whole, and a death finds the class of the birth.
"""

from __future__ import annotations

from heapwright.layers import inner
from heapwright.layout import NULL, Array, Atomic, Inline, Struct, Word
from heapwright.stats import CLASSES, class_of, raise_to, size_of_class


class Tally(Struct):
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
    classes: Array[Inline[Tally], CLASSES]
    heap: Inline[inner.Heap]


def granted(heap, address, size):
    """Bytes that a block counts for, where nobody knows its usable size: those asked for."""
    return size


def granted_by_block(heap, address, size):
    """Bytes that a block counts for: its usable size."""
    return inner.usable_size(heap.heap, address)


# --- counting


def enter(heap, size):
    """One more block of `size` bytes is live in its class."""
    tally = heap.classes[class_of(size)]
    tally.live_blocks.add(1)
    tally.live_bytes.add(size)
    tally.requests.add(1)


def leave(heap, size):
    """One block fewer of `size` bytes is live in its class."""
    tally = heap.classes[class_of(size)]
    tally.live_blocks.add(-1)
    tally.live_bytes.add(-size)


def grow(heap, size):
    """So many bytes more are live, or fewer if negative; the peak is the most there ever were."""
    raise_to(heap.peak_bytes, heap.live_bytes.add(size) + size)


def count_alloc(heap, address, size):
    """Count a request and its result, a block's address or 0; hand on the address."""
    heap.allocs.add(1)
    if address == NULL:
        heap.failures.add(1)
    else:
        usable = size_of(heap, address, size)
        enter(heap, usable)
        grow(heap, usable)
    return address


# --- the allocator below, counted


def alloc(heap, size, align):
    """As below, counted."""
    return count_alloc(heap, inner.alloc(heap.heap, size, align), size)


def alloc_zeroed(heap, size, align):
    """As below, counted."""
    return count_alloc(heap, inner.alloc_zeroed(heap.heap, size, align), size)


def dealloc(heap, address, size, align):
    """As below, counted before: afterwards the block may be somebody else's."""
    heap.deallocs.add(1)
    usable = size_of(heap, address, size)
    leave(heap, usable)
    grow(heap, -usable)
    inner.dealloc(heap.heap, address, size, align)


def realloc(heap, address, size, align, new_size):
    """As below, counted; a failure leaves the old block live, and counted."""
    heap.reallocs.add(1)
    before = size_of(heap, address, size)
    moved = inner.realloc(heap.heap, address, size, align, new_size)
    if moved == NULL:
        heap.failures.add(1)
    else:
        after = size_of(heap, moved, new_size)
        leave(heap, before)
        enter(heap, after)
        grow(heap, after - before)
    return moved


size_of = granted
if hasattr(inner, "usable_size"):
    size_of = granted_by_block

    def usable_size(heap, address):
        """As below."""
        return inner.usable_size(heap.heap, address)


def survey(heap, stats):
    """As below, with exact live bytes and blocks, their peak, calls, and classes of sizes."""
    inner.survey(heap.heap, stats)
    survey_classes(heap, stats)
    stats.live_bytes = heap.live_bytes.load()
    stats.peak_bytes = heap.peak_bytes.load()
    stats.allocs = heap.allocs.load()
    stats.deallocs = heap.deallocs.load()
    stats.reallocs = heap.reallocs.load()
    stats.failures = heap.failures.load()


def survey_classes(heap, stats):
    """Fill in the classes, and the live blocks: those of all classes."""
    stats.live_blocks = 0
    for i in range(CLASSES):
        tally, found = heap.classes[i], stats.classes[i]
        found.size = size_of_class(i)
        found.live_blocks = tally.live_blocks.load()
        found.live_bytes = tally.live_bytes.load()
        found.requests = tally.requests.load()
        stats.live_blocks += found.live_blocks
