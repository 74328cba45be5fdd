"""Heaps of wright that tests use: what their parts are, and threads beside the first."""

from contextlib import contextmanager

from heaps import on

from heapwright.allocators.wright import homes, records


def home_of(heap):
    """The running thread's home."""
    return homes.this_home(heap.state)


def slab_of(heap, address):
    """The record of the slab that a block lies in."""
    return records.head_of(records.record_of(heap.state, address))


def list_of(heap, size_class):
    """The addresses in the running thread's list of a class."""
    found, block = [], home_of(heap).hot[size_class].first
    while block:
        found.append(block.address)
        block = block.next
    return found


@contextmanager
def elsewhere(heap):
    """Inside, calls come from a new thread, which has another home."""
    with on(heap, heap.process.new_thread()):
        yield home_of(heap)
