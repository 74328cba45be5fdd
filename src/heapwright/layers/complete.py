"""The complete interface: default versions of the calls that an allocator leaves out.

Users reach every allocator through this layer. `align` is a power of two. The `size` passed to `dealloc` or `realloc`
is the requested size or any size up to the usable one. An allocator without `usable_size` needs it; one with
`usable_size` accepts 0.
"""

from __future__ import annotations

from heapwright.layers import inner
from heapwright.stats import add_span, begin

Heap = inner.Heap
alloc = inner.alloc
dealloc = inner.dealloc


def alloc_then_fill(heap, size, align):
    """Default `alloc_zeroed`: allocate and clear; 0 when memory is exhausted."""
    address = alloc(heap, size, align)
    if address != 0:
        heap.memory.fill(address, size, 0)
    return address


def alloc_elements(heap, count, size, align):
    """Default `alloc_array`: clear `size` bytes for `count` elements in all. Only layers use the count."""
    return alloc_zeroed(heap, size, align)


def move(heap, address, size, align, new_size):
    """Default `realloc`: copy as many bytes as both sizes allow to a new block. 0 leaves the old block alone."""
    target = alloc(heap, new_size, align)
    if target != 0:
        heap.memory.copy(target, address, min(size, new_size))
        dealloc(heap, address, size, align)
    return target


def stay_or_move(heap, address, size, align, new_size):
    """Default `realloc` with `usable_size`: stay if the block still fits and remains at least half full, or move."""
    usable = inner.usable_size(heap, address)
    if usable >> 1 <= new_size <= usable:
        return address
    return move(heap, address, usable, align, new_size)


def survey_by_walk(heap, stats):
    """Default `survey`: fill in statistics from a walk over the last contiguous extent of memory from sbrk."""
    begin(heap.memory, stats)
    stats.live_blocks = 0
    for _, size, kind in inner.walk(heap, heap.memory.piece_start(), heap.memory.extent_end()):
        add_span(stats, size, kind)


def nothing(heap):
    """Default for a call that the allocator does not need."""
    return 0


def keep_all(heap, pad):
    """Default `trim`: release nothing; return 0."""
    return 0


def no_option(heap, option, value):
    """Default `tune`: return 0, because the option is not set."""
    return 0


def itself(heap):
    """Default `innermost`: the allocator's own heap."""
    return heap


def nothing_counted(heap, address, size):
    """Default for the two calls of `counted`."""
    return 0


alloc_zeroed = getattr(inner, "alloc_zeroed", alloc_then_fill)
alloc_array = getattr(inner, "alloc_array", alloc_elements)
dealloc_null = getattr(inner, "dealloc_null", nothing)
realloc = getattr(inner, "realloc", stay_or_move if hasattr(inner, "usable_size") else move)
survey = getattr(inner, "survey", survey_by_walk)
trim = getattr(inner, "trim", keep_all)
tune = getattr(inner, "tune", no_option)
thread_exit = getattr(inner, "thread_exit", nothing)
fork_prepare = getattr(inner, "fork_prepare", nothing)
fork_parent = getattr(inner, "fork_parent", nothing)
fork_child = getattr(inner, "fork_child", nothing)
release_held = getattr(inner, "release_held", nothing)
innermost = getattr(inner, "innermost", itself)
enter = getattr(inner, "enter", nothing)
leave = getattr(inner, "leave", nothing)
count_in = getattr(inner, "count_in", nothing_counted)
count_out = getattr(inner, "count_out", nothing_counted)
if hasattr(inner, "survey_part"):
    survey_part = inner.survey_part
if hasattr(inner, "expect_size"):
    expect_size = inner.expect_size
if hasattr(inner, "expect_room"):
    expect_room = inner.expect_room
if hasattr(inner, "slot_near"):
    slot_near = inner.slot_near
if hasattr(inner, "SETS_ERRNO"):
    SETS_ERRNO = inner.SETS_ERRNO
if hasattr(inner, "TAKES_NULL"):
    TAKES_NULL = inner.TAKES_NULL
if hasattr(inner, "usable_size"):
    usable_size = inner.usable_size
