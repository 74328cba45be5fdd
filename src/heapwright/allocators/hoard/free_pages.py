"""Memory that Hoard releases on request: empty superblocks, and free pages inside other superblocks.

A page without an object in use can be released. The free objects that begin in it leave the free list, because their
links are lost with the page. The superblock's `gone` has a bit for each such page. Once all other objects are in use,
the objects of these pages are listed again (superblocks). If the free pages are the last ones before `bump`, `bump` is
lowered instead, as if their objects had never been handed out.

Callers of the functions under "one superblock" hold two locks: that of the superblock's owner and that of the global
heap. The second one also guards the counts of free bytes.
"""

from __future__ import annotations

from heapwright import bits, locks
from heapwright.allocators.hoard import heaps, superblocks
from heapwright.allocators.hoard.superblocks import Superblock
from heapwright.allocators.parts import whole_pages
from heapwright.layout import NULL

# --- a heap


def give_free(heap, owner):
    """Release a heap's empty superblocks, by way of the global heap, and its free pages; return the pages' bytes."""
    common = heap.processors[0]
    if owner != common:
        locks.acquire(heap.memory, owner.lock)
    locks.acquire(heap.memory, common.lock)
    while owner != common and owner.lists[superblocks.EMPTY]:
        superblock = owner.lists[superblocks.EMPTY]
        superblocks.leave(owner, superblock)
        superblocks.join(common, superblock)
    heaps.unmap_empty(heap, 0)
    given_back = decommit_free(heap, owner)
    locks.release(heap.memory, common.lock)
    if owner != common:
        locks.release(heap.memory, owner.lock)
    return given_back


def decommit_free(heap, owner):
    """Release the frames of free pages in the superblocks of a heap; return the number of bytes released."""
    given_back = 0
    for i in range(superblocks.LISTS):
        superblock = owner.lists[i]
        while superblock:
            given_back += decommit_in(heap, superblock)
            superblock = superblock.next
    return given_back


# --- one superblock


def pages_in(superblock):
    return superblocks.SUPERBLOCK // superblock.memory.PAGE


def decommit_in(heap, superblock):
    """Release the frames of the pages without an object in use; return the number of bytes released."""
    if superblocks.SUPERBLOCK - Superblock.SIZE - superblock.used < heap.memory.PAGE:
        return 0
    pages = free_pages(heap, superblock)
    if pages == 0:
        return 0
    lower_bump(superblock, pages)
    unlist(superblock, pages)
    given_back = page = 0
    while page < pages_in(superblock):
        first = page
        while page < pages_in(superblock) and pages & bits.bit(page) != 0:
            page += 1
        given_back += whole_pages.decommit_inside(
            heap.memory, superblocks.start_of(superblock, first), superblocks.start_of(superblock, page)
        )
        page += 1
    return given_back


def free_pages(heap, superblock):
    """The pages without an object in use, as bits."""
    counts = heap.store.free_in
    for page in range(pages_in(superblock)):
        counts[page] = 0
    count_listed(heap, superblock)
    count_gone(heap, superblock)
    count_free(heap, superblock, superblock.bump, superblock.address + superblocks.SUPERBLOCK)
    pages = 0
    for page in range(pages_in(superblock)):
        if counts[page] == heap.memory.PAGE:
            pages |= bits.bit(page)
    return pages


def count_listed(heap, superblock):
    free = superblock.free
    while free:
        count_free(heap, superblock, free.address, free.address + superblock.object_size)
        free = free.next


def count_gone(heap, superblock):
    """Count the objects that begin in pages released earlier. An object that reaches into such a page may be in use."""
    for page in range(pages_in(superblock)):
        if superblock.gone & bits.bit(page) != 0:
            first, end = superblocks.gone_from(superblock, page)
            count_free(heap, superblock, first, end)


def count_free(heap, superblock, start, end):
    """Count the bytes of [start, end) as free, page by page."""
    while start < end:
        page = superblocks.page_at(superblock, start)
        stop = min(end, superblocks.start_of(superblock, page + 1))
        heap.store.free_in[page] += stop - start
        start = stop


def lower_bump(superblock, pages):
    """Lower `bump` below the free pages at the end, so that their objects count as never handed out."""
    page = superblocks.page_at(superblock, superblock.bump - 1)
    while pages & bits.bit(page) != 0:  # ends at the first page at the latest: it holds the header and is never free
        superblock.bump = min(
            superblock.bump, superblocks.first_from(superblock, superblocks.start_of(superblock, page))
        )
        superblock.gone &= ~bits.bit(page)
        page -= 1


def unlist(superblock, pages):
    """Remove the objects that begin in free pages from the free list; mark their pages below `bump` as gone."""
    for page in range(pages_in(superblock)):
        if pages & bits.bit(page) != 0 and begins_below(superblock, page):
            superblock.gone |= bits.bit(page)
    free = superblock.free
    last = free.at(NULL)
    superblock.free = last
    while free:
        rest = free.next
        if free.address < superblock.bump and not superblocks.is_gone(superblock, free.address):
            if last:
                last.next = free
            else:
                superblock.free = free
            last = free
        free = rest
    if last:
        last.next = free


def begins_below(superblock, page):
    """Whether an object that was handed out begins in a page."""
    first = superblocks.first_from(superblock, superblocks.start_of(superblock, page))
    return first < min(superblock.bump, superblocks.start_of(superblock, page + 1))
