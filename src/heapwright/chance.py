"""Random numbers for allocators and layers: SplitMix64, a counter whose values are mixed.

    class Heap(Struct):
        seeds: Atomic[Word]             memory.random(), stored when the heap opens

    draw(heap.seeds)                    a number of 64 bits; threads may share the cell

Source: G. Steele, D. Lea, C. Flood, Fast Splittable Pseudorandom Number Generators (2014).
"""

from __future__ import annotations

from heapwright.bits import shift_right, wrapping_mul

GAMMA = 0x9E3779B97F4A7C15 - (1 << 64)  # the counter's step
FIRST_FACTOR, SECOND_FACTOR = 0xBF58476D1CE4E5B9 - (1 << 64), 0x94D049BB133111EB - (1 << 64)
FRACTION = 31  # bits of a number that `below` uses


def draw(cell):
    """The next random number of an atomic cell."""
    return mixed(cell.add(GAMMA))


def mixed(state):
    """The output of SplitMix64 for a state."""
    state = wrapping_mul(state ^ shift_right(state, 30), FIRST_FACTOR)
    state = wrapping_mul(state ^ shift_right(state, 27), SECOND_FACTOR)
    return state ^ shift_right(state, 31)


def below(number, limit):
    """A random number as one from 0 to `limit` - 1, all equally likely; `limit` is at most 2^31."""
    return shift_right(number, 64 - FRACTION) * limit >> FRACTION
