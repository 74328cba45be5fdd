"""Nothing: every block is the same place. What a replay of it costs is what replaying costs.

Only for measuring the replayer: blocks overlap, so no program can run on it.

Vital statistics: one region of 64 MiB.
"""

from __future__ import annotations

from heapwright.layout import NULL, Struct, Word

ROOM = 1 << 26
THREADS = "own"


class Heap(Struct):
    place: Word


def alloc(heap, size, align):
    return heap.place if heap.place != NULL and size <= ROOM else take_room(heap)


def take_room(heap):
    start = heap.memory.sbrk(2 * ROOM)
    heap.place = (start + ROOM - 1) & -ROOM if start != -1 else NULL
    return heap.place


def dealloc(heap, address, size, align):
    pass


def usable_size(heap, address):
    return ROOM


def walk(heap, start, end):
    yield start, end - start, 1


def check(heap, start, end):
    pass
