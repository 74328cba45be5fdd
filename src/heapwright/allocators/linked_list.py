"""A list of free regions, nothing on the live ones: first fit in address order.

The caller says at `dealloc` how many bytes it gives back, as Rust does, so a live block carries no header, and a
free region has room for the little that there is to know of it. This is what the UserAllocator of xv6rs sets out
to be.

Sources: D. Knuth, The Art of Computer Programming, vol. 1, 1968, section 2.5, algorithms A and B; xv6rs
user/src/allocator.rs.

      A block in use                             A free region

    address -> +--------------------+          region -> +--------------------+
             0 | the caller's bytes |                  0 | next               |  the free region that lies above
               | up to a multiple   |                  8 | size               |  in bytes, these words included
               | of 16              |                 16 | unused             |
               +--------------------+                    +--------------------+

The heap's own words: the anchor, a region of no bytes that comes before all others. Thus each has one before it.

Invariants
    I1  along the list addresses rise
    I2  regions begin and end at multiples of 16; none is empty
    I3  no two regions touch
    I4  no region reaches beyond the end of the heap

Vital statistics: header none, smallest block 16, alignment 16; alloc and dealloc O(free regions); a free end of more
than 128 KiB is cut to 64 KiB. `trim` leaves less than a page and 16 bytes of it. The heap grows by what its free end
lacks, up to the next multiple of 64 KiB, and a block that grows stays where it is if the bytes behind it are free or
new.

Giving back what is free already is noticed. Giving back a wrong size or the inside of a block is not: nothing in
the heap says where a live block begins. For the same reason `walk` shows live blocks that touch as one.
"""

from __future__ import annotations

from heapwright.bits import align_down, align_up, below, is_absurd
from heapwright.layout import NULL, Inline, Struct, Word
from heapwright.spans import FREE, UNUSED, USED

UNIT = 16
GROWTH = 64 << 10  # the end of the heap is a multiple of this: a multiple of every size of page
TRIM_THRESHOLD = 128 << 10

WALK = "stretches"
DETECTS = ("double free",)  # a used span may hold several live blocks
RETAINS = 2 << 12  # the break is cut to the end of a page
SLOW_PATHS = ("grow", "give_back")


class Region(Struct):
    next: Region
    size: Word


class Heap(Struct):
    anchor: Inline[Region]


# --- regions


def end_of(region):
    return region.address + region.size


def rounded(size):
    """The bytes that a block of `size` takes: a block of none takes a unit too."""
    return max(align_up(size, UNIT), UNIT)


def is_inside(address, start, size):
    """Whether `address` is one of the `size` bytes from `start`; null never is."""
    return below(address - start, size)


def fits(region, size, align):
    return align_up(region.address, align) + size <= end_of(region)


# --- the list of free regions


def region_below(heap, address):
    """The last region that begins below `address`, or the anchor."""
    region = heap.anchor
    while region.next and region.next.address < address:
        region = region.next
    return region


def insert(heap, address, size):
    """Put free bytes into the list, merged with both neighbours; return the region they are in now."""
    before = region_below(heap, address)
    after = before.next
    if is_inside(address, before.address, before.size) or is_inside(after.address, address, size):
        heap.memory.fault("double free", address)
    region = Region(heap.memory, address)
    region.size = size
    join(region, after)
    return join(before, region)


def join(lower, upper):
    """Link `lower` to `upper`, or swallow `upper` where they touch; return the region that `upper` is in now."""
    if end_of(lower) != upper.address:
        lower.next = upper
        return upper
    lower.next = upper.next
    lower.size += upper.size
    return lower


def find(heap, size, align):
    """The region before the first that fits; null if none does."""
    before = heap.anchor
    while before.next and not fits(before.next, size, align):
        before = before.next
    return before if before.next else before.at(NULL)


def take(before, size, align):
    """Cut an aligned block out of the region after `before`; what lies in front and behind stays free."""
    region = before.next
    address = align_up(region.address, align)
    split(region, address + size)
    if address == region.address:
        before.next = region.next
    else:
        region.size = address - region.address
    return address


def split(region, address):
    """Make a region of its own from what lies behind `address`, if anything does."""
    if address == end_of(region):
        return
    rest = region.at(address)
    rest.next = region.next
    rest.size = end_of(region) - address
    region.next = rest
    region.size = address - region.address


# --- the end of the heap


def grow(heap, size, align):
    """Move the break so that the free end of the heap fits a block; False when memory is exhausted."""
    end = heap.memory.sbrk(0)
    return obtain(heap, align_up(align_up(free_end(heap, end), align) + size, GROWTH) - end)


def obtain(heap, size):
    """Put new memory into the list, wherever it lies; False when memory is exhausted."""
    start = heap.memory.sbrk(size)
    if start != -1:
        add(heap, start, start + size)
    return start != -1


def free_end(heap, end):
    """The start of the free region that ends at the break, or the first unit from the break on."""
    last = region_below(heap, end)
    return last.address if end_of(last) == end else align_up(end, UNIT)


def add(heap, start, end):
    """Put new memory into the list; it lies anywhere, and somebody else may have misaligned the break."""
    first = align_up(start, UNIT)
    size = align_down(end, UNIT) - first
    if size > 0:
        insert(heap, first, size)


def give_back(heap, region, keep):
    """Return whole pages of a region at the break to the kernel, but for its first bytes; how many went."""
    end = end_of(region)
    surplus = end - align_up(region.address + keep, heap.memory.PAGE)
    if surplus <= 0 or heap.memory.sbrk(0) != end or heap.memory.sbrk(-surplus) == -1:
        return 0
    region.size -= surplus
    return surplus


# --- the allocator


def alloc(heap, size, align):
    """Return the address of `size` bytes, or 0 when memory is exhausted."""
    if is_absurd(size, align):
        return NULL
    size = rounded(size)
    before = find(heap, size, align)
    if not before and grow(heap, size, align):
        before = find(heap, size, align)
    if not before and obtain(heap, align_up(size + align, GROWTH)):  # the growth did not join the free end
        before = find(heap, size, align)
    return take(before, size, align) if before else NULL


def dealloc(heap, address, size, align):
    """Put the block back into the list; if that leaves much memory free at the end, return some to the kernel."""
    region = insert(heap, address, rounded(size))
    if region.size > TRIM_THRESHOLD:
        give_back(heap, region, GROWTH)


def realloc(heap, address, size, align, new_size):
    """Cut the block, or extend it, where it is; move it if its neighbour is in use."""
    if is_absurd(new_size, align):
        return NULL
    old, new = rounded(size), rounded(new_size)
    if new < old:
        dealloc(heap, address + new, old - new, UNIT)
    elif new > old and not extend(heap, address + old, new - old):
        return move(heap, address, old, align, new)
    return address


def extend(heap, end, more):
    """Take the free bytes behind a block, new ones if it is the last; False if they are in use."""
    before = region_below(heap, end)
    if not serves(before.next, end, more) and free_end(heap, heap.memory.sbrk(0)) == end:
        grow(heap, more, UNIT)
    if not serves(before.next, end, more):
        return False
    take(before, more, UNIT)
    return True


def serves(region, address, size):
    """Whether the region begins at `address` with that many bytes."""
    return region.address == address and region.size >= size


def move(heap, address, size, align, new_size):
    target = alloc(heap, new_size, align)
    if target != NULL:
        heap.memory.copy(target, address, size)
        dealloc(heap, address, size, align)
    return target


def trim(heap):
    """Return the pages at the end of the heap that are free; how many bytes went."""
    return give_back(heap, region_below(heap, heap.memory.sbrk(0)), UNIT)


# --- looking at it


def walk(heap, start, end):
    """Yield (start, size, kind) for each free region of [start, end) and for each stretch in use between two."""
    region = region_below(heap, start).next
    position = align_up(start, UNIT)
    if start < position:
        yield start, position - start, UNUSED
    while region and region.address < end:
        if position < region.address:
            yield position, region.address - position, USED
        yield region.address, region.size, FREE
        position = end_of(region)
        region = region.next
    if position < end:
        yield position, end - position, USED


def check(heap, start, end):
    regions = []
    region = region_below(heap, start).next
    while region and region.address < end:
        regions.append(region)
        assert not region.next or region.address < region.next.address, "I1  along the list addresses rise"
        region = region.next
    numbers = [number for region in regions for number in (region.address, region.size)]
    assert not any(n % UNIT or n < UNIT for n in numbers), "I2  regions begin and end at multiples of 16; none is empty"
    assert all(end_of(region) < region.next.address for region in regions[:-1]), "I3  no two regions touch"
    assert not regions or end_of(regions[-1]) <= end, "I4  no region reaches beyond the end of the heap"
