"""Release of whole pages inside free memory: the kernel takes back their frames, and they stay mapped.

Source: MADV_DONTNEED in madvise(2); glibc's malloc_trim does the same since 2.8 (malloc/malloc.c, mtrim).
"""

from __future__ import annotations

from heapwright import bits


def decommit_inside(memory, start, end):
    """Release the frames of the whole pages in [start, end), which then read as zeros; return the bytes released."""
    first = bits.align_up(start, memory.PAGE)
    size = bits.align_down(end, memory.PAGE) - first
    if size <= 0 or memory.decommit(first, size) == -1:
        return 0
    return size
