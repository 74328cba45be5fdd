"""Counts what the program holds and asks for, exactly, whatever threads do.

Bytes are usable bytes: what the allocator granted. Without `usable_size` they are what was asked for.
"""

from __future__ import annotations

from heapwright.layers import inner
from heapwright.layout import NULL, Atomic, Inline, Struct, Word


class Heap(Struct):
    live_bytes: Atomic[Word]
    live_blocks: Atomic[Word]
    peak_bytes: Atomic[Word]
    allocs: Atomic[Word]
    deallocs: Atomic[Word]
    reallocs: Atomic[Word]
    failures: Atomic[Word]
    heap: Inline[inner.Heap]


def granted(heap, address, size):
    """Bytes that a block counts for, where nobody knows its usable size: those asked for."""
    return size


def granted_by_block(heap, address, size):
    """Bytes that a block counts for: its usable size."""
    return inner.usable_size(heap.heap, address)


# --- counting


def count_birth(heap, size):
    """One more block is live, of `size` bytes."""
    heap.live_blocks.add(1)
    grow(heap, size)


def grow(heap, size):
    """So many bytes more are live, or fewer if negative; the peak is the most there ever were."""
    live = heap.live_bytes.add(size) + size
    peak = heap.peak_bytes.load()
    while live > peak and not heap.peak_bytes.compare_exchange(peak, live):
        peak = heap.peak_bytes.load()


def count_alloc(heap, address, size):
    """Count a request and its result, a block's address or 0; hand on the address."""
    heap.allocs.add(1)
    if address == NULL:
        heap.failures.add(1)
    else:
        count_birth(heap, size_of(heap, address, size))
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
    heap.live_blocks.add(-1)
    heap.live_bytes.add(-size_of(heap, address, size))
    inner.dealloc(heap.heap, address, size, align)


def realloc(heap, address, size, align, new_size):
    """As below, counted; a failure leaves the old block live, and counted."""
    heap.reallocs.add(1)
    before = size_of(heap, address, size)
    moved = inner.realloc(heap.heap, address, size, align, new_size)
    if moved == NULL:
        heap.failures.add(1)
    else:
        grow(heap, size_of(heap, moved, new_size) - before)
    return moved


size_of = granted
if hasattr(inner, "usable_size"):
    size_of = granted_by_block

    def usable_size(heap, address):
        """As below."""
        return inner.usable_size(heap.heap, address)


def trim(heap):
    """As below: how many bytes went back."""
    return inner.trim(heap.heap)


def tune(heap, option, value):
    """As below: whether the option is set now."""
    return inner.tune(heap.heap, option, value)


def survey(heap, stats):
    """As below, with exact live bytes and blocks, their peak, and calls."""
    inner.survey(heap.heap, stats)
    stats.live_bytes = heap.live_bytes.load()
    stats.live_blocks = heap.live_blocks.load()
    stats.peak_bytes = heap.peak_bytes.load()
    stats.allocs = heap.allocs.load()
    stats.deallocs = heap.deallocs.load()
    stats.reallocs = heap.reallocs.load()
    stats.failures = heap.failures.load()


def thread_exit(heap):
    """As below."""
    return inner.thread_exit(heap.heap)


def fork_prepare(heap):
    """As below."""
    return inner.fork_prepare(heap.heap)


def fork_parent(heap):
    """As below."""
    return inner.fork_parent(heap.heap)


def fork_child(heap):
    """As below."""
    return inner.fork_child(heap.heap)


def walk(heap, start, end):
    """As below: spans are the allocator's own."""
    for span in inner.walk(heap.heap, start, end):
        yield span


def check(heap, start, end):
    """As below: the counts have no invariants of their own."""
    inner.check(heap.heap, start, end)
