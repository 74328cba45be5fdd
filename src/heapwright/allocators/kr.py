"""The heap of Kernighan and Ritchie, as xv6 ships it: next fit over one circular free list.

Source: B. Kernighan, D. Ritchie, The C Programming Language, 2nd ed., 1988, section 8.7; xv6-riscv
user/umalloc.c.

A block, in use or free; sizes are in units of 16 bytes, the header included:

      block -> +--------------------+
             0 | next               |  the next free block; stale while in use
             8 | units              |
    address -> +--------------------+  what alloc returns
            16 | the caller's bytes |
               +--------------------+

The heap's own words: the rover, where the last search stopped, and the anchor, a block of no units that keeps
the list from ever being empty.

Invariants
    I1  the free list is a circle through the anchor
    I2  along the circle addresses rise, but for one wrap
    I3  no two free blocks touch
    I4  the blocks tile the heap: each ends where the next begins

Vital statistics: header 16 bytes, smallest block 32, alignment 16; alloc and dealloc O(free blocks); memory is
never given back. Beyond the book: sizes are words, so none is cut to 32 bits; growth is aligned, whatever else
moved the break; a larger alignment takes a larger block and frees what lies before and behind.
"""

from __future__ import annotations

from heapwright.bits import MOST, align_up
from heapwright.layout import NULL, Inline, Struct, Word
from heapwright.spans import FREE, UNUSED, USED

UNIT = 16
LEAST_GROWTH = 4096  # units
MOST_BYTES = MOST // 2
SLOW_PATHS = ("grow",)
RETAINS = "all that it ever held: the break is never lowered"


class Block(Struct):
    next: Block
    units: Word


class Heap(Struct):
    rover: Block  # null until the first call
    anchor: Inline[Block]


# --- blocks


def block_of(heap, address):
    return Block(heap.memory, address - UNIT)


def address_of(block):
    return block.address + UNIT


def end_of(block):
    return block.address + block.units * UNIT


def units_for(size):
    return (size + UNIT - 1) // UNIT + 1


# --- the free list


def open_list(heap):
    """Make the anchor a circle of one."""
    heap.anchor.next = heap.anchor
    heap.anchor.units = 0
    heap.rover = heap.anchor


def lies_between(block, before, after):
    """Whether `block` belongs in the gap of the circle from `before` to `after`."""
    wraps = after.address <= before.address
    if before.address < block.address:
        return wraps or block.address < after.address
    return wraps and block.address < after.address


def insert(heap, block):
    """Put a block into the list in address order and merge it with both neighbours."""
    before = heap.rover
    while not lies_between(block, before, before.next):
        before = before.next
    join(block, before.next)
    join(before, block)
    heap.rover = before


def join(lower, upper):
    """Link `lower` to `upper`, or swallow `upper` where they touch."""
    if end_of(lower) == upper.address:
        lower.units += upper.units
        lower.next = upper.next
    else:
        lower.next = upper


def take(previous, block, units):
    """Unlink an exact fit, or cut the tail off a larger block, so that its links stay."""
    if block.units == units:
        previous.next = block.next
        return block
    block.units -= units
    tail = block.at(end_of(block))
    tail.units = units
    return tail


def find(heap, units):
    """The block before the first that fits, growing the heap if none does; null when memory is exhausted."""
    previous = heap.rover
    while previous.next.units < units:
        previous = previous.next
        if previous == heap.rover:  # once around
            if not grow(heap, units):
                return previous.at(NULL)
            previous = heap.rover
    return previous


def grow(heap, units):
    """Ask for more memory and free it into the list; False when there is none."""
    size = max(units, LEAST_GROWTH) * UNIT + padding(heap)
    start = heap.memory.sbrk(size)
    if start == -1:
        return False
    block = Block(heap.memory, align_up(start, UNIT))
    block.units = (start + size - block.address) // UNIT
    insert(heap, block)
    return True


def padding(heap):
    """Bytes from the break to the next unit: none, unless somebody else moved it."""
    return -heap.memory.sbrk(0) & (UNIT - 1)


def take_fit(heap, units):
    """The first block that fits, cut to size; null when memory is exhausted."""
    if not heap.rover:
        open_list(heap)
    previous = find(heap, units)
    if not previous:
        return previous
    heap.rover = previous
    return take(previous, previous.next, units)


# --- alignments above a unit


def cut_front(heap, block, units):
    """Free the first `units` of a block in use; return the rest."""
    rest = block.at(block.address + units * UNIT)
    rest.units = block.units - units
    block.units = units
    insert(heap, block)
    return rest


def cut_back(heap, block, units):
    """Keep the first `units` of a block in use; free the rest."""
    rest = block.at(block.address + units * UNIT)
    rest.units = block.units - units
    block.units = units
    insert(heap, rest)


def take_aligned(heap, units, align):
    """Take a block with room for the worst misfit, and free what is not needed at either end."""
    block = take_fit(heap, units + align // UNIT)
    if not block:
        return block
    misfit = -address_of(block) & (align - 1)
    if misfit > 0:
        block = cut_front(heap, block, misfit // UNIT)
    cut_back(heap, block, units)  # a unit at least: the misfit is less than the alignment
    return block


# --- the allocator


def alloc(heap, size, align):
    """Return the address of `size` bytes, or 0 when memory is exhausted."""
    if size < 0 or size > MOST_BYTES - align:
        return NULL
    units = units_for(size)
    block = take_fit(heap, units) if align <= UNIT else take_aligned(heap, units, align)
    return address_of(block) if block else NULL


def dealloc(heap, address, size, align):
    """Put the block back in address order and merge it with both neighbours."""
    insert(heap, block_of(heap, address))


def usable_size(heap, address):
    return (block_of(heap, address).units - 1) * UNIT


# --- looking at it


def walk(heap, start, end):
    """Yield (start, size, kind) for each block of [start, end): the list and the heap have one order."""
    free = first_free(heap, start)
    block = Block(heap.memory, align_up(start, UNIT))
    if start < block.address:
        yield start, block.address - start, UNUSED
    while block.address < end:
        size = block.units * UNIT
        if block == free:
            free = free.next
            yield block.address, size, FREE
        else:
            yield block.address, size, USED
        block = block.at(block.address + size)


def first_free(heap, start):
    """The free block with the lowest address from `start` on, or the anchor."""
    link = heap.anchor.next
    while link and link.units > 0 and link.address < start:
        link = link.next
    return link


def check(heap, start, end):
    circle = [heap.rover]
    while circle[-1].next != heap.rover:
        circle.append(circle[-1].next)
    addresses = [block.address for block in circle]
    assert heap.anchor.address in addresses, "I1  the free list is a circle through the anchor"
    wraps = sum(a >= b for a, b in zip(addresses, addresses[1:] + addresses[:1], strict=True))
    assert wraps == 1, "I2  along the circle addresses rise, but for one wrap"
    assert not any(end_of(b) in addresses for b in circle if b.units), "I3  no two free blocks touch"
    *_, (last, size, _) = walk(heap, start, end)
    assert last + size == end, "I4  the blocks tile the heap: each ends where the next begins"
