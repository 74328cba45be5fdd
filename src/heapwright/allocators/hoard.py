"""Hoard: a heap for each processor, and a rule for how empty it may be before it must give memory up.

Source: E. Berger, K. McKinley, R. Blumofe, P. Wilson, Hoard: A Scalable Memory Allocator for Multithreaded
Applications, ASPLOS 2000; github.com/emeryberger/Hoard 3.13 for thread-local buffers and large objects. Its heads
of 2025 put freed objects on delayed lists and no longer test the rule when memory is freed; here it is tested.

Objects of one size lie in superblocks of 64 KiB (hoard_superblocks), which belong to a heap (hoard_heaps):

      superblock -> +--------------------+        object -> +--------------------+
                    | class, home, owner |     in use       | the caller's bytes |
                    | free, bump, used   |                  +--------------------+
                    +--------------------+        object -> +--------------------+
                    | object, object ... |     free         | next               |
                    +--------------------+                  | stale              |
                                                            +--------------------+

The heap's own words: heap 0, the global heap, and heaps 1 to P, each with a lock, the bytes in use u, the bytes held
a, and lists of superblocks by class and fullness; the store of fresh superblocks; large objects (large_objects); the
roster of threads and their buffers (hoard_threads).

A thread takes from its home heap, fullest superblock first. What it frees goes to its buffers if its home heap took the
superblock last, else to its remote frees; and from either to the superblock it came from, under the lock of whichever
heap owns that. A heap that then is too empty gives a superblock to the global heap, where any other may take it. So
memory held stays proportional to memory in use, and threads of two homes get parts of one cache line only with a
superblock that changed hands: not on purpose, nor when one frees what another handed over. That is the passive false
sharing which the paper avoids and 3.13 lets in again, for its buffers take whatever is freed. Larger alignments need no
pointers into the inside of objects: the classes and the first object of a superblock are aligned.

Invariants
    H1  each superblock lies at a multiple of S, in one list, linked both ways, of its owner: its home, or heap 0
    H2  objects in use, free and never handed out fill a superblock, and its list is the one for those in use
    H3  but for the superblocks taken since the last free, u >= a - K*S or u >= (1 - f) * a
    H4  u sums what is in use in the heap's superblocks, and a over all heaps is what the store gave out
    H5  each free object begins a multiple of the object size after the first
    H6  a buffered object counts as in use, and no buffer exceeds its limit, those of remote frees included
    H7  kept large objects are within 1 MiB and half of the most ever live, and with the live ones 9/8 of it

Bound: K = 16, f = 1/4: heaps 1 to P hold at most u / (1 - f) + P*K*S after frees. Kept for later: 1 MiB a heap, in
the global heap 1 MiB and a quarter of all superblocks, 768 KiB a thread, and H7. A thread empties its buffers when all
heaps have grown by 256 KiB: a few objects in them keep many superblocks from being empty.

Vital statistics: header none, but 96 bytes a superblock, smallest object 16, alignment 16; alloc and dealloc O(1),
without a lock but for one in 128 of the smallest objects, and each from 4 KiB on that its thread has not buffered;
superblocks and large objects are given back. Classes waste at most a fifth of an object, and a superblock at most a
quarter of itself.
"""

from __future__ import annotations

from heapwright.allocators.chains import is_linked_back
from heapwright.allocators.hoard_heaps import Store, free_chain, is_too_empty, take_chain, unmap_empty
from heapwright.allocators.hoard_inspect import (
    buffered_in,
    buffers_hold,
    free_in,
    lists,  # noqa: F401  for pictures
    superblocks_of,
    threads_of,
    walk_superblock,
)
from heapwright.allocators.hoard_superblocks import (
    EMPTY,
    LISTS,
    MOST_SMALL,
    SUPERBLOCK,
    SUPERBLOCK_MAGIC,
    Object,
    ProcessorHeap,
    Superblock,
    first_of,
    is_object,
    join,
    leave,
    list_of,
    superblock_of,
)
from heapwright.allocators.hoard_threads import (
    BUFFERED,
    HAS_ENDED,
    MINE,
    MOST,
    PROCESSORS,
    ROSTER_MAGIC,
    Roster,
    RosterPage,
    Thread,
    flush,
    flush_buffer,
    forget_others,
    halve,
    leave_roster,
    put,
    refill,
    remote_limit_of,
    take,
    this_thread,
    try_put,
)
from heapwright.allocators.large_objects import (
    KEPT_MAGIC,
    LARGE_MAGIC,
    LargeObjects,
    alloc_large,
    free_range,
    is_bounded,
    is_fresh,
    large_of,
    span_at,
    survey,  # noqa: F401  for statistics
    trim_large,
    usable_in,
)
from heapwright.allocators.size_classes import class_of
from heapwright.bits import align_up, below, is_absurd
from heapwright.layout import NULL, Array, Inline, Struct
from heapwright.locks import acquire, release
from heapwright.spans import OWN, UNUSED

THREADS = "own"
RACES = ("Superblock.bump: it only rises while an object is in use, and the object lies below it",)
SLOW_PATHS = ("alloc_slowly", "dealloc_slowly", "free_chain")
TIDIES = True  # without memory, what is kept goes back
DETECTS = ("double free at once", "foreign")  # for sure only of what was freed last, and where it is slow
RETAINS = 1 << 20  # the rest of a chunk of superblocks, and the threads' records


class Heap(Struct):
    processors: Array[Inline[ProcessorHeap], 1 + PROCESSORS]
    store: Inline[Store]
    large: Inline[LargeObjects]
    roster: Inline[Roster]


# --- blocks


def usable_size(heap, address):
    superblock = superblock_of(heap, address)
    if superblock.magic == SUPERBLOCK_MAGIC:
        return superblock.object_size
    return usable_in(large_of(heap, address))


# --- the slow paths


def alloc_slowly(heap, size, align):
    """What the buffer does not have: refill it, take a larger object, or map one."""
    if is_absurd(size, align):
        return NULL
    rounded = align_up(max(size, 1), align)
    if rounded > MOST_SMALL:
        return alloc_mapped(heap, size, align)
    size_class = class_of(rounded)
    thread = this_thread(heap)
    if thread and size_class < BUFFERED:
        return alloc_buffered(heap, thread, size_class)
    chain, _ = take_chain(heap, home_of(heap, thread), size_class, 1)
    return chain.address


def alloc_mapped(heap, size, align):
    """A large object; when memory is exhausted, once more after all that is kept went back."""
    address = alloc_large(heap, size, align)
    if address == NULL and trim(heap) > 0:
        address = alloc_large(heap, size, align)
    return address


def alloc_buffered(heap, thread, size_class):
    buffer = thread.buffers[size_class]
    if not buffer.first:  # else the size was 0
        refill(heap, thread, size_class)
    return take(buffer) if buffer.first else NULL


def home_of(heap, thread):
    """The heap a thread takes from; one without words of its own hashes its number."""
    if thread:
        return thread.home
    return heap.processors[1 + (heap.memory.thread_id() >> 12) % PROCESSORS]


def dealloc_slowly(heap, address):
    superblock = superblock_of(heap, address)
    if superblock.magic == SUPERBLOCK_MAGIC and is_object(superblock, address):
        free_object(heap, superblock, Object(heap.memory, address))
    elif superblock.magic == LARGE_MAGIC:
        free_range(heap, large_of(heap, address))
    elif superblock.magic == KEPT_MAGIC:
        heap.memory.fault("double free", address)
    else:
        heap.memory.fault("not a block of this heap", address)


def free_object(heap, superblock, freed):
    """Make room for an object where its thread keeps such, or put it back where it came from."""
    thread, size_class = this_thread(heap), superblock.size_class
    if not thread or size_class >= BUFFERED:
        freed.next = NULL
        free_chain(heap, freed)
    elif superblock.home.load() == thread.home:
        free_at_home(heap, thread.buffers[size_class], size_class, freed)
    else:
        free_remotely(heap, thread.remote[size_class], size_class, freed)


def free_at_home(heap, buffer, size_class, freed):
    refuse_last(heap, buffer, freed)
    if buffer.room == 0:
        halve(heap, buffer, size_class)
    put(buffer, freed)


def free_remotely(heap, buffer, size_class, freed):
    refuse_last(heap, buffer, freed)
    if buffer.room == 0:
        flush_buffer(heap, buffer, remote_limit_of(size_class))
    put(buffer, freed)


def refuse_last(heap, buffer, freed):
    """Notice an object that was freed just before."""
    if buffer.first == freed:
        heap.memory.fault("double free", freed.address)


# --- the allocator


def alloc(heap, size, align):
    """Rounded to the alignment, the size is of a class that is aligned so; this thread may have such an object."""
    rounded = align_up(size, align)
    if below(rounded - 1, heap.memory.local(MOST)):  # which is 0 before the thread's first call
        thread = Thread(heap.memory, heap.memory.local(MINE))
        buffer = thread.buffers[class_of(rounded)]
        if buffer.first:
            return take(buffer)
    return alloc_slowly(heap, size, align)


def dealloc(heap, address, size, align):
    """Into this thread's buffer, or its remote frees, if there is room."""
    superblock = superblock_of(heap, address)
    thread = Thread(heap.memory, heap.memory.local(MINE))
    if superblock.magic == SUPERBLOCK_MAGIC and thread:
        if superblock.home.load() == thread.home:
            if try_put(thread.buffers[superblock.size_class], address):
                return
        elif try_put(thread.remote[superblock.size_class], address):
            return
    dealloc_slowly(heap, address)


def alloc_zeroed(heap, size, align):
    address = alloc(heap, size, align)
    if address != NULL and not is_fresh(heap, address):
        heap.memory.fill(address, size, 0)
    return address


def thread_exit(heap):
    """Empty the buffers; what the thread still frees after that goes to its superblock at once."""
    thread = Thread(heap.memory, heap.memory.local(MINE))
    heap.memory.set_local(HAS_ENDED, 1)
    if thread:
        leave_roster(heap, thread)


def trim(heap):
    """Give back this thread's buffers, every empty superblock and all large objects kept; return the bytes."""
    before = heap.store.held.load()
    thread = Thread(heap.memory, heap.memory.local(MINE))
    if thread:
        flush(heap, thread)
    for i in range(1, 1 + PROCESSORS):
        give_empty(heap, heap.processors[i])
    return before - heap.store.held.load() + trim_large(heap)


def give_empty(heap, owner):
    """Move a heap's empty superblocks to the global heap, and from there to the kernel."""
    common = heap.processors[0]
    acquire(heap.memory, owner.lock)
    acquire(heap.memory, common.lock)
    while owner.lists[EMPTY]:
        superblock = owner.lists[EMPTY]
        leave(owner, superblock)
        join(common, superblock)
    unmap_empty(heap, 0)
    release(heap.memory, common.lock)
    release(heap.memory, owner.lock)


# --- fork: all locks, in their order


def fork_prepare(heap):
    acquire(heap.memory, heap.roster.lock)
    for i in range(PROCESSORS, -1, -1):
        acquire(heap.memory, heap.processors[i].lock)
    acquire(heap.memory, heap.store.lock)
    acquire(heap.memory, heap.large.lock)


def fork_parent(heap):
    release(heap.memory, heap.large.lock)
    release(heap.memory, heap.store.lock)
    for i in range(1 + PROCESSORS):
        release(heap.memory, heap.processors[i].lock)
    release(heap.memory, heap.roster.lock)


def fork_child(heap):
    """Nobody waits for a lock here: make them as new."""
    heap.large.lock.store(0)
    heap.store.lock.store(0)
    for i in range(1 + PROCESSORS):
        heap.processors[i].lock.store(0)
    heap.roster.lock.store(0)
    forget_others(heap)


# --- looking at it


def walk(heap, start, end):
    """Yield (start, size, kind) for each block of [start, end), which begins with a header."""
    place = start
    while place < end:
        if heap.store.fresh <= place < heap.store.end:
            yield place, heap.store.end - place, UNUSED
            place = heap.store.end
            continue
        superblock = Superblock(heap.memory, place)
        if superblock.magic == SUPERBLOCK_MAGIC:
            for span in walk_superblock(heap, superblock):  # noqa: UP028  `yield from` does not compile
                yield span
            place += SUPERBLOCK
        elif superblock.magic == ROSTER_MAGIC:
            size = RosterPage(heap.memory, place).size
            yield place, size, OWN
            place += size
        else:
            size, kind = span_at(heap, place, end)
            yield place, size, kind
            place += size


def check(heap, start, end):
    heaps = [heap.processors[i] for i in range(1 + PROCESSORS)]
    listed = [(owner, i, superblock) for owner in heaps for i, superblock in superblocks_of(owner)]
    for owner, i, superblock in listed:
        if start <= superblock.address < end:
            check_superblock(heap, owner, i, superblock)
    linked = all(is_linked_back(owner.lists[i]) for owner in heaps for i in range(LISTS))
    assert linked and len({superblock.address for _, _, superblock in listed}) == len(listed), (
        "H1  each superblock lies at a multiple of S, in one list, linked both ways, of its owner: its home, or heap 0"
    )
    assert not any(is_too_empty(owner, owner.held - owner.taken) for owner in heaps[1:]), (
        "H3  but for the superblocks taken since the last free, u >= a - K*S or u >= (1 - f) * a"
    )
    sums = [sum(superblock.used for owner, _, superblock in listed if owner == each) for each in heaps]
    held = [SUPERBLOCK * sum(owner == each for owner, _, _ in listed) for each in heaps]
    assert [(owner.used, owner.held) for owner in heaps] == list(zip(sums, held, strict=True)), (
        "H4  u sums what is in use in the heap's superblocks, and a over all heaps is what the store gave out"
    )
    assert sum(held) == heap.store.held.load(), (
        "H4  u sums what is in use in the heap's superblocks, and a over all heaps is what the store gave out"
    )
    assert all(buffers_hold(thread) for thread in threads_of(heap)), (
        "H6  a buffered object counts as in use, and no buffer exceeds its limit, those of remote frees included"
    )
    assert is_bounded(heap.large), (
        "H7  kept large objects are within 1 MiB and half of the most ever live, and with the live ones 9/8 of it"
    )


def check_superblock(heap, owner, i, superblock):
    free, buffered = free_in(superblock), buffered_in(heap, superblock)
    first, size = first_of(superblock), superblock.object_size
    assert superblock.address % SUPERBLOCK == 0 and superblock.owner.load() == owner and i == superblock.list, (
        "H1  each superblock lies at a multiple of S, in one list, linked both ways, of its owner: its home, or heap 0"
    )
    assert owner in (superblock.home.load(), heap.processors[0]), (
        "H1  each superblock lies at a multiple of S, in one list, linked both ways, of its owner: its home, or heap 0"
    )
    assert superblock.used + len(free) * size == superblock.bump - first and list_of(superblock) == i, (
        "H2  objects in use, free and never handed out fill a superblock, and its list is the one for those in use"
    )
    assert all(is_object(superblock, address) for address in free + buffered) and len(set(free)) == len(free), (
        "H5  each free object begins a multiple of the object size after the first"
    )
    assert not set(free) & set(buffered) and len(buffered) * size <= superblock.used, (
        "H6  a buffered object counts as in use, and no buffer exceeds its limit, those of remote frees included"
    )
