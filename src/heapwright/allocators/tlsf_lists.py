"""TLSF's blocks, and its lists of free ones on two levels.

A list is known by its index, 32 * fl + sl: levels come one after the other, and the index of a size is linear in the
size between two powers of two. Below SMALL_BLOCK all lists are on the level fl = 0, one for each size.

      size       24  40 ..  504  520  536 ..  1016  1032  1048  1064 ..
      fl, sl    0,1 0,2 .. 0,31  1,0  1,1 ..  1,31   2,0   2,0   2,1 ..
"""

from __future__ import annotations

from heapwright.bits import align_up, bits_from, floor_log2, lowest_bit
from heapwright.layout import Struct, Word

ALIGN = 16
HEADER = 8
LEAST_SIZE = 24
IS_FREE, PREV_IS_FREE = 1, 2
FLAGS = IS_FREE | PREV_IS_FREE

SL_LOG2 = 5
SL_COUNT = 1 << SL_LOG2
SMALL_BLOCK = SL_COUNT * ALIGN
LEAST_STEP = floor_log2(SMALL_BLOCK) - SL_LOG2
FL_MAX = 47  # bits of an address, and so of a block's size
FL_COUNT = FL_MAX - floor_log2(SMALL_BLOCK) + 1
NONE = -1  # no list


class Block(Struct):
    prev_phys: Block
    size: Word  # with the flags
    next_free: Block
    prev_free: Block


# --- blocks


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
    return max(align_up(size + HEADER, ALIGN) - HEADER, LEAST_SIZE)


def mark_free(block, size):
    """Say that a block is free, as the next one knows, and let that point back at it."""
    block.size = size | IS_FREE
    next_phys(block).prev_phys = block


def mark_used(block):
    block.size -= IS_FREE
    next_phys(block).size -= PREV_IS_FREE


# --- the two levels


def step_log2(size):
    """How far apart the lists about a size are."""
    return floor_log2(size | SMALL_BLOCK) - SL_LOG2


def mapping_insert(size):
    """The list that a free block of this size belongs in."""
    step = step_log2(size)
    return ((step - LEAST_STEP) << SL_LOG2) + (size >> step)


def rounded(size):
    """The least size such that every block in its list is at least that large: sizes are 16 apart."""
    return size + (1 << step_log2(size)) - ALIGN


def mapping_search(size):
    """The first list of which every block fits."""
    step = step_log2(size)
    return ((step - LEAST_STEP) << SL_LOG2) + (rounded(size) >> step)


def find_list(heap, size):
    """The first list that is not empty and of which every block fits, or NONE."""
    return search_suitable_list(heap, mapping_search(size))


def search_suitable_list(heap, index):
    """The first list from `index` on that is not empty, or NONE."""
    fl = index >> SL_LOG2
    sl_map = heap.sl_bitmap[fl] & bits_from(index & (SL_COUNT - 1))
    if sl_map == 0:
        fl_map = heap.fl_bitmap & bits_from(fl + 1)
        if fl_map == 0:
            return NONE
        fl = lowest_bit(fl_map)
        sl_map = heap.sl_bitmap[fl]
    return (fl << SL_LOG2) + lowest_bit(sl_map)


def insert_free_block(heap, block, size):
    index = mapping_insert(size)
    head = heap.blocks[index]
    block.next_free = head
    block.prev_free = heap.null
    head.prev_free = block
    heap.blocks[index] = block
    fl = index >> SL_LOG2
    heap.fl_bitmap |= 1 << fl
    heap.sl_bitmap[fl] |= 1 << (index & (SL_COUNT - 1))


def remove_free_block(heap, block, index):
    after, before = block.next_free, block.prev_free
    after.prev_free = before
    before.next_free = after
    if before == heap.null:
        remove_head(heap, index, after)


def take_head(heap, index):
    """Remove the first block of a list, which has one, and return it."""
    block = heap.blocks[index]
    after = block.next_free
    after.prev_free = heap.null
    remove_head(heap, index, after)
    return block


def remove_head(heap, index, after):
    heap.blocks[index] = after
    if after == heap.null:
        fl = index >> SL_LOG2
        heap.sl_bitmap[fl] &= ~(1 << (index & (SL_COUNT - 1)))
        if heap.sl_bitmap[fl] == 0:
            heap.fl_bitmap &= ~(1 << fl)


def open_lists(heap):
    heap.null.next_free = heap.null
    heap.null.prev_free = heap.null
    for i in range(FL_COUNT * SL_COUNT):
        heap.blocks[i] = heap.null


# --- interpreted only


def lists(heap):
    """Yield (name, addresses) for each list of the second level."""
    for index in range(FL_COUNT * SL_COUNT if heap.first_pool else 0):
        blocks = [address_of(block) for block, _ in members(heap, index)]
        yield f"list {index >> SL_LOG2},{index & (SL_COUNT - 1)}", blocks


def members(heap, index):
    """The blocks of a list, and for each the one before it."""
    before, block = heap.null, heap.blocks[index]
    while block != heap.null:
        yield block, before
        before, block = block, block.next_free


def is_listed_rightly(block, index):
    after = next_phys(block)
    between_used = not is_prev_free(block) and not is_free(after)
    told = is_prev_free(after) and after.prev_phys == block
    return is_free(block) and between_used and told and mapping_insert(size_of(block)) == index
