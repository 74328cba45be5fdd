"""Two-level segregated fit: constant time for every request, by two bitmaps over lists of free blocks.

Sources: M. Masmano, I. Ripoll, A. Crespo, J. Real, TLSF: a New Dynamic Memory Allocator for Real-Time Systems,
ECRTS 2004; M. Conte's implementation, github.com/mattconte/tlsf 3.1, for the block layout and the null block.

A block begins with a word that belongs to the block before it, and is lent to this one while that one is free:

      A block in use                             A free block

      block -> +--------------------+            block -> +--------------------+
             0 | prev phys, or the  |                   0 | bytes of the block |
               | block before's     |                     | before             |
             8 | size, flags        |                   8 | size, flags        |  of the payload, in bytes
    address -> +--------------------+                  16 | next free          |
            16 | the caller's bytes |                  24 | prev free          |
       next -> | - - - - - - - - -  |                     | unused             |
               | 8 more of them     |             next -> | - - - - - - - - -  |
               +--------------------+                     | prev phys: block   |
                                                          +--------------------+

Flags: bit 0 says that this block is free, bit 1 that the one before it is. Payloads begin `size + 8` apart, so to
keep them aligned to 16 every size is 8 more than a multiple of 16. The lists of the first level hold sizes up to the
next power of two; 32 lists of the second level divide that evenly. List 32 * fl + sl is found from a size by two
shifts. A request is rounded up to where the next list begins, so that any block found there fits: a good fit, not
the best, and no list is ever searched.

The heap's own words: the null block, which ends every list; a bit in `fl_bitmap` for each first level with a free
block, in `sl_bitmap` for each second level; the heads of the lists; the first pool, and the end of the last one. A
pool is memory from sbrk: blocks, then a sentinel, in use and of no bytes. Where new memory follows the last pool, the
sentinel becomes the header of a free block; where it does not, a new pool begins. The prev phys of a pool's first
block, which no block before it needs, links to the next pool.

Invariants
    T1  a bit of a bitmap is set if, and only if, what it stands for is not empty
    T2  a listed block is free, of the list's size, between two in use, and the next one points back at it
    T3  blocks tile each pool up to its sentinel; sizes are 8 mod 16, at least 24; each free block is listed
    T4  the links of a list agree in both directions

Vital statistics: overhead 8 bytes, smallest block 32, alignment 16; alloc and dealloc O(1), but for the kernel; once a
free block is more than 1 MiB and half the pool, its end is cut to 256 KiB. `trim` leaves less than a page and 64 bytes
of it. At most 1/32 of a block is lost to rounding when it is searched for, none when it is cut.
"""

from __future__ import annotations

from heapwright.allocators.tlsf_lists import (
    ALIGN,
    FL_COUNT,
    HEADER,
    IS_FREE,
    LEAST_SIZE,
    NONE,
    PREV_IS_FREE,
    SL_COUNT,
    Block,
    address_of,
    adjusted,
    block_of,
    find_list,
    has_room,
    insert_free_block,
    is_free,
    is_listed_rightly,
    is_prev_free,
    is_sentinel,
    lists,  # noqa: F401  for pictures
    mapping_insert,
    mark_free,
    mark_used,
    members,
    next_phys,
    open_lists,
    remove_free_block,
    rounded,
    size_of,
    take_head,
)
from heapwright.bits import align_down, align_up, below
from heapwright.layout import NULL, Array, Inline, Struct, Word, Word32
from heapwright.spans import FREE, OWN, UNUSED, USED

GROWTH = 256 << 10  # the end of the heap is a multiple of this: a multiple of every size of page
TRIM_THRESHOLD = 1 << 20
LEAST_POOL = 64
MOST_BYTES = 1 << 45  # and an alignment as large: together they still have a list
SLOW_PATHS = ("grow", "find_after_growth", "give_back", "alloc_aligned", "move")
DETECTS = ("double free",)  # while the header has not been overwritten
RETAINS = 2 << 12  # the break is cut to the end of a page


class Heap(Struct):
    null: Inline[Block]
    first_pool: Block  # null until the first call
    end: Word  # of the memory that sbrk gave last
    fl_bitmap: Word
    sl_bitmap: Array[Word32, FL_COUNT]
    blocks: Array[Block, FL_COUNT * SL_COUNT]


# --- splitting and coalescing


def split(heap, block, size):
    """Cut a free block that is in no list to size and list the rest; too small a rest stays with it."""
    rest_size = size_of(block) - size - HEADER
    if rest_size < LEAST_SIZE:
        mark_used(block)
    else:
        block.size = size
        rest = next_phys(block)
        mark_free(rest, rest_size)
        insert_free_block(heap, rest, rest_size)


def release(heap, block):
    """Free a block in use, merged with both neighbours; return the size of what became of it."""
    size = size_of(block)
    after = next_phys(block)
    if is_free(after):
        size += HEADER + take_out(heap, after)
    else:
        after.size |= PREV_IS_FREE
    if is_prev_free(block):
        block.size |= IS_FREE  # for whoever frees it again
        block = block.prev_phys
        size += HEADER + take_out(heap, block)
    mark_free(block, size)
    insert_free_block(heap, block, size)
    return size


def take_out(heap, block):
    """Remove a neighbour from its list; return its size."""
    size = size_of(block)
    remove_free_block(heap, block, mapping_insert(size))
    return size


def cut_back(heap, block, size):
    """Free what a block in use has beyond `size`, if that makes a block; return the size of what became of it."""
    rest_size = size_of(block) - size - HEADER
    if rest_size < LEAST_SIZE:
        return 0
    block.size -= rest_size + HEADER
    rest = next_phys(block)
    rest.size = rest_size
    return release(heap, rest)


def cut_front(heap, block, gap):
    """Free the first `gap` bytes of a block in use; return the rest."""
    rest = block.at(block.address + gap)
    rest.size = size_of(block) - gap
    block.size -= rest.size + HEADER
    release(heap, block)
    return rest


# --- pools


def sentinel_of(heap):
    """The sentinel of the last pool: the last 16 bytes that are aligned."""
    return Block(heap.memory, align_down(heap.end, ALIGN) - ALIGN)


def grow(heap, size):
    """Ask for so much memory that the end of the heap, if it is in one piece, fits a block; False if refused."""
    end = heap.memory.sbrk(0)
    return obtain(heap, align_up(free_end(heap, end) + rounded(size) + HEADER + ALIGN, GROWTH) - end)


def obtain(heap, size):
    """Let new memory extend the last pool if it follows that, else be a pool of its own; False if refused."""
    start = heap.memory.sbrk(size)
    if start == -1:
        return False
    if not heap.first_pool:
        open_lists(heap)
    if start == heap.end:
        extend_pool(heap, start + size)
    elif size >= LEAST_POOL:
        add_pool(heap, start, start + size)
    return True


def free_end(heap, end):
    """Where the free block at the break begins, or would begin."""
    if heap.end != end:
        return align_up(end, ALIGN)
    sentinel = sentinel_of(heap)
    return sentinel.prev_phys.address if is_prev_free(sentinel) else sentinel.address


def extend_pool(heap, end):
    """The old sentinel becomes the header of a block that ends at the new one."""
    block = sentinel_of(heap)
    block.size += end_pool(heap, block, end)
    release(heap, block)


def end_pool(heap, block, end):
    """Put a sentinel at the end of the last pool; return the size of the block from there to it."""
    heap.end = end
    sentinel = sentinel_of(heap)
    sentinel.size = 0
    return sentinel.address - block.address - HEADER


def add_pool(heap, start, end):
    """Memory that does not follow the last pool is a pool of its own."""
    block = Block(heap.memory, align_up(start, ALIGN))
    block.prev_phys = heap.first_pool
    heap.first_pool = block
    block.size = end_pool(heap, block, end)
    release(heap, block)


def settle(heap, freed):
    """Once a free block is more than 1 MiB and half of the last pool: cut the free end."""
    if freed > TRIM_THRESHOLD and freed > (heap.end - heap.first_pool.address) // 2:
        give_back(heap, GROWTH)


def give_back(heap, keep):
    """Return all but about `keep` bytes of what is free at the end to the kernel; how many went."""
    sentinel = sentinel_of(heap)
    if not is_prev_free(sentinel):
        return 0
    block, end = sentinel.prev_phys, heap.end
    new_end = align_up(block.address + keep, heap.memory.PAGE)
    if new_end >= end or heap.memory.sbrk(0) != end or heap.memory.sbrk(new_end - end) == -1:
        return 0
    take_out(heap, block)
    block.size = end_pool(heap, block, new_end)
    release(heap, block)
    return end - new_end


# --- alignments above 16


def alloc_aligned(heap, size, align):
    """Take a block with room for the worst misfit, and free what is not needed at either end."""
    wanted = adjusted(size)
    block = take(heap, wanted + align + ALIGN) if align <= MOST_BYTES else heap.null.at(NULL)
    if not block:
        return NULL
    gap = -address_of(block) & (align - 1)
    if gap == ALIGN:  # too small for a block
        gap += align
    if gap > 0:
        block = cut_front(heap, block, gap)
    cut_back(heap, block, wanted)
    return address_of(block)


# --- the allocator


def take(heap, size):
    """A block of this size, in use; null when memory is exhausted."""
    index = find_list(heap, size)
    if index == NONE:
        index = find_after_growth(heap, size)
        if index == NONE:
            return heap.null.at(NULL)
    block = take_head(heap, index)
    split(heap, block, size)
    return block


def find_after_growth(heap, size):
    """A list that serves once the heap has grown, or NONE; memory that does not join the last must do alone."""
    index = find_list(heap, size) if grow(heap, size) else NONE
    if index == NONE and obtain(heap, align_up(rounded(size) + HEADER + 3 * ALIGN, GROWTH)):
        index = find_list(heap, size)
    return index


def alloc(heap, size, align):
    """Return the address of `size` bytes, or 0 when memory is exhausted."""
    if below(MOST_BYTES, size):
        return NULL
    if align > ALIGN:
        return alloc_aligned(heap, size, align)
    block = take(heap, adjusted(size))
    return address_of(block) if block else NULL


def dealloc(heap, address, size, align):
    """Merge the block with its free neighbours; if much is free then, return some to the kernel."""
    block = block_of(heap, address)
    if is_free(block):
        heap.memory.fault("double free", address)
    settle(heap, release(heap, block))


def realloc(heap, address, size, align, new_size):
    """Cut the block, or extend it into the next one or new memory; move it if the next one is in use."""
    if below(MOST_BYTES, new_size):
        return NULL
    block, wanted = block_of(heap, address), adjusted(new_size)
    if wanted > size_of(block) and not extend(heap, block, wanted):
        return move(heap, block, align, new_size)
    settle(heap, cut_back(heap, block, wanted))
    return address


def extend(heap, block, size):
    """Take in the block behind, or what new memory makes of it; False if it is in use or too small.

    Free blocks come before new memory: else the last block grows and grows, and none of them is ever used.
    """
    if not has_room(block, size) and is_last(heap, block) and find_list(heap, size) == NONE:
        grow(heap, max(size - size_of(block) - HEADER, LEAST_SIZE))
    if not has_room(block, size):
        return False
    block.size += HEADER + take_out(heap, next_phys(block))
    next_phys(block).size -= PREV_IS_FREE
    return True


def is_last(heap, block):
    """Whether nothing in use lies between a block and the end of the heap."""
    after = next_phys(block)
    return sentinel_of(heap) == (next_phys(after) if is_free(after) else after)


def move(heap, block, align, new_size):
    target = alloc(heap, new_size, align)
    if target != NULL:
        heap.memory.copy(target, address_of(block), size_of(block))
        release(heap, block)
    return target


def trim(heap):
    """Return the pages at the end of the heap that are free; how many bytes went."""
    return give_back(heap, LEAST_POOL) if heap.first_pool else 0


# --- looking at it


def usable_size(heap, address):
    return size_of(block_of(heap, address))


def walk(heap, start, end):
    """Yield (start, size, kind) for each block of [start, end), from header to header, and what lies about pools."""
    place = start
    block = pool_from(heap, start, end)
    while block:
        if place < block.address:
            yield place, block.address - place, UNUSED
        yield block.address, HEADER, OWN
        while not is_sentinel(block):
            yield block.address + HEADER, HEADER + size_of(block), FREE if is_free(block) else USED
            block = next_phys(block)
        yield block.address + HEADER, HEADER, OWN
        place = block.address + ALIGN
        block = pool_from(heap, place, end)
    if place < end:
        yield place, end - place, UNUSED


def pool_from(heap, start, end):
    """The first block of the lowest pool in [start, end), or null."""
    pool = heap.first_pool
    lowest = pool.at(NULL)
    while pool:
        if start <= pool.address < end and (not lowest or pool.address < lowest.address):
            lowest = pool
        pool = pool.prev_phys
    return lowest


def check(heap, start, end):
    every = [list(members(heap, i)) for i in range(FL_COUNT * SL_COUNT)] if heap.first_pool else []
    bits = [heap.sl_bitmap[i // SL_COUNT] >> i % SL_COUNT & 1 for i in range(len(every))]
    words = [heap.fl_bitmap >> fl & 1 for fl in range(FL_COUNT)]
    assert bits == [bool(each) for each in every] and words == [bool(word) for word in heap.sl_bitmap], (
        "T1  a bit of a bitmap is set if, and only if, what it stands for is not empty"
    )
    pairs = [(i, block, before) for i, each in enumerate(every) for block, before in each]
    assert all(is_listed_rightly(block, i) for i, block, _ in pairs), (
        "T2  a listed block is free, of the list's size, between two in use, and the next one points back at it"
    )
    blocks = [(place, size - HEADER, kind) for place, size, kind in walk(heap, start, end) if kind in (FREE, USED)]
    free = {place - HEADER for place, _, kind in blocks if kind == FREE}
    sizes_hold = all(size % ALIGN == HEADER and size >= LEAST_SIZE for _, size, _ in blocks)
    assert sizes_hold and free == {block.address for _, block, _ in pairs if start <= block.address < end}, (
        "T3  blocks tile each pool up to its sentinel; sizes are 8 mod 16, at least 24; each free block is listed"
    )
    assert all(block.prev_free == before for _, block, before in pairs), (
        "T4  the links of a list agree in both directions"
    )
