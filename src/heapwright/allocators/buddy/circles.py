"""Operations on all free blocks of the buddy system: counting them, and releasing their pages.

The circle of each order has its anchor in `heap.free` of `buddy.Heap`.
"""

from __future__ import annotations

from heapwright import bits, stats
from heapwright.allocators.parts import whole_pages
from heapwright.layout import Struct


class Block(Struct):
    next: Block
    previous: Block


def decommit_free(heap):
    """Release the frames of all free blocks, except the first page of each, which has its links; return the bytes."""
    given_back = 0
    for order in range(len(heap.free)):
        anchor = heap.free[order]
        block = anchor.next
        while block and block != anchor:
            given_back += whole_pages.decommit_inside(
                heap.memory, block.address + Block.SIZE, block.address + bits.bit(order)
            )
            block = block.next
    return given_back


def survey_free(heap, account):
    """Count the blocks of all circles."""
    for order in range(len(heap.free)):
        anchor = heap.free[order]
        block = anchor.next
        while block and block != anchor:
            stats.add_free(account, 1, bits.bit(order))
            block = block.next


# --- for `check` only


def circle_of(heap, order):
    """The addresses of an order's free blocks."""
    anchor, places = heap.free[order], []
    block = anchor.next
    while block and block != anchor:
        places.append(block.address)
        block = block.next
    return places
