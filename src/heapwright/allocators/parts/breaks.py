"""Moves of the break by any number of bytes, on every kernel.

In xv6 the argument of sbrk is a C `int`, and C silently truncates a larger number to 32 bits: 3 GiB become a shrink by
1 GiB, and 4 GiB become nothing. There the break moves in several steps of at most `memory.MAX_SBRK` bytes. On Linux the
argument has 64 bits, and one call of sbrk suffices.
"""

from __future__ import annotations

from heapwright import bits


def grow(memory, size):
    """Raise the break by `size` bytes; return (start of the new memory, its bytes), with 0 bytes if refused.

    The bytes are fewer than `size` only if the kernel refuses a later step and does not take back all earlier ones.
    """
    if size > memory.MAX_SBRK:
        return grow_in_steps(memory, size)
    start = memory.sbrk(size)
    return start, size if start != -1 else 0


def grow_in_steps(memory, size):
    """Raise the break in steps, each but the last up to a page boundary; return the same as `grow`."""
    start = memory.sbrk(0)
    end, wanted = start, start + size
    while end < wanted:
        higher = min(wanted, bits.align_down(end + memory.MAX_SBRK, memory.PAGE))
        if not continues(memory, end, higher):
            return start, undone(memory, start, end)
        end = higher
    return start, size


def continues(memory, end, higher):
    """Raise the break from `end` to `higher`. If other code has moved it, undo the step and return False."""
    start = memory.sbrk(higher - end)
    if start not in (end, -1):
        memory.sbrk(end - higher)
    return start == end


def undone(memory, start, end):
    """Lower the break to `start` again; return the number of bytes that the kernel does not take back."""
    if start < end and memory.sbrk(0) == end:
        return end - start - shrink_in_steps(memory, end, end - start)
    return end - start


def shrink(memory, end, size):
    """Lower the break by `size` bytes, unless other code has moved it from `end`; return the bytes released."""
    if size <= 0 or memory.sbrk(0) != end:
        return 0
    if size > memory.MAX_SBRK:
        return shrink_in_steps(memory, end, size)
    return size if memory.sbrk(-size) != -1 else 0


def shrink_in_steps(memory, end, size):
    """Lower the break in steps; return the bytes released, as read from the break, which xv6rs rounds up to a page."""
    place, wanted = end, end - size
    while place > wanted:
        lower = max(wanted, bits.align_up(place - memory.MAX_SBRK, memory.PAGE))
        if memory.sbrk(lower - place) == -1:
            return end - place
        place = lower
    return end - memory.sbrk(0)
