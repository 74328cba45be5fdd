"""Which blocks of a slab are free, or in lists and boxes: for `walk`, a window of them at a time, as bits.

Free lists have no order and the dialect has no sets, so a window is as large as a word.
"""

from __future__ import annotations

from heapwright.allocators.parts import object_bitmap
from heapwright.allocators.wright import (
    hardened,
    homes,
    records,
    remote,
)

WINDOW = object_bitmap.WINDOW


def window(chain, start, size):
    """The blocks among the WINDOW from `start` on that are in a chain, as bits."""
    found = 0
    while chain:
        found |= object_bitmap.bit_for(chain.address, start, size)
        chain = records.next_of(chain)
    return found


def cached_window(heap, slab, start, size):
    """The same for the lists and boxes of all homes."""
    owner = homes.Home(heap.memory, records.home_address(slab))
    found = window(owner.hot[records.class_in(slab)].first, start, size)
    home = heap.roster.youngest
    while home:
        slot = remote.slot_for(home, slab)
        if slot.slab == slab:
            found |= window_of(slot.first, slot.count, start, size)
        if hardened.IS_HARDENED:
            found |= waiting_window(home, start, size)
        home = home.older
    batch = remote.newest_batch(owner)
    while batch:
        found |= batch_window(batch, start, size)
        batch = records.next_of(batch)
    return found


def window_of(chain, count, start, size):
    """The same for the first `count` blocks of a chain."""
    found = 0
    for _ in range(count):
        found |= object_bitmap.bit_for(chain.address, start, size)
        chain = records.next_of(chain)
    return found


def waiting_window(home, start, size):
    """The same for the blocks that wait in a home."""
    found = 0
    for i in range(hardened.WAITING):
        found |= object_bitmap.bit_for(home.waiting[i].block, start, size)
    return found


def batch_window(batch, start, size):
    found, word = object_bitmap.bit_for(batch.address, start, size), records.second_of(batch)
    return found | window_of(batch.at(word & remote.ADDRESS), (word >> remote.COUNT) - 1, start, size)
