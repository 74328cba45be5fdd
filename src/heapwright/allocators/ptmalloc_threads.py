"""Threads of ptmalloc: which arena each uses, its cache from first need to last, and forks.

Source: glibc malloc/arena.c (arena_get2, _int_new_arena, reused_arena, __malloc_arena_thread_freeres,
__malloc_fork_lock_parent).

A thread's number is where its words lie, on its stack; the C library gives that stack to who waited for the thread's
end. So a chain of threads that leave each other their blocks keeps its arena (glibc: gets the one left last, which may
be that of another chain).

Locks: `list_lock` for the list of arenas, then an arena's. No thread holds two but one that forks, which takes them
all in that order: the child then finds every arena whole.
"""

from __future__ import annotations

from heapwright.allocators.ptmalloc_arenas import release, take
from heapwright.allocators.ptmalloc_bins import open_bins, set_top
from heapwright.allocators.ptmalloc_cache import LEAST_BIN, ROOM, pop
from heapwright.allocators.ptmalloc_chunks import (
    MAPPED,
    NON_MAIN,
    Chunk,
    address_of,
    chunk_of,
    chunk_size_for,
    is_mapped,
)
from heapwright.allocators.ptmalloc_state import (
    CACHE_BINS,
    CACHE_SLOT,
    Arena,
    Segment,
    Thread,
    arena_of,
    thread_of,
)
from heapwright.allocators.ptmalloc_system import map_segment, padded_size, unmap_chunk
from heapwright.layout import NULL
from heapwright.locks import FREE, acquire
from heapwright.locks import release as unlock

MMAP_THRESHOLD = 131072  # at first; it follows the largest mapping freed, up to:
MOST_MMAP_THRESHOLD = 32 << 20
TRIM_THRESHOLD = 131072  # at first; then twice the other
TOP_PAD = 131072
MOST_ARENAS = 16


# --- arenas


def open_heap(heap):
    open_bins(heap.main)
    heap.mmap_threshold.store(MMAP_THRESHOLD)
    heap.trim_threshold.store(TRIM_THRESHOLD)
    heap.most_threshold.store(MOST_MMAP_THRESHOLD)
    heap.top_pad.store(TOP_PAD)
    heap.most_arenas = MOST_ARENAS
    heap.arenas = 1
    heap.last_shared = heap.main


def new_arena(heap):
    """An arena in a segment of its own, or null."""
    records = Segment.SIZE + Arena.SIZE
    size = padded_size(heap, records)
    segment = map_segment(heap.memory, size)
    arena = Arena(heap.memory, segment.address + Segment.SIZE)
    if not segment:
        return arena.at(NULL)
    segment.arena = arena
    open_bins(arena)
    arena.flag = NON_MAIN
    arena.system_bytes = size
    set_top(arena, Chunk(heap.memory, segment.address + records), size - records)
    arena.next = heap.main.next
    heap.main.next = arena
    heap.arenas += 1
    return arena


def choose_arena(heap):
    """The main arena for the first thread; then one that a thread left, a new one, or one to share."""
    if heap.main.threads == 0:
        return heap.main
    arena = left_arena(heap)
    if arena:
        return arena
    if heap.arenas < heap.most_arenas:
        arena = new_arena(heap)
        if arena:
            return arena
    return shared_arena(heap)


def left_arena(heap):
    """An arena that all have left, best one that a thread of the caller's number took last; null if there is none."""
    arena, found = heap.main.next, heap.main.at(NULL)
    while arena:
        if arena.threads == 0:
            found = arena
            if arena.number == heap.memory.thread_id():
                break
        arena = arena.next
    return found


def shared_arena(heap):
    """In turn, the next arena that nobody holds just now, or the next."""
    arena = following(heap, heap.last_shared)
    for _ in range(heap.arenas):
        if arena.lock.load() == FREE:
            break
        arena = following(heap, arena)
    heap.last_shared = arena
    return arena


def following(heap, arena):
    return arena.next if arena.next else heap.main


def attach(heap):
    """An arena for the calling thread. The first call opens the heap."""
    acquire(heap.memory, heap.list_lock)
    if heap.arenas == 0:
        open_heap(heap)
    arena = choose_arena(heap)
    arena.threads += 1
    arena.number = heap.memory.thread_id()
    unlock(heap.memory, heap.list_lock)
    return arena


def detach(heap, arena):
    """Leave an arena; one that all have left is free for the next thread."""
    acquire(heap.memory, heap.list_lock)
    arena.threads -= 1
    unlock(heap.memory, heap.list_lock)


# --- a thread's cache


def open_thread(heap):
    """The calling thread's cache, made at its first need; nobody's at the thread's end, or if there is no memory."""
    thread = thread_of(heap)
    if thread:
        return thread
    arena = attach(heap)
    thread = new_thread(heap, arena)
    if not thread:
        detach(heap, arena)
        return heap.nobody
    heap.memory.set_local(CACHE_SLOT, thread.address)
    return thread


def new_thread(heap, arena):
    """An empty cache, in a chunk of its arena; null if there is none."""
    acquire(heap.memory, arena.lock)
    chunk = take(heap, arena, heap.nobody, chunk_size_for(Thread.SIZE))
    if chunk and is_mapped(chunk):
        unmap_chunk(heap, chunk)  # so little memory is left that a cache does not matter
        chunk = chunk.at(NULL)
    if chunk:
        chunk.head |= MAPPED
    unlock(heap.memory, arena.lock)
    if not chunk:
        return Thread(heap.memory, NULL)
    thread = Thread(heap.memory, address_of(chunk))
    heap.memory.fill(thread.address, Thread.SIZE, 0)
    for index in range(LEAST_BIN, CACHE_BINS):
        thread.room[index] = ROOM
    thread.arena = arena
    return thread


def close_thread(heap):
    """Empty the calling thread's cache and free it; what the thread frees from now on goes to the arenas at once."""
    thread = thread_of(heap)
    if heap.arenas == 0 or thread == heap.nobody:
        return
    heap.memory.set_local(CACHE_SLOT, heap.nobody.address)
    if not thread:
        return
    arena = thread.arena
    for index in range(CACHE_BINS):
        while thread.entries[index]:
            give_back(heap, chunk_of(heap, pop(thread, index)))
    release_thread(heap, arena, chunk_of(heap, thread.address))
    detach(heap, arena)


def release_thread(heap, arena, chunk):
    acquire(heap.memory, arena.lock)
    chunk.head &= ~MAPPED
    release(heap, arena, chunk)
    unlock(heap.memory, arena.lock)


# --- chunks that no cache takes


def give_back(heap, chunk):
    """Free a chunk to the kernel or to its arena."""
    if is_mapped(chunk):
        unmap_chunk(heap, chunk)
        return
    arena = arena_of(heap, chunk)
    acquire(heap.memory, arena.lock)
    release(heap, arena, chunk)
    unlock(heap.memory, arena.lock)


# --- forks


def lock_all(heap):
    acquire(heap.memory, heap.list_lock)
    arena = heap.main
    while arena:
        acquire(heap.memory, arena.lock)
        arena = arena.next


def unlock_all(heap):
    """In the parent or, with no other thread left, in the child."""
    arena = heap.main
    while arena:
        unlock(heap.memory, arena.lock)
        arena = arena.next
    unlock(heap.memory, heap.list_lock)


def forget_threads(heap):
    """In the child: the caller is the only thread, and other arenas are free for the next.

    Other threads' caches are lost: they may have been halfway through a change when the memory was copied.
    """
    thread = thread_of(heap)
    own = thread.arena if thread else heap.nobody.arena
    arena = heap.main
    while arena:
        arena.threads = 1 if arena == own else 0
        arena = arena.next
