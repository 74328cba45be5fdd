"""Whole pages from the kernel for each block, and a table beside them that knows how many.

Source: the PageAllocator of a conversation on Rust allocators, a GlobalAlloc over mmap, here without its faults;
mmap(2), munmap(2), mremap(2). The table: D. Knuth, The Art of Computer Programming, vol. 3, 1973, section 6.4, linear
probing with algorithm R for removal.

      A block in use                                  A kept range: the kernel did not take it back

    address -> +-----------------------+            kept -> +-----------------------+
             0 | the caller's bytes    |                  0 | next                  |
               | up to the end of      |                  8 | size                  |
               | a page                |                 16 | zeros                 |
               +-----------------------+                    +-----------------------+

The heap's own words: the kept ranges and the sum of their bytes; the table of live blocks (address and size, the slot
hashed from the address), the logarithm of its slots, and how many are taken.

Why a table, and not a header in front of each block: a header makes a block of one page cost two, takes the page
boundary away from the caller's bytes, and is the first thing an overflow destroys. A table wants a lock, but knows for
certain what is a live block and what is not.

`munmap` may fail: cutting a hole may need one more mapping than the kernel allows. Then the range is kept (pages_kept)
and serves a later request; `trim` offers it to the kernel again, and kept_bytes says how much there is. Neighbours
count as one mapping to the kernel, so very many blocks can live.

Invariants
    P1  a block begins at a page and has whole pages, at least one
    P2  blocks, kept ranges and the table do not overlap
    P3  a block is found from its home slot on without passing an empty one
    P4  `blocks` entries take at most three quarters of the table
    P5  kept_bytes sums up the kept ranges

Vital statistics: header none, but 21 to 43 bytes in the table, smallest block one page, alignment one page; alloc and
dealloc O(1) and a system call; each block is given back when it is freed. realloc moves no bytes when the kernel can
move pages. Every block comes as zeros.
"""

from __future__ import annotations

from heapwright.allocators.pages_kept import Pages, give_back, kept_at, kept_ranges, offer_again, take_pages
from heapwright.bits import align_up, floor_log2, is_absurd, shift_right, times
from heapwright.layout import NULL, Inline, Struct, Word
from heapwright.spans import FREE, OWN, USED

SPREAD = -7046029254386353131  # 2**64 / golden ratio: spreads neighbours over the table (Knuth 6.4)

DETECTS = ("double free", "foreign", "interior")
RETAINS = 0
SLOW_PATHS = ("resize_table", "keep", "take_kept", "map_roomy")


class Entry(Struct):
    start: Word  # of a live block; null in an empty slot
    size: Word


class Heap(Struct):
    pages: Inline[Pages]
    table: Entry  # null while there is none
    log2_slots: Word
    blocks: Word


# --- the table of blocks


def slots(heap):
    return 1 << heap.log2_slots


def table_bytes(heap, log2_slots):
    return align_up(Entry.SIZE << log2_slots, heap.memory.PAGE)


def slot(heap, index):
    return heap.table.at(heap.table.address + index * Entry.SIZE)


def index_of(heap, entry):
    return (entry.address - heap.table.address) // Entry.SIZE


def home_of(heap, start):
    return shift_right(times(start, SPREAD), 64 - heap.log2_slots)


def after(heap, entry):
    """The next slot, around the end."""
    return slot(heap, (index_of(heap, entry) + 1) & (slots(heap) - 1))


def distance(heap, index, entry):
    """How many slots behind another an entry lies."""
    return (index_of(heap, entry) - index) & (slots(heap) - 1)


def probe(heap, start):
    """The entry of a block, or the empty slot where it belongs."""
    entry = slot(heap, home_of(heap, start))
    while entry.start != NULL and entry.start != start:  # noqa: PLR1714  a tuple would be built at each step
        entry = after(heap, entry)
    return entry


def find(heap, address):
    """The entry of the live block at an address; null if there is none."""
    if not heap.table:
        return heap.table
    entry = probe(heap, address)
    return entry if entry.start != NULL else entry.at(NULL)


def known(heap, address):
    """The same, where there has to be one."""
    block = find(heap, address)
    if not block:
        heap.memory.fault("not a live block", address)
    return block


def insert(heap, start, size):
    put(heap, start, size)
    heap.blocks += 1


def put(heap, start, size):
    entry = probe(heap, start)
    entry.start = start
    entry.size = size


def remove(heap, block):
    """Empty a slot, and move up each entry behind it that would not be found past the gap."""
    gap, entry = block, after(heap, block)
    while entry.start != NULL:
        if distance(heap, home_of(heap, entry.start), entry) >= distance(heap, index_of(heap, gap), entry):
            gap.start = entry.start
            gap.size = entry.size
            gap = entry
        entry = after(heap, entry)
    gap.start = NULL
    heap.blocks -= 1


def is_roomy(log2_slots, blocks):
    """Whether so many entries take at most three quarters of a table."""
    return 4 * blocks <= 3 << log2_slots


def least_log2(heap):
    """The slots of the smallest table there is: one page."""
    return floor_log2(heap.memory.PAGE // Entry.SIZE)


def make_room(heap):
    """See to an empty slot for one more block; False when memory is exhausted."""
    if not heap.table:
        return resize_table(heap, least_log2(heap))
    return is_roomy(heap.log2_slots, heap.blocks + 1) or resize_table(heap, heap.log2_slots + 1)


def resize_table(heap, log2_slots):
    """Move the entries into a new table; False when memory is exhausted."""
    fresh = take_pages(heap.pages, table_bytes(heap, log2_slots), heap.memory.PAGE)
    if fresh == NULL:
        return False
    old, old_log2 = heap.table, heap.log2_slots
    heap.table = old.at(fresh)
    heap.log2_slots = log2_slots
    if old:
        move_entries(heap, old, old_log2)
    return True


def move_entries(heap, old, log2_slots):
    for index in range(1 << log2_slots):
        entry = old.at(old.address + index * Entry.SIZE)
        if entry.start != NULL:
            put(heap, entry.start, entry.size)
    give_back(heap.pages, old.address, table_bytes(heap, log2_slots))


def shrink_table(heap):
    """Make the table fit what is live; return how many bytes went back."""
    if not heap.table:
        return 0
    before = table_bytes(heap, heap.log2_slots)
    if heap.blocks == 0:
        table = heap.table.address
        heap.table = NULL
        return give_back(heap.pages, table, before)
    log2_slots = max(least_log2(heap), floor_log2(2 * heap.blocks) + 1)
    if log2_slots >= heap.log2_slots or not resize_table(heap, log2_slots):
        return 0
    return before - table_bytes(heap, log2_slots)


# --- the allocator


def whole_pages(heap, size):
    """The bytes of the pages that a block takes: one of no bytes takes a page too."""
    return align_up(max(size, 1), heap.memory.PAGE)


def alloc(heap, size, align):
    """Return the address of pages full of zeros, or 0 when memory is exhausted."""
    if is_absurd(size, align) or not make_room(heap):
        return NULL
    size = whole_pages(heap, size)
    address = take_pages(heap.pages, size, align)
    if address != NULL:
        insert(heap, address, size)
    return address


def alloc_zeroed(heap, size, align):
    return alloc(heap, size, align)


def dealloc(heap, address, size, align):
    """Give the pages back, as many as were mapped."""
    release(heap, known(heap, address))


def release(heap, block):
    """Forget a block and give its pages back; return how many bytes went."""
    start, size = block.start, block.size
    remove(heap, block)
    return give_back(heap.pages, start, size)


def usable_size(heap, address):
    return known(heap, address).size


def realloc(heap, address, size, align, new_size):
    """Cut pages off the end, or have the kernel add some, elsewhere if need be; copy only where it cannot."""
    if is_absurd(new_size, align):
        return NULL
    block = known(heap, address)
    moved = resize(heap, block, whole_pages(heap, new_size), align)
    return moved if moved != NULL else move(heap, address, align, new_size)


def resize(heap, block, size, align):
    """The address of a block with another number of pages, its content not copied; NULL if that cannot be."""
    address, old = block.start, block.size
    if size <= old:
        block.size = size
        give_back(heap.pages, address + size, old - size)
        return address
    moved = heap.memory.mremap(address, old, size, align <= heap.memory.PAGE)
    if moved == -1:
        return NULL
    if moved != address:
        remove(heap, block)
        insert(heap, moved, size)
    else:
        block.size = size
    return moved


def move(heap, address, align, new_size):
    target = alloc(heap, new_size, align)
    if target != NULL:
        size = usable_size(heap, address)
        heap.memory.copy(target, address, size)
        dealloc(heap, address, size, align)
    return target


def trim(heap):
    """Offer the kernel what it did not take, and make the table fit; return how many bytes went."""
    return offer_again(heap.pages) + shrink_table(heap)


# --- looking at it


def span_at(heap, address):
    """The size and kind of what begins at an address: the table, a block or a kept range; size 0 if nothing does."""
    if heap.table and address == heap.table.address:
        return table_bytes(heap, heap.log2_slots), OWN
    block = find(heap, address)
    if block:
        return block.size, USED
    return kept_at(heap.pages, address), FREE


def walk(heap, start, end):
    """Yield (start, size, kind) for each range of [start, end), a mapping or what is left of one."""
    size, kind = span_at(heap, start)
    while start < end and size > 0:
        yield start, size, kind
        start += size
        size, kind = span_at(heap, start)


def entries(heap):
    every = [slot(heap, index) for index in range(slots(heap))] if heap.table else []
    return [entry for entry in every if entry.start != NULL]


def check(heap, start, end):
    page, blocks, kept = heap.memory.PAGE, entries(heap), kept_ranges(heap.pages)
    numbers = [number for block in blocks for number in (block.start, block.size)]
    whole = all(number % page == 0 and number > 0 for number in numbers)
    assert whole, "P1  a block begins at a page and has whole pages, at least one"
    own = [(heap.table.address, table_bytes(heap, heap.log2_slots))] if heap.table else []
    ranges = sorted([(block.start, block.size) for block in blocks] + kept + own)
    apart = all(low + size <= high for (low, size), (high, _) in zip(ranges, ranges[1:], strict=False))
    assert apart, "P2  blocks, kept ranges and the table do not overlap"
    found = all(probe(heap, block.start) == block for block in blocks)
    assert found, "P3  a block is found from its home slot on without passing an empty one"
    fits = len(blocks) == heap.blocks and (not heap.table or is_roomy(heap.log2_slots, heap.blocks))
    assert fits, "P4  `blocks` entries take at most three quarters of the table"
    assert heap.pages.kept_bytes == sum(size for _, size in kept), "P5  kept_bytes sums up the kept ranges"
