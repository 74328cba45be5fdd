"""Inspection of TLSF: `walk` and `check`. Nothing here changes the heap."""

from __future__ import annotations

from heapwright import spans
from heapwright.allocators.tlsf import blocks, free_lists, pools
from heapwright.layout import NULL

# --- pools in the order of addresses


def own_pool_from(heap, start, end):
    """The first block of the lowest pool from sbrk in [start, end), or null."""
    pool = heap.first_pool
    lowest = pool.at(NULL)
    while pool:
        if start <= pool.address < end and (not lowest or pool.address < lowest.address):
            lowest = pool
        pool = pool.prev_phys
    return lowest


def lent_pool_from(heap, start, end):
    """The lowest lent pool of any allocator in [start, end), or null."""
    owner, lowest = heap, heap.lent.at(NULL)
    while owner:
        pool = owner.lent
        while pool:
            if start <= pool.address < end and (not lowest or pool.address < lowest.address):
                lowest = pool
            pool = pool.next
        owner = owner.next
    return lowest


def next_pool(heap, start, end):
    """Where the next pool begins, and its first block; the block is null if there is no pool in [start, end)."""
    block, lent = own_pool_from(heap, start, end), lent_pool_from(heap, start, end)
    if lent and (not block or lent.address < block.address):
        return lent.address, pools.first_block(lent)
    return block.address, block


def kind_between(heap, start, end):
    """The kind of the memory between two pools, which may be the record of an allocator."""
    owner = heap.next
    while owner:
        if start <= owner.address < end:
            return spans.OWN
        owner = owner.next
    return spans.UNUSED


# --- walk


def walk(heap, start, end):
    """Yield (start, size, kind) for each block of [start, end), from header to header, and for the gaps."""
    place = start
    lead, block = next_pool(heap, start, end)
    while block:
        if place < lead:
            yield place, lead - place, kind_between(heap, place, lead)
        yield lead, block.address + blocks.HEADER - lead, spans.OWN
        while not blocks.is_sentinel(block):
            yield (
                block.address + blocks.HEADER,
                blocks.HEADER + blocks.size_of(block),
                spans.FREE if blocks.is_free(block) else spans.USED,
            )
            block = blocks.next_phys(block)
        yield block.address + blocks.HEADER, blocks.HEADER, spans.OWN
        place = block.address + blocks.ALIGN
        lead, block = next_pool(heap, place, end)
    if place < end:
        yield place, end - place, kind_between(heap, place, end)


# --- check


def check(heap, start, end):
    listed = set().union(*map(checked_lists, heaps_of(heap)))
    spanned = [
        (place, size - blocks.HEADER, kind)
        for place, size, kind in walk(heap, start, end)
        if kind in (spans.FREE, spans.USED)
    ]
    free = {place - blocks.HEADER for place, _, kind in spanned if kind == spans.FREE}
    sizes_hold = all(size % blocks.ALIGN == blocks.HEADER and size >= blocks.MIN_SIZE for _, size, _ in spanned)
    is_listed = free == {block for block in listed if start <= block < end}
    assert sizes_hold and is_listed and all(map(pools_hold_no_fault, heaps_of(heap))), (
        "T3  blocks tile each pool up to its sentinel; sizes are 8 mod 16, at least 24; each free block is listed"
    )


def checked_lists(heap):
    """Check the lists of one heap; return the addresses of its free blocks."""
    every = free_lists.every(heap)
    assert free_lists.are_marked(heap, every), (
        "T1  a bit of a bitmap is set if, and only if, what it stands for is not empty"
    )
    pairs = [(i, block, before) for i, each in enumerate(every) for block, before in each]
    assert all(free_lists.is_listed_rightly(block, i) for i, block, _ in pairs), (
        "T2  a listed block is free, of the list's size, between two in use, and the next one points back at it"
    )
    assert all(block.prev_free == before for _, block, before in pairs), (
        "T4  the links of a list agree in both directions"
    )
    return {block.address for _, block, _ in pairs}


def heaps_of(heap):
    """The first heap and the program's own allocators."""
    owners = [heap]
    while owners[-1].next:
        owners.append(owners[-1].next)
    return owners


def pools_hold_no_fault(heap):
    pool, faults = heap.lent, 0
    while pool:
        faults += pools.faults_in(pool)
        pool = pool.next
    return faults == 0
