"""Wright's holes: whole pages inside a slab that have no live block, given back to the kernel by a trim.

      slab -> | live | free free free free free free | live |
      pages   |     0     |     1     |     2     |     3
      list       the free blocks of pages 0 and 3
      holes                bit 1       bit 2

The frames of a hole are gone, and so are the links in it. So a block that touches a hole is not on the slab's list. It
is free nevertheless: it does not count as out. Before a slab serves a refill, its holes are filled: all their blocks
return to the list. Therefore only a slab that waits can have holes.
"""

from __future__ import annotations

from heapwright import bits
from heapwright.allocators.wright import classes, records
from heapwright.allocators.wright.records import Block
from heapwright.layout import NULL

LOG2_PAGE = 12
PAGE = 1 << LOG2_PAGE
MAX_PAGES = 32  # of a slab that can have holes


def give_back(heap, home):
    """Make holes in all slabs of a home that have free blocks; return the bytes. The home is locked."""
    released = 0
    if heap.memory.PAGE <= PAGE:
        for size_class in range(1, classes.CLASSES):
            slab = home.partial[size_class]
            while slab:
                released += punch(heap, home, slab)
                slab = slab.next
            if home.current[size_class]:
                released += punch(heap, home, home.current[size_class])
    return released


def punch(heap, home, slab):
    """Release the pages of a slab that have no live block; return the bytes."""
    if not slab.free or records.bytes_of(slab) > MAX_PAGES * PAGE:
        return 0
    count_live(home, slab)
    found = pages_without_live(home, slab) & ~slab.holes
    if found == 0:
        return 0
    slab.holes |= found
    leave_out_sunk(slab)
    return release(heap, records.start_of(slab), found)


def count_live(home, slab):
    """Count the bytes of live blocks in each page, for `pages_without_live`."""
    carved = slab.carved * slab.size
    for page in range(MAX_PAGES):
        home.live[page] = max(min(carved - page * PAGE, PAGE), 0)
    block, start = slab.free, records.start_of(slab)
    while block:
        first, end = block.address - start, block.address - start + slab.size
        while first < end:
            page = first >> LOG2_PAGE
            upto = min(end, (page + 1) << LOG2_PAGE)
            home.live[page] -= upto - first
            first = upto
        block = records.next_of(block)


def pages_without_live(home, slab):
    """The carved pages without live blocks, as bits."""
    found = 0
    for page in range((slab.carved * slab.size + PAGE - 1) >> LOG2_PAGE):
        if home.live[page] == 0:
            found |= bits.bit(page)
        home.live[page] = 0  # a request that fails leaves no trace
    return found


def is_sunk(slab, address):
    """Whether a block of a slab touches a hole."""
    first = address - records.start_of(slab)
    pages = bits.bit(((first + slab.size - 1) >> LOG2_PAGE) + 1) - bits.bit(first >> LOG2_PAGE)
    return slab.holes & pages != 0


def leave_out_sunk(slab):
    """Remove the blocks in holes from the slab's list."""
    block = slab.free
    slab.free = NULL
    while block:
        rest = records.next_of(block)
        if not is_sunk(slab, block.address):
            records.link(block, slab.free)
            slab.free = block
        block = rest


def release(heap, start, pages):
    """Release the frames of pages from `start` on, given as bits; return the bytes."""
    released = 0
    while pages != 0:
        first = bits.lowest_bit(pages)
        end = first
        while pages & bits.bit(end) != 0:
            pages &= ~bits.bit(end)
            end += 1
        size = (end - first) << LOG2_PAGE
        if heap.memory.decommit(start + (first << LOG2_PAGE), size) != -1:
            released += size
    return released


def fill(slab):
    """Put the blocks in holes back on the slab's list."""
    block = Block(slab.memory, records.start_of(slab))
    for _ in range(slab.carved):
        if is_sunk(slab, block.address):
            records.link(block, slab.free)
            slab.free = block
        block = block.at(block.address + slab.size)
    slab.holes = 0
