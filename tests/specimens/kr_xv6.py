"""A specimen, not an allocator to use: malloc as xv6 ships it, with its defects, told in the dialect.

Source: xv6-riscv user/umalloc.c, after Kernighan and Ritchie, section 8.7. `kr_xv6_defects.py` shows each of its
defects, and that ours are without them: above all `kr`, which is the same design.

      A block, in use or free

      block -> +--------------------+
             0 | next               |  the next free block; stale while in use
             8 | size               |  32 bits: in units of 16 bytes, the header included
    address -> +--------------------+
            16 | the caller's bytes |
               +--------------------+

The defects, by what does them:

    KR1  `free` takes null, and a heap that is not open, for blocks and a list
    KR2  a block may be freed twice, and then the search for its place does not end
    KR3  sizes are cut to 32 bits: of the request, of a block, and of a growth, which then may be none or negative
    KR4  the break is taken to be a multiple of 16
    KR5  nothing goes back to the kernel

An alignment above 16 cannot be asked for. `walk` and `check` are added here, so that the machine can run it.
"""

from __future__ import annotations

from heapwright.bits import unsigned_less
from heapwright.layout import NULL, Inline, Struct, Word32
from heapwright.spans import FREE, USED

UNIT = 16
MIN_GROWTH = 4096  # units


class Header(Struct):
    next: Header
    size: Word32


class Heap(Struct):
    base: Inline[Header]
    freep: Header


# --- numbers as C has them


def uint(n):
    return n % (1 << 32)


def as_int(n):
    return (n + (1 << 31)) % (1 << 32) - (1 << 31)


def plus(block, units):
    return block.at(block.address + units * UNIT)


def is_above(one, other):
    """Addresses have no sign."""
    return unsigned_less(other.address, one.address)


# --- the allocator


def free(heap, address):
    block = Header(heap.memory, address - UNIT)  # KR1: and null?
    place = heap.freep  # KR1: and before the first malloc?
    while not (is_above(block, place) and is_above(place.next, block)):  # KR2: and a block that is there already?
        if not is_above(place.next, place) and (is_above(block, place) or is_above(place.next, block)):
            break
        place = place.next
    after = place.next
    if plus(block, block.size) == after:
        block.size = uint(block.size + after.size)
        block.next = after.next
    else:
        block.next = after
    if plus(place, place.size) == block:
        place.size = uint(place.size + block.size)
        place.next = block.next
    else:
        place.next = block
    heap.freep = place  # KR5


def morecore(heap, units):
    units = max(units, MIN_GROWTH)
    start = heap.memory.sbrk(as_int(units * UNIT))  # KR3
    if start == -1:
        return heap.freep.at(NULL)
    block = Header(heap.memory, start)  # KR4
    block.size = units
    free(heap, start + UNIT)
    return heap.freep


def malloc(heap, size):
    units = uint((uint(size) + UNIT - 1) // UNIT + 1)  # KR3
    previous = heap.freep
    if not previous:
        heap.base.next = heap.freep = previous = heap.base
        heap.base.size = 0
    block = previous.next
    while block.size < units:
        if block == heap.freep:
            block = morecore(heap, units)
            if not block:
                return NULL
        previous, block = block, block.next
    if block.size == units:
        previous.next = block.next
    else:
        block.size -= units
        block = plus(block, block.size)
        block.size = units
    heap.freep = previous
    return block.address + UNIT


def alloc(heap, size, align):
    return malloc(heap, size)


def dealloc(heap, address, size, align):
    free(heap, address)


# --- looking at it


def free_blocks(heap):
    found = set()
    block = heap.base.next
    while block and block != heap.base:
        found.add(block.address)
        block = block.next
    return found


def walk(heap, start, end):
    free_ones = free_blocks(heap)
    block = Header(heap.memory, start)
    while block.address < end:
        yield block.address, block.size * UNIT, FREE if block.address in free_ones else USED
        block = plus(block, block.size)


def check(heap, start, end):
    """It states no invariants."""
