"""The segments of a hardened heap, in a hash table: is an address of ours at all?

A freed address may be anything, and the record of its tile may lie in memory that nobody may read. So each free first
compares the address with the table's word for its megabyte. A segment is entered when it is formatted, and removed
before it becomes a kept range.

Segments 1 GiB apart share a word, which holds the one that was asked for last. The others are linked in their headers.
Only the comparison is made without the lock of all pages, so nobody reads the header of a segment that is given back.
"""

from __future__ import annotations

from heapwright import bits, chance, locks
from heapwright.allocators.wright import classes, hardened, records
from heapwright.allocators.wright.records import Segment
from heapwright.layout import NULL, Array, Atomic, Inline, Struct, Word

WORDS = 1 << 10
BEFORE_TILES, BEHIND_TILES = 1, 2  # the two guards of a segment, as bits
STEP = bits.wrapping_mul(chance.GAMMA, 2)  # from one secret to the next; odd ones stay odd
SIGN = -1 << 63  # a bit of each secret: see seals
LOG2_SEGMENT = bits.floor_log2(records.SEGMENT)


class Inverse(Struct):
    """What to multiply with instead of dividing by the block size of a class. A block of a linear class is as large as
    its inverse is far from the first one."""

    whole: Word  # times 2**LOG2_INVERSE, rounded up
    fraction: Word  # times 2**64: the product with a multiple of the size, and with no other offset, is below it


class Known(Struct):
    segments: Array[Atomic[Segment], WORDS * hardened.HARDENED]
    secret: Array[Word, hardened.HARDENED]  # the last one; 0 before the first
    inverses: Array[Inline[Inverse], classes.CLASSES * hardened.HARDENED]


def word_for(heap, address):
    return heap.known.segments[bits.shift_right(address, LOG2_SEGMENT) & (WORDS - 1)]


def is_first(heap, address):
    """Whether an address lies in the segment that its word of the table holds."""
    start = bits.align_down(address, records.SEGMENT)
    return word_for(heap, address).load().address == start and start != NULL


def is_ours(heap, address):
    """Whether an address lies in a segment."""
    return is_first(heap, address) or is_linked(heap, address, bits.align_down(address, records.SEGMENT))


def is_linked(heap, address, start):
    """The same if the segment is not the first of its list, where it is from now on."""
    locks.acquire(heap.memory, heap.pages.lock)
    word = word_for(heap, address)
    segment = word.load()
    while segment and segment.address != start:
        segment = segment.chain
    if segment:
        unlink(word, segment)
        link(word, segment)
    locks.release(heap.memory, heap.pages.lock)
    return bool(segment)


def link(word, segment):
    segment.chain = word.load()
    word.store(segment)


def unlink(word, segment):
    before = word.load()
    if before == segment:
        word.store(segment.chain)
    else:
        while before.chain != segment:
            before = before.chain
        before.chain = segment.chain


# --- block sizes


def quotient(heap, size_class, offset):
    """The number of whole blocks of a class before an offset in a slab."""
    return offset * heap.known.inverses[size_class].whole >> hardened.LOG2_INVERSE


def divides(heap, room, offset):
    """Whether an offset in a slab is a multiple of the block size of a linear class.

    Source: D. Lemire, O. Kaser, N. Kurz, Faster Remainder by Direct Computation (2019).
    """
    fraction = Inverse(heap.memory, heap.known.inverses[0].address + room).fraction
    return bits.unsigned_less(bits.wrapping_mul(offset, fraction), fraction)


# --- segments that come and go


def enter(heap, segment):
    """Enter a new segment, with a secret of its own, and protect its guards. The lock is held."""
    segment.key = next_secret(heap) | SIGN
    link(word_for(heap, segment.address), segment)
    segment.guards = 0
    guard(heap, segment, BEFORE_TILES, 1)
    guard(heap, segment, BEHIND_TILES, 1)


def next_secret(heap):
    """A new secret. The lock is held."""
    if heap.known.secret[0] == 0:
        open_once(heap)
    heap.known.secret[0] = bits.wrapping_add(heap.known.secret[0], STEP)
    return chance.mixed(heap.known.secret[0])


def open_once(heap):
    """Draw the heap's secret, and invert the block sizes: a free has no time for a division."""
    for size_class in range(1, classes.CLASSES):
        size = classes.size_of_class(size_class)
        inverse = heap.known.inverses[size_class]
        inverse.whole = ((1 << hardened.LOG2_INVERSE) + size - 1) // size
        inverse.fraction = inverse.whole << (64 - hardened.LOG2_INVERSE)
    heap.known.secret[0] = heap.memory.random() | 1


def remove(heap, segment):
    """Remove a segment before it is given up, and open its guards; False if the kernel refuses. The lock is held."""
    guard(heap, segment, BEFORE_TILES, 0)
    guard(heap, segment, BEHIND_TILES, 0)
    if segment.guards != 0:
        return False
    unlink(word_for(heap, segment.address), segment)
    return True


def guard(heap, segment, which, is_protected):
    """Protect or open one of the guards, if pages are small enough."""
    page, tile = heap.memory.PAGE, records.TILE
    size = page if which == BEFORE_TILES else tile
    start = segment.address + (tile - page if which == BEFORE_TILES else records.TILES * tile)
    is_due = (segment.guards & which != 0) != (is_protected != 0)
    if is_due and page < tile and heap.memory.protect(start, size, is_protected) != -1:
        segment.guards ^= which


# --- for `check` only


def beside(heap, segments):
    """The segments in the lists in which these ones should be, in address order."""
    found = []
    words = {word.address: word for word in (word_for(heap, segment.address) for segment in segments)}
    for word in words.values():
        segment = word.load()
        while segment:
            found.append(segment.address)
            segment = segment.chain
    return sorted(found)
