"""One lock around everything: makes any allocator safe for threads, one at a time, and across fork.

Only what looks at a heap, `walk` and `check`, takes no lock: whoever looks has stopped the others, or holds it.
"""

from __future__ import annotations

from heapwright.layers import inner
from heapwright.layout import Atomic, Inline, Struct, Word
from heapwright.locks import FREE, acquire, release

THREADS = "own"


class Heap(Struct):
    lock: Atomic[Word]
    heap: Inline[inner.Heap]


def alloc(heap, size, align):
    """As below, under the lock."""
    acquire(heap.memory, heap.lock)
    address = inner.alloc(heap.heap, size, align)
    release(heap.memory, heap.lock)
    return address


def alloc_zeroed(heap, size, align):
    """As below, under the lock."""
    acquire(heap.memory, heap.lock)
    address = inner.alloc_zeroed(heap.heap, size, align)
    release(heap.memory, heap.lock)
    return address


def dealloc(heap, address, size, align):
    """As below, under the lock."""
    acquire(heap.memory, heap.lock)
    inner.dealloc(heap.heap, address, size, align)
    release(heap.memory, heap.lock)


def realloc(heap, address, size, align, new_size):
    """As below, under the lock, the copy included."""
    acquire(heap.memory, heap.lock)
    moved = inner.realloc(heap.heap, address, size, align, new_size)
    release(heap.memory, heap.lock)
    return moved


def trim(heap):
    """As below, under the lock: how many bytes went back."""
    acquire(heap.memory, heap.lock)
    given_back = inner.trim(heap.heap)
    release(heap.memory, heap.lock)
    return given_back


def tune(heap, option, value):
    """As below, under the lock: whether the option is set now."""
    acquire(heap.memory, heap.lock)
    is_set = inner.tune(heap.heap, option, value)
    release(heap.memory, heap.lock)
    return is_set


def survey(heap, stats):
    """As below, under the lock: the numbers are of one moment."""
    acquire(heap.memory, heap.lock)
    inner.survey(heap.heap, stats)
    release(heap.memory, heap.lock)


def thread_exit(heap):
    """As below, under the lock."""
    acquire(heap.memory, heap.lock)
    inner.thread_exit(heap.heap)
    release(heap.memory, heap.lock)
    return 0


def fork_prepare(heap):
    """Hold the lock while the process forks: the child finds a whole heap."""
    acquire(heap.memory, heap.lock)
    inner.fork_prepare(heap.heap)
    return 0


def fork_parent(heap):
    """After the fork, in the parent: go on."""
    inner.fork_parent(heap.heap)
    release(heap.memory, heap.lock)
    return 0


def fork_child(heap):
    """Free the lock anew: whoever slept for it is not in the child."""
    inner.fork_child(heap.heap)
    heap.lock.store(FREE)
    return 0


if hasattr(inner, "usable_size"):

    def usable_size(heap, address):
        """As below, under the lock."""
        acquire(heap.memory, heap.lock)
        size = inner.usable_size(heap.heap, address)
        release(heap.memory, heap.lock)
        return size
