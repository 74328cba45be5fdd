"""A mutex in one word: threads sleep in the kernel only when they must wait.

Source: U. Drepper, Futexes Are Tricky (2011), section 6, the mutex with three states. In heap words:

    class Heap(Struct):
        lock: Atomic[Word]              zero, and so free, at first

    acquire(heap.memory, heap.lock)

The word is always right, so the plain stores of a process with one thread and the atomic ones of a process with
many mix freely, in whatever order a lock was taken, a thread started and the lock given back.
"""

from __future__ import annotations

FREE = 0
HELD = 1
CONTENDED = 2  # held, and others may sleep
LOOKS = 10  # the last after 512 pauses: some microseconds, what a sleep would cost


def acquire(memory, cell):
    """Take the lock, waiting for it if need be."""
    if not try_acquire(memory, cell):
        wait_for(memory, cell)


def try_acquire(memory, cell):
    """Take the lock if it is free; say whether it was."""
    if memory.single_threaded():
        was_free = cell.load() == FREE
        if was_free:
            cell.store(HELD)
        return was_free
    return cell.compare_exchange(FREE, HELD)


def release(memory, cell):
    """Give the lock back and wake one sleeper, if there may be any."""
    if memory.single_threaded():
        cell.store(FREE)
    elif cell.exchange(FREE) == CONTENDED:
        memory.wake(cell.address)


def wait_for(memory, cell):
    """Look ever more seldom, then sleep; whoever slept takes the lock as contended, for others may sleep still.

    Each look takes the cache line from the holder: who looks seldom lets it get through its work.
    """
    for look in range(LOOKS):
        if cell.load() == FREE and cell.compare_exchange(FREE, HELD):
            return
        for _ in range(1 << look):
            memory.relax()
    while cell.exchange(CONTENDED) != FREE:
        memory.wait(cell.address, CONTENDED)
