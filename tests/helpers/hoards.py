"""Heaps of Hoard that tests use: what their parts are, and threads that have long been busy."""

from contextlib import contextmanager

from heaps import on

from heapwright.allocators.hoard import superblocks, threads
from heapwright.allocators.parts.size_classes import class_of


def processors(heap):
    return [heap.state.processors[i] for i in range(1 + threads.PROCESSORS)]


def held(heap):
    """Bytes of superblocks that the heaps of threads hold."""
    return sum(owner.held for owner in processors(heap)[1:])


def superblock_of(heap, address):
    return superblocks.superblock_of(heap.state, address)


def busy(heap, *sizes):
    """The running thread's words, as if it had long used its buffers of these sizes."""
    thread = threads.this_thread(heap.state)
    threads.open_remote(heap.state, thread)
    for size_class in map(class_of, sizes):
        limits = threads.limit_of(size_class), threads.remote_limit_of(size_class)
        for buffer, limit in zip((thread.buffers[size_class], thread.remote.of[size_class]), limits, strict=True):
            buffer.uses = threads.BUFFER_OBJECTS
            threads.raise_limit(buffer, limit)
    return thread


@contextmanager
def elsewhere(heap, *sizes):
    """Inside, calls come from a new thread, which has another home and is busy with objects of some sizes."""
    with on(heap, heap.process.new_thread()):
        yield busy(heap, *sizes)
