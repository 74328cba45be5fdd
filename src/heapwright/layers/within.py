"""Forwarding of calls that concern the whole heap, for a layer with its own fields.

The `Heap` of such a layer contains the inner one, `heap: Inline[inner.Heap]`. Calls that the layer does not define come
from here.
"""

from __future__ import annotations

from heapwright.layers import inner


def trim(heap, pad):
    """Call `inner.trim`; return the number of bytes released."""
    return inner.trim(heap.heap, pad)


def tune(heap, option, value):
    """Call `inner.tune`; return whether the option is set now."""
    return inner.tune(heap.heap, option, value)


def survey(heap, stats):
    """Call `inner.survey`."""
    inner.survey(heap.heap, stats)


def thread_exit(heap):
    """Call `inner.thread_exit`."""
    return inner.thread_exit(heap.heap)


def fork_prepare(heap):
    """Call `inner.fork_prepare`."""
    return inner.fork_prepare(heap.heap)


def fork_parent(heap):
    """Call `inner.fork_parent`."""
    return inner.fork_parent(heap.heap)


def fork_child(heap):
    """Call `inner.fork_child`."""
    return inner.fork_child(heap.heap)


def release_held(heap):
    """Call `inner.release_held`."""
    return inner.release_held(heap.heap)


def innermost(heap):
    """The heap of the allocator below all layers, for its own C functions."""
    return inner.innermost(heap.heap)


def enter(heap):
    """Call `inner.enter`: one of the allocator's own functions begins."""
    return inner.enter(heap.heap)


def leave(heap):
    """Call `inner.leave`: it ends."""
    return inner.leave(heap.heap)


def count_in(heap, address, size):
    """Call `inner.count_in`: such a function returned a block."""
    return inner.count_in(heap.heap, address, size)


def count_out(heap, address, size):
    """Call `inner.count_out`: such a function is about to free a block."""
    return inner.count_out(heap.heap, address, size)


def walk(heap, start, end):
    """Call `inner.walk`: spans are those of the inner allocator."""
    for span in inner.walk(heap.heap, start, end):
        yield span


def check(heap, start, end):
    """Call `inner.check`: a layer's own fields have no invariants."""
    inner.check(heap.heap, start, end)


if hasattr(inner, "survey_part"):

    def survey_part(heap, before, part):
        """Call `inner.survey_part`."""
        return inner.survey_part(heap.heap, before, part)


if hasattr(inner, "expect_size"):

    def expect_size(heap, address, size, align):
        """Call `inner.expect_size`."""
        inner.expect_size(heap.heap, address, size, align)


if hasattr(inner, "expect_room"):

    def expect_room(heap, address, size):
        """Call `inner.expect_room`."""
        inner.expect_room(heap.heap, address, size)


if hasattr(inner, "slot_near"):

    def slot_near(heap, address):
        """Call `inner.slot_near`."""
        return inner.slot_near(heap.heap, address)


if hasattr(inner, "lists"):

    def lists(heap):
        """Call `inner.lists`."""
        return inner.lists(heap.heap)
