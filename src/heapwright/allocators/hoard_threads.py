"""Hoard's threads: each has a heap of its own for the most part, and buffers of freed objects that need no lock.

             home is the thread's   +---------------------+ ------------> handed out again
          +-----------------------> | buffer of its class | full: half
    free -+                         +---------------------+ ------------> the superblock it came from
          |  home is another's      +---------------------+ full: all              ^
          +-----------------------> | its remote frees    | -----------------------+
                                    +---------------------+

The buffers (Hoard 3's TLAB) are a list for each class up to 8 KiB. An empty list is refilled, and a full one halved,
with one lock for many objects; the original buffers up to 1 KiB, fetches one object at a time, and bounds only the
sum, by 16 MiB.

An object of another home may share a cache line with objects of other threads. It is not handed out here, but waits
with others of its class until they are as many as half a buffer, and go with one lock for each owner: remote frees. A
buffer of all classes would touch many superblocks under one lock. To its superblock a buffered object counts as in use,
in whichever buffer.

A thread's words lie in a mapping of the heap's own; when the thread ends, a next one gets them, best one of the same
number. That is one on the same stack, which the C library gives to who waited for the end: so a chain of threads that
leave each other their blocks keeps its heap, though another chain beside it changes threads at the same moment.
"""

from __future__ import annotations

from heapwright.allocators.chains import pushed, removed
from heapwright.allocators.hoard_heaps import free_chain, take_chain
from heapwright.allocators.hoard_superblocks import CLASSES, MOST_SMALL, Object, ProcessorHeap
from heapwright.allocators.size_classes import class_of, size_of_class
from heapwright.bits import align_up
from heapwright.layout import NULL, Array, Atomic, Inline, Struct, Word
from heapwright.locks import acquire, release

MOST_BUFFERED = min(8192, MOST_SMALL)
BUFFERED = class_of(MOST_BUFFERED) + 1
BUFFER_BYTES = 1 << 14  # of one class, and at most BUFFER_OBJECTS: with remote frees 768 KiB for a thread
BUFFER_OBJECTS = 512
GROWTH = 1 << 18  # of all heaps, before a thread that refills a buffer flushes all that it has
PROCESSORS = 16
ROSTER_BYTES = 1 << 14
ROSTER_MAGIC = 0x0A11F0E9
CACHE_LINE = 64
LOOKED_AT = 16  # of the idle
MINE, MOST, HAS_ENDED = 0, 1, 2  # a thread's words: where its struct lies, the most it buffers, thread_exit was called


class Buffer(Struct):
    first: Object
    room: Word  # for how many more objects


class Thread(Struct):
    buffers: Array[Inline[Buffer], CLASSES]
    remote: Array[Inline[Buffer], CLASSES]  # what was freed and has another home
    home: ProcessorHeap
    held: Word  # bytes of superblocks when the buffers were flushed last, or fewer
    older: Thread
    number: Word  # of the thread that has them, or had them last
    next: Thread  # in the list of the idle
    previous: Thread


class Roster(Struct):
    """The words of all threads that ever were."""

    lock: Atomic[Word]
    youngest: Thread
    idle: Thread
    fresh: Word
    end: Word
    next_home: Word


class RosterPage(Struct):
    """The header of a mapping that holds threads."""

    magic: Word
    size: Word


# --- threads


def this_thread(heap):
    """The calling thread's words: taken at its first call; null once it has ended, or without memory."""
    thread = Thread(heap.memory, heap.memory.local(MINE))
    if not thread and heap.memory.local(HAS_ENDED) == 0:
        thread = enter(heap)
    return thread


def enter(heap):
    roster = heap.roster
    number = heap.memory.thread_id()
    acquire(heap.memory, roster.lock)
    thread = idle_thread(roster, number)
    if thread:
        roster.idle = removed(roster.idle, thread)
    else:
        thread = new_thread(heap, roster)
    release(heap.memory, roster.lock)
    if thread:
        thread.number = number
        heap.memory.set_local(MINE, thread.address)
        heap.memory.set_local(MOST, MOST_BUFFERED)
    return thread


def new_thread(heap, roster):
    """Words for one more thread, its home the next heap in turn; null when memory is exhausted."""
    if roster.fresh + Thread.SIZE > roster.end and not map_roster(heap, roster):
        return roster.youngest.at(NULL)
    thread = roster.youngest.at(roster.fresh)
    roster.fresh = align_up(roster.fresh + Thread.SIZE, CACHE_LINE)
    thread.home = heap.processors[1 + roster.next_home]
    roster.next_home = (roster.next_home + 1) % PROCESSORS
    empty_buffers(thread)
    thread.older = roster.youngest
    roster.youngest = thread
    return thread


def map_roster(heap, roster):
    size = align_up(ROSTER_BYTES, heap.memory.PAGE)
    start = heap.memory.mmap(size)
    if start == -1:
        return False
    page = RosterPage(heap.memory, start)
    page.magic = ROSTER_MAGIC
    page.size = size
    roster.fresh = start + CACHE_LINE
    roster.end = start + size
    return True


def leave_roster(heap, thread):
    """The thread ends: its words go to the next thread."""
    flush(heap, thread)
    heap.memory.set_local(MINE, NULL)
    heap.memory.set_local(MOST, 0)
    acquire(heap.memory, heap.roster.lock)
    retire(heap.roster, thread)
    release(heap.memory, heap.roster.lock)


def retire(roster, thread):
    roster.idle = pushed(roster.idle, thread)


def idle_thread(roster, number):
    """Of the last few threads that ended, one that had this number, or else the last one; null if there is none."""
    thread = roster.idle
    for _ in range(LOOKED_AT):
        if not thread:
            break
        if thread.number == number:
            return thread
        thread = thread.next
    return roster.idle


def forget_others(heap):
    """In a forked child only the calling thread lives on; what others had buffered stays in use for good."""
    roster = heap.roster
    mine = heap.memory.local(MINE)
    roster.idle = NULL
    thread = roster.youngest
    while thread:
        if thread.address != mine:
            empty_buffers(thread)
            retire(roster, thread)
        thread = thread.older


# --- buffers


def limit_of(size_class):
    """How many objects of a class a thread may buffer."""
    return min(BUFFER_OBJECTS, BUFFER_BYTES // size_of_class(size_class)) if size_class < BUFFERED else 0


def remote_limit_of(size_class):
    """How many remote frees of a class: as many as a full buffer of the class frees at once."""
    return (limit_of(size_class) + 1) // 2


def empty_buffer(buffer, limit):
    """Make a buffer hold nothing, whatever becomes of its objects."""
    buffer.first = NULL
    buffer.room = limit


def empty_buffers(thread):
    for size_class in range(CLASSES):
        empty_buffer(thread.buffers[size_class], limit_of(size_class))
        empty_buffer(thread.remote[size_class], remote_limit_of(size_class))


def flush_buffer(heap, buffer, limit):
    """Free all that a buffer holds."""
    chain = buffer.first
    empty_buffer(buffer, limit)
    free_chain(heap, chain)


def flush(heap, thread):
    """Free all that a thread buffers."""
    for size_class in range(BUFFERED):
        flush_buffer(heap, thread.buffers[size_class], limit_of(size_class))
        flush_buffer(heap, thread.remote[size_class], remote_limit_of(size_class))


def flush_if_grown(heap, thread):
    """Flush when all heaps have grown: a few buffered objects keep many superblocks from being empty."""
    if heap.store.held.load() > thread.held + GROWTH:
        flush(heap, thread)
        thread.held = heap.store.held.load()
    thread.held = min(thread.held, heap.store.held.load())


def take(buffer):
    """The address of the object put in last."""
    found = buffer.first
    buffer.first = found.next
    buffer.room += 1
    return found.address


def put(buffer, freed):
    freed.next = buffer.first
    buffer.first = freed
    buffer.room -= 1


def try_put(buffer, address):
    """Put an object into a buffer that has room, unless it is the last one that was; say whether it is in."""
    is_in = buffer.room > 0 and buffer.first.address != address
    if is_in:
        put(buffer, buffer.first.at(address))
    return is_in


def refill(heap, thread, size_class):
    """Fetch into an empty buffer a quarter of what it may hold; fewer objects or none when memory is exhausted."""
    flush_if_grown(heap, thread)
    buffer = thread.buffers[size_class]
    chain, count = take_chain(heap, thread.home, size_class, max(1, limit_of(size_class) // 4))
    buffer.first = chain
    buffer.room -= count


def halve(heap, buffer, size_class):
    """Free the older half of a full buffer."""
    kept = limit_of(size_class) // 2
    last = buffer.first
    for _ in range(kept - 1):
        last = last.next
    chain = last.next
    last.next = NULL
    buffer.room = limit_of(size_class) - kept
    free_chain(heap, chain)
