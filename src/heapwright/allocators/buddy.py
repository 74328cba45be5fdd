"""Binary buddies: blocks of 2^k bytes, each half of one of 2^(k + 1), and whole again when both halves are free.

Sources: K. Knowlton, A Fast Storage Allocator, CACM 8(10), 1965; D. Knuth, The Art of Computer Programming, vol. 1,
section 2.5, algorithms R and S; for the mask of orders, M. Gorman, Understanding the Linux Virtual Memory Manager,
2004, chapter 6.

An arena of 2^22 bytes lies at a multiple of its size, so that every block of 2^k lies at a multiple of 2^k, its buddy
is found by flipping bit k of its address, and larger alignments cost nothing. That is also why arenas are mappings:
the break would not move to such a multiple, and nothing but its end could be given back. Nothing is kept in live
blocks. A map at the front of the arena says of each 32 bytes what begins there:

        arena -> +----------------+                      block -> +------------------+
               0 | the map:       |  for each 32 bytes          0 | next             |  while free
                 | a byte each    |  order | OWN, USED, FREE    8 | previous         |  while free
          2^17   +----------------+  or 0, if none begins      16 | the caller's, or |
                 | block, block,  |                               | unused           |
          2^22   +----------------+                          2^k  +------------------+

The map is the block of the arena's first 2^17 bytes; what is left then are one block of each order from 17 to 21.
Larger requests, and larger alignments, get a mapping each, at a multiple of the size of an arena (huge_blocks).

The heap's own words: for each order, a circle of free blocks, last in first out, and a bit that says whether there
are any; the spare, the arena that was empty last; and the ranges that the kernel did not take back (pages_kept). A
second empty arena goes back to the kernel at once.

Invariants
    B1  a block of order k begins at a multiple of 2^k in its arena
    B2  the map has an entry where a block begins, and nowhere else
    B3  no two free buddies of one order coexist
    B4  a block is in the circle of an order if, and only if, the map says that it is free and of that order
    B5  a bit of the mask is set if, and only if, that order's circle is not empty
    B6  blocks partition the arena
    B7  at most one arena is empty, and that is the spare
    B8  arenas lie at multiples of their size, and so does each block of its own

Vital statistics: overhead 1/32, but up to half of a block is rounding, smallest block 32, alignment the block's size;
alloc and dealloc O(log n); empty arenas of 4 MiB are given back, but for one. `trim` returns that. A block that grows
stays where it is while each upper buddy is free. A second free, a foreign address and the inside of a block are
noticed, where the arena that an address would have is mapped.
"""

from __future__ import annotations

from heapwright.allocators.huge_blocks import alloc_huge, dealloc_huge, huge_size, is_huge, resize_huge, walk_huge
from heapwright.allocators.pages_kept import Pages, give_back, kept_at, offer_again, take_pages
from heapwright.bits import align_down, below, bit, ceil_log2, is_aligned, lowest_bit
from heapwright.layout import NULL, Array, Byte, Inline, Struct, Word
from heapwright.spans import FREE, OWN, USED

LEAST_ORDER = 5
ARENA_ORDER = 22
LEAST, ARENA = 1 << LEAST_ORDER, 1 << ARENA_ORDER
MAP_ORDER = ARENA_ORDER - LEAST_ORDER
MAP_SIZE = 1 << MAP_ORDER
MOST = ARENA // 2  # the largest block: the lower half has the map in it
NO_BLOCK, IS_OWN, IS_USED, IS_FREE = 0, 0x40, 0x80, 0xC0  # in the map, with the order of the block
ORDER_BITS = 0x3F

SLOW_PATHS = ("add_arena", "keep_or_return", "alloc_huge", "realloc_alone", "dealloc_huge", "move", "report")
DETECTS = ("double free", "interior")
RETAINS = 0


class Block(Struct):
    next: Block
    previous: Block


class Arena(Struct):
    map: Array[Byte, ARENA // LEAST]


class MapWords(Struct):
    """The map as `check` reads it: eight entries at a time."""

    words: Array[Word, ARENA // LEAST // 8]


class Heap(Struct):
    orders: Word  # bit k: there are free blocks of order k
    spare: Arena
    free: Array[Inline[Block], ARENA_ORDER]  # for each order, the anchor of a circle
    pages: Inline[Pages]


# --- blocks and the map


def arena_of(heap, address):
    return Arena(heap.memory, align_down(address, ARENA))


def index_of(address):
    """Where the map speaks of an address."""
    return (address & (ARENA - 1)) >> LEAST_ORDER


def state_at(heap, address):
    return arena_of(heap, address).map[index_of(address)]


def set_state(heap, address, state):
    arena_of(heap, address).map[index_of(address)] = state


def buddy_of(address, order):
    return address ^ bit(order)


def order_for(size, align):
    """The order of the least blocks that have this size and alignment."""
    return ceil_log2(max(size, align, LEAST))


def order_at(heap, address):
    """The order of the live block that begins at an address; any other address is a misuse."""
    state = state_at(heap, address)
    order = state ^ IS_USED
    if order > ORDER_BITS or not is_aligned(address, LEAST) or arena_of(heap, address).map[0] != IS_OWN | MAP_ORDER:
        report(heap, address, state)
    return order


def report(heap, address, state):
    if arena_of(heap, address).map[0] != IS_OWN | MAP_ORDER:
        heap.memory.fault("not a block of this heap", address)
    if state >= IS_FREE and is_aligned(address, LEAST):
        heap.memory.fault("double free", address)
    heap.memory.fault("no block begins here", address)


# --- the circles of free blocks


def open_circles(heap):
    for order in range(ARENA_ORDER):
        anchor = heap.free[order]
        anchor.next = anchor
        anchor.previous = anchor


def push(heap, address, order):
    """Make a block free: into its circle, and known to the map."""
    block, anchor = Block(heap.memory, address), heap.free[order]
    first = anchor.next
    block.next = first
    block.previous = anchor
    first.previous = block
    anchor.next = block
    heap.orders |= bit(order)
    set_state(heap, address, IS_FREE | order)


def remove(heap, address, order):
    """Take a block out of its circle; the map still has it as free."""
    block = Block(heap.memory, address)
    before, after = block.previous, block.next
    before.next = after
    after.previous = before
    if before == after:  # then it is the anchor
        heap.orders &= ~bit(order)


# --- splitting and merging


def split(heap, address, order, wanted):
    """Free the upper halves of a block until what is left has the order wanted."""
    while order > wanted:
        order -= 1
        push(heap, buddy_of(address, order), order)


def merge(heap, address, order):
    """Make a block whole with its buddy as long as that is free; return what it is part of then, and its order."""
    while state_at(heap, buddy_of(address, order)) == IS_FREE | order:
        buddy = buddy_of(address, order)
        remove(heap, buddy, order)
        set_state(heap, max(address, buddy), NO_BLOCK)
        address = min(address, buddy)
        order += 1
    return address, order


def can_absorb(heap, address, order, wanted):
    """Whether a block is the lower half at each order below the one wanted, and the upper half free."""
    while order < wanted:
        upper = buddy_of(address, order)
        if upper < address or state_at(heap, upper) != IS_FREE | order:
            return False
        order += 1
    return True


def absorb(heap, address, order, wanted):
    while order < wanted:
        upper = buddy_of(address, order)
        remove(heap, upper, order)
        set_state(heap, upper, NO_BLOCK)
        order += 1


# --- arenas


def add_arena(heap):
    """Map an arena and free what its map leaves; False when memory is exhausted."""
    start = take_pages(heap.pages, ARENA, ARENA)
    if start == NULL:
        return False
    if not heap.free[0].next:
        open_circles(heap)
    set_state(heap, start, IS_OWN | MAP_ORDER)
    split(heap, start, ARENA_ORDER, MAP_ORDER)
    return True


def is_empty(arena):
    """Whether all blocks but the map are free and whole: of each order, the one at its own multiple."""
    order = MAP_ORDER
    while order < ARENA_ORDER and arena.map[index_of(bit(order))] == IS_FREE | order:
        order += 1
    return order == ARENA_ORDER


def keep_or_return(heap, arena):
    """Of two empty arenas, keep the one that has been empty for longer."""
    if heap.spare and heap.spare != arena and is_empty(heap.spare):
        return_arena(heap, arena)
    else:
        heap.spare = arena


def return_arena(heap, arena):
    """Give an empty arena back to the kernel; return how many bytes went."""
    for order in range(MAP_ORDER, ARENA_ORDER):
        remove(heap, arena.address + bit(order), order)
    return give_back(heap.pages, arena.address, ARENA)


# --- blocks with a mapping of their own


def lives_alone(size, align):
    """Whether a request is too large for an arena; an absurd one is."""
    return below(MOST, size) or align > MOST


def realloc_alone(heap, address, align, new_size):
    """Resize a mapping, or move a block into one or out of it."""
    if is_huge(address, ARENA) and lives_alone(new_size, align) and resize_huge(heap, address, new_size):
        return address
    return move(heap, address, align, new_size)


# --- the allocator


def alloc(heap, size, align):
    """Return the address of `size` bytes, or 0 when memory is exhausted: the first half of each block split."""
    if lives_alone(size, align):
        return alloc_huge(heap, size, align, ARENA)
    wanted = order_for(size, align)
    if heap.orders >> wanted == 0 and not add_arena(heap):
        return NULL
    order = wanted + lowest_bit(heap.orders >> wanted)
    address = heap.free[order].next.address
    remove(heap, address, order)
    split(heap, address, order, wanted)
    set_state(heap, address, IS_USED | wanted)
    return address


def dealloc(heap, address, size, align):
    """Merge the block with its buddies; if that empties its arena, there may be one too many."""
    if is_huge(address, ARENA):
        dealloc_huge(heap, address)
        return
    start, order = merge(heap, address, order_at(heap, address))
    push(heap, start, order)
    if order >= MAP_ORDER and is_empty(arena_of(heap, start)):
        keep_or_return(heap, arena_of(heap, start))


def alloc_zeroed(heap, size, align):
    """A mapping of its own is full of zeros already."""
    address = alloc(heap, size, align)
    if not is_huge(address, ARENA):
        heap.memory.fill(address, size, 0)
    return address


def realloc(heap, address, size, align, new_size):
    """Free the upper halves of the block, or take in those that follow it; move it if one of them is in use."""
    if is_huge(address, ARENA) or lives_alone(new_size, align):
        return realloc_alone(heap, address, align, new_size)
    order, wanted = order_at(heap, address), order_for(new_size, align)
    if wanted <= order:
        split(heap, address, order, wanted)
    elif can_absorb(heap, address, order, wanted):
        absorb(heap, address, order, wanted)
    else:
        return move(heap, address, align, new_size)
    set_state(heap, address, IS_USED | wanted)
    return address


def move(heap, address, align, new_size):
    target = alloc(heap, new_size, align)
    if target != NULL:
        heap.memory.copy(target, address, min(usable_size(heap, address), new_size))
        dealloc(heap, address, new_size, align)
    return target


def trim(heap):
    """Offer the kernel what it did not take, and the spare arena if it is still empty; return how many bytes went."""
    given_back = offer_again(heap.pages)
    if heap.spare and is_empty(heap.spare):
        given_back += return_arena(heap, heap.spare)
        heap.spare = NULL
    return given_back


def usable_size(heap, address):
    return huge_size(heap, address) if is_huge(address, ARENA) else bit(order_at(heap, address))


# --- looking at it


def walk(heap, start, end):
    """Yield (start, size, kind) for each block of [start, end): in arenas, huge ones and their records, kept ranges."""
    place = start
    while place < end:
        if not is_aligned(place, ARENA) or kept_at(heap.pages, place) > 0:
            for span in walk_huge(heap, place):
                yield span
                place += span[1]
            continue
        arena_end = place + ARENA
        while place < arena_end:
            state = state_at(heap, place)
            size = bit(state & ORDER_BITS)
            yield place, size, OWN if state < IS_USED else USED if state < IS_FREE else FREE
            place += size


def check(heap, start, end):
    listed = {(place, order) for order in range(ARENA_ORDER) for place in circle_of(heap, order)}
    orders = sum(bit(order) for order in {order for _, order in listed})
    assert heap.orders == orders, "B5  a bit of the mask is set if, and only if, that order's circle is not empty"
    for place, _, kind in walk(heap, start, end):
        if kind == OWN:  # a map or a record
            assert is_aligned(place, ARENA) or is_aligned(place + heap.memory.PAGE, ARENA), (
                "B8  arenas lie at multiples of their size, and so does each block of its own"
            )
        if kind == OWN and is_aligned(place, ARENA):
            check_arena(heap, Arena(heap.memory, place), listed)


def check_arena(heap, arena, listed):
    blocks = list(walk(heap, arena.address, arena.address + ARENA))
    assert sum(size for _, size, _ in blocks) == ARENA, "B6  blocks partition the arena"
    assert all(is_aligned(place, size) for place, size, _ in blocks), (
        "B1  a block of order k begins at a multiple of 2^k in its arena"
    )
    assert marked_in(arena) == {index_of(place) for place, _, _ in blocks}, (
        "B2  the map has an entry where a block begins, and nowhere else"
    )
    free = {(place, ceil_log2(size)) for place, size, kind in blocks if kind == FREE}
    assert not any((buddy_of(place, order), order) in free for place, order in free), (
        "B3  no two free buddies of one order coexist"
    )
    assert free == {(place, order) for place, order in listed if arena_of(heap, place) == arena}, (
        "B4  a block is in the circle of an order if, and only if, the map says that it is free and of that order"
    )
    assert not is_empty(arena) or heap.spare == arena, "B7  at most one arena is empty, and that is the spare"


def marked_in(arena):
    """Where the map has an entry; most of its words have none."""
    words = MapWords(arena.memory, arena.address).words
    return {8 * w + i for w in range(len(words)) if words[w] != 0 for i in range(8) if arena.map[8 * w + i] != NO_BLOCK}


def circle_of(heap, order):
    """The addresses of an order's free blocks."""
    anchor, places = heap.free[order], []
    block = anchor.next
    while block and block != anchor:
        places.append(block.address)
        block = block.next
    return places
