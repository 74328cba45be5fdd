"""Zeros in a freed block of a hardened heap: how they are written, and how they are found when it is handed out again.

Both take 32 or 64 bytes at a time, from the end of a block on. A size is a multiple of 16 bytes, and at least 32.
"""

from __future__ import annotations

from heapwright.layout import Struct, Word

WINDOW = 32  # bytes


class Words(Struct):
    """Words side by side, which are cleared and looked at together."""

    first: Word
    second: Word
    third: Word
    fourth: Word


def clear(memory, address, size):
    """Write zeros. The words at the front may be cleared twice."""
    while size > 2 * WINDOW:
        clear_window(memory, address + size - WINDOW)
        clear_window(memory, address + size - 2 * WINDOW)
        size -= 2 * WINDOW
    if size > WINDOW:
        clear_window(memory, address + size - WINDOW)
    clear_window(memory, address)


def clear_window(memory, place):
    words = Words(memory, place)
    words.first = words.second = words.third = words.fourth = 0


def are_in(memory, address, size):
    """Whether there are only zeros behind the first word. Some words may be read twice."""
    words = Words(memory, address)
    found = words.second | words.third | words.fourth
    while size > 2 * WINDOW:
        found |= window_at(memory, address + size - WINDOW) | window_at(memory, address + size - 2 * WINDOW)
        size -= 2 * WINDOW
    if size > WINDOW:
        found |= window_at(memory, address + size - WINDOW)
    return found == 0


def window_at(memory, place):
    """The bits that are set in the words of a window."""
    words = Words(memory, place)
    return words.first | words.second | words.third | words.fourth
