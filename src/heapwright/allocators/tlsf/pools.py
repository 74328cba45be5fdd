"""Pools that the program lends, and allocators of their own over such pools alone, as in TLSF 3.1.

A pool begins with a record. Behind it come blocks up to a sentinel, as in a pool from sbrk:

      pool -> +------+-----+-----------+-------+-----------+-- ... --+----------+
              | next | end | prev phys | size  | payload   |         | sentinel |
              +------+-----+-----------+-------+-----------+-- ... --+----------+
                             unused, because no block lies before the first

An allocator of its own (tlsf_create) is a `Heap` in memory of the program's. It has no other memory than its pools. The
program's heap, the first one, has a list of these, so that `walk` and `check` cover them too.

A heap here is `tlsf.Heap`.
"""

from __future__ import annotations

from heapwright import bits, stats
from heapwright.allocators.tlsf import blocks, free_lists
from heapwright.layout import NULL, Struct, Word


class Pool(Struct):
    next: Pool
    end: Word  # the first address behind the sentinel


OVERHEAD = Pool.SIZE + blocks.ALIGN + blocks.HEADER  # but for the sentinel's prev phys, which the last block may use
MIN_BYTES = OVERHEAD + blocks.MIN_SIZE
MAX_BYTES = 1 << 45


def first_block(pool):
    return blocks.Block(pool.memory, pool.address + Pool.SIZE)


def sentinel_in(pool):
    return blocks.Block(pool.memory, pool.end - blocks.ALIGN)


# --- add and remove


def add(heap, start, size):
    """Make memory of the program's a pool with one free block; null if it is too small, too large or not aligned."""
    pool = Pool(heap.memory, start)
    if not bits.is_aligned(start, blocks.ALIGN) or not MIN_BYTES <= size <= MAX_BYTES:
        return pool.at(NULL)
    free_lists.open_once(heap)
    pool.end = bits.align_down(start + size, blocks.ALIGN)
    block, sentinel = first_block(pool), sentinel_in(pool)
    free = sentinel.address - block.address - blocks.HEADER
    sentinel.size = blocks.PREV_IS_FREE
    blocks.mark_free(block, free)
    free_lists.insert(heap, block, free)
    pool.next = heap.lent
    heap.lent = pool
    return pool


def remove(heap, pool):
    """Take a pool out of the heap; False while a block of it is live. Report what is no pool of this heap."""
    if not is_of(heap, pool):
        heap.memory.fault("not a pool of this heap", pool.address)
    block = first_block(pool)
    if not blocks.is_free(block) or blocks.next_phys(block) != sentinel_in(pool):
        return False
    free_lists.remove(heap, block, free_lists.index_of(blocks.size_of(block)))
    unlink(heap, pool)
    return True


def is_of(heap, pool):
    each = heap.lent
    while each and each != pool:
        each = each.next
    return each == pool and pool.address != NULL


def unlink(heap, pool):
    if heap.lent == pool:
        heap.lent = pool.next
        return
    before = heap.lent
    while before.next != pool:
        before = before.next
    before.next = pool.next


def holding(heap, address):
    """The lent pool that contains an address, or null."""
    pool = heap.lent
    while pool and not pool.address <= address < pool.end:
        pool = pool.next
    return pool


# --- allocators of their own


def create(heap, start, size):
    """Make memory of the program's, of a heap's `size`, an allocator without pools; null if it is not aligned."""
    if start == NULL or not bits.is_aligned(start, blocks.ALIGN):
        return heap.at(NULL)
    own = heap.at(start)
    heap.memory.fill(start, size, 0)
    free_lists.open_once(own)
    own.first = heap
    own.next = heap.next
    heap.next = own
    return own


def destroy(heap, own):
    """Forget an allocator; its memory and its pools are the program's again."""
    before = heap
    while before.next != own:
        before = before.next
    before.next = own.next
    own.first = own.at(NULL)


def require_own(heap, own):
    """Report an address where the program has no allocator."""
    if own.first != heap:
        heap.memory.fault("not an allocator", own.address)


# --- checks that compiled code makes, as tlsf_check_pool and tlsf_check do: the number of faults


def faults_in(pool):
    """Blocks of a pool whose neighbours do not agree on which of them are free, or which do not tile it."""
    faults, was_free, block = 0, 0, first_block(pool)
    while block.address < sentinel_in(pool).address and blocks.size_of(block) >= blocks.MIN_SIZE:
        is_free = blocks.is_free(block)
        faults += disagrees(block, was_free) + (1 if is_free and was_free != 0 else 0)
        was_free = 1 if is_free else 0
        block = blocks.next_phys(block)
    return faults + disagrees(block, was_free) + (0 if block == sentinel_in(pool) else 1)


def disagrees(block, was_free):
    """1 if a block says something else of the block before it than that one."""
    if not blocks.is_prev_free(block):
        return was_free
    return 1 if was_free == 0 or blocks.next_phys(block.prev_phys) != block else 0


def faults_in_lists(heap):
    """Lists whose bit is wrong, and listed blocks that are in use or belong to another list."""
    faults = 0
    for index in range(free_lists.FL_COUNT * free_lists.SL_COUNT if free_lists.is_open(heap) else 0):
        block = heap.blocks[index]
        is_marked = heap.sl_bitmap[index >> free_lists.SL_LOG2] >> (index & free_lists.SL_COUNT - 1) & 1
        faults += 0 if (block != heap.null) == (is_marked != 0) else 1
        while block != heap.null:
            is_right = blocks.is_free(block) and free_lists.index_of(blocks.size_of(block)) == index
            faults += 0 if is_right else 1
            block = block.next_free
    return faults


def walk_blocks(pool):
    """Yield (address, size, whether in use) for each block of a pool."""
    block = first_block(pool)
    while block != sentinel_in(pool):
        yield blocks.address_of(block), blocks.size_of(block), 0 if blocks.is_free(block) else 1
        block = blocks.next_phys(block)


# --- statistics


def survey(heap, account):
    """Count the pools of a heap as memory of its own."""
    pool = heap.lent
    while pool:
        stats.add_lent(account, pool.end - pool.address)
        pool = pool.next


# --- guards


def live_block(heap, address):
    """The block in use at an address; report one that is free."""
    block = blocks.block_of(heap, address)
    if not bits.unsigned_less(block.address - heap.first_pool.address, heap.end - heap.first_pool.address):
        refuse_outside(heap, block)
    if block.size & blocks.LIVE_BITS != blocks.HEADER:
        heap.memory.fault("double free", address)
    return block


def refuse_outside(heap, block):
    """Report a block outside the last pool whose header is no longer mapped."""
    if not holding(heap, block.address) and not heap.memory.is_mapped(block.address + blocks.Block.size.offset):
        heap.memory.fault("not a live block", blocks.address_of(block))
