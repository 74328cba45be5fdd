"""The heap's part in the life of a process: fork and thread exit.

fork takes the allocator's locks, so that the child finds a whole heap. stdio takes its list of files first and
may wait for a thread that waits for malloc (glibc bug 19431), so that list must be locked before: glibc's own
fork does so between the handlers and its malloc, and a handler can do the same, for the lock is recursive.
In the child of a process with threads fork itself resets the list; in one without it must be given back.

Source: glibc posix/fork.c, malloc/arena.c.
"""

from __future__ import annotations

from heapwright.layers import inner
from heapwright.native import c
from heapwright.native.runtime.kernel import abandon, reserve

Heap = inner.Heap


def fork_prepare(heap):
    """Before a fork: stdio's list first, then the heap's locks."""
    c.list_lock()
    inner.fork_prepare(heap)


def fork_parent(heap):
    """After a fork, in the parent: both go free, in the other order."""
    inner.fork_parent(heap)
    c.list_unlock()


def fork_child(heap):
    """After a fork, in the child: the same; nobody else is there to hold the list."""
    inner.fork_child(heap)
    c.list_reset()


def thread_exit(heap, ignored):
    """A thread ends: called as the destructor of a pthread key, with the key's value."""
    inner.thread_exit(heap)


def begin(heap, start, size):
    """A new heap in a region at `start`, or anywhere if that is 0; for this thread, and no other that has used it."""
    end(heap)
    return reserve(start, size)


def end(heap):
    """Give the region back and forget what lay there, for a fork asks the heap even then."""
    heap.memory.fill(heap.address, inner.Heap.SIZE, 0)
    for slot in range(8):
        heap.memory.set_local(slot, 0)
    return abandon()
