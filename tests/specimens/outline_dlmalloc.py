"""A specimen, not an allocator to use: an outline given out as dlmalloc, with its defects, told in the dialect.

Source: the conversation of docs/errata.md, section B. `outline_dlmalloc_defects.py` shows each of its defects, and that
ours are without them.

      A block, in use or free

      block -> +--------------------+
             0 | size               |  in bytes, a header of 32 included
             8 | next               |  the block made after this one
            16 | prev               |  the block made before
            24 | free, 4 bytes      |
    address -> +--------------------+
            28 | the caller's bytes |
               +--------------------+

The defects, by what does them:

    B2   the caller's bytes begin where the fields end, at 28
    B3   a size is not rounded, so neither are the places of the blocks behind
    B4   `free` goes back by the size of the struct, which is 32
    B5   so the flag is in the wrong place, and no block is ever free
    B6   the search stops at the last block without a look at it
    B7   the first block serves nobody
    B8   nothing is split or merged
    B9   nobody asks whether the kernel gave memory
    B10  the sum of a size and the header wraps around
    B11  `free` takes null for a block, and a block that is free already
    B12  there is malloc and free and no more; `prev` is written and never read
    B13  the list is that of all blocks ever made
    B14  the break is asked for and moved in two calls; there is no lock
    B15  the first block that fits is taken, not the best
    B16  a header has 32 bytes

B1, a base without a type, is mended here: nothing runs with it. `walk` and `check` are added.
"""

from __future__ import annotations

from heapwright.bits import MAX_WORD, unsigned_less
from heapwright.layout import Byte, Struct, Word, Word32
from heapwright.spans import FREE, OWN, USED

THREADS = "own"  # nobody said otherwise (B14)

LEAST = -1 << 63
ALIGNMENT = 16


class Block(Struct):
    size: Word
    next: Block
    prev: Block
    free: Word32
    data: Byte


HEADER_SIZE = Block.SIZE
MIN_BLOCK_SIZE = HEADER_SIZE + ALIGNMENT  # B3: and else?


class Heap(Struct):
    base: Block


def sum_of(one, other):
    """As size_t adds, seen with a sign."""
    if (one > 0 and other > MAX_WORD - one) or (one < 0 and other < LEAST - one):
        return (one ^ LEAST) + (other ^ LEAST)  # without the highest bit of each
    return one + other


def address_of(block):
    return block.address + Block.data.offset  # B2


# --- the allocator


def malloc(heap, size):
    if not heap.base:
        heap.base = heap.memory.sbrk(0)
        heap.memory.sbrk(MIN_BLOCK_SIZE)  # B9, B14
        heap.base.size = MIN_BLOCK_SIZE
        heap.base.next = 0
        heap.base.prev = 0
        heap.base.free = 0  # B7
    current = heap.base
    while current.next:  # B6, B13
        if current.free and not unsigned_less(current.size, sum_of(size, HEADER_SIZE)):  # B15
            current.free = 0  # B8
            return address_of(current)
        current = current.next
    block = current.at(heap.memory.sbrk(sum_of(size, HEADER_SIZE)))  # B3, B9, B10, B16
    block.size = sum_of(size, HEADER_SIZE)
    block.next = 0
    block.prev = current
    block.free = 0
    current.next = block
    return address_of(block)


def free(heap, address):
    block = Block(heap.memory, address - Block.SIZE)  # B4, B11
    block.free = 1  # B5, B8


def alloc(heap, size, align):
    return malloc(heap, size)


def dealloc(heap, address, size, align):
    free(heap, address)


# --- looking at it


def walk(heap, start, end):
    block = heap.base
    while block:
        kind = OWN if block == heap.base else FREE if block.free else USED
        yield block.address, block.size, kind
        block = block.next


def check(heap, start, end):
    before, block = heap.base, heap.base.next
    while block:
        assert block.prev == before, "prev is not the block before"
        before, block = block, block.next
