"""Wright's meshed pages: pages of slabs that share one frame, because their live blocks lie at different places.

      slab A, page 2 -> | live | free | sunk | sunk | --> +---------------------------+
                        +------+------+------+------+     | A's | A's | B's  | B's    |  frame
      slab B, page 0 -> | sunk | sunk | live | free | --> +---------------------------+

At each place of the frame, at most one of its pages has a block that is not sunk. A sunk block is free, but it is not
on its slab's list, because its bytes are another page's. So blocks are freed and handed out again as in any other slab:
the fast paths know nothing of frames. When a slab is empty, its pages get frames of their own before its tile is free.

Behind the records of a segment's tiles lies a sheet for each tile. It is in use only while the slab in the tile, which
has no other tile, has a meshed page:

      sheet -> +----------------+
             0 | sunk           |  a bit for each block of the slab
           128 | rings          |  for each page, the next page that shares its frame: a circle of one or more
               +----------------+

Source: B. Powers, D. Tench, E. Berger, A. McGregor, Mesh: Compacting Memory Management for C/C++ Applications, PLDI
2019. There whole spans of one class are merged, by bitmaps of their objects; here single pages, whatever their classes.
"""

from __future__ import annotations

from heapwright import bits, locks
from heapwright.allocators.wright import records
from heapwright.allocators.wright.records import Block, Record
from heapwright.layout import Array, Atomic, Struct, Word, Word32

LOG2_PAGE = 12
PAGE = 1 << LOG2_PAGE
PAGES = records.TILE >> LOG2_PAGE  # of a slab
SHEETS = records.TILES * records.RECORD  # distance of the sheets from the segment
PRIMES, LOG2_PRIMES = 0x24_1A_18_14_0E_0C_06_00, 3  # 257, 263, 269, 271, 277, 281, 283 and 293, less 257
FIRST_PRIME = 257  # more than the blocks of a page
SCATTER = 0x9E37_79B1  # 2**32 / the golden ratio, odd: D. Knuth, The Art of Computer Programming 3, section 6.4


class Sheet(Struct):
    sunk: Array[Word32, 32]
    rings: Array[Word, 4]


class Meshes(Struct):
    lock: Atomic[Word]  # of all rings
    pages: Word  # that are meshed
    frames: Word  # that they lead to
    due: Atomic[Word]  # the clock when a home that drains may be meshed; 0 before the first drain
    spare: Word  # frames for a child that is about to be forked, or -1
    doubtful: Word  # whether other threads could change lists after that child's frames were copied


def sheet_of(slab):
    return Sheet(slab.memory, records.segment_of(slab).address + SHEETS + (records.tile_of(slab) - 1) * Sheet.SIZE)


def place_of(slab, number):
    """The address of a page of a slab."""
    return records.start_of(slab) + (number << LOG2_PAGE)


def number_of(page):
    """The number of a page in its slab."""
    return (page >> LOG2_PAGE) & (PAGES - 1)


def is_meshed(slab, number):
    return slab.meshed & bits.bit(number) != 0


# --- sunk blocks


def sunk_in(slab):
    """The number of sunk blocks."""
    found = 0
    if slab.meshed != 0:
        sheet = sheet_of(slab)
        for i in range(len(sheet.sunk)):
            found += bits.count_bits(sheet.sunk[i])
    return found


def usable_in(slab):
    """The number of blocks that the slab can hand out."""
    return slab.capacity - sunk_in(slab)


def is_sunk(slab, address):
    """Whether the block at an address is sunk."""
    return slab.meshed != 0 and is_marked(slab, address)


def is_marked(slab, address):
    """The same for a slab that has, or just had, a meshed page."""
    index = (address - records.start_of(slab)) // slab.size
    return sheet_of(slab).sunk[index >> 5] & bits.bit(index & 31) != 0


def mark(slab, address, is_sunk_now):
    sunk, index = sheet_of(slab).sunk, (address - records.start_of(slab)) // slab.size
    if is_sunk_now:
        sunk[index >> 5] |= bits.bit(index & 31)
    else:
        sunk[index >> 5] &= ~bits.bit(index & 31)


def touches(slab, address, number):
    """Whether the block at an address lies in a page, at least in part."""
    page = place_of(slab, number)
    return address < page + PAGE and page < address + slab.size


def raise_sunk(slab, number):
    """Put the sunk blocks of a page that is no longer meshed back on the slab's list."""
    block = Block(slab.memory, records.start_of(slab))
    for _ in range(slab.carved):
        if touches(slab, block.address, number) and is_marked(slab, block.address) and not is_in_mesh(slab, block):
            mark(slab, block.address, False)
            block.next = slab.free
            slab.free = block
        block = block.at(block.address + slab.size)


def is_in_mesh(slab, block):
    """Whether a block touches a meshed page."""
    found = False
    for number in range(PAGES):
        found |= is_meshed(slab, number) and touches(slab, block.address, number)
    return found


# --- rings


def ring_at(memory, page):
    """The sheet in which a page's place in its ring is noted."""
    return sheet_of(Record(memory, bits.align_down(page, records.SEGMENT) | records.offset_of(page)))


def after(memory, page):
    """The next page in a ring."""
    return ring_at(memory, page).rings[number_of(page)]


def set_after(memory, page, following):
    ring_at(memory, page).rings[number_of(page)] = following


def begin_ring(heap, slab, number):
    """Note that a page has a frame that others may share."""
    if slab.meshed == 0:
        heap.memory.fill(sheet_of(slab).address, Sheet.SIZE, 0)
    slab.meshed |= bits.bit(number)
    page = place_of(slab, number)
    set_after(heap.memory, page, page)
    heap.meshes.pages += 1
    heap.meshes.frames += 1


def join_ring(heap, page, other):
    """Move a page that is a ring of its own to the ring of another."""
    set_after(heap.memory, page, after(heap.memory, other))
    set_after(heap.memory, other, page)
    heap.meshes.frames -= 1


def leave_ring(heap, slab, number):
    """Remove a page from its ring, because it has a frame of its own now."""
    page = place_of(slab, number)
    before = page
    while after(heap.memory, before) != page:
        before = after(heap.memory, before)
    heap.meshes.frames -= 1 if before == page else 0
    set_after(heap.memory, before, after(heap.memory, page))
    slab.meshed &= ~bits.bit(number)
    heap.meshes.pages -= 1


def is_alone(heap, page):
    return after(heap.memory, page) == page


def part_all(heap, slab):
    """Give all pages of an empty slab frames of their own; return whether the kernel did."""
    if slab.meshed == 0:
        return True
    locks.acquire(heap.memory, heap.meshes.lock)
    for number in range(PAGES):
        if is_meshed(slab, number):
            part(heap, slab, number, 0)
    if slab.meshed != 0:
        for number in range(PAGES):
            raise_sunk(slab, number)
    locks.release(heap.memory, heap.meshes.lock)
    return slab.meshed == 0


def part(heap, slab, number, keeps):
    """Give a page its own frame, with its contents or zeros; return whether the kernel did. The rings are locked."""
    page = place_of(slab, number)
    done = heap.memory.part_frame(page, is_alone(heap, page), keeps) == 0
    if done:
        leave_ring(heap, slab, number)
    return done


# --- the order of blocks


def carve_scattered(slab, first, count):
    """List new blocks of a page in an order that differs from page to page.

    Programs free in patterns, such as all blocks but each sixteenth. If all pages handed out their blocks in one order,
    the survivors would lie at the same places in all of them, and no two pages could be meshed.
    """
    number = (first >> LOG2_PAGE & 0xFFF_FFFF) * SCATTER & 0xFFFF_FFFF
    index = (number >> 16) % count
    step = FIRST_PRIME + (PRIMES >> 8 * (number >> 29) & 0xFF)  # a prime beyond `count` leads to each index once
    for _ in range(count):
        block = Block(slab.memory, first + index * slab.size)
        block.next = slab.free
        slab.free = block
        index = (index + step) % count
