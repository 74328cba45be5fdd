"""A record of every call with its thread, sizes, alignment and addresses, in the form of `heapwright.traces.raw`.

An allocation is recorded after the call and a deallocation before it. So if another thread gets the same address at
once, the records never show two live blocks there. The memory keeps the records: in a file in a real process, in a list
in the machine.
"""

from __future__ import annotations

from heapwright.bits import floor_log2
from heapwright.layers import inner
from heapwright.layout import NULL
from heapwright.traces.raw import ALLOC, ALLOC_ZEROED, DEALLOC, FORK, REALLOC_FROM, REALLOC_TO, THREAD_EXIT

Heap = inner.Heap
PLAIN_ALIGN = 16  # malloc's alignment: no larger one was requested


def log2_asked(align):
    """The alignment as recorded: its logarithm, or 0 for one that malloc guarantees anyway."""
    return 0 if align <= PLAIN_ALIGN else floor_log2(align)


def alloc(heap, size, align):
    """Call `inner.alloc`, then record it, even a failure."""
    address = inner.alloc(heap, size, align)
    heap.memory.record(ALLOC, log2_asked(align), address, NULL, size)
    return address


def alloc_zeroed(heap, size, align):
    """Call `inner.alloc_array` for one element, then record it, even a failure."""
    return alloc_array(heap, 1, size, align)


def alloc_array(heap, count, size, align):
    """Call `inner.alloc_array` with `size` bytes for `count` elements, then record it, even a failure."""
    address = inner.alloc_array(heap, count, size, align)
    heap.memory.record(ALLOC_ZEROED, log2_asked(align), address, count, size)
    return address


def dealloc(heap, address, size, align):
    """Record the call, then call `inner.dealloc`."""
    heap.memory.record(DEALLOC, 0, address, NULL, 0)
    inner.dealloc(heap, address, size, align)


def dealloc_null(heap):
    """Record a `free` of the null pointer, then call `inner.dealloc_null`."""
    heap.memory.record(DEALLOC, 0, NULL, NULL, 0)
    return inner.dealloc_null(heap)


def realloc(heap, address, size, align, new_size):
    """Call `inner.realloc`; record the end of the old block before it and the new block after it."""
    heap.memory.record(REALLOC_FROM, 0, address, NULL, new_size)
    moved = inner.realloc(heap, address, size, align, new_size)
    heap.memory.record(REALLOC_TO, 0, moved, address, new_size)
    return moved


def thread_exit(heap):
    """Record the end of the thread, then call `inner.thread_exit`."""
    heap.memory.record(THREAD_EXIT, 0, NULL, NULL, 0)
    return inner.thread_exit(heap)


def fork_prepare(heap):
    """Call `inner.fork_prepare`, then record the fork: what was recorded before it, the child has inherited."""
    inner.fork_prepare(heap)
    heap.memory.record(FORK, 0, NULL, NULL, 0)


def fork_child(heap):
    """Start new records in the child, then call `inner.fork_child`."""
    heap.memory.record_anew()
    return inner.fork_child(heap)


if hasattr(inner, "SETS_ERRNO"):
    SETS_ERRNO = inner.SETS_ERRNO
if hasattr(inner, "usable_size"):
    usable_size = inner.usable_size
