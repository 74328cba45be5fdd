"""Powers of two: memory is handed out from one end, and what is freed waits in a list of its size.

Source: C. Kingsley, malloc.c of 4.2BSD, 1982.

A block, in use or free:

      block -> +--------------------+
             0 | size               |  a power of two, header included
             8 | next               |  free: the next of its list; in use: this block
    address -> +--------------------+
            16 | the caller's bytes |
               +--------------------+

An address with a larger alignment lies further on, and the same header precedes it.

The heap's own words: a list for each power of two; the start and the end of the memory that was never handed out.

Invariants
    I1  the size of a block is a power of two, at least 32
    I2  a list holds blocks of one size, none of them twice
    I3  a block is in a list, or points at itself
    I4  memory never handed out begins no later than it ends

A block is up to twice as large as the request.
"""

from __future__ import annotations

from heapwright.bits import MAX_WORD, align_down, align_up, ceil_log2, floor_log2, is_power_of_two
from heapwright.layout import NULL, Array, Struct, Word
from heapwright.spans import FREE, UNUSED, USED

HEADER = 16
MIN_BLOCK = 32
LISTS = 63
GROWTH = 64 << 10
MAX_BYTES = MAX_WORD // 4
OVERHEAD = 16
SMALLEST = 32
ALIGN = 16
ALLOC_COST = "O(1)"
DEALLOC_COST = "O(1)"
GIVES_BACK = "nothing"
DETECTS = ("double free",)
RETAINS = "all that it ever held: the break is never lowered"


class Block(Struct):
    size: Word
    next: Block


class Heap(Struct):
    lists: Array[Block, LISTS]
    next: Word
    end: Word


# --- blocks


def block_of(heap, address):
    """The block that an address lies in; null or another block if it is free."""
    return Block(heap.memory, address - HEADER).next


def end_of(block):
    return block.address + block.size


def place(block, align):
    """Mark a block as in use; return an aligned address in it, with a header before it."""
    block.next = block
    address = align_up(block.address + HEADER, align)
    block.at(address - HEADER).next = block
    return address


# --- lists


def push(heap, block):
    order = floor_log2(block.size)
    block.next = heap.lists[order]
    heap.lists[order] = block


def take(heap, order):
    """The block of this size that was freed last, or a new one; null when memory is exhausted."""
    block = heap.lists[order]
    if block:
        heap.lists[order] = block.next
    elif has_room(heap, 1 << order):
        return carve(heap, 1 << order)
    return block


# --- new memory


def carve(heap, size):
    """Make a block of the next bytes that were never handed out."""
    block = Block(heap.memory, heap.next)
    block.size = size
    heap.next = end_of(block)
    return block


def has_room(heap, size):
    """Whether `size` bytes are left to carve, after growing the heap if necessary."""
    return heap.end - heap.next >= size or grow(heap, size)


def grow(heap, size):
    """Move the break up to a multiple of GROWTH, far enough even if the new memory does not join the old."""
    now = heap.memory.sbrk(0)
    wanted = align_up(now + MIN_BLOCK + size, GROWTH) - now
    start = heap.memory.sbrk(wanted)
    if start == -1:
        return False
    if start != heap.end:
        retire(heap)
        heap.next = align_up(start, MIN_BLOCK)
    heap.end = align_down(start + wanted, MIN_BLOCK)
    return True


def retire(heap):
    """Put the rest of the old memory into the lists, because the new memory does not join it."""
    while heap.next < heap.end:
        push(heap, carve(heap, 1 << floor_log2(heap.end - heap.next)))


# --- the allocator


def alloc(heap, size, align):
    if size < 0 or size > MAX_BYTES - align:
        return NULL
    room = HEADER if align <= HEADER else HEADER + align
    order = ceil_log2(max(size + room, MIN_BLOCK))
    block = take(heap, order)
    return place(block, align) if block else NULL


def live_block(heap, address):
    """The block in use that an address lies in; report a block that is free."""
    block = block_of(heap, address)
    if not block or block.next != block:
        heap.memory.fault("double free", address)
    return block


def dealloc(heap, address, size, align):
    block = live_block(heap, address)
    push(heap, block)


def usable_size(heap, address):
    return end_of(live_block(heap, address)) - address


# --- looking at it


def walk(heap, start, end):
    block = Block(heap.memory, align_up(start, MIN_BLOCK))
    if start < block.address:
        yield start, block.address - start, UNUSED
    while block.address + MIN_BLOCK <= end and block.address != heap.next:
        yield block.address, block.size, USED if block.next == block else FREE
        block = block.at(end_of(block))
    if block.address < end:
        yield block.address, end - block.address, UNUSED


def check(heap, start, end):
    listed = set()
    for order in range(LISTS):
        block = heap.lists[order]
        while block:
            fresh = block.size == 1 << order and block.address not in listed
            assert fresh, "I2  a list holds blocks of one size, none of them twice"
            listed.add(block.address)
            block = block.next
    for address, size, kind in walk(heap, start, end):
        if kind != UNUSED:
            assert is_power_of_two(size) and size >= MIN_BLOCK, "I1  the size of a block is a power of two, at least 32"
            assert kind == USED or address in listed, "I3  a block is in a list, or points at itself"
    assert heap.next <= heap.end, "I4  memory never handed out begins no later than it ends"
