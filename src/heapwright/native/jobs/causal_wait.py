"""Waiting in a replay on threads: for a word to reach a number. A short spin first, then a sleep in the kernel.

Who raises the word exchanges it and then looks for sleepers. Who sleeps counts itself first and then looks at the word
again. Both are locked instructions, so one of the two sees the other.
"""

from __future__ import annotations

from heapwright.native import c
from heapwright.native.runtime.linux import FUTEX, FUTEX_WAIT, FUTEX_WAKE, STEADY

LOOKS = 8  # before a sleep; the pauses between them add up to some microseconds, about the cost of a sleep
LOW_HALF = (1 << 32) - 1  # what the kernel compares
ALL = (1 << 31) - 1


def await_number(memory, word, sleepers, number):
    """Wait until a word is at least a number. Returns the nanoseconds."""
    if word.load() >= number:
        return 0
    began = c.nanoseconds(STEADY)
    if not is_there_soon(memory, word, number):
        sleepers.add(1)
        seen = word.load()
        while seen < number:
            c.syscall(FUTEX, word.address, FUTEX_WAIT, seen & LOW_HALF, 0, 0)
            seen = word.load()
        sleepers.add(-1)
    return c.nanoseconds(STEADY) - began


def is_there_soon(memory, word, number):
    """Look at growing intervals, because each look takes the cache line away from who will write it."""
    for look in range(LOOKS):
        for _ in range(1 << look):
            memory.relax()
        if word.load() >= number:
            return True
    return False


def raise_to(word, sleepers, number):
    """Set a word that others wait for, and wake them."""
    word.exchange(number)
    if sleepers.load() != 0:
        wake_all(word)


def wake_all(word):
    """Wake all that sleep at a word."""
    c.syscall(FUTEX, word.address, FUTEX_WAKE, ALL, 0, 0)
