"""A mutex in one word. Threads sleep in the kernel only when they must wait.

Source: U. Drepper, Futexes Are Tricky (2011), section 6, the mutex with three states; the owner's number in the word,
as in the kernel's robust futexes. In a heap:

    class Heap(Struct):
        lock: Atomic[Word]              zero, and so free, at first

    acquire(heap.memory, heap.lock)

        FREE                            nobody holds it
        HELD                            the only thread that there is holds it
        owner's thread_id << 2 | HELD   a thread holds it
        the same       | CONTENDED      a thread holds it, and others may sleep

The word is always correct. So the plain stores of a process with one thread and the atomic operations of a process with
several mix freely, even if a second thread starts while the lock is held.
"""

from __future__ import annotations

FREE = 0
HELD = 1
CONTENDED = 2
OWNER = 2  # the number of bits below the owner's number
LOW_HALF = (1 << 32) - 1  # the half of the word that the kernel compares before a thread sleeps
LOOKS = 10  # tests of the lock before a sleep; the pauses add up to some microseconds, the cost of a sleep


def acquire(memory, cell):
    """Take the lock, waiting for it if need be."""
    if not try_acquire(memory, cell):
        wait_for(memory, cell)


def try_acquire(memory, cell):
    """Take the lock if it is free; return whether it was."""
    if memory.single_threaded():
        was_free = cell.load() == FREE
        if was_free:
            cell.store(HELD)
        return was_free
    return cell.compare_exchange(FREE, held_here(memory, HELD))


def held_here(memory, state):
    """The word of a lock that the calling thread holds."""
    return memory.thread_id() << OWNER | state


def release(memory, cell):
    """Release the lock, and wake one sleeper if there may be any."""
    if memory.single_threaded():
        cell.store(FREE)
    elif cell.exchange(FREE) & CONTENDED:
        memory.wake(cell.address)


def release_own(memory, cell):
    """Release the lock if the calling thread holds it."""
    if memory.single_threaded() or cell.load() >> OWNER == memory.thread_id():
        release(memory, cell)


def wait_for(memory, cell):
    """Test the lock at growing intervals, then sleep.

    Each test takes the cache line away from the holder, so rare tests let it finish sooner. A thread that has slept
    takes the lock as CONTENDED, because others may still be asleep.
    """
    for look in range(LOOKS):
        if cell.load() == FREE and cell.compare_exchange(FREE, held_here(memory, HELD)):
            return
        for _ in range(1 << look):
            memory.relax()
    while not cell.compare_exchange(FREE, held_here(memory, CONTENDED)):
        sleep_on(memory, cell)


def sleep_on(memory, cell):
    """Mark the lock as contended and sleep until it is released."""
    seen = cell.load()
    if seen & HELD and cell.compare_exchange(seen, seen ^ HELD ^ CONTENDED):
        seen = seen ^ HELD ^ CONTENDED
    if seen & CONTENDED:
        memory.wait(cell.address, seen & LOW_HALF)
