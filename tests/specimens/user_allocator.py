"""A specimen, not an allocator to use: the UserAllocator of xv6rs with all its defects, told in the dialect.

Source: xv6rs user/src/allocator.rs. `user_allocator_defects.py` shows each of its defects, and that ours are without
them.

      A block in use                             A free region

    address -> +--------------------+          region -> +--------------------+
             0 | the caller's bytes |                  0 | size               |  in bytes
               |                    |                  8 | next               |  the region that was freed before
               +--------------------+                    +--------------------+

The defects, by what does them:

    D1   growth is tested for 0 where the kernel says -1; the first growth is not tested
    D2   so after -1 a region is written at address 0
    D3   no region is ever merged with another
    D4   a region that would leave 8 bytes over is refused
    D5   the bytes in front of an aligned block are dropped
    D6   after growth `alloc` calls itself
    D7   growth takes no account of alignment, so D6 need not end
    D8   the size of a growth is cut to 32 bits
    D9   `align_up` wraps around
    D10  said to be safe for threads, and has no lock
    D11  functions that nobody calls; one and the same insertion written out four times
    D12  panics, which must not leave an allocator
    D13  a region that is too small is forgotten without a word
    D14  a block may be freed twice, and then the list is a circle
    D15  nothing goes back to the kernel
    D16  `realloc` always moves
    D17  the list is in the order of frees, not of addresses
    D18  sizes are rounded up to the alignment
    D19  no statistics: `walk` and `check` are added here, so that the machine can run it
    D20  the first page is a case of its own, and a large request leaves it aside

D21, the need for a nightly compiler, does not survive the translation. Interpreted only: D6 does not compile.
"""

from __future__ import annotations

from heapwright.bits import MAX_WORD, unsigned_less
from heapwright.layout import NULL, Inline, Struct, Word
from heapwright.spans import FREE, USED

THREADS = "own"  # `unsafe impl Sync` (D10)

HEAP_ALIGN = 8
LEAST = -1 << 63
MIN_REGION = 16
PAGE = 4096


class Node(Struct):
    size: Word
    next: Node


class Heap(Struct):
    head: Inline[Node]
    initialized: Word


# --- called by tests only (D11)


def add_free_region(heap, address, size):
    assert align_up(address, HEAP_ALIGN) == address, "assertion failed: align_up(addr) == addr"
    assert size >= MIN_REGION, "assertion failed: size >= size_of::<ListNode>()"
    node = Node(heap.memory, address)
    node.size = size
    node.next = heap.head.next
    heap.head.next = node


def find_region(heap, size, align):
    current = heap.head
    while current.next:
        address = alloc_from_region(current.next, size, align)
        if address != -1:
            region = current.next
            current.next = region.next
            return region, address
        current = current.next
    return current.next, -1


def grow_heap(heap, size):
    start = heap.memory.sbrk(as_i32(align_up(size, PAGE)))
    if start == 0:  # D1
        return False
    add_free_region(heap, start, align_up(size, PAGE))
    return True


# --- sizes


def align_up(n, alignment):
    """With the wrap-around of Rust's release build (D9)."""
    return sum_of(n, alignment - 1) & -alignment


def sum_of(one, other):
    """As usize adds, seen with a sign."""
    if (one > 0 and other > MAX_WORD - one) or (one < 0 and other < LEAST - one):
        return (one ^ LEAST) + (other ^ LEAST)  # without the highest bit of each
    return one + other


def as_i32(n):
    """What `n as i32` keeps of a number (D8)."""
    low = n & (1 << 32) - 1
    return low - (1 << 32) if low >> 31 else low


def adjusted_align(align):
    return max(align, HEAP_ALIGN)


def adjusted_size(size, align):
    """Rounded up to the alignment (D18), at least a node."""
    assert 0 <= size <= MAX_WORD - align + 1, "adjusting alignment failed"  # D12
    return max(align_up(size, align), MIN_REGION)


def alloc_from_region(region, size, align):
    """Where a block would lie in a region; -1 if it does not fit."""
    start = align_up(region.address, align)
    end, region_end = sum_of(start, size), region.address + region.size
    assert not unsigned_less(end, start), "overflow"  # D12
    if unsigned_less(region_end, end) or 0 < region_end - end < MIN_REGION:  # D4
        return -1
    return start


# --- the allocator


def init_heap(heap):
    """The first page (D20), whether there is one or not (D1)."""
    start = heap.memory.sbrk(PAGE)
    aligned = align_up(start, HEAP_ALIGN)
    size = PAGE - (aligned - start)
    if size >= MIN_REGION:  # D13
        node = Node(heap.memory, aligned)
        node.size = size
        node.next = heap.head.next
        heap.head.next = node
    heap.initialized = 1


def alloc(heap, size, align):
    if not heap.initialized:
        init_heap(heap)
    align = adjusted_align(align)
    needed = adjusted_size(size, align)
    current = heap.head
    while current.next:
        region = current.next
        address = alloc_from_region(region, needed, align)
        if address != -1:
            current.next = region.next
            excess = region.address + region.size - (address + needed)  # D5: and the bytes in front?
            if excess > 0:
                node = Node(heap.memory, address + needed)
                node.size = excess
                node.next = heap.head.next
                heap.head.next = node
            return address
        current = region
    growth = align_up(needed, PAGE)
    start = heap.memory.sbrk(as_i32(growth))
    if start == 0:  # D1
        return NULL
    aligned = align_up(start, HEAP_ALIGN)
    room = growth - (aligned - start)
    if room >= MIN_REGION:  # D13
        node = Node(heap.memory, aligned)  # D2
        node.size = room
        node.next = heap.head.next
        heap.head.next = node
    return alloc(heap, size, align)  # D6, D7


def dealloc(heap, address, size, align):
    size = adjusted_size(size, adjusted_align(align))
    if size >= MIN_REGION:  # D13
        node = Node(heap.memory, address)
        node.size = size
        node.next = heap.head.next  # D14
        heap.head.next = node  # D3, D15, D17


# --- looking at it


def regions(heap):
    found = []
    node = heap.head.next
    while node:
        found.append((node.address, node.size))
        node = node.next
    return sorted(found)


def walk(heap, start, end):
    position = start
    for address, size in regions(heap):
        if start <= address < end:
            if position < address:
                yield position, address - position, USED
            yield address, size, FREE
            position = address + size
    if position < end:
        yield position, end - position, USED


def check(heap, start, end):
    """It states no invariants."""
