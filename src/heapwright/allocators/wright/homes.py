"""Wright's homes: one for each thread, with its lists of freed blocks and its slabs.

       home -> +------------------------+  at a multiple of 4 KiB
             0 | list of class 0, magic |  always empty
            16 | list, room             |  of class 1: blocks to hand out again, and how many more may be put there
               | ...                    |  of the other classes
          1680 | current                |  the slab of each class to refill from
               | lock                   |  of the slabs
               | spares                 |  large blocks to hand out again
               | inbox                  |  blocks of this home that other threads freed, and the number of batches
               | limits                 |  of room
               | partly free            |  slabs by class
          3848 | outbox                 |  freed blocks of other homes (remote)
               +------------------------+

What a thread needs that frees no blocks of others lies in the first page. A small program needs no second one.

A thread takes a home at its first call and leaves it at its end. A later thread takes it over with all its slabs, as
decision 0008 says, so no slab ever changes its home. The thread-local words lead to it. A thread that has ended, or
for which there is no memory, shares one more home, under the roster's lock.

The lists and the outbox are the thread's own, so its fast paths need no lock. The slabs have one, because another
thread may drain the inbox of a thread that sleeps. A forked child takes over the homes whose lock was free and whose
outbox was not being changed (`busy`).
"""

from __future__ import annotations

from heapwright import bits, locks
from heapwright.allocators.wright import classes, hardened, records
from heapwright.allocators.wright.records import Block, Record
from heapwright.layout import NULL, Array, Atomic, Byte, Inline, Struct, Word, Word16

MINE, LIMIT, HAS_ENDED = 0, 1, 2  # thread-local words: the home, 1040 once there is one, whether thread_exit was called
FAST = classes.MAX_LINEAR + 16  # exclusive limit of the sizes that `alloc` serves itself
HOME_MAGIC = 0x5716_0A11_F0E1_0002
SLOTS = 16
CROWD, MAX_TRIED = 16, 8  # with more homes than CROWD, the others share MAX_TRIED blocks of each class
SPARES = 2
LOOKED_AT = 16  # idle homes that a new thread examines for its number
ROOM_OBJECTS, ROOM_BYTES, FIRST_ROOM = 512, 1 << 14, 32  # limits of a list's room


class Hot(Struct):
    """The list of a class: freed blocks, which the thread hands out again."""

    first: Block
    room: Word


class Slot(Struct):
    """Freed blocks of one slab of another home."""

    slab: Record
    first: Block
    last: Block
    count: Word


class Waiting(Struct):
    """A freed block that a hardened heap does not hand out yet."""

    block: Word
    tag: Word  # the address of its list, if that is this home's and of a linear class, or else 0


class Home(Struct):
    hot: Array[Inline[Hot], classes.CLASSES]
    current: Array[Record, classes.CLASSES]
    lock: Atomic[Word]  # of the slabs
    pending: Word  # whether the outbox may hold blocks
    busy: Word  # whether the outbox is being changed
    seen: Word  # tiles taken by all when the lists were last emptied, or the lowest number seen since
    heeded: Word  # the number of the last trim for which the lists were emptied
    tiles: Word  # of all its slabs
    most: Word  # of `tiles` since the lists were last emptied
    returned: Word  # bytes that came home since the last refill
    rank: Word  # the number of homes before it
    number: Word  # of the thread that has the home, or had it last
    older: Home
    next: Home  # in the list of idle homes
    previous: Home
    spares: Array[Record, SPARES]  # large blocks that the thread freed last: see spares
    spare_room: Word
    waiting: Array[Inline[Waiting], hardened.WAITING]
    waiting_large: Array[Record, hardened.HARDENED]  # the freed large block that it does not hand out yet
    turn: Array[Word, 2]  # the places of those that wait longest: of more than 1 KiB, and of less
    apart: Array[Word, 8]  # the inbox has a cache line of its own, because other threads write to it
    inbox: Atomic[Word]
    apart_too: Array[Word, 7]
    limits: Array[Word16, classes.CLASSES]
    partial: Array[Record, classes.CLASSES]
    outbox: Array[Inline[Slot], SLOTS]
    tried: Array[Byte, classes.CLASSES]  # blocks that came from the common home
    live: Array[Word16, 32]  # bytes in each page of the slab that is looked at: see holes


class Roster(Struct):
    lock: Atomic[Word]
    trims: Atomic[Word]  # the number of trims: each thread empties its lists once for each
    youngest: Home
    idle: Home
    common: Home  # of threads without their own, and of blocks that a crowd of threads shares


# --- a thread's home


def this_home(heap):
    """The calling thread's home, taken at its first call; null after its end or when memory is exhausted."""
    home = Home(heap.memory, heap.memory.local(MINE))
    if not home and heap.memory.local(HAS_ENDED) == 0:
        home = enter(heap)
    return home


def enter(heap):
    roster, number = heap.roster, heap.memory.thread_id()
    locks.acquire(heap.memory, roster.lock)
    home = idle_home(roster, number)
    if home:
        remove_idle(roster, home)
    else:
        home = new_home(heap)
    locks.release(heap.memory, roster.lock)
    if home:
        home.number = number
        heap.memory.set_local(MINE, home.address)
        heap.memory.set_local(LIMIT, FAST)
    return home


def idle_home(roster, number):
    """An idle home: that of a recent thread with this number, or else the latest; null if there is none."""
    home = roster.idle
    for _ in range(LOOKED_AT):
        if not home:
            break
        if home.number == number:
            return home
        home = home.next
    return roster.idle


def new_home(heap):
    """Map one more home; null when memory is exhausted. The roster is locked."""
    start = heap.memory.mmap(mapping_size(heap))
    home = heap.roster.youngest.at(NULL)
    if start == -1:
        return home
    home = home.at(start)
    home.hot[0].room = HOME_MAGIC
    home.older = heap.roster.youngest
    home.rank = home.older.rank + 1 if home.older else 0
    heap.roster.youngest = home
    return home


def mapping_size(heap):
    return bits.align_up(Home.SIZE, max(heap.memory.PAGE, records.HOME_BOUNDARY))


def retire(heap, home):
    """Let a later thread take over a home. The roster is locked."""
    roster = heap.roster
    home.previous = NULL
    home.next = roster.idle
    if roster.idle:
        roster.idle.previous = home
    roster.idle = home


def remove_idle(roster, home):
    if home.next:
        home.next.previous = home.previous
    if home.previous:
        home.previous.next = home.next
    else:
        roster.idle = home.next


def common_home(heap):
    """The home of threads without their own; null when memory is exhausted. The roster is locked."""
    if not heap.roster.common:
        heap.roster.common = new_home(heap)
    return heap.roster.common


def is_trying(home, size_class):
    """Count a block of a class that a thread may need few of, if there is a crowd of threads; return whether it is one.

    A home with a few blocks in each of many classes takes a page for each, so the first come from the common home.
    """
    if home.rank < CROWD or home.hot[size_class].first or home.tried[size_class] >= MAX_TRIED:
        return False
    home.tried[size_class] += 1
    return True


# --- lists


def final_limit(size_class):
    """The most blocks that may be put on a list beyond those of its last refill."""
    return max(min(ROOM_OBJECTS, ROOM_BYTES // classes.size_of_class(size_class)), 1)


def open_room(home, size_class):
    """Give a list its room anew, twice as much as the last time."""
    limit = min(max(2 * home.limits[size_class], FIRST_ROOM), final_limit(size_class))
    home.limits[size_class] = limit
    home.hot[size_class].room = limit


def hand_out(hot):
    """Take the block put in last; return its address."""
    block = hot.first
    hot.first = records.next_of(block)
    return block.address


def put_in(hot, block):
    """Put a block into a list that has room."""
    hot.room -= 1
    records.link(block, hot.first)
    hot.first = block


def is_at_rest(home):
    """Whether nobody was changing the home when the process forked."""
    return home.busy == 0 and home.lock.load() == locks.FREE


def abandon_others(heap):
    """In a forked child, lock the homes of all others for good, and forget what they have sent to this one."""
    mine, home = Home(heap.memory, heap.memory.local(MINE)), heap.roster.youngest
    if mine:
        mine.inbox.store(NULL)
    while home:
        if home != mine:
            home.lock.store(locks.HELD)
        home = home.older


def forget_others(heap):
    """In a forked child, where only the caller survives, make the other homes idle if they were at rest."""
    roster, mine = heap.roster, heap.memory.local(MINE)
    roster.idle = NULL
    if roster.common and not is_at_rest(roster.common):
        roster.common = NULL
    home = roster.youngest
    while home:
        if home.address != mine and home != roster.common and is_at_rest(home):
            retire(heap, home)
        home = home.older
