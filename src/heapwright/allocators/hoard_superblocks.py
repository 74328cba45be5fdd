"""Hoard's superblocks: one size class each, a reap inside, listed by fullness in the heap that owns them.

A superblock of S = 64 KiB lies at a multiple of S, so that an address finds it:

    superblock -> +------------------------+
                0 | magic                  |  \\
                8 | size class             |   |
               16 | object size            |   | one cache line that every thread may
               24 | home                   |   | read: it changes with the class, the
               32 | owner                  |   | owner and the fullness
               40 | list, previous, next   |  /
               64 | limit                  |  the end of the last object
               72 | free                   |  the objects given back, last in first out
               80 | bump                   |  the first byte never handed out
               88 | used                   |  bytes of objects in use
        first  -> +------------------------+  aligned as far as the object size is
                  | object, object, ...    |
        limit  -> +------------------------+

The owner is the heap in whose lists a superblock is; its home is the processor's heap that took it last. That is the
owner, too, unless it gave the superblock to the global heap, from which no object is handed out.

Classes are 16 bytes apart up to 128, then four to a doubling: the largest step is a quarter, close to the 1.2 of
the paper, so that at most a fifth of an object is waste; and one shift computes a class, where powers of 1.2 need
a table. Each class is a multiple of any alignment that its smallest request was rounded to.
"""

from __future__ import annotations

from heapwright.allocators.chains import pushed, removed
from heapwright.allocators.large_objects import BOUNDARY
from heapwright.allocators.size_classes import class_of, size_of_class
from heapwright.bits import align_down, align_up, floor_log2
from heapwright.layout import NULL, Array, Atomic, Struct, Word

SUPERBLOCK = BOUNDARY  # S; the paper has 8 KiB
MOST_SMALL = SUPERBLOCK // 16 * 7  # the largest class of which two fit, the paper's S / 2
QUARTER = floor_log2(SUPERBLOCK) - 2
SUPERBLOCK_MAGIC = 0x0A11F0E5
CLASSES = class_of(MOST_SMALL) + 1
EMPTY, FULL, PARTLY_FULL = 0, 1, 2  # lists: the last is the first of four for each class
LISTS = PARTLY_FULL + 4 * CLASSES


class Object(Struct):
    next: Object


class Superblock(Struct):
    magic: Word
    size_class: Word
    object_size: Word
    home: Atomic[ProcessorHeap]
    owner: Atomic[ProcessorHeap]
    list: Word
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
    """The header before an address: not the address itself, which a large object may have at a multiple of S."""
    return Superblock(heap.memory, align_down(address - 1, SUPERBLOCK))


def first_of(superblock):
    size = superblock.object_size
    return superblock.address + align_up(Superblock.SIZE, size & -size)


def format_superblock(superblock, size_class):
    """Make an empty superblock one of a class."""
    superblock.magic = SUPERBLOCK_MAGIC
    superblock.size_class = size_class
    superblock.object_size = size_of_class(size_class)
    first = first_of(superblock)
    room = superblock.address + SUPERBLOCK - first
    superblock.limit = first + room - room % superblock.object_size
    reset_reap(superblock)


def reset_reap(superblock):
    """Forget the free list of an empty superblock: it is handed out in order again."""
    superblock.free = NULL
    superblock.bump = first_of(superblock)
    superblock.used = 0


def is_full(superblock):
    return superblock.bump == superblock.limit and superblock.free.address == NULL


def is_object(superblock, address):
    """Whether an object that was handed out once begins here."""
    offset = address - first_of(superblock)
    return offset >= 0 and address < superblock.bump and offset % superblock.object_size == 0


def pop(superblock):
    """An object of a superblock that is not full: one given back, or else the next in order."""
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


# --- the lists of a heap


def list_of(superblock):
    """The list in which a superblock belongs: by class and quarter of S in use, fullest last."""
    if superblock.used == 0:
        return EMPTY
    if is_full(superblock):
        return FULL
    return PARTLY_FULL + 4 * superblock.size_class + (superblock.used >> QUARTER)


def link(owner, superblock):
    superblock.list = list_of(superblock)
    owner.lists[superblock.list] = pushed(owner.lists[superblock.list], superblock)
    if superblock.list == EMPTY:
        owner.empty += SUPERBLOCK


def unlink(owner, superblock):
    owner.lists[superblock.list] = removed(owner.lists[superblock.list], superblock)
    if superblock.list == EMPTY:
        owner.empty -= SUPERBLOCK


def relist(owner, superblock):
    """Move a superblock to the front of the list for its fullness, if that is another one."""
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
    """A superblock of the class with room, from the fullest quarter that has one; null if there is none."""
    at = PARTLY_FULL + 4 * size_class
    quarter = 3
    while quarter > 0 and not owner.lists[at + quarter]:
        quarter -= 1
    return owner.lists[at + quarter]


def emptiest(owner):
    """A superblock at least a quarter empty; null if there is none."""
    found = owner.lists[EMPTY]
    at = PARTLY_FULL
    quarter = 0
    while not found and quarter < 3:
        found = owner.lists[at + quarter]
        at += 4
        if at == LISTS:
            at = PARTLY_FULL
            quarter += 1
    return found
