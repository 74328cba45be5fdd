"""The ends of huge blocks in a hardened heap: the sizes asked for, and a pattern behind each.

A huge block has at least one more word than its caller asked for, unless these are whole megabytes. Its record has the
size, and the word of the pattern, which is a new secret for each block.
"""

from __future__ import annotations

from heapwright import locks
from heapwright.allocators.wright import huge_ranges, known_segments, seals


def close(heap, address, size):
    """Write the pattern behind a block for a caller that asked for `size` bytes."""
    locks.acquire(heap.memory, heap.pages.lock)
    found = huge_ranges.live_huge(heap, address)
    found.asked[0] = size
    found.pattern[0] = seals.pattern_of(known_segments.next_secret(heap))
    if end_of(found) < limit_of(found):
        seals.draw_edge(heap.memory, end_of(found), limit_of(found), found.pattern[0])
    locks.release(heap.memory, heap.pages.lock)


def size_of(heap, address):
    """The size that the caller of a live block asked for."""
    locks.acquire(heap.memory, heap.pages.lock)
    size = huge_ranges.live_huge(heap, address).asked[0]
    locks.release(heap.memory, heap.pages.lock)
    return size


def checked(heap, address):
    """The same, after a look at the bytes behind the block."""
    locks.acquire(heap.memory, heap.pages.lock)
    found = huge_ranges.live_huge(heap, address)
    size, is_whole = found.asked[0], seals.has_edge(heap.memory, end_of(found), limit_of(found), found.pattern[0])
    locks.release(heap.memory, heap.pages.lock)
    if not is_whole:
        heap.memory.fault("written behind its end", address, size)
    return size


def end_of(found):
    return found.start + found.asked[0]


def limit_of(found):
    """Where the pattern stops."""
    return min(end_of(found) + seals.EDGE, found.start + found.size)
