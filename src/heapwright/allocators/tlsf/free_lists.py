"""TLSF's lists of free blocks, on two levels.

The index of a list is 32 * fl + sl. Between two powers of two, the index is linear in the size. Below SMALL_BLOCK all
lists have fl = 0, and there is one for each size.

      size       24  40 ..  504  520  536 ..  1016  1032  1048  1064 ..
      fl, sl    0,1 0,2 .. 0,31  1,0  1,1 ..  1,31   2,0   2,0   2,1 ..
"""

from __future__ import annotations

from heapwright import bits, stats
from heapwright.allocators.parts import whole_pages
from heapwright.allocators.tlsf import blocks

SL_LOG2 = 5
SL_COUNT = 1 << SL_LOG2
SMALL_BLOCK = SL_COUNT * blocks.ALIGN
MIN_STEP = bits.floor_log2(SMALL_BLOCK) - SL_LOG2
FL_MAX = 47  # bits of an address, which limit a block's size
FL_COUNT = FL_MAX - bits.floor_log2(SMALL_BLOCK) + 1
NONE = -1  # no list


# --- the two levels


def step_log2(size):
    """The base-2 logarithm of the distance in bytes between the lists around a size."""
    return bits.floor_log2(size | SMALL_BLOCK) - SL_LOG2


def index_of(size):
    """The list to which a free block of this size belongs."""
    step = step_log2(size)
    return ((step - MIN_STEP) << SL_LOG2) + (size >> step)


def rounded(size):
    """The smallest size in whose list every block has at least `size` bytes. Sizes are 16 apart."""
    return size + (1 << step_log2(size)) - blocks.ALIGN


def mapping_search(size):
    """The first list in which every block fits."""
    step = step_log2(size)
    return ((step - MIN_STEP) << SL_LOG2) + (rounded(size) >> step)


def find(heap, size):
    """The first non-empty list in which every block fits, or NONE."""
    return search_from(heap, mapping_search(size))


def search_from(heap, index):
    """The first non-empty list from `index` on, or NONE."""
    fl = index >> SL_LOG2
    sl_map = heap.sl_bitmap[fl] & bits.bits_from(index & (SL_COUNT - 1))
    if sl_map == 0:
        fl_map = heap.fl_bitmap & bits.bits_from(fl + 1)
        if fl_map == 0:
            return NONE
        fl = bits.lowest_bit(fl_map)
        sl_map = heap.sl_bitmap[fl]
    return (fl << SL_LOG2) + bits.lowest_bit(sl_map)


def insert(heap, block, size):
    index = index_of(size)
    head = heap.blocks[index]
    block.next_free = head
    block.prev_free = heap.null
    head.prev_free = block
    heap.blocks[index] = block
    fl = index >> SL_LOG2
    heap.fl_bitmap |= 1 << fl
    heap.sl_bitmap[fl] |= 1 << (index & (SL_COUNT - 1))


def remove(heap, block, index):
    after, before = block.next_free, block.prev_free
    after.prev_free = before
    before.next_free = after
    if before == heap.null:
        remove_head(heap, index, after)


def take_head(heap, index):
    """Remove and return the first block of a non-empty list."""
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


def split(heap, block, size):
    """Cut an unlisted free block to size and list the rest. A rest too small for a block stays with it."""
    rest_size = blocks.size_of(block) - size - blocks.HEADER
    if rest_size < blocks.MIN_SIZE:
        blocks.mark_used(block)
    else:
        block.size = size
        rest = blocks.next_phys(block)
        blocks.mark_free(rest, rest_size)
        insert(heap, rest, rest_size)


def is_open(heap):
    return bool(heap.null.next_free)


def open_once(heap):
    """Make every list empty, the first time."""
    if is_open(heap):
        return
    heap.null.next_free = heap.null
    heap.null.prev_free = heap.null
    for i in range(FL_COUNT * SL_COUNT):
        heap.blocks[i] = heap.null


# --- all lists


def decommit_free(heap):
    """Release the frames of the whole pages inside free blocks, behind their links; return the bytes."""
    given_back = 0
    for index in range(FL_COUNT * SL_COUNT):
        block = heap.blocks[index]
        while block != heap.null:
            given_back += whole_pages.decommit_inside(
                heap.memory, block.address + blocks.Block.SIZE, blocks.next_phys(block).address
            )
            block = block.next_free
    return given_back


def survey(heap, account):
    """Count the free blocks, each with its header."""
    for index in range(FL_COUNT * SL_COUNT):
        block = heap.blocks[index]
        while block != heap.null:
            stats.add_free(account, 1, blocks.HEADER + blocks.size_of(block))
            block = block.next_free


# --- interpreted only


def named(heap):
    """Yield (name, addresses) for each list of the second level."""
    for index in range(FL_COUNT * SL_COUNT if is_open(heap) else 0):
        addresses = [blocks.address_of(block) for block, _ in members(heap, index)]
        yield f"list {index >> SL_LOG2},{index & (SL_COUNT - 1)}", addresses


def members(heap, index):
    """Each block of a list, with the block before it."""
    before, block = heap.null, heap.blocks[index]
    while block != heap.null:
        yield block, before
        before, block = block, block.next_free


def every(heap):
    """The members of each list; empty before the first call."""
    return [list(members(heap, index)) for index in range(FL_COUNT * SL_COUNT)] if is_open(heap) else []


def are_marked(heap, every):
    """Whether `sl_bitmap` marks exactly the non-empty lists, and `fl_bitmap` its non-zero words."""
    marked = [heap.sl_bitmap[i // SL_COUNT] >> i % SL_COUNT & 1 for i in range(len(every))]
    words = [heap.fl_bitmap >> fl & 1 for fl in range(FL_COUNT)]
    return marked == [bool(each) for each in every] and words == [bool(word) for word in heap.sl_bitmap]


def is_listed_rightly(block, index):
    after = blocks.next_phys(block)
    between_used = not blocks.is_prev_free(block) and not blocks.is_free(after)
    told = blocks.is_prev_free(after) and after.prev_phys == block
    return blocks.is_free(block) and between_used and told and index_of(blocks.size_of(block)) == index
