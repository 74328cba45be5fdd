"""Spaces (mspaces in the source): further heaps of one process, each with its own segments, bins and top.

A space is a `Heap` of its own. It lies in the first chunk of its first segment, which is a mapping or memory that the
program lends:

      +--------+-----------------+--------+-- ... --+-------------+
      | head   | the space: Heap | chunks | top     | foot of top |
      +--------+-----------------+--------+-- ... --+-------------+
                 936 bytes

The program's heap, the first one, has the list of its spaces. A space grows by mappings and never moves the break. Its
large chunks are mappings too, unless it tracks them; only then does its end release these as well. It has a lock if
the program asks for one.

A heap here is `dlmalloc.Heap`.
"""

from __future__ import annotations

from heapwright import bits, locks
from heapwright.allocators.dlmalloc import chunks, segments
from heapwright.allocators.dlmalloc.settings import first_heap, in_units
from heapwright.layout import NULL

MAX_CAPACITY = 1 << 61


def record_size(heap):
    """The bytes of a space's fields: all but the settings, which only the first heap has."""
    return heap.settings.address - heap.address


def cost(heap):
    """The bytes that a space takes for its own chunk and the foot of top."""
    return chunks.chunk_size(heap, record_size(heap)) + segments.TOP_FOOT


# --- begin


def create(heap, capacity, is_locked):
    """Map a space with room for `capacity` bytes, by default one unit; null if the kernel refuses."""
    if not 0 <= capacity <= MAX_CAPACITY:
        return heap.at(NULL)
    size = in_units(heap, capacity + cost(heap) if capacity > 0 else 1)
    start = heap.memory.mmap(size)
    return heap.at(NULL) if start == -1 else open_space(heap, start, size, segments.MAPPED, is_locked)


def create_in(heap, start, capacity, is_locked):
    """Make a space in memory that the program lends; null if it is too small."""
    first = bits.align_up(start, chunks.ALIGNMENT)
    size = bits.align_down(start + capacity, chunks.ALIGNMENT) - start if 0 <= capacity <= MAX_CAPACITY else 0
    if start + size - first <= cost(heap):
        return heap.at(NULL)
    return open_space(heap, start, size, segments.LENT, is_locked)


def open_space(heap, start, size, origin, is_locked):
    chunk = heap.top.at(bits.align_up(start, chunks.ALIGNMENT))
    space, length = heap.at(chunks.address_of(chunk)), chunks.chunk_size(heap, record_size(heap))
    heap.memory.fill(space.address, record_size(heap), 0)
    space.first = first_heap(heap)
    space.break_use = segments.NO_BREAK
    space.is_locked = 1 if is_locked != 0 else 0
    segments.begin(space, start, size, origin)
    segments.count(space, size)
    chunks.use_first(space, chunk, length)
    top = chunks.offset_by(chunk, length)
    segments.set_top(space, top, start + size - segments.TOP_FOOT - top.address)
    space.next = heap.next
    heap.next = space
    return space


# --- end


def destroy(heap, space):
    """Unmap the segments of a space, with their blocks; return the bytes. What was lent is the program's again."""
    unlink(heap, space)
    space.first = space.at(NULL)
    return release_segments(heap, space)


def unlink(heap, space):
    before = heap
    while before.next != space:
        before = before.next
    before.next = space.next


def release_segments(heap, space):
    segment, freed = space.segment, 0
    while segment:
        start, size, origin, segment = segment.start, segment.size, segment.origin, segment.next
        if origin == segments.MAPPED and heap.memory.munmap(start, size) == 0:
            freed += size
    return freed


# --- a call on a space


def enter(heap, address):
    """The space at an address, locked if it has a lock; report an address where there is none."""
    space = heap.at(address)
    if space.first != heap:
        heap.memory.fault("not a space of this heap", address)
    if space.is_locked:
        locks.acquire(heap.memory, space.lock)
    return space


def leave(space):
    if space.is_locked:
        locks.release(space.memory, space.lock)


def track_large(space, is_tracking):
    """Take large chunks from segments from now on, or from mappings again; return the old choice."""
    before = space.is_tracking
    space.is_tracking = 1 if is_tracking != 0 else 0
    return before


# --- fork, and reports of misuse


def fork_prepare(heap):
    """Lock every space that has a lock, so that the child gets it consistent."""
    space = heap.next
    while space:
        if space.is_locked:
            locks.acquire(heap.memory, space.lock)
        space = space.next
    return 0


def fork_parent(heap):
    space = heap.next
    while space:
        leave(space)
        space = space.next
    return 0


def fork_child(heap):
    space = heap.next
    while space:
        space.lock.store(locks.FREE)
        space = space.next
    return 0


def release_held(heap):
    """Release the locks of spaces that the calling thread holds."""
    space = heap.next
    while space:
        if space.is_locked and space.lock.load() != locks.FREE:
            locks.release_own(heap.memory, space.lock)
        space = space.next
    return 0
