"""Slots of guarded blocks: what is known of a block that lies alone on a page between two protected pages.

The layer `guarded` keeps them. What explains a fault, compiled or in the machine, reads them here.

    a live block     an access to the protected page on either side faults: an overflow or an underflow
    a freed block    its own page is protected, too: any access faults

Source: the design of GWP-ASan (LLVM).
"""

from __future__ import annotations

from heapwright.layout import NULL, Array, Atomic, Inline, Struct, Word

FRAMES = 15  # return addresses that are kept of a call stack
LIVE, FREED = 1, 2  # states; a slot that was never used has 0


class Caller(Struct):
    """Who allocated or freed a block."""

    thread: Word  # the kernel's number
    frames: Array[Word, FRAMES]  # return addresses, the innermost first; 0 after the last


class Slot(Struct):
    page: Word  # the address of its page; 0 before its first use
    block: Word  # the address that the program got
    size: Word  # bytes, as requested
    state: Atomic[Word]
    next: Slot  # in the queue of freed slots
    allocated: Inline[Caller]
    freed: Inline[Caller]


def is_freed(slot):
    """Whether the slot's block is freed."""
    return slot.state.load() == FREED


def has_freer(slot):
    """Whether it is known who freed the slot's block. Another thread may be about to write that down."""
    return is_freed(slot) and slot.freed.thread != 0


def has_page(slot, address, page_bytes):
    """Whether an address lies in the slot's own page, not in a protected page beside it."""
    return slot.page <= address < slot.page + page_bytes


def bytes_before(slot, address):
    """How many bytes before the block an address lies; 0 or less if it does not."""
    return slot.block - address


def bytes_after(slot, address):
    """How many bytes after the block's last byte an address lies, from 0 on; negative if it does not."""
    return address - slot.block - slot.size


def distance(slot, address):
    """How far an address outside the block is from it, in bytes; 0 if it is next to the block or inside."""
    return max(bytes_before(slot, address) - 1, bytes_after(slot, address), 0)


def used(slot):
    """The slot, or null if it was never used."""
    return slot if slot.state.load() != 0 else slot.at(NULL)


def nearer(left, right, address):
    """Whichever of two slots has a live block, or else the nearer one. Both may be null."""
    if not left or not right:
        return left if left else right
    if left.state.load() != right.state.load():
        return left if left.state.load() == LIVE else right
    return left if distance(left, address) <= distance(right, address) else right
