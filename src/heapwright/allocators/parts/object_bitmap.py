"""A bitmap over a few adjacent objects of one size.

`walk` uses it to find free objects in one pass over an unordered list, because the dialect has no sets.
"""

from __future__ import annotations

from heapwright import bits

WINDOW = 62  # objects


def bit_for(address, start, size):
    """The bit of the object at an address, if it is one of the WINDOW objects from `start` on; otherwise 0."""
    offset = address - start
    return bits.bit(offset // size) if bits.unsigned_less(offset, WINDOW * size) else 0
