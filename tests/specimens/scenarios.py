"""Scenarios that more than one specimen fails: each states the good outcome."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from heapwright import allocator, layout
from heapwright.machine import Fault, start
from heapwright.machine.frames import Stop

from .defects import GIB, KIB, MIB, free_all, heap_bytes, state_of

C_FACE = Path(layout.__file__).with_name("libc.py")


def requests_beyond_31_bits_fail(design):
    for size in (4 * GIB + 4 * KIB, 4 * GIB, 3 * GIB, 2 * GIB, 2 * GIB - 1):
        heap = start(design)
        heap.alloc(16)
        before = state_of(heap)
        assert heap.alloc(size, 8) == 0
        assert state_of(heap) == before


def freeing_twice_is_noticed(design, align=16):
    heap = start(design, budget=10_000)
    address, _ = heap.alloc(40, align), heap.alloc(40, align)
    heap.dealloc(address)
    try:
        heap.dealloc(address, unchecked=True)
    except Fault as fault:
        assert fault.what == f"double free: {address:#x}", fault.what
    else:
        heap.alloc(MIB, align)  # a search of the whole list
        raise AssertionError("nobody noticed")


def free_of_null_does_nothing(design):
    """C's free: the specimen's own, or that of the C face."""
    for blocks in 0, 3:
        heap = start(design)
        for _ in range(blocks):
            heap.alloc(16, 4)
        before = state_of(heap)
        free_of(design)(heap.state, 0)
        assert state_of(heap) == before


def free_of(design):
    own = vars(design.parts[-1])
    return own["free"] if "free" in own else design.bind(C_FACE).free


def memory_goes_back_when_all_is_freed(design):
    heap = start(design)
    for _ in range(16):
        heap.alloc(64 * KIB)
    free_all(heap)
    assert heap_bytes(heap) <= 192 * KIB, f"{heap_bytes(heap) // KIB} KiB are kept"
    heap.trim()
    assert heap_bytes(heap) <= heap.process.memory.PAGE


# --- two threads


def two_threads_get_two_blocks(design):
    for switch in range(1, 60):
        heap = start(for_threads(design))
        heap.dealloc(heap.alloc(64))
        first, second = two_at_once(heap, switch)
        assert first != second != 0


def two_at_once(heap, switch, align=16):
    """The blocks of two threads, one of which runs at an access of the other."""
    heap.process.new_thread()
    heap.process.scheduler = second = Second(heap, switch, align)
    first = heap.alloc(16, align)
    heap.process.scheduler = None
    second.run()
    return first, second.address


def for_threads(design):
    """The design itself if it says that threads may call it, else under a lock."""
    return design if design.is_threaded else allocator.load(f"locked({design.spec})")


class Asleep(Stop):
    """A thread that waits for a lock."""


class Second:
    """A second thread, which runs at one access of the first, and again when the first has ended if it had to wait."""

    def __init__(self, heap, switch, align):
        self.heap, self.left, self.align, self.address = heap, switch, align, 0

    def step(self, operation, address, size):
        self.left -= 1
        if self.left == 0:
            self.run()

    def run(self):
        if self.address == 0:
            with suppress(Asleep):
                self.address = self.heap.alloc(16, self.align)

    def wait(self, address, value):
        raise Asleep

    def wake(self, address):
        pass

    def relax(self):
        pass
