"""The records of jemalloc, version by version.

Source: jemalloc include/jemalloc/internal/edata.h, rtree.h, cache_bin.h and tcache_structs.h (5.3);
extent_structs.h (5.2). What differs: 5.3 has three bits for an extent's state, 5.2 two, and one bit less before them.
Since 5.3.1 a large block need not be as large as its class.
"""

from __future__ import annotations

from typing import NamedTuple

from heapwright.allocators.parts.size_classes import size_of_class
from heapwright.layout import Array, Struct, Word, Word16

LEAF_BITS = 18  # pages that one leaf covers, as a power of two
LEAF_BYTES = 8 << LEAF_BITS
RECORD_BYTES = 128
RECORD_MASK = (1 << 48) - 32  # of a leaf's entry
CLASSES = 232
SLAB_CLASSES = 36  # the classes below 16 KiB
NO_CLASS = CLASSES
LARGEST_INDEX = 4095
ACTIVE, DIRTY, MUZZY, RETAINED = range(4)


class Edata(Struct):
    """edata_t, or extent_t before 5.3: what both have at the same offsets."""

    bits: Word
    base: Word
    size_and_serial: Word  # the bits below a page are a serial number
    links: Array[Word, 5]
    free_regions: Array[Word, 8]  # a bit for each region of a slab


class Bin(Struct):
    """cache_bin_t of 5.3: a stack of cached pointers that grows down; of its bounds the low 16 bits are kept."""

    head: Word
    requests: Word
    low_water: Word16
    full: Word16
    empty: Word16
    padding: Word16


class Layout(NamedTuple):
    """Where the fields of an extent's bits begin."""

    slab: int
    state: int
    state_bits: int
    size_class: int
    free_count: int


LAYOUTS = {
    "5.2": Layout(12, 16, 2, 18, 26),
    "5.3": Layout(12, 17, 3, 20, 28),
}
SLOW_BINS = 32  # tcache_slow_t of 5.3: where the address of its bins lies
SLOW_CACHE = (168, 232)  # and where that of the other half, in 5.3.0 and in 5.3.1
CACHE_BINS = 8  # tcache_t: what lies before its bins


def size_of(size_class: int) -> int:
    """The bytes of a class: 8, and then the sizes that heapwright's own classes have."""
    return size_of_class(size_class - 1) if size_class else 8
