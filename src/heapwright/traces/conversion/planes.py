"""The numbers of a column, cut to the bytes that the largest one needs and sorted into planes (`traces.columns`)."""

from __future__ import annotations

from heapwright.bits import shift_right, wrapping_mul
from heapwright.layout import Array, Byte, Struct, Word, Word32
from heapwright.traces.conversion.state import CAPACITY

LOW = 255


class Bytes(Struct):
    at: Array[Byte, CAPACITY]


class Halves(Struct):
    at: Array[Word32, CAPACITY]


class Numbers(Struct):
    at: Array[Word, CAPACITY]


def sort(state, address, size, count):
    """Write `count` numbers of `size` bytes, 4 or 8, to `state.planes`. Returns the bytes of a number there."""
    if count == 0:
        return 1
    if size == 4:
        return sort_numbers(state, Halves(state.memory, address), count)
    return sort_numbers(state, Numbers(state.memory, address), count)


def sort_numbers(state, numbers, count):
    """The same for `Halves` or `Numbers`. The first number may be much larger than the others: it may be a time."""
    first, used = numbers.at[0], 0
    for i in range(1, count):
        used |= numbers.at[i]
    width = width_of(first | used)
    for plane in range(width):
        target = Bytes(state.memory, state.planes.address + plane * count)
        if shift_right(used, 8 * plane) & LOW == 0:
            state.memory.fill(target.address, count, 0)
        else:
            cut(target, numbers, count, 8 * plane)
        target.at[0] = shift_right(first, 8 * plane) & LOW
    return width


def cut(target, numbers, count, shift):
    """Write one byte of each number, eight at a time."""
    words, whole = Numbers(target.memory, target.address), count // 8
    for i in range(whole):
        at = 8 * i
        low = byte(numbers, at, shift) | byte(numbers, at + 1, shift) << 8
        low |= byte(numbers, at + 2, shift) << 16 | byte(numbers, at + 3, shift) << 24
        high = byte(numbers, at + 4, shift) | byte(numbers, at + 5, shift) << 8
        high |= byte(numbers, at + 6, shift) << 16 | byte(numbers, at + 7, shift) << 24
        words.at[i] = low | wrapping_mul(high, 1 << 32)
    for i in range(8 * whole, count):
        target.at[i] = byte(numbers, i, shift)


def byte(numbers, index, shift):
    return shift_right(numbers.at[index], shift) & LOW


def width_of(used):
    """The bytes of a number whose bits are among those that are used."""
    if used < 0 or used >= 1 << 32:
        return 8
    if used >= 1 << 16:
        return 4
    return 2 if used >= 1 << 8 else 1
