"""What a program may set of ptmalloc: four of the options of mallopt(3).

Source: glibc malloc/malloc.c (__libc_mallopt, do_set_mmap_threshold and its like), man-pages mallopt(3).
"""

from __future__ import annotations

from heapwright.allocators.ptmalloc_state import SEGMENT_BYTES
from heapwright.allocators.ptmalloc_threads import MOST_ARENAS, open_thread
from heapwright.bits import MOST
from heapwright.locks import acquire
from heapwright.locks import release as unlock

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -2, -3, -8


def set_option(heap, option, value):
    """1 if the option was set; 0 if it is none of these, or the value none for it."""
    open_thread(heap)  # which opens the heap
    if option == M_TRIM_THRESHOLD:
        return set_threshold(heap, heap.trim_threshold, value if value >= 0 else MOST)  # -1: never trim
    if option == M_TOP_PAD and value >= 0:
        return set_threshold(heap, heap.top_pad, value)
    if option == M_MMAP_THRESHOLD and 0 <= value <= SEGMENT_BYTES // 2:
        return set_threshold(heap, heap.mmap_threshold, value)
    if option == M_ARENA_MAX and value >= 0:
        return set_most_arenas(heap, value if value > 0 else MOST_ARENAS)
    return 0


def set_threshold(heap, cell, value):
    """Set one, and let none follow the program from now on."""
    heap.most_threshold.store(0)
    cell.store(value)
    return 1


def set_most_arenas(heap, value):
    acquire(heap.memory, heap.list_lock)
    heap.most_arenas = value
    unlock(heap.memory, heap.list_lock)
    return 1
