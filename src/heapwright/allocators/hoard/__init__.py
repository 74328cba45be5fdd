"""Hoard: one heap per processor, and a limit on how empty a heap may be before it must give memory up.

Source: E. Berger, K. McKinley, R. Blumofe, P. Wilson, Hoard: A Scalable Memory Allocator for Multithreaded
Applications, ASPLOS 2000; github.com/emeryberger/Hoard 3.13 for thread-local buffers and large objects. The development
version of 2025 puts freed objects on delayed lists and no longer tests the limit when memory is freed; this one does.

A superblock is 64 KiB of objects of one size class (superblocks). It belongs to one heap (heaps):

      superblock -> +--------------------+        object -> +--------------------+
                    | class, home, owner |     in use       | the caller's bytes |
                    | free, bump, used   |                  +--------------------+
                    +--------------------+        object -> +--------------------+
                    | object, object ... |     free         | next               |
                    +--------------------+                  | stale              |
                                                            +--------------------+

Fields of the allocator: heap 0, the global heap, and heaps 1 to P, each with a lock, the bytes in use u, the bytes held
a, and lists of superblocks by class and fullness; notes on superblocks (known_places); the store of fresh superblocks;
large objects (large_objects); the roster of threads and their buffers (threads).

`alloc` rounds the size up to a class and takes an object from the thread's buffer of that class. When the buffer is
empty, the thread refills it from its home heap, fullest superblock first. A home heap without room takes a superblock
from the global heap, or else a new one from the store.

`dealloc` puts the object into the thread's buffer if the thread's home heap was the last to take its superblock, and
otherwise among the thread's remote frees. A full buffer returns objects to the superblocks they came from, under the
lock of the heap that owns each. If that heap is now too empty, it gives a superblock to the global heap, where any
other heap may take it. So memory held stays proportional to memory in use.

Threads of two homes share a cache line only if its superblock changed hands. Hoard never causes such sharing on
purpose, and it does not arise when one thread frees an object that another thread handed over. The paper avoids this
passive false sharing. Version 3.13 permits it again, because its buffers accept every freed object. Larger alignments
need no pointers into the middle of objects, because the classes and the first object of a superblock are aligned.

Invariants
    H1  each superblock lies at a multiple of S, in one list, linked both ways, of its owner: its home, or heap 0
    H2  objects in use, free and never handed out fill a superblock, and its list is the one for those in use
    H3  without the superblocks taken since the last free, u >= a - K*S or u >= (1 - f) * a
    H4  u sums what is in use in the heap's superblocks, and a over all heaps is what the store gave out
    H5  each free object begins a multiple of the object size after the first
    H6  a buffered object counts as in use, and no buffer exceeds its limit, those of remote frees included
    H7  kept large objects take at most 1 MiB and half of the most ever live, and with the live ones 9/8 of it
    H8  what is noted of a superblock, if anything, is its home and its class

Bound: with K = 16 and f = 1/4, heaps 1 to P hold at most u / (1 - f) + P*K*S bytes after frees. Memory kept for later
is at most 1 MiB per heap, 1 MiB plus a quarter of all superblocks in the global heap, 768 KiB per thread, and the large
objects of H7. A thread empties its buffers when all heaps together have grown by 256 KiB, because a few buffered
objects can keep many superblocks from becoming empty.

Costs: an object of 4 KiB or more that is not in the buffer takes a lock each time. Size classes waste at most a fifth
of an object, and a superblock wastes at most a quarter of itself.
"""

from __future__ import annotations

from heapwright import bits
from heapwright.allocators.hoard import free_pages, heaps, inspect, superblocks, threads
from heapwright.allocators.parts import known_places, large_objects, size_classes
from heapwright.layout import NULL, Array, Inline, Struct

walk, check, lists = inspect.walk, inspect.check, inspect.lists
survey = inspect.survey

OVERHEAD = 0
OVERHEAD_ELSEWHERE = "96 bytes in the superblock"
SMALLEST = 16
ALIGN = 16
ALLOC_COST = "O(1), a lock once in 128 small objects"
DEALLOC_COST = "O(1), a lock once in 128 small objects"
GIVES_BACK = "superblocks and large objects; `trim`: free pages of superblocks"

TUNABLES = (
    ("SUPERBLOCK", "parts.known_places.BOUNDARY", (1 << 16, 1 << 17, 1 << 18)),  # multiples of every size of page
    ("K", "heaps.K", range(257)),
)
THREADS = "own"
RACES = (
    "Superblock.bump: an object in use lies below it, wherever it moves",
    "Superblock.free: an object in use is never the first",
    "Superblock.used: it counts an object in use",
)
SLOW_PATHS = ("alloc_slowly", "dealloc_elsewhere", "dealloc_slowly", "free_chain", "usable_slowly")
RECLAIMS = True  # when memory runs out, kept memory is released
DETECTS = ("double free at once", "foreign")  # certain only for the object freed last, and on the slow paths
RETAINS = 1 << 20  # the unused rest of a chunk of superblocks, and the threads' records


class Heap(Struct):
    processors: Array[Inline[superblocks.ProcessorHeap], 1 + threads.PROCESSORS]
    places: Inline[known_places.Places]
    store: Inline[heaps.Store]
    large: Inline[large_objects.LargeObjects]
    roster: Inline[threads.Roster]


# --- blocks


def usable_size(heap, address):
    """The size of the object; an address that `dealloc` would report is reported here, too."""
    step = known_places.note_of(heap.places, address) - heap.memory.local(threads.HOME)
    if bits.unsigned_less(step, superblocks.CLASSES * superblocks.NOTE_STEP):
        thread = threads.Thread(heap.memory, heap.memory.local(threads.MINE))
        buffer = threads.buffer_at(thread.buffers, thread, step)
        if buffer.first.address != address and buffer.uses > threads.WARM:
            return superblocks.superblock_of(heap, address).object_size
    return usable_slowly(heap, address)


def usable_slowly(heap, address):
    superblock = superblocks.known_header(heap, address)
    if superblock.magic != superblocks.SUPERBLOCK_MAGIC:
        return large_objects.usable_in(large_objects.live_large(heap, address))
    refuse_freed(heap, superblock, address)
    return superblock.object_size


def refuse_freed(heap, superblock, address):
    """Report an object that was freed just before; `dealloc` detects the same cases."""
    thread = threads.Thread(heap.memory, heap.memory.local(threads.MINE))
    buffer = threads.buffer_for(thread, superblock) if thread else thread.remote.of[0].at(NULL)
    if buffer and buffer.first.address == address:
        heap.memory.fault("double free", address)
    if not buffer or buffer.uses <= threads.WARM:  # else what is freed never goes past the buffer
        superblocks.refuse_first(superblock, address)


# --- the slow paths


def alloc_slowly(heap, size, align):
    """Allocate what the buffer cannot supply: refill it, take a larger object, or map one."""
    if bits.is_absurd(size, align):
        return NULL
    rounded = bits.align_up(max(size, 1), align)
    if rounded > superblocks.MAX_SMALL:
        return alloc_mapped(heap, size, align)
    size_class = size_classes.class_of(rounded)
    thread = threads.this_thread(heap)
    if thread and size_class < threads.BUFFERED:
        return alloc_buffered(heap, thread, size_class)
    chain, _ = heaps.take_chain(heap, home_of(heap, thread), size_class, 1)
    return chain.address


def alloc_mapped(heap, size, align):
    """Allocate a large object. When memory is exhausted, release all kept memory and try once more."""
    address = large_objects.alloc_large(heap, size, align)
    if address == NULL and trim(heap, 0) > 0:
        address = large_objects.alloc_large(heap, size, align)
    return address


def alloc_buffered(heap, thread, size_class):
    buffer = thread.buffers[size_class]
    if not buffer.first and threads.is_cold(buffer):
        return threads.take_cold(heap, thread, buffer, size_class)
    if not buffer.first:  # else the size was 0
        threads.refill(heap, thread, size_class)
    return threads.take(buffer) if buffer.first else NULL


def home_of(heap, thread):
    """The heap that a thread allocates from. A thread without a record hashes its number."""
    if thread:
        return thread.home
    return heap.processors[1 + (heap.memory.thread_id() >> 12) % threads.PROCESSORS]


def dealloc_elsewhere(heap, address, note):
    """Put an object among the thread's remote frees, or take the slow path if they have no room."""
    thread = threads.Thread(heap.memory, heap.memory.local(threads.MINE))
    is_remote = bits.unsigned_less(
        note, known_places.IS_LARGE
    ) and note >> superblocks.LOG2_HOME << superblocks.LOG2_HOME != heap.memory.local(threads.HOME)
    if (
        thread
        and is_remote
        and threads.try_put(threads.buffer_at(thread.remote.of, thread, note & superblocks.STEPS), address)
    ):
        return
    dealloc_slowly(heap, address)


def dealloc_slowly(heap, address):
    superblock = superblocks.known_header(heap, address)
    if superblock.magic == superblocks.SUPERBLOCK_MAGIC and superblocks.is_object(superblock, address):
        free_object(heap, superblock, superblocks.Object(heap.memory, address))
    else:
        large_objects.dealloc_large(heap, address)


def free_object(heap, superblock, freed):
    """Free into the thread's buffer or remote frees, making room there, or else into the superblock."""
    thread, size_class = threads.this_thread(heap), superblock.size_class
    if not thread or size_class >= threads.BUFFERED:
        heaps.free_one(heap, freed)
    elif superblock.home.load() == thread.home:
        free_into(heap, thread.buffers[size_class], size_class, freed, False)
    elif thread.remote == heap.roster.nothing and not threads.open_remote(heap, thread):
        heaps.free_one(heap, freed)
    else:
        free_into(heap, thread.remote.of[size_class], size_class, freed, True)


def free_into(heap, buffer, size_class, freed, is_remote):
    """Free into a buffer of the thread's own objects or of its remote frees. A full one makes room first."""
    refuse_last(heap, buffer, freed)
    if buffer.room == 0 and threads.is_cold(buffer):
        threads.put_cold(heap, buffer, freed)
        return
    if buffer.room == 0 and is_remote:
        threads.make_remote_room(heap, buffer, size_class)
    elif buffer.room == 0:
        threads.make_room(heap, buffer, size_class)
    threads.put(buffer, freed)


def refuse_last(heap, buffer, freed):
    """Report an object that is already the first of the buffer."""
    if buffer.first == freed:
        heap.memory.fault("double free", freed.address)


# --- the allocator


def alloc(heap, size, align):
    """Take an object from this thread's buffer. The class of a size rounded up to `align` has that alignment."""
    rounded = bits.wrapping_add(size, align - 1) & -align  # an absurd size wraps around and fails the test below
    if bits.unsigned_less(
        bits.wrapping_add(rounded, -1), heap.memory.local(threads.LIMIT)
    ):  # the limit is 0 before the thread's first call
        thread = threads.Thread(heap.memory, heap.memory.local(threads.MINE))
        buffer = thread.buffers[size_classes.class_of(rounded)]
        if buffer.first:
            return threads.take(buffer)
    return alloc_slowly(heap, size, align)


def dealloc(heap, address, size, align):
    """Free into this thread's buffer, if it has the superblock's home and room. The note holds home and class."""
    note = known_places.note_of(heap.places, address)
    step = note - heap.memory.local(threads.HOME)
    if bits.unsigned_less(step, superblocks.CLASSES * superblocks.NOTE_STEP):
        thread = threads.Thread(heap.memory, heap.memory.local(threads.MINE))
        if threads.try_put(threads.buffer_at(thread.buffers, thread, step), address):
            return
    dealloc_elsewhere(heap, address, note)


def alloc_zeroed(heap, size, align):
    address = alloc(heap, size, align)
    if address != NULL and not large_objects.is_fresh(heap, address):
        heap.memory.fill(address, size, 0)
    return address


def thread_exit(heap):
    """Empty the buffers. Objects that the thread frees later go straight to their superblocks."""
    thread = threads.Thread(heap.memory, heap.memory.local(threads.MINE))
    heap.memory.set_local(threads.HAS_ENDED, 1)
    if thread:
        threads.leave_roster(heap, thread)


def trim(heap, pad):
    """Release this thread's buffers, empty superblocks, free pages and kept large objects; return the bytes."""
    before = heap.store.held.load()
    thread = threads.Thread(heap.memory, heap.memory.local(threads.MINE))
    if thread:
        threads.flush(heap, thread)
    from_pages = 0
    for i in range(threads.PROCESSORS, -1, -1):
        from_pages += free_pages.give_free(heap, heap.processors[i])
    return before - heap.store.held.load() + from_pages + large_objects.trim_large(heap)


# --- fork, and the end after a report


def fork_prepare(heap):
    threads.lock_all(heap)


def fork_parent(heap):
    threads.unlock_all(heap)


def fork_child(heap):
    threads.forget_sleepers(heap)
    threads.forget_others(heap)


def release_held(heap):
    threads.unlock_own(heap)
