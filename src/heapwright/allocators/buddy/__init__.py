"""Binary buddies: blocks of 2^k bytes, each half of a block of 2^(k + 1), which merge when both halves are free.

Sources: K. Knowlton, A Fast Storage Allocator, CACM 8(10), 1965; D. Knuth, The Art of Computer Programming, vol. 1,
section 2.5, algorithms R and S; for the mask of orders, M. Gorman, Understanding the Linux Virtual Memory Manager,
2004, chapter 6.

An arena has 2^22 bytes and lies at a multiple of its size, so every block of 2^k bytes lies at a multiple of 2^k. To
find its buddy, flip bit k of its address. Larger alignments cost nothing. Arenas are mappings, because the break does
not move to such a multiple and could only be given back from its end. Blocks in use have no header. A map at the front
of the arena says for each 32 bytes what begins there:

        arena -> +----------------+                      block -> +------------------+
               0 | the map:       |  for each 32 bytes          0 | next             |  while free
                 | a byte each    |  order | OWN, USED, FREE    8 | previous         |  while free
          2^17   +----------------+  or 0, if none begins      16 | the caller's, or |
                 | block, block,  |                               | unused           |
          2^22   +----------------+                          2^k  +------------------+

The map is itself a block, the arena's first 2^17 bytes. So an empty arena has one free block of each order from 17 to
21. Larger requests and larger alignments get their own mappings, at multiples of the size of an arena (huge_blocks).

Fields of the allocator: for each order, a circle of free blocks, last in first out, and a bit that says whether there
are any; the spare, which is the arena that became empty last; the places of known arenas (arenas); and the ranges that
the kernel refused to take back (kept_pages).

`alloc` takes a block from the lowest order that is large enough and has one. It splits the block in half until it has
the right order, and frees each upper half.

`dealloc` merges the block with its buddy as long as the buddy is free and of the same order. If that empties the arena
and there is another empty one, the arena goes back to the kernel.

Invariants
    B1  a block of order k begins at a multiple of 2^k in its arena
    B2  the map has an entry where a block begins, and nowhere else
    B3  no two free buddies of one order coexist
    B4  a block is in the circle of an order if, and only if, the map says that it is free and of that order
    B5  a bit of the mask is set if, and only if, that order's circle is not empty
    B6  blocks partition the arena
    B7  at most one arena is empty, and that is the spare
    B8  arenas lie at multiples of their size, and so does each block of its own
    B9  a place names an arena that exists and belongs there, or none

Rounding to a power of two wastes up to half of a block. A block grows in place if it is the lower buddy at each order
and the upper buddies are free. A double free, a foreign address and an address inside a block are reported.
"""

from __future__ import annotations

from heapwright import bits, spans, stats
from heapwright.allocators.buddy import arenas, circles
from heapwright.allocators.buddy.arenas import (
    MAP_SIZE,  # noqa: F401  part of the allocator's interface
    MIN_BLOCK,  # noqa: F401  part of the allocator's interface
)
from heapwright.allocators.parts import huge_blocks, kept_pages
from heapwright.layout import NULL, Array, Inline, Struct, Word

OVERHEAD = 0
OVERHEAD_ELSEWHERE = "1/32 of each arena"
SMALLEST = 32
ALIGN = 32
ALLOC_COST = "O(log n)"
DEALLOC_COST = "O(log n)"
GIVES_BACK = "empty arenas of 4 MiB but one; `trim`: that one and the pages of free blocks but the first"

MAX_BLOCK = arenas.ARENA // 2  # the largest block: the lower half of an arena contains the map

SLOW_PATHS = (
    *("add_arena", "keep_or_return", "alloc_huge", "realloc_alone", "dealloc_huge", "move"),
    *("report", "find_arena"),
)
DETECTS = ("double free", "foreign", "interior")
RETAINS = 0


class Heap(Struct):
    orders: Word  # bit k: there are free blocks of order k
    spare: arenas.Arena
    arenas: Array[arenas.Arena, arenas.ARENAS]  # known arenas by place; arenas that share a place displace each other
    free: Array[Inline[circles.Block], arenas.ARENA_ORDER]  # for each order, the anchor of a circle
    pages: Inline[kept_pages.Pages]
    huge: Inline[huge_blocks.HugeBlocks]


# --- the circles of free blocks


def open_circles(heap):
    for order in range(arenas.ARENA_ORDER):
        anchor = heap.free[order]
        anchor.next = anchor
        anchor.previous = anchor


def push(heap, address, order):
    """Link a block into the circle of its order, and mark it as free in the map."""
    block, anchor = circles.Block(heap.memory, address), heap.free[order]
    first = anchor.next
    block.next = first
    block.previous = anchor
    first.previous = block
    anchor.next = block
    heap.orders |= bits.bit(order)
    arenas.set_state(heap, address, arenas.IS_FREE | order)


def remove(heap, address, order):
    """Unlink a block from its circle. The map still marks it as free."""
    block = circles.Block(heap.memory, address)
    before, after = block.previous, block.next
    before.next = after
    after.previous = before
    if before == after:  # both are the anchor
        heap.orders &= ~bits.bit(order)


# --- splitting and merging


def split(heap, address, order, wanted):
    """Free the upper half of a block again and again, until the rest has the order `wanted`."""
    while order > wanted:
        order -= 1
        push(heap, arenas.buddy_of(address, order), order)


def merge(heap, address, order):
    """Merge a block with its buddy as long as that is free; return the result and its order."""
    while arenas.state_at(heap, arenas.buddy_of(address, order)) == arenas.IS_FREE | order:
        buddy = arenas.buddy_of(address, order)
        remove(heap, buddy, order)
        arenas.set_state(heap, max(address, buddy), arenas.NO_BLOCK)
        address = min(address, buddy)
        order += 1
    return address, order


def can_absorb(heap, address, order, wanted):
    """Whether a block is the lower buddy at each order below `wanted`, and every upper buddy is free."""
    while order < wanted:
        upper = arenas.buddy_of(address, order)
        if upper < address or arenas.state_at(heap, upper) != arenas.IS_FREE | order:
            return False
        order += 1
    return True


def absorb(heap, address, order, wanted):
    while order < wanted:
        upper = arenas.buddy_of(address, order)
        remove(heap, upper, order)
        arenas.set_state(heap, upper, arenas.NO_BLOCK)
        order += 1


# --- arenas


def add_arena(heap):
    """Map an arena and free everything behind its map; False when memory is exhausted."""
    start = kept_pages.take_pages(heap.pages, arenas.ARENA, arenas.ARENA)
    if start == NULL:
        return False
    if not heap.free[0].next:
        open_circles(heap)
    arenas.open_arena(heap, arenas.arena_of(heap, start))
    split(heap, start, arenas.ARENA_ORDER, arenas.MAP_ORDER)
    return True


def is_empty(arena):
    """Whether everything behind the map is free: one block of each order, at an offset equal to its size."""
    order = arenas.MAP_ORDER
    while order < arenas.ARENA_ORDER and arena.map[arenas.index_of(bits.bit(order))] == arenas.IS_FREE | order:
        order += 1
    return order == arenas.ARENA_ORDER


def keep_or_return(heap, arena):
    """Make an empty arena the spare, or return it if the spare is empty too."""
    if heap.spare and heap.spare != arena and is_empty(heap.spare):
        return_arena(heap, arena)
    else:
        heap.spare = arena


def return_arena(heap, arena):
    """Release an empty arena; return the number of bytes released."""
    for order in range(arenas.MAP_ORDER, arenas.ARENA_ORDER):
        remove(heap, arena.address + bits.bit(order), order)
    arenas.forget_arena(heap, arena)
    return kept_pages.give_back(heap.pages, arena.address, arenas.ARENA)


# --- blocks with their own mappings


def lives_alone(size, align):
    """Whether a request is too large for an arena. This includes absurd sizes."""
    return bits.unsigned_less(MAX_BLOCK, size) or align > MAX_BLOCK


def realloc_alone(heap, address, align, new_size):
    """Resize a block with its own mapping, or move a block into or out of a mapping."""
    if (
        huge_blocks.is_huge(address, arenas.ARENA)
        and lives_alone(new_size, align)
        and huge_blocks.resize_huge(heap, address, new_size)
    ):
        return address
    return move(heap, address, align, new_size)


# --- the allocator


def alloc(heap, size, align):
    """Return the address of `size` bytes, or 0 when memory is exhausted. A split keeps the lower half."""
    if lives_alone(size, align):
        return huge_blocks.alloc_huge(heap, size, align, arenas.ARENA)
    wanted = arenas.order_for(size, align)
    if heap.orders >> wanted == 0 and not add_arena(heap):
        return NULL
    order = wanted + bits.lowest_bit(heap.orders >> wanted)
    address = heap.free[order].next.address
    remove(heap, address, order)
    split(heap, address, order, wanted)
    arenas.set_state(heap, address, arenas.IS_USED | wanted)
    return address


def dealloc(heap, address, size, align):
    """Merge the block with its buddies. If its arena is empty then, keep or release the arena."""
    if huge_blocks.is_huge(address, arenas.ARENA):
        huge_blocks.dealloc_huge(heap, address)
        return
    start, order = merge(heap, address, arenas.order_at(heap, address))
    push(heap, start, order)
    if order >= arenas.MAP_ORDER and is_empty(arenas.arena_of(heap, start)):
        keep_or_return(heap, arenas.arena_of(heap, start))


def alloc_zeroed(heap, size, align):
    """Clear the block, unless it has its own mapping, which is full of zeros."""
    address = alloc(heap, size, align)
    if not huge_blocks.is_huge(address, arenas.ARENA):
        heap.memory.fill(address, size, 0)
    return address


def realloc(heap, address, size, align, new_size):
    """Shrink the block by freeing upper halves, grow it into free upper buddies, or move it."""
    if huge_blocks.is_huge(address, arenas.ARENA) or lives_alone(new_size, align):
        return realloc_alone(heap, address, align, new_size)
    order, wanted = arenas.order_at(heap, address), arenas.order_for(new_size, align)
    if wanted <= order:
        split(heap, address, order, wanted)
    elif can_absorb(heap, address, order, wanted):
        absorb(heap, address, order, wanted)
    else:
        return move(heap, address, align, new_size)
    arenas.set_state(heap, address, arenas.IS_USED | wanted)
    return address


def move(heap, address, align, new_size):
    usable = usable_size(heap, address)  # reports an address that is not a live block
    target = alloc(heap, new_size, align)
    if target != NULL:
        heap.memory.copy(target, address, min(usable, new_size))
        dealloc(heap, address, new_size, align)
    return target


def trim(heap, pad):
    """Release ranges refused by the kernel before, the spare arena if it is empty, and free pages; return the bytes."""
    given_back = kept_pages.offer_again(heap.pages)
    if heap.spare and is_empty(heap.spare):
        given_back += return_arena(heap, heap.spare)
        heap.spare = NULL
    return given_back + circles.decommit_free(heap)


def usable_size(heap, address):
    return (
        huge_blocks.huge_size(heap, address)
        if huge_blocks.is_huge(address, arenas.ARENA)
        else bits.bit(arenas.order_at(heap, address))
    )


# --- inspection


def survey(heap, account):
    stats.begin(heap.memory, account)
    huge_blocks.survey_huge(heap, account)
    circles.survey_free(heap, account)
    account.spare_bytes = heap.pages.kept_bytes + (arenas.ARENA if heap.spare and is_empty(heap.spare) else 0)


def walk(heap, start, end):
    """Yield (start, size, kind) for each block in [start, end), each huge block and its record, and each kept range."""
    place = start
    while place < end:
        if not bits.is_aligned(place, arenas.ARENA) or kept_pages.kept_at(heap.pages, place) > 0:
            for span in huge_blocks.walk_huge(heap, place):
                yield span
                place += span[1]
            continue
        arena_end = place + arenas.ARENA
        while place < arena_end:
            state = arenas.state_at(heap, place)
            size = bits.bit(state & arenas.ORDER_BITS)
            yield (
                place,
                size,
                spans.OWN if state < arenas.IS_USED else spans.USED if state < arenas.IS_FREE else spans.FREE,
            )
            place += size


def check(heap, start, end):
    listed = {(place, order) for order in range(arenas.ARENA_ORDER) for place in circles.circle_of(heap, order)}
    orders = sum(bits.bit(order) for order in {order for _, order in listed})
    assert heap.orders == orders, "B5  a bit of the mask is set if, and only if, that order's circle is not empty"
    found = set()
    for place, _, kind in walk(heap, start, end):
        if kind == spans.OWN:  # a map or a record
            assert bits.is_aligned(place, arenas.ARENA) or bits.is_aligned(place + heap.memory.PAGE, arenas.ARENA), (
                "B8  arenas lie at multiples of their size, and so does each block of its own"
            )
        if kind == spans.OWN and bits.is_aligned(place, arenas.ARENA):
            found.add(place)
            check_arena(heap, arenas.Arena(heap.memory, place), listed)
    known = [heap.arenas[i].address for i in range(arenas.ARENAS) if start <= heap.arenas[i].address < end]
    assert found.issuperset(known) and are_in_place(heap), (
        "B9  a place names an arena that exists and belongs there, or none"
    )


def check_arena(heap, arena, listed):
    blocks = list(walk(heap, arena.address, arena.address + arenas.ARENA))
    assert sum(size for _, size, _ in blocks) == arenas.ARENA, "B6  blocks partition the arena"
    assert all(bits.is_aligned(place, size) for place, size, _ in blocks), (
        "B1  a block of order k begins at a multiple of 2^k in its arena"
    )
    assert marked_in(arena) == {arenas.index_of(place) for place, _, _ in blocks}, (
        "B2  the map has an entry where a block begins, and nowhere else"
    )
    free = {(place, bits.ceil_log2(size)) for place, size, kind in blocks if kind == spans.FREE}
    assert not any((arenas.buddy_of(place, order), order) in free for place, order in free), (
        "B3  no two free buddies of one order coexist"
    )
    assert free == {(place, order) for place, order in listed if arenas.arena_of(heap, place) == arena}, (
        "B4  a block is in the circle of an order if, and only if, the map says that it is free and of that order"
    )
    assert not is_empty(arena) or heap.spare == arena, "B7  at most one arena is empty, and that is the spare"


def marked_in(arena):
    """The indices at which the map has an entry. Most of its words have none."""
    words = arenas.MapWords(arena.memory, arena.address).words
    marked = [w for w in range(len(words)) if words[w] != 0 and w != arenas.MAGIC_AT]
    return {8 * w + i for w in marked for i in range(8) if arena.map[8 * w + i] != arenas.NO_BLOCK}


def are_in_place(heap):
    return all(arenas.place_of(heap.arenas[i]) == i for i in range(arenas.ARENAS) if heap.arenas[i])
