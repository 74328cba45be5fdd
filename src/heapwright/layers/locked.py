"""One lock around every call, which makes any allocator safe for threads and fork; one thread works at a time.

Only `walk` and `check` take no lock: their caller has stopped the other threads or holds the lock.
"""

from __future__ import annotations

from heapwright.layers import inner
from heapwright.layout import Atomic, Inline, Struct, Word
from heapwright.locks import FREE, acquire, release, release_own

THREADS = "own"


class Heap(Struct):
    lock: Atomic[Word]
    heap: Inline[inner.Heap]


def alloc(heap, size, align):
    """Call `inner.alloc` under the lock."""
    acquire(heap.memory, heap.lock)
    address = inner.alloc(heap.heap, size, align)
    release(heap.memory, heap.lock)
    return address


def alloc_zeroed(heap, size, align):
    """Call `inner.alloc_zeroed` under the lock."""
    acquire(heap.memory, heap.lock)
    address = inner.alloc_zeroed(heap.heap, size, align)
    release(heap.memory, heap.lock)
    return address


def dealloc(heap, address, size, align):
    """Call `inner.dealloc` under the lock."""
    acquire(heap.memory, heap.lock)
    inner.dealloc(heap.heap, address, size, align)
    release(heap.memory, heap.lock)


def realloc(heap, address, size, align, new_size):
    """Call `inner.realloc` under the lock, including any copy."""
    acquire(heap.memory, heap.lock)
    moved = inner.realloc(heap.heap, address, size, align, new_size)
    release(heap.memory, heap.lock)
    return moved


def enter(heap):
    """Take the lock for one of the allocator's own functions."""
    acquire(heap.memory, heap.lock)
    inner.enter(heap.heap)
    return 0


def leave(heap):
    """Release the lock after such a function."""
    inner.leave(heap.heap)
    release(heap.memory, heap.lock)
    return 0


def trim(heap, pad):
    """Call `inner.trim` under the lock; return the number of bytes released."""
    acquire(heap.memory, heap.lock)
    given_back = inner.trim(heap.heap, pad)
    release(heap.memory, heap.lock)
    return given_back


def tune(heap, option, value):
    """Call `inner.tune` under the lock; return whether the option is set now."""
    acquire(heap.memory, heap.lock)
    is_set = inner.tune(heap.heap, option, value)
    release(heap.memory, heap.lock)
    return is_set


def survey(heap, stats):
    """Call `inner.survey` under the lock, so that all numbers belong to one moment."""
    acquire(heap.memory, heap.lock)
    inner.survey(heap.heap, stats)
    release(heap.memory, heap.lock)


def thread_exit(heap):
    """Call `inner.thread_exit` under the lock."""
    acquire(heap.memory, heap.lock)
    inner.thread_exit(heap.heap)
    release(heap.memory, heap.lock)
    return 0


def fork_prepare(heap):
    """Take the lock before the process forks, so that the child gets a consistent heap."""
    acquire(heap.memory, heap.lock)
    inner.fork_prepare(heap.heap)
    return 0


def fork_parent(heap):
    """Release the lock in the parent after the fork."""
    inner.fork_parent(heap.heap)
    release(heap.memory, heap.lock)
    return 0


def fork_child(heap):
    """Reset the lock in the child, which has none of the threads that waited for it."""
    inner.fork_child(heap.heap)
    heap.lock.store(FREE)
    return 0


def release_held(heap):
    """Release the lock before a report ends the program, so that a signal handler can still allocate."""
    inner.release_held(heap.heap)
    release_own(heap.memory, heap.lock)
    return 0


if hasattr(inner, "survey_part"):

    def survey_part(heap, before, part):
        """Call `inner.survey_part` under the lock."""
        acquire(heap.memory, heap.lock)
        found = inner.survey_part(heap.heap, before, part)
        release(heap.memory, heap.lock)
        return found


if hasattr(inner, "usable_size"):

    def usable_size(heap, address):
        """Call `inner.usable_size` under the lock."""
        acquire(heap.memory, heap.lock)
        size = inner.usable_size(heap.heap, address)
        release(heap.memory, heap.lock)
        return size
