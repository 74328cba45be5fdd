"""Two-level segregated fit: constant time for every request, with two bitmaps over lists of free blocks.

Sources: M. Masmano, I. Ripoll, A. Crespo, J. Real, TLSF: a New Dynamic Memory Allocator for Real-Time Systems,
ECRTS 2004; M. Conte's implementation, github.com/mattconte/tlsf 3.1, for the block layout and the null block.

A block begins with a word of the previous block's payload. While the previous block is free, the word points to it:

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

Flags: bit 0 says that this block is free, bit 1 that the previous block is free. Payloads begin `size + 8` bytes apart.
To keep them aligned to 16, every size is 8 more than a multiple of 16.

Lists: the first level (fl) has one class for each power of two, and the second level (sl) divides each class evenly
into 32 lists. Two shifts turn a size into its list, number 32 * fl + sl.

Fields of the allocator: the null block, which ends every list; a bit in `fl_bitmap` for each class with a free block;
a bit in `sl_bitmap` for each list with one; the heads of the lists; the first pool, and the end of the last pool.

`alloc` rounds the size up to the start of the next list, so that every block in that list fits. It finds the first list
with a block in the two bitmaps, takes the first block there, splits it, and returns the rest to its own list. This is a
good fit, not the best, but no list is ever searched.

`dealloc` merges the block with both neighbours if they are free, and puts the result at the head of its list.

A pool is memory from sbrk: blocks, then a sentinel, which is a block in use of no bytes. If new memory follows the last
pool, the sentinel becomes the header of a free block. Otherwise a new pool begins. The prev phys of a pool's first
block links to the next pool, because there is no block before the first.

The program may lend memory as further pools, to this heap or to allocators of its own: `pools` has these, and
`interface` the C functions of the source. Such a pool serves like the others, and is never grown or trimmed.

Invariants
    T1  a bit of a bitmap is set if, and only if, what it stands for is not empty
    T2  a listed block is free, of the list's size, between two in use, and the next one points back at it
    T3  blocks tile each pool up to its sentinel; sizes are 8 mod 16, at least 24; each free block is listed
    T4  the links of a list agree in both directions

The search rounds a request up by at most 1/32. The block is then cut to the exact size.
"""

from __future__ import annotations

from heapwright import bits, stats
from heapwright.allocators.parts import breaks
from heapwright.allocators.tlsf import blocks, free_lists, inspect, pools
from heapwright.layout import NULL, Array, Inline, Struct, Word, Word32

walk, check = inspect.walk, inspect.check

OVERHEAD = 8
SMALLEST = 32
ALIGN = 16
ALLOC_COST = "O(1), apart from the kernel"
DEALLOC_COST = "O(1), apart from the kernel"
GIVES_BACK = "the end of a free block above 1 MiB and half the pool; `trim`: whole free pages"

TUNABLES = (("TRIM_THRESHOLD", "TRIM_THRESHOLD", range(1 << 16, 1 << 34, 1 << 16)),)
GROWTH = 256 << 10  # the end of the heap is a multiple of this, which is a multiple of every page size
TRIM_THRESHOLD = 1 << 20
MIN_POOL = 64
MAX_BYTES = 1 << 45  # limit of a size and of an alignment; their sum still has a list
SLOW_PATHS = ("grow", "find_after_growth", "give_back", "alloc_aligned", "move", "refuse_outside")
DETECTS = ("double free",)  # a freed block keeps its header until its memory is handed out again
RETAINS = 2 << 12  # the break is lowered only to the end of a page


class Heap(Struct):
    null: Inline[blocks.Block]
    first_pool: blocks.Block  # null until the first call
    end: Word  # end of the memory that sbrk returned last
    fl_bitmap: Word
    sl_bitmap: Array[Word32, free_lists.FL_COUNT]
    blocks: Array[blocks.Block, free_lists.FL_COUNT * free_lists.SL_COUNT]
    lent: pools.Pool  # the last pool that the program lent
    next: Heap  # the next allocator of the program's own
    first: Heap  # of such an allocator: the program's heap


# --- coalescing


def release(heap, block):
    """Free a block in use and merge it with its free neighbours; return the size of the result."""
    size = blocks.size_of(block)
    after = blocks.next_phys(block)
    if blocks.is_free(after):
        size += blocks.HEADER + take_out(heap, after)
    else:
        after.size |= blocks.PREV_IS_FREE
    if blocks.is_prev_free(block):
        block.size |= blocks.IS_FREE  # so that a second free is detected
        block = block.prev_phys
        size += blocks.HEADER + take_out(heap, block)
    blocks.mark_free(block, size)
    free_lists.insert(heap, block, size)
    return size


def take_out(heap, block):
    """Remove a neighbour from its list; return its size."""
    size = blocks.size_of(block)
    free_lists.remove(heap, block, free_lists.index_of(size))
    return size


def cut_back(heap, block, size):
    """Free the part of a block in use beyond `size`, if that makes a block; return the size of the result."""
    rest_size = blocks.size_of(block) - size - blocks.HEADER
    if rest_size < blocks.MIN_SIZE:
        return 0
    block.size -= rest_size + blocks.HEADER
    rest = blocks.next_phys(block)
    rest.size = rest_size
    return release(heap, rest)


def cut_front(heap, block, gap):
    """Free the first `gap` bytes of a block in use; return the rest."""
    rest = block.at(block.address + gap)
    rest.size = blocks.size_of(block) - gap
    block.size -= rest.size + blocks.HEADER
    release(heap, block)
    return rest


# --- pools


def sentinel_of(heap):
    """The sentinel of the last pool: its last 16 aligned bytes."""
    return blocks.Block(heap.memory, bits.align_down(heap.end, blocks.ALIGN) - blocks.ALIGN)


def grow(heap, size):
    """Raise the break so that the free end of the heap fits a block of `size` bytes; False if the kernel refuses."""
    end = heap.memory.sbrk(0)
    return obtain(
        heap, bits.align_up(free_end(heap, end) + free_lists.rounded(size) + blocks.HEADER + blocks.ALIGN, GROWTH) - end
    )


def obtain(heap, size):
    """Get new memory, which extends the last pool if it follows it, or becomes a new pool; False if refused."""
    if heap.first:  # it has the pools that the program lends, and no other memory
        return False
    start, given = breaks.grow(heap.memory, size)
    if given == 0:
        return False
    free_lists.open_once(heap)
    if start == heap.end:
        extend_pool(heap, start + given)
    elif given >= MIN_POOL:
        add_pool(heap, start, start + given)
    return given == size


def free_end(heap, end):
    """The start of the free block at the break, or where one would begin."""
    if heap.end != end:
        return bits.align_up(end, blocks.ALIGN)
    sentinel = sentinel_of(heap)
    return sentinel.prev_phys.address if blocks.is_prev_free(sentinel) else sentinel.address


def extend_pool(heap, end):
    """Turn the old sentinel into the header of a block that ends at a new sentinel."""
    block = sentinel_of(heap)
    block.size += end_pool(heap, block, end)
    release(heap, block)


def end_pool(heap, block, end):
    """Write a sentinel at the end of the last pool; return the size of `block`, which ends there."""
    heap.end = end
    sentinel = sentinel_of(heap)
    sentinel.size = 0
    return sentinel.address - block.address - blocks.HEADER


def add_pool(heap, start, end):
    """Make a pool of memory that does not follow the last one."""
    block = blocks.Block(heap.memory, bits.align_up(start, blocks.ALIGN))
    block.prev_phys = heap.first_pool
    heap.first_pool = block
    block.size = end_pool(heap, block, end)
    release(heap, block)


def settle(heap, freed):
    """Release the free end if the freed block exceeds 1 MiB and half of the last pool."""
    if freed > TRIM_THRESHOLD and freed > (heap.end - heap.first_pool.address) // 2:
        give_back(heap, GROWTH)


def give_back(heap, keep):
    """Release the free block at the end, except about `keep` bytes; return the number of bytes released."""
    if not heap.first_pool:
        return 0
    sentinel = sentinel_of(heap)
    if not blocks.is_prev_free(sentinel):
        return 0
    block, end = sentinel.prev_phys, heap.end
    given = breaks.shrink(heap.memory, end, end - bits.align_up(block.address + keep, heap.memory.PAGE))
    if given > 0:
        take_out(heap, block)
        block.size = end_pool(heap, block, end - given)
        release(heap, block)
    return given


# --- alignments above 16


def alloc_aligned(heap, size, align):
    """Take a block with room for any alignment, and free the excess at both ends."""
    wanted = blocks.adjusted(size)
    block = take(heap, wanted + align + blocks.ALIGN) if align <= MAX_BYTES else heap.null.at(NULL)
    if not block:
        return NULL
    gap = -blocks.address_of(block) & (align - 1)
    if gap == blocks.ALIGN:  # too small for a block
        gap += align
    if gap > 0:
        block = cut_front(heap, block, gap)
    cut_back(heap, block, wanted)
    return blocks.address_of(block)


# --- the allocator


def take(heap, size):
    """Take a block of this size into use; null when memory is exhausted."""
    index = free_lists.find(heap, size)
    if index == free_lists.NONE:
        index = find_after_growth(heap, size)
        if index == free_lists.NONE:
            return heap.null.at(NULL)
    block = free_lists.take_head(heap, index)
    free_lists.split(heap, block, size)
    return block


def find_after_growth(heap, size):
    """Grow the heap and return a list that serves the size, or NONE.

    If the new memory does not join the last pool, the heap grows once more, enough for the block without the old end.
    """
    index = free_lists.find(heap, size) if grow(heap, size) else free_lists.NONE
    if index == free_lists.NONE and obtain(
        heap, bits.align_up(free_lists.rounded(size) + blocks.HEADER + 3 * blocks.ALIGN, GROWTH)
    ):
        index = free_lists.find(heap, size)
    return index


def alloc(heap, size, align):
    """Return the address of `size` bytes, or 0 when memory is exhausted."""
    if bits.unsigned_less(MAX_BYTES, size):
        return NULL
    if align > blocks.ALIGN:
        return alloc_aligned(heap, size, align)
    block = take(heap, blocks.adjusted(size))
    return blocks.address_of(block) if block else NULL


def dealloc(heap, address, size, align):
    """Merge the block with its free neighbours, and release the end of the heap if the result is large."""
    settle(heap, release(heap, pools.live_block(heap, address)))


def realloc(heap, address, size, align, new_size):
    """Cut the block, or extend it into the next block or new memory, or move it."""
    if bits.unsigned_less(MAX_BYTES, new_size):
        return NULL
    block, wanted = pools.live_block(heap, address), blocks.adjusted(new_size)
    if wanted > blocks.size_of(block) and not extend(heap, block, wanted):
        return move(heap, block, align, new_size)
    settle(heap, cut_back(heap, block, wanted))
    return address


def extend(heap, block, size):
    """Merge a block with the free block behind it, grown by new memory if need be; False if there is not enough room.

    The last block grows into new memory only if no free block would serve. Otherwise it would grow on and on, and free
    blocks would stay unused.
    """
    if not blocks.has_room(block, size) and is_last(heap, block) and free_lists.find(heap, size) == free_lists.NONE:
        grow(heap, max(size - blocks.size_of(block) - blocks.HEADER, blocks.MIN_SIZE))
    if not blocks.has_room(block, size):
        return False
    block.size += blocks.HEADER + take_out(heap, blocks.next_phys(block))
    blocks.next_phys(block).size -= blocks.PREV_IS_FREE
    return True


def is_last(heap, block):
    """Whether nothing in use lies between a block and the end of the heap."""
    after = blocks.next_phys(block)
    return sentinel_of(heap) == (blocks.next_phys(after) if blocks.is_free(after) else after)


def move(heap, block, align, new_size):
    target = alloc(heap, new_size, align)
    if target != NULL:
        heap.memory.copy(target, blocks.address_of(block), blocks.size_of(block))
        release(heap, block)
    return target


def trim(heap, pad):
    """Release the free end of the heap beyond `pad` bytes, and whole free pages; return the bytes."""
    return give_back(heap, MIN_POOL + pad) + free_lists.decommit_free(heap) if heap.first_pool else 0


# --- inspection


def usable_size(heap, address):
    return blocks.size_of(blocks.block_of(heap, address))


def survey(heap, account):
    """Count the free blocks of this heap, not those of allocators that the program made in its own memory."""
    stats.begin(heap.memory, account)
    if free_lists.is_open(heap):
        pools.survey(heap, account)
        free_lists.survey(heap, account)
    if heap.first_pool:
        sentinel = sentinel_of(heap)
        account.spare_bytes = blocks.size_of(sentinel.prev_phys) if blocks.is_prev_free(sentinel) else 0


def lists(heap):
    """Yield (name, addresses) for each list of the second level."""
    yield from free_lists.named(heap)
