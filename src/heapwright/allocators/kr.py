"""The heap of Kernighan and Ritchie, as xv6 ships it: next fit over one circular free list.

Source: B. Kernighan, D. Ritchie, The C Programming Language, 2nd ed., 1988, section 8.7; xv6-riscv
user/umalloc.c.

A block, in use or free; sizes are in units of 16 bytes, the header included:

      block -> +--------------------+
             0 | next               |  the next free block; stale while in use
             8 | units              |
    address -> +--------------------+  what alloc returns
            16 | the caller's bytes |
               +--------------------+

Fields of the allocator: the rover, where the last search stopped, and the anchor, a block of no units, so that the list
is never empty.

`alloc` searches the list from the rover on for the first block that is large enough, and cuts the request off its end.
After a full circle without success, it grows the heap. `dealloc` inserts the block in address order, and merges it with
its neighbours if they touch.

Invariants
    I1  the free list is a circle through the anchor
    I2  along the circle addresses rise, but for one wrap
    I3  no two free blocks touch
    I4  the blocks tile the heap: each ends where the next begins

Differences from the book: sizes are words, so none is truncated to 32 bits. New memory is aligned even if other code
moved the break. A request with a larger alignment takes a larger block and frees the excess at both ends.
"""

from __future__ import annotations

from heapwright import bits, spans, stats
from heapwright.allocators.parts import breaks
from heapwright.layout import NULL, Inline, Struct, Word

OVERHEAD = 16
SMALLEST = 16
ALIGN = 16
ALLOC_COST = "O(free blocks)"
DEALLOC_COST = "O(free blocks)"
GIVES_BACK = "nothing"

TUNABLES = (("MIN_GROWTH", "MIN_GROWTH", range(1, 1 << 20)),)
UNIT = 16
MIN_GROWTH = 4096  # units
MAX_BYTES = bits.MAX_WORD // 2
SLOW_PATHS = ("grow",)
DETECTS = ("double free",)
RETAINS = "all that it ever held: the break is never lowered"


class Block(Struct):
    next: Block
    units: Word


class Heap(Struct):
    rover: Block  # null until the first call
    anchor: Inline[Block]


# --- blocks


def block_of(heap, address):
    return Block(heap.memory, address - UNIT)


def address_of(block):
    return block.address + UNIT


def end_of(block):
    return block.address + block.units * UNIT


def units_for(size):
    return (size + UNIT - 1) // UNIT + 1


# --- the free list


def open_list(heap):
    """Make the anchor a circle of one."""
    heap.anchor.next = heap.anchor
    heap.anchor.units = 0
    heap.rover = heap.anchor


def lies_between(block, before, after):
    """Whether `block` belongs in the gap of the circle from `before` to `after`."""
    wraps = after.address <= before.address
    if before.address <= block.address:  # they are equal if the block is already free
        return wraps or block.address < after.address
    return wraps and block.address < after.address


def insert(heap, block):
    """Put a block into the list in address order and merge it with both neighbours."""
    before = gap_below(heap, block)
    join(block, before.next)
    join(before, block)
    heap.rover = before


def gap_below(heap, block):
    """The free block below a block in use; report a double free if the block overlaps a free neighbour."""
    before = heap.rover
    while not lies_between(block, before, before.next):
        before = before.next
    after = before.next
    if overlaps(before, block) or overlaps(block, after):
        block.memory.fault("double free", address_of(block))
    return before


def overlaps(lower, upper):
    """Whether `upper` begins inside `lower`."""
    return bits.unsigned_less((upper.address - lower.address) // UNIT, lower.units)


def join(lower, upper):
    """Link `lower` to `upper`, or merge them if they touch."""
    if end_of(lower) == upper.address:
        lower.units += upper.units
        lower.next = upper.next
    else:
        lower.next = upper


def take(previous, block, units):
    """Unlink an exact fit, or cut the tail off a larger block, whose links stay valid."""
    if block.units == units:
        previous.next = block.next
        return block
    block.units -= units
    tail = block.at(end_of(block))
    tail.units = units
    return tail


def find(heap, units):
    """The block before the first that fits. Grow the heap if none fits; null when memory is exhausted."""
    previous = heap.rover
    while previous.next.units < units:
        previous = previous.next
        if previous == heap.rover:  # a full circle
            if not grow(heap, units):
                return previous.at(NULL)
            previous = heap.rover
    return previous


def grow(heap, units):
    """Get more memory and free it into the list; False when memory is exhausted."""
    size = max(units, MIN_GROWTH) * UNIT + padding(heap)
    start, given = breaks.grow(heap.memory, size)
    block = Block(heap.memory, bits.align_up(start, UNIT))
    got = (start + given - block.address) // UNIT
    if got > 0:
        block.units = got
        insert(heap, block)
    return given == size


def padding(heap):
    """The bytes from the break to the next unit: 0, unless other code has moved the break."""
    return -heap.memory.sbrk(0) & (UNIT - 1)


def take_fit(heap, units):
    """Take the first block that fits, cut to size; null when memory is exhausted."""
    if not heap.rover:
        open_list(heap)
    previous = find(heap, units)
    if not previous:
        return previous
    heap.rover = previous
    return take(previous, previous.next, units)


# --- alignments above a unit


def cut_front(heap, block, units):
    """Free the first `units` of a block in use; return the rest."""
    rest = block.at(block.address + units * UNIT)
    rest.units = block.units - units
    block.units = units
    insert(heap, block)
    return rest


def cut_back(heap, block, units):
    """Keep the first `units` of a block in use; free the rest."""
    rest = block.at(block.address + units * UNIT)
    rest.units = block.units - units
    block.units = units
    insert(heap, rest)


def take_aligned(heap, units, align):
    """Take a block with room for any alignment, and free the excess at both ends."""
    block = take_fit(heap, units + align // UNIT)
    if not block:
        return block
    misfit = -address_of(block) & (align - 1)
    if misfit > 0:
        block = cut_front(heap, block, misfit // UNIT)
    cut_back(heap, block, units)  # frees at least a unit, because the misfit is less than the alignment
    return block


# --- the allocator


def alloc(heap, size, align):
    """Return the address of `size` bytes, or 0 when memory is exhausted."""
    if size < 0 or size > MAX_BYTES - align:
        return NULL
    units = units_for(size)
    block = take_fit(heap, units) if align <= UNIT else take_aligned(heap, units, align)
    return address_of(block) if block else NULL


def dealloc(heap, address, size, align):
    """Put the block back in address order and merge it with both neighbours."""
    insert(heap, block_of(heap, address))


def realloc(heap, address, size, align, new_size):
    """Stay if the block still fits and remains at least half full; otherwise move."""
    gap_below(heap, block_of(heap, address))  # reports a free block
    usable = usable_size(heap, address)
    if usable >> 1 <= new_size <= usable:
        return address
    target = alloc(heap, new_size, align)
    if target != NULL:
        heap.memory.copy(target, address, min(usable, new_size))
        dealloc(heap, address, usable, align)
    return target


def usable_size(heap, address):
    return (block_of(heap, address).units - 1) * UNIT


# --- inspection


def survey(heap, account):
    stats.begin(heap.memory, account)
    block = heap.anchor.next
    while block and block != heap.anchor:
        stats.add_free(account, 1, block.units * UNIT)
        block = block.next


def walk(heap, start, end):
    """Yield (start, size, kind) for each block of [start, end). The free list has the same order as the heap."""
    free = first_free(heap, start)
    block = Block(heap.memory, bits.align_up(start, UNIT))
    if start < block.address:
        yield start, block.address - start, spans.UNUSED
    while block.address < end:
        size = block.units * UNIT
        if block == free:
            free = free.next
            yield block.address, size, spans.FREE
        else:
            yield block.address, size, spans.USED
        block = block.at(block.address + size)


def first_free(heap, start):
    """The free block with the lowest address from `start` on, or the anchor."""
    link = heap.anchor.next
    while link and link.units > 0 and link.address < start:
        link = link.next
    return link


def check(heap, start, end):
    circle = [heap.rover]
    while circle[-1].next != heap.rover:
        circle.append(circle[-1].next)
    addresses = [block.address for block in circle]
    assert heap.anchor.address in addresses, "I1  the free list is a circle through the anchor"
    wraps = sum(a >= b for a, b in zip(addresses, addresses[1:] + addresses[:1], strict=True))
    assert wraps == 1, "I2  along the circle addresses rise, but for one wrap"
    assert not any(end_of(b) in addresses for b in circle if b.units), "I3  no two free blocks touch"
    *_, (last, size, _) = walk(heap, start, end)
    assert last + size == end, "I4  the blocks tile the heap: each ends where the next begins"
