"""The whole interface: what an allocator leaves out, in terms of what it has.

Every allocator is handed to its users through this layer. `align` is a power of two; `size` is the one that
was asked for or anything up to the usable size. An allocator without `usable_size` must be told the size; one
that has it may be told 0.
"""

from __future__ import annotations

from heapwright.layers import inner
from heapwright.stats import add_span, begin

Heap = inner.Heap
alloc = inner.alloc
dealloc = inner.dealloc


def alloc_then_fill(heap, size, align):
    """`alloc_zeroed` for an allocator without: 0 when there is no memory."""
    address = alloc(heap, size, align)
    if address != 0:
        heap.memory.fill(address, size, 0)
    return address


def move(heap, address, size, align, new_size):
    """`realloc` by a new block and a copy of `size` or `new_size` bytes, the fewer. 0 leaves the old block alone."""
    target = alloc(heap, new_size, align)
    if target != 0:
        heap.memory.copy(target, address, min(size, new_size))
        dealloc(heap, address, size, align)
    return target


def stay_or_move(heap, address, size, align, new_size):
    """Stay where the block still fits and is at least half full."""
    usable = inner.usable_size(heap, address)
    if usable >> 1 <= new_size <= usable:
        return address
    return move(heap, address, usable, align, new_size)


def survey_by_walk(heap, stats):
    """Fill in statistics from a walk over what sbrk gave in one piece."""
    begin(heap.memory, stats)
    for _, size, kind in inner.walk(heap, heap.memory.piece_start(), heap.memory.stretch_end()):
        add_span(stats, size, kind)


def nothing(heap):
    """What an allocator has no use for: 0 bytes given back, nothing to do."""
    return 0


def no_option(heap, option, value):
    """`tune` for an allocator without: 0, for none is set."""
    return 0


alloc_zeroed = getattr(inner, "alloc_zeroed", alloc_then_fill)
realloc = getattr(inner, "realloc", stay_or_move if hasattr(inner, "usable_size") else move)
survey = getattr(inner, "survey", survey_by_walk)
trim = getattr(inner, "trim", nothing)
tune = getattr(inner, "tune", no_option)
thread_exit = getattr(inner, "thread_exit", nothing)
fork_prepare = getattr(inner, "fork_prepare", nothing)
fork_parent = getattr(inner, "fork_parent", nothing)
fork_child = getattr(inner, "fork_child", nothing)
if hasattr(inner, "usable_size"):
    usable_size = inner.usable_size
