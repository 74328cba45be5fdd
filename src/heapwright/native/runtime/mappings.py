"""Mappings inside our own region: the highest gap that is large enough serves, as in the machine and in Linux.

Written in the dialect. A separate mapping holds the table of mappings, from the top down. The break grows towards them.
"""

from __future__ import annotations

from heapwright.bits import align_up
from heapwright.layout import Array, Atomic, Inline, Struct, Word
from heapwright.locks import acquire, release
from heapwright.native import c
from heapwright.native.runtime.linux import DONT_NEED, PAGE

CAPACITY = 16384


class Mapping(Struct):
    start: Word
    end: Word


class Mappings(Struct):
    """The mappings in use, in descending order of their addresses."""

    lock: Atomic[Word]
    top: Word  # the end of the region
    count: Word
    table: Array[Inline[Mapping], CAPACITY]


def place(mappings, size, floor):
    """The start of the highest gap above `floor` that has room for `size` bytes, or -1."""
    above = mappings.top
    for i in range(mappings.count):
        if above - mappings.table[i].end >= size:
            return above - size
        above = mappings.table[i].start
    return above - size if above - floor >= size else -1


def lowest(mappings):
    """The start of the lowest mapping; the region's end if there is none."""
    return mappings.table[mappings.count - 1].start if mappings.count > 0 else mappings.top


def index_of(mappings, address):
    """The index of the first mapping that does not lie wholly above an address."""
    i = 0
    while i < mappings.count and mappings.table[i].start > address:
        i += 1
    return i


def insert(mappings, start, end):
    """Insert a mapping in order. The table must have room."""
    i = index_of(mappings, start)
    entry = mappings.table[i].address
    mappings.memory.copy(entry + Mapping.SIZE, entry, (mappings.count - i) * Mapping.SIZE)
    mappings.count += 1
    mappings.table[i].start = start
    mappings.table[i].end = end


def remove(mappings, i):
    """Remove the i-th mapping from the table."""
    entry = mappings.table[i].address
    mappings.count -= 1
    mappings.memory.copy(entry, entry + Mapping.SIZE, (mappings.count - i) * Mapping.SIZE)


def map_pages(mappings, size, floor):
    """The address of `size` zeroed bytes, or -1."""
    size = align_up(size, PAGE)
    acquire(mappings.memory, mappings.lock)
    start = place(mappings, size, floor) if size > 0 and mappings.count < CAPACITY - 1 else -1
    if start != -1:
        insert(mappings, start, start + size)
    release(mappings.memory, mappings.lock)
    return start


def unmap_pages(mappings, start, size):
    """Unmap a range, which reads as zero when it is mapped again. Returns -1 if the table is full."""
    acquire(mappings.memory, mappings.lock)
    has_room = mappings.count < CAPACITY - 1  # for the upper half of a split mapping
    if has_room:
        cut(mappings, start, start + align_up(size, PAGE))
    release(mappings.memory, mappings.lock)
    return 0 if has_room else -1


def cut(mappings, start, end):
    """Remove a range of whole pages from all mappings that overlap it. A mapping that contains it is split."""
    i = 0
    while i < mappings.count:
        mapping = mappings.table[i]
        first, last = mapping.start, mapping.end
        if first < end and start < last:
            remove(mappings, i)
            c.madvise(max(first, start), min(last, end) - max(first, start), DONT_NEED)
            if first < start:
                insert(mappings, first, start)
                i += 1
            if end < last:
                insert(mappings, end, last)
                i += 1
        else:
            i += 1


def remap_pages(mappings, address, old_size, new_size, may_move, floor):
    """Resize a mapping in place if possible, otherwise elsewhere if it may move. Returns its address, or -1."""
    old_size, new_size = align_up(old_size, PAGE), align_up(new_size, PAGE)
    if new_size <= old_size:
        if new_size < old_size:
            unmap_pages(mappings, address + new_size, old_size - new_size)
        return address
    if extend(mappings, address + old_size, new_size - old_size):
        return address
    target = map_pages(mappings, new_size, floor) if may_move else -1
    if target != -1:
        mappings.memory.copy(target, address, old_size)
        unmap_pages(mappings, address, old_size)
    return target


def extend(mappings, end, extra):
    """Grow the mapping that ends at `end`, if nothing is in the way."""
    acquire(mappings.memory, mappings.lock)
    i = index_of(mappings, end - 1)
    above = mappings.table[i - 1].start if i > 0 else mappings.top
    fits = mappings.table[i].end == end and above - end >= extra
    if fits:
        mappings.table[i].end = end + extra
    release(mappings.memory, mappings.lock)
    return fits
