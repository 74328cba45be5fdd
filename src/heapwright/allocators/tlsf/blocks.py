"""TLSF's blocks: their layout and headers."""

from __future__ import annotations

from heapwright import bits
from heapwright.layout import Struct, Word

ALIGN = 16
HEADER = 8
MIN_SIZE = 24
IS_FREE, PREV_IS_FREE = 1, 2
FLAGS = IS_FREE | PREV_IS_FREE
LIVE_BITS = ALIGN - 1 - PREV_IS_FREE  # mask of `size`: gives HEADER for a block in use only, not free, not a sentinel


class Block(Struct):
    prev_phys: Block
    size: Word  # of the payload in bytes, with the flags
    next_free: Block
    prev_free: Block


def block_of(heap, address):
    return Block(heap.memory, address - Block.next_free.offset)


def address_of(block):
    return block.address + Block.next_free.offset


def size_of(block):
    return block.size & ~FLAGS


def is_free(block):
    return block.size & IS_FREE != 0


def is_prev_free(block):
    return block.size & PREV_IS_FREE != 0


def is_sentinel(block):
    return size_of(block) == 0


def next_phys(block):
    return block.at(block.address + HEADER + size_of(block))


def has_room(block, size):
    """Whether a block and a free one behind it hold `size` bytes."""
    after = next_phys(block)
    return is_free(after) and size_of(block) + HEADER + size_of(after) >= size


def adjusted(size):
    """The size of the block for a request: at least that many bytes, and 8 more than a multiple of 16."""
    return max(bits.align_up(size + HEADER, ALIGN) - HEADER, MIN_SIZE)


def mark_free(block, size):
    """Write the header of a free block and the next block's `prev_phys`. The next block's flag is already set."""
    block.size = size | IS_FREE
    next_phys(block).prev_phys = block


def mark_used(block):
    block.size -= IS_FREE
    next_phys(block).size -= PREV_IS_FREE
