"""Hoard's threads: each has a home heap, rarely shared, and buffers of freed objects that need no lock.

             home is the thread's   +---------------------+ ------------> handed out again
          +-----------------------> | buffer of its class | full: half
    free -+                         +---------------------+ ------------> the superblock it came from
          |  home is another's      +---------------------+ full: all              ^
          +-----------------------> | its remote frees    | -----------------------+
                                    +---------------------+

The buffers (Hoard 3's TLAB) are one list for each class up to 8 KiB. The thread refills an empty buffer and halves a
full one, with one lock for many objects. The original buffers objects up to 1 KiB, fetches one object at a time, and
bounds only the sum of all buffers, at 16 MiB.

A buffer starts cold: the first 16 objects of its class that a thread allocates or frees bypass it. After that, the
thread fetches 4 objects at once, then 8, 16 and so on, and the buffer's capacity doubles too, up to the limits of the
class. So a thread that does little and then sleeps holds little. tcmalloc's thread caches start slowly in the same way.

An object of another home may share a cache line with objects of other threads. The thread does not hand it out again.
Such remote frees wait with others of their class until they fill half a buffer; then the thread frees them all, with
one lock per owner. A single buffer for all classes would touch many superblocks under one lock. A superblock counts an
object in any buffer as in use.

Each thread's record lies in a mapping that the heap owns. When a thread exits, a later thread reuses its record,
preferably one with the same number. Threads on the same stack share a number: the C library reuses the stack of a
joined thread for the next thread that is started. So a chain of threads that pass blocks on keeps its home heap, even
if another chain switches threads at the same moment. A thread gets a buffer for remote frees only when it needs it.
"""

from __future__ import annotations

from heapwright import bits, locks
from heapwright.allocators.hoard import heaps, superblocks
from heapwright.allocators.parts import chains, size_classes
from heapwright.layout import NULL, Array, Atomic, Inline, Struct, Word, Word16, Word32

MAX_BUFFERED = min(8192, superblocks.MAX_SMALL)
BUFFERED = size_classes.class_of(MAX_BUFFERED) + 1
BUFFER_BYTES = 1 << 14  # limit of one class's buffer; all of a thread's, remote frees included, hold at most 768 KiB
BUFFER_OBJECTS = 512  # a second limit of one class's buffer
GROWTH = 1 << 18  # bytes by which all heaps may grow before a thread that refills a buffer flushes all its buffers
PROCESSORS = 16
ROSTER_BYTES = 1 << 14
ROSTER_MAGIC = 0x0A11F0E9
CACHE_LINE = 64
WARM = 16  # objects of a class that a thread allocates or frees before it buffers any
LOOKED_AT = 16  # idle records that a new thread examines for its number
MINE, LIMIT, HAS_ENDED, HOME = 0, 1, 2, 3  # thread-local words: the address of the thread's record, the largest size it
# buffers, whether thread_exit was called, and the note on superblocks of its home (class 0)


class Buffer(Struct):
    first: superblocks.Object
    room: Word32  # how many more objects fit
    limit: Word16  # how many objects it may hold at present; the limit grows with use
    uses: Word16  # below WARM: objects that bypassed the buffer; from then on: four times the size of the next fetch


class Buffers(Struct):
    of: Array[Inline[Buffer], superblocks.CLASSES]


class Thread(Struct):
    buffers: Array[Inline[Buffer], superblocks.CLASSES]
    remote: Buffers  # freed objects of other homes; the roster's `nothing` until there are any
    home: superblocks.ProcessorHeap
    held: Word  # bytes of all superblocks at the last flush, or the lowest value seen since
    older: Thread
    number: Word  # number of the thread that uses the record, or used it last
    next: Thread  # in the list of idle records
    previous: Thread


class Roster(Struct):
    """The records of all threads, including exited ones."""

    lock: Atomic[Word]
    youngest: Thread
    idle: Thread
    fresh: Word
    end: Word
    next_home: Word
    nothing: Inline[Buffers]  # buffers without room


class RosterPage(Struct):
    """The header of a mapping that holds threads."""

    magic: Word
    size: Word


# --- threads


def this_thread(heap):
    """The calling thread's record, taken at its first call; null after `thread_exit` or when memory is exhausted."""
    thread = Thread(heap.memory, heap.memory.local(MINE))
    if not thread and heap.memory.local(HAS_ENDED) == 0:
        thread = enter(heap)
    return thread


def enter(heap):
    roster = heap.roster
    number = heap.memory.thread_id()
    locks.acquire(heap.memory, roster.lock)
    thread = idle_thread(roster, number)
    if thread:
        roster.idle = chains.removed(roster.idle, thread)
    else:
        thread = new_thread(heap, roster)
    locks.release(heap.memory, roster.lock)
    if thread:
        thread.number = number
        heap.memory.set_local(MINE, thread.address)
        heap.memory.set_local(LIMIT, MAX_BUFFERED)
        heap.memory.set_local(HOME, superblocks.note_on_home(heap, thread.home))
    return thread


def new_thread(heap, roster):
    """A record for one more thread, with the next heap in turn as its home; null when memory is exhausted."""
    thread = roster.youngest.at(new_words(heap, roster, Thread.SIZE))
    if not thread:
        return thread
    thread.home = heap.processors[1 + roster.next_home]
    roster.next_home = (roster.next_home + 1) % PROCESSORS
    thread.remote = roster.nothing
    thread.older = roster.youngest
    roster.youngest = thread
    return thread


def open_remote(heap, thread):
    """Give a thread its buffers for remote frees; False when memory is exhausted."""
    roster = heap.roster
    locks.acquire(heap.memory, roster.lock)
    address = new_words(heap, roster, Buffers.SIZE)
    locks.release(heap.memory, roster.lock)
    if address != NULL:
        thread.remote = roster.nothing.at(address)
    return address != NULL


def new_words(heap, roster, size):
    """The address of `size` zero bytes in the roster's mapping; NULL when memory is exhausted."""
    if roster.fresh + size > roster.end and not map_roster(heap, roster):
        return NULL
    address = roster.fresh
    roster.fresh = bits.align_up(address + size, CACHE_LINE)
    return address


def map_roster(heap, roster):
    size = bits.align_up(ROSTER_BYTES, heap.memory.PAGE)
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
    """Flush an exiting thread's buffers and make its record available to a later thread."""
    flush(heap, thread)
    heap.memory.set_local(MINE, NULL)
    heap.memory.set_local(LIMIT, 0)
    heap.memory.set_local(HOME, 0)
    locks.acquire(heap.memory, heap.roster.lock)
    retire(heap.roster, thread)
    locks.release(heap.memory, heap.roster.lock)


def retire(roster, thread):
    roster.idle = chains.pushed(roster.idle, thread)


def idle_thread(roster, number):
    """An idle record: that of a recent thread with this number, or else the latest; null if there is none."""
    thread = roster.idle
    for _ in range(LOOKED_AT):
        if not thread:
            break
        if thread.number == number:
            return thread
        thread = thread.next
    return roster.idle


def forget_others(heap):
    """Retire the other threads' records in a forked child, where only the caller survives.

    The objects in their buffers stay in use for good.
    """
    roster = heap.roster
    mine = heap.memory.local(MINE)
    roster.idle = NULL
    thread = roster.youngest
    while thread:
        if thread.address != mine:
            forget_buffers(roster, thread)
            retire(roster, thread)
        thread = thread.older


# --- all locks, in order


def lock_all(heap):
    locks.acquire(heap.memory, heap.roster.lock)
    for i in range(PROCESSORS, -1, -1):
        locks.acquire(heap.memory, heap.processors[i].lock)
    locks.acquire(heap.memory, heap.store.lock)
    locks.acquire(heap.memory, heap.large.lock)


def unlock_all(heap):
    locks.release(heap.memory, heap.large.lock)
    locks.release(heap.memory, heap.store.lock)
    for i in range(1 + PROCESSORS):
        locks.release(heap.memory, heap.processors[i].lock)
    locks.release(heap.memory, heap.roster.lock)


def unlock_own(heap):
    """Release the locks that the calling thread holds."""
    locks.release_own(heap.memory, heap.large.lock)
    locks.release_own(heap.memory, heap.store.lock)
    for i in range(1 + PROCESSORS):
        locks.release_own(heap.memory, heap.processors[i].lock)
    locks.release_own(heap.memory, heap.roster.lock)


def forget_sleepers(heap):
    """Reset all locks in a forked child, where no thread waits for one."""
    heap.large.lock.store(locks.FREE)
    heap.store.lock.store(locks.FREE)
    for i in range(1 + PROCESSORS):
        heap.processors[i].lock.store(locks.FREE)
    heap.roster.lock.store(locks.FREE)


# --- buffers


def limit_of(size_class):
    """The number of objects of a class that a thread may buffer."""
    return min(BUFFER_OBJECTS, BUFFER_BYTES // size_classes.size_of_class(size_class)) if size_class < BUFFERED else 0


def remote_limit_of(size_class):
    """The number of remote frees of a class that a thread may buffer: as many as a full buffer frees at once."""
    return (limit_of(size_class) + 1) // 2


def is_cold(buffer):
    """Whether a thread has used a buffer too little for it to hold anything yet."""
    return buffer.uses < WARM


def raise_limit(buffer, limit):
    if limit > buffer.limit:
        buffer.room += limit - buffer.limit
        buffer.limit = limit


def empty_buffer(buffer):
    """Empty a buffer without freeing its objects."""
    buffer.first = NULL
    buffer.room = buffer.limit


def forget_buffers(roster, thread):
    for size_class in range(BUFFERED):
        empty_buffer(thread.buffers[size_class])
        if thread.remote != roster.nothing:
            empty_buffer(thread.remote.of[size_class])


def flush_buffer(heap, buffer):
    """Free all objects in a buffer."""
    chain = buffer.first
    empty_buffer(buffer)
    heaps.free_chain(heap, chain)


def flush(heap, thread):
    """Free all objects in a thread's buffers."""
    for size_class in range(BUFFERED):
        flush_buffer(heap, thread.buffers[size_class])
        if thread.remote != heap.roster.nothing:
            flush_buffer(heap, thread.remote.of[size_class])


def flush_if_grown(heap, thread):
    """Flush when all heaps together have grown: a few buffered objects can keep many superblocks from being empty."""
    if heap.store.held.load() > thread.held + GROWTH:
        flush(heap, thread)
        thread.held = heap.store.held.load()
    thread.held = min(thread.held, heap.store.held.load())


def buffer_at(buffers, thread, step):
    """The buffer of the class in a superblock's note; NOTE_STEP equals the size of a buffer."""
    return Buffer(thread.memory, buffers.address + step)


def buffer_for(thread, superblock):
    """Where the thread puts a freed object of a superblock."""
    is_mine = superblock.home.load() == thread.home
    return thread.buffers[superblock.size_class] if is_mine else thread.remote.of[superblock.size_class]


def take(buffer):
    """Take the object put in last; return its address."""
    found = buffer.first
    buffer.first = found.next
    buffer.room += 1
    return found.address


def put(buffer, freed):
    freed.next = buffer.first
    buffer.first = freed
    buffer.room -= 1


def try_put(buffer, address):
    """Put an object into a buffer if there is room and it is not already the first; return whether it went in."""
    is_in = buffer.room > 0 and buffer.first.address != address
    if is_in:
        put(buffer, buffer.first.at(address))
    return is_in


def take_cold(heap, thread, buffer, size_class):
    """Allocate an object past a cold buffer; return its address, NULL when memory is exhausted."""
    chain, count = heaps.take_chain(heap, thread.home, size_class, 1)
    buffer.uses += count
    return chain.address


def put_cold(heap, buffer, freed):
    """Free an object past a cold buffer."""
    buffer.uses += 1
    heaps.free_one(heap, freed)


def refill(heap, thread, size_class):
    """Fetch twice as many objects as last time into an empty buffer, up to a quarter of its final limit.

    Fewer objects arrive, or none, when memory is exhausted.
    """
    flush_if_grown(heap, thread)
    buffer, maximum = thread.buffers[size_class], max(1, limit_of(size_class) // 4)
    chain, count = heaps.take_chain(heap, thread.home, size_class, min(buffer.uses // 4, maximum))
    if count > 0:
        buffer.uses = min(2 * buffer.uses, BUFFER_OBJECTS)
        raise_limit(buffer, min(4 * count, limit_of(size_class)))
        buffer.first = chain
        buffer.room -= count


def make_room(heap, buffer, size_class):
    """Double the limit of a full buffer, or free its older half if the limit is final."""
    if buffer.limit < limit_of(size_class):
        raise_limit(buffer, min(max(2 * buffer.limit, WARM), limit_of(size_class)))
    else:
        halve(heap, buffer, size_class)


def make_remote_room(heap, buffer, size_class):
    """Double the limit of a full buffer of remote frees, or free all its objects if the limit is final."""
    if buffer.limit < remote_limit_of(size_class):
        raise_limit(buffer, min(max(2 * buffer.limit, WARM), remote_limit_of(size_class)))
    else:
        flush_buffer(heap, buffer)


def halve(heap, buffer, size_class):
    """Free the older half of a full buffer."""
    kept = limit_of(size_class) // 2
    last = buffer.first
    for _ in range(kept - 1):
        last = last.next
    chain = last.next
    last.next = NULL
    buffer.room = limit_of(size_class) - kept
    heaps.free_chain(heap, chain)
