"""Hoard's superblocks: objects of one size class each, listed by fullness in the heap that owns them.

A superblock of S = 64 KiB lies at a multiple of S, so an object's address leads to its header:

    superblock -> +------------------------+
                0 | magic                  |  \\
                8 | size class             |   |
               16 | object size            |   | one cache line that every thread may
               24 | home                   |   | read: it changes with the class, the
               32 | owner                  |   | owner and the fullness
               40 | list, gone             |  |
               48 | previous, next         |  /
               64 | limit                  |  the end of the last object
               72 | free                   |  the objects given back, last in first out
               80 | bump                   |  the first byte never handed out
               88 | used                   |  bytes of objects in use
        first  -> +------------------------+  aligned as far as the object size is
                  | object, object, ...    |
        limit  -> +------------------------+

The owner of a superblock is the heap whose lists contain it. Its home is the processor's heap that took it last. The
two are the same unless the home gave the superblock to the global heap, from which no object is handed out.

Classes are 16 bytes apart up to 128. Above that there are four classes to a doubling. The largest step is a quarter,
close to the paper's factor of 1.2, so at most a fifth of an object is waste. One shift computes a class, whereas powers
of 1.2 need a table. Each class is a multiple of every alignment to which its smallest request may have been rounded.
"""

from __future__ import annotations

from heapwright import bits
from heapwright.allocators.parts import chains, known_places, size_classes
from heapwright.layout import NULL, Array, Atomic, Struct, Word, Word32

SUPERBLOCK = known_places.BOUNDARY  # S; the paper has 8 KiB
MAX_SMALL = SUPERBLOCK // 16 * 7  # the largest class that fits twice into a superblock; the paper's limit is S / 2
QUARTER = bits.floor_log2(SUPERBLOCK) - 2
SUPERBLOCK_MAGIC = 0x0A11F0E5
CLASSES = size_classes.class_of(MAX_SMALL) + 1
LOG2_HOME, NOTE_STEP = 10, 16  # a note on a superblock is (number of its home << LOG2_HOME) + class * NOTE_STEP
STEPS = (1 << LOG2_HOME) - 1  # the bits of a note that hold the class
EMPTY, FULL, PARTLY_FULL = 0, 1, 2  # lists; from PARTLY_FULL on, each class has four
LISTS = PARTLY_FULL + 4 * CLASSES


class Object(Struct):
    next: Object


class Superblock(Struct):
    magic: Word
    size_class: Word
    object_size: Word
    home: Atomic[ProcessorHeap]
    owner: Atomic[ProcessorHeap]
    list: Word32
    gone: Word32  # a bit for each released page: the objects that begin in it are free but in no list
    previous: Superblock
    next: Superblock
    limit: Word
    free: Object
    bump: Word
    used: Word


class ProcessorHeap(Struct):
    lock: Atomic[Word]
    used: Word  # u, bytes
    held: Word  # a, bytes
    taken: Word  # bytes of superblocks taken since the last free
    empty: Word  # bytes of empty superblocks
    lists: Array[Superblock, LISTS]


# --- superblocks


def superblock_of(heap, address):
    """The header strictly before an address. A large object may itself begin at a multiple of S."""
    return Superblock(heap.memory, bits.align_down(address - 1, SUPERBLOCK))


def first_of(superblock):
    size = superblock.object_size
    return superblock.address + bits.align_up(Superblock.SIZE, size & -size)


def format_superblock(superblock, size_class):
    """Assign an empty superblock to a class."""
    superblock.magic = SUPERBLOCK_MAGIC
    superblock.size_class = size_class
    superblock.object_size = size_classes.size_of_class(size_class)
    first = first_of(superblock)
    room = superblock.address + SUPERBLOCK - first
    superblock.limit = first + room - room % superblock.object_size
    reset_reap(superblock)


def reset_reap(superblock):
    """Reset an empty superblock, so that its objects are handed out in order again."""
    superblock.free = NULL
    superblock.gone = 0
    superblock.bump = first_of(superblock)
    superblock.used = 0


def note_on(heap, superblock):
    """The note on a superblock: its home and its class, which is all that freeing an object needs to read."""
    return note_on_home(heap, superblock.home.load()) + superblock.size_class * NOTE_STEP


def note_on_home(heap, home):
    """The note on a superblock of class 0 with this home; never 0."""
    return (home.address - heap.processors.address) // ProcessorHeap.SIZE << LOG2_HOME


def make_known(heap, superblock):
    """Update the note on a superblock whose home or class has changed."""
    known_places.remember(heap.places, superblock.address, note_on(heap, superblock))


def known_header(heap, address):
    """The header before an address, known to be readable; report an address without one."""
    superblock = superblock_of(heap, address)
    if not bits.unsigned_less(known_places.note_of(heap.places, address), known_places.NOTES):
        if not heap.memory.is_mapped(superblock.address):
            heap.memory.fault("not a block of this heap", address)
        if superblock.magic == SUPERBLOCK_MAGIC:
            make_known(heap, superblock)
    return superblock


def is_full(superblock):
    return is_listless(superblock) and superblock.gone == 0


def is_listless(superblock):
    """Whether the free list is empty and every object has been handed out at least once."""
    return superblock.bump == superblock.limit and superblock.free.address == NULL


def is_object(superblock, address):
    """Whether an object begins here that has been handed out at least once."""
    offset = address - first_of(superblock)
    return offset >= 0 and address < superblock.bump and offset % superblock.object_size == 0


def refuse_first(superblock, address):
    """Report an object that came back last, or with all others."""
    if superblock.free.address == address or superblock.used == 0:
        superblock.memory.fault("double free", address)


def pop(superblock):
    """Take an object from a superblock that is not full: a freed one, or else the next in order."""
    if is_listless(superblock):
        list_gone(superblock)
    found = superblock.free
    if found:
        superblock.free = found.next
        return found
    fresh = found.at(superblock.bump)
    superblock.bump += superblock.object_size
    return fresh


def push(superblock, freed):
    freed.next = superblock.free
    superblock.free = freed


# --- pages released to the kernel: see free_pages


def start_of(superblock, page):
    return superblock.address + page * superblock.memory.PAGE


def page_at(superblock, place):
    return (place - superblock.address) // superblock.memory.PAGE


def first_from(superblock, place):
    """Where the first object at or after an address begins."""
    first, size = first_of(superblock), superblock.object_size
    return first + (max(place - first, 0) + size - 1) // size * size


def is_gone(superblock, address):
    return superblock.gone & bits.bit(page_at(superblock, address)) != 0


def gone_from(superblock, page):
    """The range of the objects that begin in a page that is gone."""
    end = min(first_from(superblock, start_of(superblock, page + 1)), superblock.bump)
    return first_from(superblock, start_of(superblock, page)), end


def list_gone(superblock):
    """Put the objects of the first page that is gone on the free list, lowest address first."""
    page = bits.lowest_bit(superblock.gone)
    first, end = gone_from(superblock, page)
    while end > first:
        end -= superblock.object_size
        push(superblock, superblock.free.at(end))
    superblock.gone &= ~bits.bit(page)


# --- the lists of a heap


def list_of(superblock):
    """The list where a superblock belongs, by its class and the quarters of S in use; the fullest is the last."""
    if superblock.used == 0:
        return EMPTY
    if is_full(superblock):
        return FULL
    return PARTLY_FULL + 4 * superblock.size_class + (superblock.used >> QUARTER)


def link(owner, superblock):
    superblock.list = list_of(superblock)
    owner.lists[superblock.list] = chains.pushed(owner.lists[superblock.list], superblock)
    if superblock.list == EMPTY:
        owner.empty += SUPERBLOCK


def unlink(owner, superblock):
    owner.lists[superblock.list] = chains.removed(owner.lists[superblock.list], superblock)
    if superblock.list == EMPTY:
        owner.empty -= SUPERBLOCK


def relist(owner, superblock):
    """Move a superblock to the front of the list for its fullness, if it is in a different list."""
    if list_of(superblock) != superblock.list:
        unlink(owner, superblock)
        link(owner, superblock)


def join(owner, superblock):
    superblock.owner.store(owner)
    owner.held += SUPERBLOCK
    owner.used += superblock.used
    link(owner, superblock)


def leave(owner, superblock):
    unlink(owner, superblock)
    owner.held -= SUPERBLOCK
    owner.used -= superblock.used


def fullest(owner, size_class):
    """The fullest superblock of the class with room, to within a quarter of S; null if there is none."""
    at = PARTLY_FULL + 4 * size_class
    quarter = 3
    while quarter > 0 and not owner.lists[at + quarter]:
        quarter -= 1
    return owner.lists[at + quarter]


def emptiest(owner):
    """A superblock at least a quarter empty; null if there is none."""
    if owner.lists[EMPTY]:
        return owner.lists[EMPTY]
    for quarter in range(3):
        for first in range(PARTLY_FULL, LISTS, 4):
            if owner.lists[first + quarter]:
                return owner.lists[first + quarter]
    return owner.lists[EMPTY]
