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
    return size


def granted_by_block(heap, address, size):
    return inner.usable_size(heap.heap, address)


# --- counting


def count_birth(heap, size):
    heap.live_blocks.add(1)
    grow(heap, size)


def grow(heap, size):
    live = heap.live_bytes.add(size) + size
    peak = heap.peak_bytes.load()
    while live > peak and not heap.peak_bytes.compare_exchange(peak, live):
        peak = heap.peak_bytes.load()


def count_alloc(heap, address, size):
    heap.allocs.add(1)
    if address == NULL:
        heap.failures.add(1)
    else:
        count_birth(heap, size_of(heap, address, size))
    return address


# --- the allocator below, counted


def alloc(heap, size, align):
    return count_alloc(heap, inner.alloc(heap.heap, size, align), size)


def alloc_zeroed(heap, size, align):
    return count_alloc(heap, inner.alloc_zeroed(heap.heap, size, align), size)


def dealloc(heap, address, size, align):
    heap.deallocs.add(1)
    heap.live_blocks.add(-1)
    heap.live_bytes.add(-size_of(heap, address, size))
    inner.dealloc(heap.heap, address, size, align)


def realloc(heap, address, size, align, new_size):
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
        return inner.usable_size(heap.heap, address)


def trim(heap):
    return inner.trim(heap.heap)


def survey(heap, stats):
    inner.survey(heap.heap, stats)
    stats.live_bytes = heap.live_bytes.load()
    stats.live_blocks = heap.live_blocks.load()
    stats.peak_bytes = heap.peak_bytes.load()
    stats.allocs = heap.allocs.load()
    stats.deallocs = heap.deallocs.load()
    stats.reallocs = heap.reallocs.load()
    stats.failures = heap.failures.load()


def thread_exit(heap):
    return inner.thread_exit(heap.heap)


def fork_prepare(heap):
    return inner.fork_prepare(heap.heap)


def fork_parent(heap):
    return inner.fork_parent(heap.heap)


def fork_child(heap):
    return inner.fork_child(heap.heap)


def walk(heap, start, end):
    for span in inner.walk(heap.heap, start, end):
        yield span


def check(heap, start, end):
    inner.check(heap.heap, start, end)
