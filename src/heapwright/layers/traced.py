"""Records every call with its thread, sizes, alignment and addresses; `heapwright.traces.raw` says in what form.

A block's birth is recorded after the call and its death before it, so that an address that another thread gets
at once never seems to be two blocks. The memory keeps the records: a file in a real process, a list in the machine.
"""

from __future__ import annotations

from heapwright.bits import floor_log2
from heapwright.layers import inner
from heapwright.layout import NULL
from heapwright.traces.raw import ALLOC, ALLOC_ZEROED, DEALLOC, REALLOC_FROM, REALLOC_TO, THREAD_EXIT

Heap = inner.Heap
PLAIN_ALIGN = 16  # what malloc gives: no alignment was asked for


def log2_asked(align):
    """The alignment as records have it: 0 for what malloc gives anyway."""
    return 0 if align <= PLAIN_ALIGN else floor_log2(align)


def alloc(heap, size, align):
    """As below, recorded once it is done; a failure too."""
    address = inner.alloc(heap, size, align)
    heap.memory.record(ALLOC, log2_asked(align), address, NULL, size)
    return address


def alloc_zeroed(heap, size, align):
    """As below, recorded once it is done; a failure too."""
    address = inner.alloc_zeroed(heap, size, align)
    heap.memory.record(ALLOC_ZEROED, log2_asked(align), address, NULL, size)
    return address


def dealloc(heap, address, size, align):
    """As below, recorded before."""
    heap.memory.record(DEALLOC, 0, address, NULL, 0)
    inner.dealloc(heap, address, size, align)


def realloc(heap, address, size, align, new_size):
    """As below: the old block's end is recorded before, the new one's birth after."""
    heap.memory.record(REALLOC_FROM, 0, address, NULL, new_size)
    moved = inner.realloc(heap, address, size, align, new_size)
    heap.memory.record(REALLOC_TO, 0, moved, address, new_size)
    return moved


def thread_exit(heap):
    """As below; the thread's end is recorded before."""
    heap.memory.record(THREAD_EXIT, 0, NULL, NULL, 0)
    return inner.thread_exit(heap)


def fork_child(heap):
    """As below, with records of its own from here on."""
    heap.memory.record_anew()
    return inner.fork_child(heap)


if hasattr(inner, "usable_size"):
    usable_size = inner.usable_size
