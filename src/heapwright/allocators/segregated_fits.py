"""Segregated fits: a list of free blocks for each class of sizes, first fit in a list, boundary tags to merge by.

Sources: P. Wilson, M. Johnstone, M. Neely, D. Boles, Dynamic Storage Allocation: A Survey and Critical Review, IWMM
1995, section 3.6, the second of the two designs that share a name (the first is segregated_storage); D. Knuth, The Art
of Computer Programming, vol. 1, 1968, section 2.5, for boundary tags; R. Bryant, D. O'Hallaron, Computer Systems: A
Programmer's Perspective, 3rd ed., 2015, section 9.9, for the prologue and the epilogue.

A block has a tag at both ends: its size in bytes, tags included, and in bit 0 whether it is in use:

      A block in use                             A free block

      block -> +--------------------+            block -> +--------------------+
             0 | header: size + 1   |                   0 | header: size       |
    address -> +--------------------+                   8 | next               |  of its list
             8 | the caller's bytes |                  16 | previous           |
               |                    |                     | unused             |
               +--------------------+                     +--------------------+
      size - 8 | footer: size + 1   |            size - 8 | footer: size       |
               +--------------------+                     +--------------------+

So one load in front of a block and one behind it say whether its neighbours are free, and how large they are.

An extent is memory from sbrk. It begins with a link to the extent before it and with the prologue, a block of two tags.
It ends with the epilogue, a header of no bytes. Both are in use, and so a merge stops there. Where new memory follows
the newest extent, its epilogue becomes the header of a free block.

The heap's own words: the newest extent, its epilogue, and a list for each class of size_classes; the last one has all
blocks above 1.75 MiB.

Invariants
    F1  blocks tile each extent from its prologue to its epilogue
    F2  no two free blocks touch
    F3  the tags of a block are equal; its size is a multiple of 16, at least 32
    F4  each free block is in the list of its class once, and nothing else is
    F5  the links of a list agree in both directions

A request takes the first block that fits from the list of its class, or from the next list that has one. What it does
not need of that, in front for an alignment and behind, stays free. A freed block merges with its free neighbours and
goes to the front of its list. A request may search a long list or pass many empty ones: tlsf does neither.
"""

from __future__ import annotations

from heapwright import bits, spans, stats
from heapwright.allocators.parts import breaks, chains, size_classes, whole_pages
from heapwright.layout import NULL, Array, Struct, Word

OVERHEAD = 16
SMALLEST = 32
ALIGN = 16
ALLOC_COST = "O(lists + free blocks of a class)"
DEALLOC_COST = "O(1), apart from the kernel"
GIVES_BACK = "the free end beyond 64 KiB, once a free block exceeds 1 MiB; `trim`: whole free pages"

TUNABLES = (("LISTS", "LISTS", range(1, 65)),)  # with one it is first fit, the block freed last before all others
LISTS = 64
TAG = 8
IN_USE = 1
PROLOGUE = 2 * TAG + IN_USE
EPILOGUE = IN_USE
GROWTH = 64 << 10  # the end of the heap is a multiple of this: a multiple of every size of page
TRIM_THRESHOLD = 1 << 20
MARGIN = 96  # what an extent has beside a block, wherever it begins and whatever its alignment
SLOW_PATHS = ("grow", "give_back", "move")
DETECTS = ("double free",)  # a freed block keeps its header until its memory is handed out again
RETAINS = 2 << 12  # the break is cut to the end of a page


class Block(Struct):
    tag: Word
    next: Block
    previous: Block


class Extent(Struct):
    before: Extent
    header: Word
    footer: Word


class Heap(Struct):
    newest: Extent  # null until the first call
    epilogue: Block  # of the newest
    lists: Array[Block, LISTS]


# --- blocks and their tags


def block_of(heap, address):
    return Block(heap.memory, address - TAG)


def size_of(tagged):
    """The size in a header or a footer."""
    return tagged.tag & ~IN_USE


def is_free(tagged):
    return tagged.tag & IN_USE == 0


def header_after(block):
    return block.at(block.address + size_of(block))


def footer_before(block):
    return block.at(block.address - TAG)


def write_tags(block, size, use):
    block.tag = size | use
    footer_before(header_after(block)).tag = size | use


def adjusted(size):
    """The size of the block for a request: with both tags."""
    return max(bits.align_up(size + OVERHEAD, ALIGN), SMALLEST)


def gap_at(place, align):
    """How far behind `place` a block with an aligned address begins: there, or where the gap makes a block."""
    gap = -(place + TAG) & (align - 1)
    return gap if gap == 0 or gap >= SMALLEST else gap + align


def fits(block, size, align):
    return gap_at(block.address, align) + size <= size_of(block)


# --- the lists


def class_of(size):
    """The list that a block of this size belongs in."""
    return min(size_classes.class_of(size), LISTS - 1)


def insert(heap, block, size):
    """Make a block free, with nothing free beside it: tag it and put it in front of its list."""
    write_tags(block, size, 0)
    index = class_of(size)
    heap.lists[index] = chains.pushed(heap.lists[index], block)


def remove(heap, block):
    """Take a block out of its list; return its size."""
    index = class_of(size_of(block))
    heap.lists[index] = chains.removed(heap.lists[index], block)
    return size_of(block)


def find(heap, size, align):
    """The first block that fits, from the list of this size on; null if none does."""
    for index in range(class_of(size), LISTS):
        block = heap.lists[index]
        while block and not fits(block, size, align):
            block = block.next
        if block:
            return block
    return Block(heap.memory, NULL)


# --- splitting and merging


def cut(heap, block, size, align):
    """Take so many bytes out of a free block; what lies in front of them and behind stays free."""
    whole = remove(heap, block)
    gap = gap_at(block.address, align)
    if gap > 0:
        insert(heap, block, gap)
        block = header_after(block)
    rest = whole - gap - size
    write_tags(block, size if rest >= SMALLEST else size + rest, IN_USE)
    if rest >= SMALLEST:
        insert(heap, header_after(block), rest)
    return block


def merge(heap, block, size):
    """Free so many bytes together with both neighbours, if they are free; return the size of what became of them."""
    block.tag = size  # for whoever frees it again, even if it is the inside of another block now
    after, before = header_after(block), footer_before(block)
    if is_free(after):
        size += remove(heap, after)
    if is_free(before):
        block = block.at(block.address - size_of(before))
        size += remove(heap, block)
    insert(heap, block, size)
    return size


def release(heap, block, size):
    """Free so many bytes; if that makes a large block, return the free end of the heap to the kernel."""
    if merge(heap, block, size) > TRIM_THRESHOLD:
        give_back(heap, GROWTH)


def live_block(heap, address):
    """The block in use at an address; report one that is free, or gone: the kernel got its memory back."""
    block = block_of(heap, address)
    first = heap.newest.address
    is_newest = bits.unsigned_less(block.address - first, heap.epilogue.address - first)
    if not is_newest and not heap.memory.is_mapped(block.address):
        heap.memory.fault("not a live block", address)
    if is_free(block) or block.tag == EPILOGUE:
        heap.memory.fault("double free", address)
    return block


# --- extents


def grow(heap, size):
    """Ask for memory that has `size` bytes for a block, wherever it lies; False if refused."""
    end = heap.memory.sbrk(0)
    wanted = bits.align_up(end + size + MARGIN, GROWTH) - end
    start, given = breaks.grow(heap.memory, wanted)
    if given < MARGIN:
        return False
    block = heap.epilogue if start == heap.epilogue.address + TAG else open_extent(heap, start)
    close(heap, start + given)
    merge(heap, block, heap.epilogue.address - block.address)
    return given == wanted


def open_extent(heap, start):
    """Begin an extent; return where its first block goes."""
    extent = heap.newest.at(bits.align_up(start, ALIGN))
    extent.before = heap.newest
    extent.header = PROLOGUE
    extent.footer = PROLOGUE
    heap.newest = extent
    return heap.epilogue.at(extent.address + Extent.SIZE)


def close(heap, end):
    """Let the newest extent end there, at the last multiple of 16."""
    heap.epilogue = heap.epilogue.at(bits.align_down(end, ALIGN) - TAG)
    heap.epilogue.tag = EPILOGUE


def spare(heap):
    """The bytes of the free block at the end of the heap."""
    last = footer_before(heap.epilogue)
    return size_of(last) if is_free(last) else 0


def give_back(heap, keep):
    """Return all but about `keep` bytes of what is free at the end to the kernel; how many went."""
    end, size = heap.epilogue.address + TAG, spare(heap)
    block = heap.epilogue.at(heap.epilogue.address - size)
    given = breaks.shrink(heap.memory, end, end - bits.align_up(block.address + keep, heap.memory.PAGE))
    if given > 0:
        remove(heap, block)
        close(heap, end - given)
        insert(heap, block, size - given)
    return given


# --- the allocator


def alloc(heap, size, align):
    """Return the address of `size` bytes, or 0 when memory is exhausted."""
    if bits.is_absurd(size, align):
        return NULL
    wanted = adjusted(size)
    block = find(heap, wanted, align)
    if not block and grow(heap, wanted + align):
        block = find(heap, wanted, align)
    return cut(heap, block, wanted, align).address + TAG if block else NULL


def dealloc(heap, address, size, align):
    """Merge the block with its free neighbours."""
    block = live_block(heap, address)
    release(heap, block, size_of(block))


def realloc(heap, address, size, align, new_size):
    """Cut the block, or extend it into the next one; move it if that is in use or too small."""
    if bits.is_absurd(new_size, align):
        return NULL
    block, wanted = live_block(heap, address), adjusted(new_size)
    if wanted > size_of(block) and not extend(heap, block, wanted):
        return move(heap, block, align, new_size)
    rest = size_of(block) - wanted
    if rest >= SMALLEST:
        write_tags(block, wanted, IN_USE)
        release(heap, header_after(block), rest)
    return address


def extend(heap, block, size):
    """Take in the block behind; False if it is in use, or both have less than `size` bytes."""
    after = header_after(block)
    if not is_free(after) or size_of(block) + size_of(after) < size:
        return False
    write_tags(block, size_of(block) + remove(heap, after), IN_USE)
    return True


def move(heap, block, align, new_size):
    target = alloc(heap, new_size, align)
    if target != NULL:
        heap.memory.copy(target, block.address + TAG, size_of(block) - OVERHEAD)
        release(heap, block, size_of(block))
    return target


def trim(heap, pad):
    """Return the pages at the end of the heap that are free beyond `pad` bytes, and all within; how many bytes went."""
    given_back = give_back(heap, MARGIN + pad) if heap.newest else 0
    for index in range(LISTS):
        block = heap.lists[index]
        while block:
            footer = footer_before(header_after(block))
            given_back += whole_pages.decommit_inside(heap.memory, block.address + Block.SIZE, footer.address)
            block = block.next
    return given_back


# --- looking at it


def usable_size(heap, address):
    return size_of(block_of(heap, address)) - OVERHEAD


def survey(heap, account):
    stats.begin(heap.memory, account)
    for index in range(LISTS):
        block = heap.lists[index]
        while block:
            stats.add_free(account, 1, size_of(block))
            block = block.next
    account.spare_bytes = spare(heap) if heap.newest else 0


def lists(heap):
    """Yield (name, addresses) for each list."""
    for index in range(LISTS):
        yield f"list {index}", [block.address + TAG for block in chains.chain_of(heap.lists[index])]


def walk(heap, start, end):
    """Yield (start, size, kind) for each block of [start, end), from header to header, and what lies about extents."""
    place = start
    extent = extent_from(heap, place, end)
    while extent:
        if place < extent.address:
            yield place, extent.address - place, spans.UNUSED
        yield extent.address, Extent.SIZE, spans.OWN
        block = Block(heap.memory, extent.address + Extent.SIZE)
        while size_of(block) > 0:
            yield block.address, size_of(block), spans.FREE if is_free(block) else spans.USED
            block = header_after(block)
        yield block.address, TAG, spans.OWN
        place = block.address + TAG
        extent = extent_from(heap, place, end)
    if place < end:
        yield place, end - place, spans.UNUSED


def extent_from(heap, start, end):
    """The lowest extent in [start, end), or null."""
    extent = heap.newest
    lowest = extent.at(NULL)
    while extent:
        if start <= extent.address < end and (not lowest or extent.address < lowest.address):
            lowest = extent
        extent = extent.before
    return lowest


def check(heap, start, end):
    walked = list(walk(heap, start, end))
    own = {place: size for place, size, kind in walked if kind == spans.OWN}
    extents = [Extent(heap.memory, place) for place, size in own.items() if size == Extent.SIZE]
    is_begun = all(extent.header == extent.footer == PROLOGUE for extent in extents)
    is_ended = heap.epilogue.address in own or not start <= heap.newest.address < end
    assert is_begun and is_ended, "F1  blocks tile each extent from its prologue to its epilogue"
    kinds = [kind for _, _, kind in walked]
    assert (spans.FREE, spans.FREE) not in zip(kinds, kinds[1:], strict=False), "F2  no two free blocks touch"
    blocks = [Block(heap.memory, place) for place, _, kind in walked if kind in (spans.FREE, spans.USED)]
    assert all(map(is_whole, blocks)), "F3  the tags of a block are equal; its size is a multiple of 16, at least 32"
    free = [(class_of(size_of(block)), block.address) for block in blocks if is_free(block)]
    listed = [(i, block.address) for i, first in enumerate(heap.lists) for block in chains.chain_of(first)]
    found = [(i, address) for i, address in listed if start <= address < end]
    assert sorted(found) == sorted(free), "F4  each free block is in the list of its class once, and nothing else is"
    assert all(map(chains.is_linked_back, heap.lists)), "F5  the links of a list agree in both directions"


def is_whole(block):
    """Whether the tags of a block are equal and say a possible size."""
    size = size_of(block)
    return footer_before(header_after(block)).tag == block.tag and size % ALIGN == 0 and size >= SMALLEST
