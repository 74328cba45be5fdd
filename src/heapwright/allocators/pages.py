"""Whole pages from the kernel for each block, and a separate table that records how many.

Source: the PageAllocator of a conversation on Rust allocators, a GlobalAlloc over mmap, here without its faults;
mmap(2), munmap(2), mremap(2). The table: D. Knuth, The Art of Computer Programming, vol. 3, 1973, section 6.4, linear
probing with algorithm R for removal.

      A block in use                                  A kept range: the kernel did not take it back

    address -> +-----------------------+            kept -> +-----------------------+
             0 | the caller's bytes    |                  0 | next                  |
               | up to the end of      |                  8 | size                  |
               | a page                |                 16 | zeros                 |
               +-----------------------+                    +-----------------------+

Fields of the allocator: the kept ranges and the sum of their bytes; the table of live blocks (address and size, in a
slot hashed from the address), the logarithm of its number of slots, and the number of slots taken.

`alloc` maps pages and enters them into the table, which doubles when it is three quarters full. `dealloc` finds the
block in the table, removes it, and unmaps its pages.

A header in front of each block would be an alternative to the table. But a header doubles the cost of a block of one
page, deprives the caller of page alignment, and is the first victim of an overflow. A table needs a lock, but knows for
certain which blocks are live.

`munmap` may fail: a hole splits a mapping, and the process may have as many mappings as the kernel allows. Then the
range is kept (kept_pages) and serves a later request. `trim` offers it to the kernel again, and kept_bytes counts it.
The kernel merges adjacent mappings into one, so a very large number of blocks can be live.

Invariants
    P1  a block begins at a page and has whole pages, at least one
    P2  blocks, kept ranges and the table do not overlap
    P3  a block is found from its home slot on without passing an empty one
    P4  `blocks` entries take at most three quarters of the table
    P5  kept_bytes sums up the kept ranges

`realloc` moves no bytes where the kernel can move pages. Every block comes zeroed.
"""

from __future__ import annotations

from heapwright import bits, spans, stats
from heapwright.allocators.parts import kept_pages
from heapwright.allocators.parts.kept_pages import Pages
from heapwright.layout import NULL, Inline, Struct, Word

OVERHEAD = 0
OVERHEAD_ELSEWHERE = "21 to 43 bytes in the table"
SMALLEST = 4096
ALIGN = 4096
ALLOC_COST = "O(1) and a system call"
DEALLOC_COST = "O(1) and a system call"
GIVES_BACK = "each block when it is freed"

SPREAD = -7046029254386353131  # 2**64 / golden ratio: spreads neighbours over the table (Knuth 6.4)

DETECTS = ("double free", "foreign", "interior")
RETAINS = 0
SLOW_PATHS = ("resize_table", "keep", "take_kept", "map_roomy")


class Entry(Struct):
    start: Word  # address of a live block; null in an empty slot
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
    return bits.align_up(Entry.SIZE << log2_slots, heap.memory.PAGE)


def slot(heap, index):
    return heap.table.at(heap.table.address + index * Entry.SIZE)


def index_of(heap, entry):
    return (entry.address - heap.table.address) // Entry.SIZE


def home_of(heap, start):
    return bits.shift_right(bits.wrapping_mul(start, SPREAD), 64 - heap.log2_slots)


def after(heap, entry):
    """The next slot; the first one follows the last."""
    return slot(heap, (index_of(heap, entry) + 1) & (slots(heap) - 1))


def distance(heap, index, entry):
    """The number of slots from index to an entry, around the end if need be."""
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
    """The entry of the live block at an address; report an address without one."""
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
    """Empty a slot, and move each later entry into the gap that could not be found past it."""
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
    """Whether `blocks` entries take at most three quarters of a table."""
    return 4 * blocks <= 3 << log2_slots


def min_log2(heap):
    """The logarithm of the slots in the smallest table, which has one page."""
    return bits.floor_log2(heap.memory.PAGE // Entry.SIZE)


def make_room(heap):
    """Make sure that the table has room for one more block; False when memory is exhausted."""
    if not heap.table:
        return resize_table(heap, min_log2(heap))
    return is_roomy(heap.log2_slots, heap.blocks + 1) or resize_table(heap, heap.log2_slots + 1)


def resize_table(heap, log2_slots):
    """Move the entries into a new table; False when memory is exhausted."""
    fresh = kept_pages.take_pages(heap.pages, table_bytes(heap, log2_slots), heap.memory.PAGE)
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
    kept_pages.give_back(heap.pages, old.address, table_bytes(heap, log2_slots))


def shrink_table(heap):
    """Shrink the table to fit the live blocks; return the number of bytes released."""
    if not heap.table:
        return 0
    before = table_bytes(heap, heap.log2_slots)
    if heap.blocks == 0:
        table = heap.table.address
        heap.table = NULL
        return kept_pages.give_back(heap.pages, table, before)
    log2_slots = max(min_log2(heap), bits.floor_log2(2 * heap.blocks) + 1)
    if log2_slots >= heap.log2_slots or not resize_table(heap, log2_slots):
        return 0
    return before - table_bytes(heap, log2_slots)


# --- the allocator


def whole_pages(heap, size):
    """The bytes of the pages that a block takes: at least one page."""
    return bits.align_up(max(size, 1), heap.memory.PAGE)


def alloc(heap, size, align):
    """Return the address of pages full of zeros, or 0 when memory is exhausted."""
    if bits.is_absurd(size, align) or not make_room(heap):
        return NULL
    size = whole_pages(heap, size)
    address = kept_pages.take_pages(heap.pages, size, align)
    if address != NULL:
        insert(heap, address, size)
    return address


def alloc_zeroed(heap, size, align):
    return alloc(heap, size, align)


def dealloc(heap, address, size, align):
    """Unmap the block's pages; the table knows how many."""
    release(heap, known(heap, address))


def release(heap, block):
    """Remove a block from the table and unmap its pages; return the number of bytes released."""
    start, size = block.start, block.size
    remove(heap, block)
    return kept_pages.give_back(heap.pages, start, size)


def usable_size(heap, address):
    return known(heap, address).size


def realloc(heap, address, size, align, new_size):
    """Cut pages off the end, or let the kernel extend or move the mapping; copy only if it refuses."""
    if bits.is_absurd(new_size, align):
        return NULL
    block = known(heap, address)
    moved = resize(heap, block, whole_pages(heap, new_size), align)
    return moved if moved != NULL else move(heap, address, align, new_size)


def resize(heap, block, size, align):
    """Change the number of a block's pages without copying; return its address, NULL if the kernel refuses."""
    address, old = block.start, block.size
    if size <= old:
        block.size = size
        kept_pages.give_back(heap.pages, address + size, old - size)
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


def trim(heap, pad):
    """Release ranges that the kernel refused before, and shrink the table; return the number of bytes released."""
    return kept_pages.offer_again(heap.pages) + shrink_table(heap)


# --- inspection


def survey(heap, account):
    stats.begin(heap.memory, account)
    stats.add_mapped(account, heap.blocks, account.heap_bytes - heap.pages.kept_bytes - own_bytes(heap))
    kept_pages.survey_kept(heap.pages, account)
    account.spare_bytes = heap.pages.kept_bytes


def own_bytes(heap):
    """The bytes of the table."""
    return table_bytes(heap, heap.log2_slots) if heap.table else 0


def span_at(heap, address):
    """The size and kind of the table, block or kept range that begins at an address; size 0 if there is none."""
    if heap.table and address == heap.table.address:
        return table_bytes(heap, heap.log2_slots), spans.OWN
    block = find(heap, address)
    if block:
        return block.size, spans.USED
    return kept_pages.kept_at(heap.pages, address), spans.FREE


def walk(heap, start, end):
    """Yield (start, size, kind) for each range of [start, end), which is a mapping or the rest of one."""
    size, kind = span_at(heap, start)
    while start < end and size > 0:
        yield start, size, kind
        start += size
        size, kind = span_at(heap, start)


def entries(heap):
    every = [slot(heap, index) for index in range(slots(heap))] if heap.table else []
    return [entry for entry in every if entry.start != NULL]


def check(heap, start, end):
    page, blocks, kept = heap.memory.PAGE, entries(heap), kept_pages.kept_ranges(heap.pages)
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
