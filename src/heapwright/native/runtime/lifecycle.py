"""The heap's part in a process's life cycle: fork, thread exit, and the end after a misuse.

fork takes the allocator's locks, so that the child finds a consistent heap. stdio's list of files must be locked first,
because stdio takes it and may then wait for a thread that waits for malloc (glibc bug 19431). glibc's own fork locks it
between the handlers and its malloc. A handler can do the same, because the lock is recursive. In the child, fork itself
resets the list if the process had threads; otherwise it must be unlocked.

Source: glibc posix/fork.c, malloc/arena.c.
"""

from __future__ import annotations

from heapwright.layers import inner
from heapwright.native import c
from heapwright.native.runtime.kernel import abandon, reserve

Heap = inner.Heap


def fork_prepare(heap):
    """Before a fork: lock stdio's list first, then the heap."""
    c.list_lock()
    inner.fork_prepare(heap)


def fork_parent(heap):
    """After a fork, in the parent: unlock both in reverse order."""
    inner.fork_parent(heap)
    c.list_unlock()


def fork_child(heap):
    """After a fork, in the child: the same. No other thread can hold the list."""
    inner.fork_child(heap)
    c.list_reset()


def thread_exit(heap, ignored):
    """End the calling thread's part in the heap. This is the destructor of a pthread key and gets the key's value."""
    inner.thread_exit(heap)


def release_held(heap):
    """Release the locks that the calling thread holds, because it has reported a misuse and will end the process."""
    inner.release_held(heap)
    return 0


def begin(heap, start, size):
    """Start a new heap in a region at `start`, or anywhere if that is 0. No other thread may have used the heap."""
    end(heap)
    return reserve(start, size)


def end(heap):
    """Give the region back and forget the heap in it, because a later fork still asks the heap."""
    heap.memory.fill(heap.address, inner.Heap.SIZE, 0)
    for slot in range(c.words_of_a_thread()):
        heap.memory.set_local(slot, 0)
    return abandon()
