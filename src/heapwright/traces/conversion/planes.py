"""The numbers of a column, cut to the bytes that the largest one needs and sorted into planes (`traces.columns`).

Each loop does one thing to all numbers, so the compiler makes several steps of it at once.
"""

from __future__ import annotations

from heapwright.bits import shift_right
from heapwright.layout import Array, Byte, Struct, Word, Word32
from heapwright.traces.conversion.state import CAPACITY


class Bytes(Struct):
    at: Array[Byte, CAPACITY]


class Halves(Struct):
    at: Array[Word32, CAPACITY]


class Numbers(Struct):
    at: Array[Word, CAPACITY]


def sort(state, address, size, count):
    """Write `count` numbers of `size` bytes to `state.planes`. Returns the bytes of a number there."""
    if size == 1:
        return sort_bytes(state, address, count)
    if size == 4:
        return sort_numbers(state, Halves(state.memory, address), count)
    return sort_numbers(state, Numbers(state.memory, address), count)


def sort_bytes(state, address, count):
    state.memory.copy(state.planes.address, address, count)
    return 1


def sort_numbers(state, numbers, count):
    """The same for `Halves` or `Numbers`."""
    used = 0
    for i in range(count):
        used |= numbers.at[i]
    width = width_of(used)
    for plane in range(width):
        target = Bytes(state.memory, state.planes.address + plane * count)
        for i in range(count):
            target.at[i] = shift_right(numbers.at[i], 8 * plane)
    return width


def width_of(used):
    """The bytes of a number whose bits are among those that are used."""
    if used < 0 or used >= 1 << 32:
        return 8
    if used >= 1 << 16:
        return 4
    return 2 if used >= 1 << 8 else 1
