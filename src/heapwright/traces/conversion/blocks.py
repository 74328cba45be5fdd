"""A process's blocks by address: a hash table with open addressing.

A freed block keeps its entry, which shows a second free, until the address is given out again or the table grows.
"""

from __future__ import annotations

from heapwright.bits import shift_right, wrapping_mul
from heapwright.layout import NULL
from heapwright.memory import prefetch
from heapwright.traces.conversion.state import FREED, LIVE, MISSED, UNMAPPED, Block

SMALLEST = 1 << 9  # entries
GRAIN = 4  # addresses are multiples of 16
GOLDEN = -7046029254386353131  # 2^64 divided by the golden ratio, as a signed word
FRACTION = 32  # the lower bits of a product are poorly mixed
IN_LINE = 2  # entries: a line of the cache has 64 bytes
KEPT_FREED = 1 << 16
MAY_MOVE = 1
HUGE_PAGE, ADVISE_HUGE = 1 << 21, 14  # bytes; madvise's MADV_HUGEPAGE


def find(table, address):
    """The entry of an address. If there is none, the empty one where it belongs; null if there is no table."""
    entry = Block(table.memory, table.entries)
    if not entry:
        return entry
    index = hash_of(address) & table.mask
    while True:
        entry = entry.at(table.entries + index * Block.SIZE)
        if entry.key == address or entry.key == NULL:  # noqa: PLR1714  compiled, a tuple is a loop
            return entry
        index = (index + 1) & table.mask


def hash_of(address):
    """Where the search for an address begins, in an endless table: at the first entry of a line of the cache."""
    return shift_right(wrapping_mul(shift_right(address, GRAIN), GOLDEN), FRACTION) & -IN_LINE


def look_ahead(table, address):
    """Have what is where the search for an address begins in the processor's cache soon."""
    prefetch(table.entries + (hash_of(address) & table.mask) * Block.SIZE)


def is_live(entry):
    """Whether there is a block at the address that was looked up."""
    return bool(entry) and entry.key != NULL and entry.state & LIVE != 0


def place(table, address):
    """The entry of an address, which is made if there is none. Null if there is no memory for it.

    Unless it is live, the caller makes it live or frees it.
    """
    if 8 * (table.used + 1) > 5 * table.mask and not grow(table):
        return Block(table.memory, NULL)
    entry = find(table, address)
    if entry.key == NULL:
        entry.key = address
        table.used += 1
    elif not is_live(entry):
        table.freed -= 1
    return entry


def enliven(entry):
    """Note that there is a block at the address."""
    entry.state = LIVE | entry.state & MISSED


def free(table, entry, event, thread):
    """Note that a block was freed: by which event, and which thread."""
    entry.state = FREED | entry.state & MISSED
    entry.number = event
    entry.thread = thread
    table.freed += 1


def grow(table):
    """Make the table larger, or without most of what is freed. Returns whether there is memory for that."""
    live = table.used - table.freed
    keeps_freed = table.freed <= live // 4 + KEPT_FREED
    before = table.mask + 1 if table.entries != NULL else 0
    size = max(before, SMALLEST)
    while size < 2 * (table.used if keeps_freed else live):
        size *= 2
    if size != before and not resize(table, before, size):
        return False
    settle_again(table, before, keeps_freed)
    return True


def resize(table, before, size):
    """Have room for `size` entries, the first ones as they are. Returns whether there is memory for that."""
    if before == 0:
        entries = table.memory.mmap(size * Block.SIZE)
    else:
        entries = table.memory.mremap(table.entries, before * Block.SIZE, size * Block.SIZE, MAY_MOVE)
    if entries == UNMAPPED:
        return False
    use_huge_pages(table, entries, size * Block.SIZE)
    table.entries, table.mask = entries, size - 1
    return True


def use_huge_pages(table, entries, size):
    """Ask the kernel for huge pages. Each search goes elsewhere, and would miss the address of a small one, too."""
    if table.advise != NULL and size >= HUGE_PAGE:
        table.memory.call_with(table.advise, entries, size, ADVISE_HUGE, 0)


def settle_again(table, before, keeps_freed):
    """Enter the first `before` entries anew, in place, because a new table would cost twice as many pages.

    It begins behind an empty entry. So each finds a place up to where it was, or in what the table has grown by, and
    passes no entry that has yet to move.
    """
    first = 0
    while first < before and entry_at(table, first).key != NULL:
        first += 1
    table.used = 0
    for i in range(first, first + before):
        entry = entry_at(table, i & before - 1)
        if entry.key != NULL:
            settle(table, entry, keeps_freed)
    if not keeps_freed:
        table.freed = 0


def settle(table, entry, keeps_freed):
    """Enter an entry where it belongs now, or forget it if it is freed."""
    moved = table.moved
    table.memory.copy(moved.address, entry.address, Block.SIZE)
    entry.key = NULL
    entry.state = 0
    if keeps_freed or is_live(moved):
        table.memory.copy(find(table, moved.key).address, moved.address, Block.SIZE)
        table.used += 1


def entry_at(table, index):
    return Block(table.memory, table.entries + index * Block.SIZE)


def copy_live(table, target, number):
    """Fill an empty table with the live blocks of another, and give them all one number."""
    if table.entries == NULL:
        return
    entry = Block(table.memory, table.entries)
    for i in range(table.mask + 1):
        entry = entry.at(table.entries + i * Block.SIZE)
        if is_live(entry):
            same = place(target, entry.key)
            if same:
                table.memory.copy(same.address, entry.address, Block.SIZE)
                same.number = number


def discard(table):
    """Forget all blocks."""
    if table.entries != NULL:
        table.memory.munmap(table.entries, (table.mask + 1) * Block.SIZE)
    table.entries = NULL
    table.mask = 0
    table.used = 0
    table.freed = 0
