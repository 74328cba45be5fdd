"""A few objects of one size side by side, as bits: for `walk`, which has no sets and asks lists that have no order."""

from __future__ import annotations

from heapwright.bits import below, bit

WINDOW = 62  # objects


def bit_for(address, start, size):
    """The bit of the object at an address, if it is one of the WINDOW from `start` on; else 0."""
    offset = address - start
    return bit(offset // size) if below(offset, WINDOW * size) else 0
