"""Mappings inside a region of our own: the highest gap with room serves, as in the machine and in Linux.

Written in the dialect. A table of areas from the top down, in a mapping of its own; the break grows towards them.
"""

from __future__ import annotations

from heapwright.bits import align_up
from heapwright.layout import Array, Atomic, Inline, Struct, Word
from heapwright.locks import acquire, release
from heapwright.native import c
from heapwright.native.runtime.linux import DONT_NEED, PAGE

CAPACITY = 16384


class Area(Struct):
    start: Word
    end: Word


class Areas(Struct):
    """The areas in use: each lies below the one before it in the table."""

    lock: Atomic[Word]
    top: Word  # where the region ends
    count: Word
    table: Array[Inline[Area], CAPACITY]


def place(areas, size, floor):
    """The start of the highest gap above `floor` that has room for `size` bytes, or -1."""
    above = areas.top
    for i in range(areas.count):
        if above - areas.table[i].end >= size:
            return above - size
        above = areas.table[i].start
    return above - size if above - floor >= size else -1


def lowest(areas):
    """Where the lowest area starts; the region's end if there is none."""
    return areas.table[areas.count - 1].start if areas.count > 0 else areas.top


def index_of(areas, address):
    """The first area that does not lie wholly above an address."""
    i = 0
    while i < areas.count and areas.table[i].start > address:
        i += 1
    return i


def insert(areas, start, end):
    """Enter an area at its place; the table must have room."""
    i = index_of(areas, start)
    entry = areas.table[i].address
    areas.memory.copy(entry + Area.SIZE, entry, (areas.count - i) * Area.SIZE)
    areas.count += 1
    areas.table[i].start = start
    areas.table[i].end = end


def remove(areas, i):
    """Take the i-th area out of the table."""
    entry = areas.table[i].address
    areas.count -= 1
    areas.memory.copy(entry, entry + Area.SIZE, (areas.count - i) * Area.SIZE)


def map_pages(areas, size, floor):
    """The address of `size` zeroed bytes, or -1."""
    size = align_up(size, PAGE)
    acquire(areas.memory, areas.lock)
    start = place(areas, size, floor) if size > 0 and areas.count < CAPACITY - 1 else -1
    if start != -1:
        insert(areas, start, start + size)
    release(areas.memory, areas.lock)
    return start


def unmap_pages(areas, start, size):
    """Take a range out of the areas; what was there reads as zero when it is mapped again. -1 if the table is full."""
    acquire(areas.memory, areas.lock)
    has_room = areas.count < CAPACITY - 1  # for the other half of an area that is split
    if has_room:
        cut(areas, start, start + align_up(size, PAGE))
    release(areas.memory, areas.lock)
    return 0 if has_room else -1


def cut(areas, start, end):
    """Take a range of whole pages out of all areas that it meets: one that it lies within is split."""
    i = 0
    while i < areas.count:
        area = areas.table[i]
        first, last = area.start, area.end
        if first < end and start < last:
            remove(areas, i)
            c.madvise(max(first, start), min(last, end) - max(first, start), DONT_NEED)
            if first < start:
                insert(areas, first, start)
            if end < last:
                insert(areas, end, last)
        i += 1


def remap_pages(areas, address, old_size, new_size, may_move, floor):
    """Resize a mapping in place if it can be, else elsewhere if it may move; its address, or -1."""
    old_size, new_size = align_up(old_size, PAGE), align_up(new_size, PAGE)
    if new_size <= old_size:
        if new_size < old_size:
            unmap_pages(areas, address + new_size, old_size - new_size)
        return address
    if extend(areas, address + old_size, new_size - old_size):
        return address
    target = map_pages(areas, new_size, floor) if may_move else -1
    if target != -1:
        areas.memory.copy(target, address, old_size)
        unmap_pages(areas, address, old_size)
    return target


def extend(areas, end, extra):
    """Let the area that ends at `end` grow, if nothing is in the way."""
    acquire(areas.memory, areas.lock)
    i = index_of(areas, end - 1)
    above = areas.table[i - 1].start if i > 0 else areas.top
    fits = areas.table[i].end == end and above - end >= extra
    if fits:
        areas.table[i].end = end + extra
    release(areas.memory, areas.lock)
    return fits
