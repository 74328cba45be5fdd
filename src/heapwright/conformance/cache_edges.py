"""The edges of a thread's cache: how many calls it serves before it must lock. Some scenarios begin there."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise

from heapwright.allocator import Allocator
from heapwright.conformance.subject import ROOMY
from heapwright.machine.accesses import access_at_work
from heapwright.machine.shared_heap import SharedHeap

REHEARSED = 140  # blocks: more than most caches hold
FEW = 24  # used if no edge is found


@cache
def edges_of_caches(allocator: Allocator, size: int) -> tuple[int, int]:
    """How many blocks a thread takes, and another frees, before the first call that locks after one that does not."""
    takes = last_edge(locks_of_taking(SharedHeap.start(allocator, **ROOMY), size, REHEARSED))
    heap = SharedHeap.start(allocator, **ROOMY)
    locks_of_taking(heap, size, takes)
    heap.process.thread = heap.process.new_thread()
    return takes, last_edge([takes_a_lock(heap, partial(heap.dealloc, address)) for address in list(heap.live)])


def locks_of_taking(heap: SharedHeap, size: int, blocks: int) -> list[bool]:
    heap.process.threads_ever = 2  # else locks would take the shortcut for a single thread
    return [takes_a_lock(heap, lambda: heap.alloc(size)) for _ in range(blocks)]


def takes_a_lock(heap: SharedHeap, call: Callable[[], object]) -> bool:
    """Whether a call makes an atomic operation that changes a word."""
    found = []

    def note(operation: str, address: int, size: int, value: int, who: str) -> None:
        access = access_at_work(0, operation, address, size, depth=2)
        found.append(access.is_atomic and access.changes)

    stop = heap.process.observe(access=note)
    call()
    stop()
    return any(found)


def last_edge(locked: list[bool]) -> int:
    """The number of calls before the last one that locks after one that does not."""
    return max((n for n, (before, now) in enumerate(pairwise(locked), 1) if now and not before), default=FEW)
