"""A list of free regions without headers on live blocks: first fit in address order.

The caller passes the size to `dealloc`, as in Rust, so a live block needs no header. A free region holds its own link
and size. The UserAllocator of xv6rs has this design.

Sources: D. Knuth, The Art of Computer Programming, vol. 1, 1968, section 2.5, algorithms A and B; xv6rs
user/src/allocator.rs.

      A block in use                             A free region

    address -> +--------------------+          region -> +--------------------+
             0 | the caller's bytes |                  0 | next               |  the free region that lies above
               | up to a multiple   |                  8 | size               |  in bytes, these words included
               | of 16              |                 16 | unused             |
               +--------------------+                    +--------------------+

Field of the allocator: the anchor, an empty region before all others, so that every region has a predecessor.

`alloc` takes the first region that fits, and cuts the block off its front; the rest stays free. `dealloc` inserts the
block into the list in address order, and merges it with the regions that it touches.

Invariants
    I1  along the list addresses rise
    I2  regions begin and end at multiples of 16; none is empty
    I3  no two regions touch
    I4  no region reaches beyond the end of the heap

The heap grows by what its free end lacks, rounded up to 64 KiB. A block grows in place if the bytes behind it are free
or new.

The allocator reports a double free. It cannot report a wrong size or an address inside a block, because nothing in the
heap says where a live block begins. For the same reason, `walk` shows adjacent live blocks as one.
"""

from __future__ import annotations

from heapwright import bits, spans, stats
from heapwright.allocators.parts import breaks, whole_pages
from heapwright.layout import NULL, Inline, Struct, Word

OVERHEAD = 0
SMALLEST = 16
ALIGN = 16
ALLOC_COST = "O(free regions)"
DEALLOC_COST = "O(free regions)"
GIVES_BACK = "the free end beyond 64 KiB, once it exceeds 128 KiB; `trim`: whole free pages"

UNIT = 16
GROWTH = 64 << 10  # the end of the heap is a multiple of this, which is a multiple of every page size
TRIM_THRESHOLD = 128 << 10

WALK = "extents"
DETECTS = ("double free",)  # a used span may hold several live blocks
RETAINS = 2 << 12  # the break is lowered only to the end of a page
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
    """The bytes that a block of `size` bytes takes: at least one unit."""
    return max(bits.align_up(size, UNIT), UNIT)


def is_inside(address, start, size):
    """Whether `address` is one of the `size` bytes from `start`; null never is."""
    return bits.unsigned_less(address - start, size)


def fits(region, size, align):
    return bits.align_up(region.address, align) + size <= end_of(region)


# --- the list of free regions


def region_below(heap, address):
    """The last region that begins below `address`, or the anchor."""
    region = heap.anchor
    while region.next and region.next.address < address:
        region = region.next
    return region


def insert(heap, address, size):
    """Put free bytes into the list and merge them with both neighbours; return the resulting region."""
    before = gap_for(heap, address, size)
    region = Region(heap.memory, address)
    region.size = size
    join(region, before.next)
    return join(before, region)


def gap_for(heap, address, size):
    """The last region below a range of bytes; report a range that overlaps a free region."""
    before = region_below(heap, address)
    if is_inside(address, before.address, before.size) or is_inside(before.next.address, address, size):
        heap.memory.fault("double free", address)
    return before


def refuse_unmapped(heap, address):
    """Report a block whose memory has already been returned to the kernel."""
    if not heap.memory.is_mapped(address):
        heap.memory.fault("double free", address)


def join(lower, upper):
    """Link `lower` to `upper`, or merge them if they touch; return the region that contains `upper` now."""
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
    """Cut an aligned block out of the region after `before`. The parts in front of it and behind it stay free."""
    region = before.next
    address = bits.align_up(region.address, align)
    split(region, address + size)
    if address == region.address:
        before.next = region.next
    else:
        region.size = address - region.address
    return address


def split(region, address):
    """Split a region at an address, unless that is its end."""
    if address == end_of(region):
        return
    rest = region.at(address)
    rest.next = region.next
    rest.size = end_of(region) - address
    region.next = rest
    region.size = address - region.address


# --- the end of the heap


def grow(heap, size, align):
    """Raise the break so that the free end of the heap fits a block; False when memory is exhausted."""
    end = heap.memory.sbrk(0)
    return obtain(heap, bits.align_up(bits.align_up(free_end(heap, end), align) + size, GROWTH) - end)


def obtain(heap, size):
    """Get new memory and put it into the list, wherever it lies; False when memory is exhausted."""
    start, given = breaks.grow(heap.memory, size)
    if given > 0:
        add(heap, start, start + given)
    return given == size


def free_end(heap, end):
    """The start of the free region that ends at the break, or the first unit from the break on."""
    last = region_below(heap, end)
    return last.address if end_of(last) == end else bits.align_up(end, UNIT)


def add(heap, start, end):
    """Put new memory into the list. Other code may have moved the break, so it may be misaligned."""
    first = bits.align_up(start, UNIT)
    size = bits.align_down(end, UNIT) - first
    if size > 0:
        insert(heap, first, size)


def give_back(heap, region, keep):
    """Release whole pages of a region at the break, except its first `keep` bytes; return the bytes released."""
    end = end_of(region)
    surplus = end - bits.align_up(region.address + keep, heap.memory.PAGE)
    given = breaks.shrink(heap.memory, end, surplus)
    if given > 0:
        region.size -= given
    return given


# --- the allocator


def alloc(heap, size, align):
    """Return the address of `size` bytes, or 0 when memory is exhausted."""
    if bits.is_absurd(size, align):
        return NULL
    size = rounded(size)
    before = find(heap, size, align)
    if not before and grow(heap, size, align):
        before = find(heap, size, align)
    if not before and obtain(heap, bits.align_up(size + align, GROWTH)):  # the growth did not join the free end
        before = find(heap, size, align)
    return take(before, size, align) if before else NULL


def dealloc(heap, address, size, align):
    """Put the block back into the list, and release the end of the heap if much of it is free."""
    refuse_unmapped(heap, address)
    region = insert(heap, address, rounded(size))
    if region.size > TRIM_THRESHOLD:
        give_back(heap, region, GROWTH)


def realloc(heap, address, size, align, new_size):
    """Shrink or extend the block in place; move it if the memory behind it is in use."""
    if bits.is_absurd(new_size, align):
        return NULL
    old, new = rounded(size), rounded(new_size)
    refuse_unmapped(heap, address)
    gap_for(heap, address, old)
    if new < old:
        dealloc(heap, address + new, old - new, UNIT)
    elif new > old and not extend(heap, address + old, new - old):
        return move(heap, address, old, align, new)
    return address


def extend(heap, end, more):
    """Take free bytes behind a block, or new ones if it is the last; False if that memory is in use."""
    before = region_below(heap, end)
    if not serves(before.next, end, more) and free_end(heap, heap.memory.sbrk(0)) == end:
        grow(heap, more, UNIT)
    if not serves(before.next, end, more):
        return False
    take(before, more, UNIT)
    return True


def serves(region, address, size):
    """Whether a region begins at `address` and has at least `size` bytes."""
    return region.address == address and region.size >= size


def move(heap, address, size, align, new_size):
    target = alloc(heap, new_size, align)
    if target != NULL:
        heap.memory.copy(target, address, size)
        dealloc(heap, address, size, align)
    return target


def trim(heap, pad):
    """Release the free end of the heap beyond `pad` bytes, and whole free pages; return the bytes."""
    given_back = give_back(heap, region_below(heap, heap.memory.sbrk(0)), UNIT + pad)
    region = heap.anchor.next
    while region:
        given_back += whole_pages.decommit_inside(heap.memory, region.address + Region.SIZE, end_of(region))
        region = region.next
    return given_back


# --- inspection


def survey(heap, account):
    stats.begin(heap.memory, account)
    region = heap.anchor.next
    while region:
        stats.add_free(account, 1, region.size)
        region = region.next
    last = region_below(heap, heap.memory.sbrk(0))
    account.spare_bytes = last.size if end_of(last) == heap.memory.sbrk(0) else 0


def walk(heap, start, end):
    """Yield (start, size, kind) for each free region of [start, end) and for each extent in use between two."""
    region = region_below(heap, start).next
    position = bits.align_up(start, UNIT)
    if start < position:
        yield start, position - start, spans.UNUSED
    while region and region.address < end:
        if position < region.address:
            yield position, region.address - position, spans.USED
        yield region.address, region.size, spans.FREE
        position = end_of(region)
        region = region.next
    last = bits.align_down(end, UNIT)
    if position < last:
        yield position, last - position, spans.USED
    if last < end:
        yield last, end - last, spans.UNUSED


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
