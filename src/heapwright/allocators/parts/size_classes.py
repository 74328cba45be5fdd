"""Size classes: 16 bytes apart up to 128, then four to each doubling, so at most a fifth of a block is waste.

      class  0  1  2  3  4  5  6   7   8   9  10  11  12  13  14  15 ..
      size  16 32 48 64 80 96 112 128 160 192 224 256 320 384 448 512 ..

A class is a multiple of every alignment to which its smallest request may have been rounded up. So a request rounded to
its alignment gets an aligned block.
"""

from __future__ import annotations

from heapwright import bits


def class_of(size):
    """The class of the smallest blocks that hold `size` bytes, size > 0."""
    units = (size - 1) >> 4
    doubling = bits.floor_log2(units | 4) - 2
    return 4 * doubling + (units >> doubling)


def size_of_class(size_class):
    doubling = max(0, (size_class >> 2) - 1)
    return (size_class - 4 * doubling + 1) << (doubling + 4)
