"""The allocator below, for a layer with words of its own: what concerns the heap as a whole, handed on.

Such a layer has the heap below in its own, `heap: Inline[inner.Heap]`, and gets from here what it does not say.
"""

from __future__ import annotations

from heapwright.layers import inner


def trim(heap):
    """As below: how many bytes went back."""
    return inner.trim(heap.heap)


def tune(heap, option, value):
    """As below: whether the option is set now."""
    return inner.tune(heap.heap, option, value)


def survey(heap, stats):
    """As below."""
    inner.survey(heap.heap, stats)


def thread_exit(heap):
    """As below."""
    return inner.thread_exit(heap.heap)


def fork_prepare(heap):
    """As below."""
    return inner.fork_prepare(heap.heap)


def fork_parent(heap):
    """As below."""
    return inner.fork_parent(heap.heap)


def fork_child(heap):
    """As below."""
    return inner.fork_child(heap.heap)


def walk(heap, start, end):
    """As below: spans are the allocator's own."""
    for span in inner.walk(heap.heap, start, end):
        yield span


def check(heap, start, end):
    """As below: a layer's words have no invariants of their own."""
    inner.check(heap.heap, start, end)


if hasattr(inner, "lists"):

    def lists(heap):
        """As below."""
        return inner.lists(heap.heap)
