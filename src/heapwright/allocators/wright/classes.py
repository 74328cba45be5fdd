"""Wright's size classes: 16 bytes apart up to 1 KiB, then eight to each doubling, up to 32 KiB.

      class    1  2  3 .. 64     65   66 .. 72     73 .. 80 .. 104
      size    16 32 48 .. 1024  1152 1280 .. 2048  2304 .. 4096 .. 32,768

Above 1 KiB at most 1/9 of a block is waste. A class is a multiple of every alignment, up to a tile, to which its
smallest request may have been rounded up. A run of tiles of one class has at least four blocks, and at most 1/16 of it
is left over behind the last one.
"""

from __future__ import annotations

from heapwright import bits

CLASSES = 105  # class 0 has no blocks, so its list is always empty
LINEAR = 64  # the last class of those 16 bytes apart
MAX_LINEAR = 16 * LINEAR
MAX_SMALL = 1 << 15
TILE = 1 << 14
MIN_BLOCKS = 4  # in a run


def class_of(size):
    """The class of the smallest blocks that hold `size` bytes, 0 < size <= MAX_SMALL."""
    if size <= MAX_LINEAR:
        return (size + 15) >> 4
    doubling = bits.floor_log2(size - 1) - 10
    return LINEAR - 7 + 8 * doubling + ((size - 1) >> (doubling + 7))


def size_of_class(size_class):
    if size_class <= LINEAR:
        return 16 * size_class
    above = size_class - LINEAR - 1
    return (MAX_LINEAR + 128 * ((above & 7) + 1)) << (above >> 3)


def tiles_for(size):
    """The tiles of a run of blocks of this size: the fewest that hold four and leave at most a sixteenth over."""
    tiles = 1
    while tiles * TILE < MIN_BLOCKS * size or 16 * (tiles * TILE % size) > tiles * TILE:
        tiles += 1
    return tiles
