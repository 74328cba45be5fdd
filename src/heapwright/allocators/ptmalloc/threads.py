"""Threads of ptmalloc: the choice of an arena, the life of a thread's cache, and forks.

Source: glibc malloc/arena.c (arena_get2, _int_new_arena, reused_arena, __malloc_arena_thread_freeres,
__malloc_fork_lock_parent).

A thread's number is the address of its thread-local words, on its stack, and the C library reuses the stack of a joined
thread for the next thread that is started. So a chain of threads that pass blocks on keeps its arena. In glibc, such a
thread gets the arena left last, which may be that of another chain.

Lock order: `list_lock`, which guards the list of arenas, then the arenas' locks. A thread holds at most one of them,
except when it forks: it then takes them all in this order, so that the child finds every arena consistent.
"""

from __future__ import annotations

from heapwright import locks
from heapwright.allocators.ptmalloc import arenas, bins, cache, checks, chunks, options, state, system, version
from heapwright.allocators.ptmalloc.chunks import Chunk
from heapwright.allocators.ptmalloc.state import Arena, Segment, Thread
from heapwright.layout import NULL

# --- arenas


def new_arena(heap):
    """Make an arena in a new segment; null when memory is exhausted."""
    records = Segment.SIZE + Arena.SIZE
    size = system.padded_size(heap, records)
    segment = system.map_segment(heap.memory, size)
    arena = Arena(heap.memory, segment.address + Segment.SIZE)
    if not segment:
        return arena.at(NULL)
    segment.arena = arena
    bins.open_bins(arena)
    arena.flag = chunks.NON_MAIN
    state.count_system(arena, size)
    bins.set_top(arena, Chunk(heap.memory, segment.address + records), size - records)
    arena.next = heap.main.next
    heap.main.next = arena
    heap.arenas += 1
    return arena


def choose_arena(heap):
    """The main arena for the first thread; for later ones an arena without threads, a new one, or one to share."""
    if heap.main.threads == 0:
        return heap.main
    arena = left_arena(heap)
    if arena:
        return arena
    if may_be_more(heap):
        arena = new_arena(heap)
        if arena:
            return arena
    return shared_arena(heap)


def may_be_more(heap):
    """Whether another arena may be made: up to the limit that was set, or else the default or `arena_test` + 1."""
    if heap.max_arenas > 0:
        return heap.arenas < heap.max_arenas
    return heap.arenas < options.MAX_ARENAS or heap.arenas <= heap.arena_test


def left_arena(heap):
    """An arena without threads, preferably one last taken by a thread of this number; null if there is none."""
    arena, found = heap.main.next, heap.main.at(NULL)
    while arena:
        if arena.threads == 0:
            found = arena
            if arena.number == heap.memory.thread_id():
                break
        arena = arena.next
    return found


def shared_arena(heap):
    """The next arena in turn, preferably one whose lock is free at the moment."""
    arena = following(heap, heap.last_shared)
    for _ in range(heap.arenas):
        if arena.lock.load() == locks.FREE:
            break
        arena = following(heap, arena)
    heap.last_shared = arena
    return arena


def following(heap, arena):
    return arena.next if arena.next else heap.main


def attach(heap):
    """Choose an arena for the calling thread. The first call opens the heap."""
    locks.acquire(heap.memory, heap.list_lock)
    options.open_once(heap)
    arena = choose_arena(heap)
    arena.threads += 1
    arena.number = heap.memory.thread_id()
    locks.release(heap.memory, heap.list_lock)
    return arena


def detach(heap, arena):
    """Leave an arena; an arena without threads is available to the next one."""
    locks.acquire(heap.memory, heap.list_lock)
    arena.threads -= 1
    locks.release(heap.memory, heap.list_lock)


# --- a thread's cache


def open_thread(heap):
    """The calling thread's cache, made when first needed; `nobody` if the thread is exiting or memory is exhausted."""
    thread = state.thread_of(heap)
    if thread:
        return thread
    arena = attach(heap)
    thread = new_thread(heap, arena)
    if not thread:
        detach(heap, arena)
        return heap.nobody
    heap.memory.set_local(state.CACHE_SLOT, thread.address)
    heap.memory.set_local(state.ARENA_SLOT, arena.address)
    return thread


def cache_for(heap, align):
    """The calling thread's cache, as `open_thread`. In 2.36 a thread's first aligned request does not make it."""
    if not version.IS_236 or align <= chunks.UNIT or state.thread_of(heap):
        return open_thread(heap)
    locks.acquire(heap.memory, heap.list_lock)
    options.open_once(heap)
    locks.release(heap.memory, heap.list_lock)
    return heap.nobody


def new_thread(heap, arena):
    """Make an empty cache in a chunk of its arena; null when memory is exhausted."""
    locks.acquire(heap.memory, arena.lock)
    chunk = arenas.take(heap, arena, heap.nobody, chunks.chunk_size_for(Thread.SIZE - chunks.HEADER))
    if chunk and chunks.is_mapped(chunk):
        system.unmap_chunk(heap, chunk)  # memory is so short that a cache does not matter
        chunk = chunk.at(NULL)
    if chunk:
        chunk.head |= chunks.MAPPED
    locks.release(heap.memory, arena.lock)
    if not chunk:
        return Thread(heap.memory, NULL)
    thread = Thread(heap.memory, chunk.address)
    heap.memory.fill(chunks.address_of(chunk), Thread.SIZE - chunks.HEADER, 0)
    for index in range(cache.MIN_BIN, heap.cache_bins):
        thread.room[index] = heap.cache_room
    return thread


def close_thread(heap):
    """Empty and free the calling thread's cache. Chunks that the thread frees later go straight to the arenas."""
    thread = state.thread_of(heap)
    if heap.arenas == 0 or thread == heap.nobody:
        return
    heap.memory.set_local(state.CACHE_SLOT, heap.nobody.address)
    if not thread:
        return
    arena = state.own_arena(heap)
    heap.memory.set_local(state.ARENA_SLOT, NULL)
    empty_cache(heap, thread)
    release_thread(heap, arena, Chunk(heap.memory, thread.address))
    detach(heap, arena)


def empty_cache(heap, thread):
    """Free all chunks in a thread's cache; return the number of bytes released to the kernel."""
    released = 0
    for index in range(cache.MIN_BIN, state.CACHE_BINS):
        while thread.entries[index]:
            cache.refuse_broken(heap, thread, index)
            released += give_back(heap, chunks.chunk_of(heap, cache.pop(thread, index)))
    return released


def release_thread(heap, arena, chunk):
    locks.acquire(heap.memory, arena.lock)
    chunk.head &= ~chunks.MAPPED
    arenas.release(heap, arena, chunk)
    locks.release(heap.memory, arena.lock)


# --- chunks that no cache accepts


def give_back(heap, chunk):
    """Free a chunk to the kernel or to its arena; return the number of bytes released to the kernel."""
    if chunks.is_mapped(chunk):
        return system.unmap_chunk(heap, chunk)
    arena = state.arena_of(heap, chunk)
    locks.acquire(heap.memory, arena.lock)
    released = arenas.release(heap, arena, chunk)
    locks.release(heap.memory, arena.lock)
    return released


# --- forks


def lock_all(heap):
    locks.acquire(heap.memory, heap.list_lock)
    arena = heap.main
    while arena:
        locks.acquire(heap.memory, arena.lock)
        arena = arena.next


def unlock_all(heap):
    """Unlock after a fork: in the parent, or in the child, which has no other threads."""
    arena = heap.main
    while arena:
        locks.release(heap.memory, arena.lock)
        arena = arena.next
    locks.release(heap.memory, heap.list_lock)


def unlock_own(heap):
    """Release the locks that the calling thread holds.

    Arenas are only ever added to the list, so it can be read without its lock.
    """
    arena = heap.main
    while arena:
        locks.release_own(heap.memory, arena.lock)
        arena = arena.next
    locks.release_own(heap.memory, heap.list_lock)


def forget_threads(heap):
    """Count the caller as the only thread of the forked child; other arenas become available.

    Other threads' caches are lost, because the fork may have copied them in the middle of a change.
    """
    own = state.own_arena(heap)
    arena = heap.main
    while arena:
        arena.threads = 1 if arena == own else 0
        arena = arena.next


def resize_in_arena(heap, chunk, size, align):
    """Resize a chunk in place or copy it to another chunk of its arena; return the result, or null."""
    thread = open_thread(heap)
    arena = state.arena_of(heap, chunk)
    locks.acquire(heap.memory, arena.lock)
    checks.refuse_resized(arena, chunk)
    if not arenas.resize(heap, arena, thread, chunk, size):
        chunk = arenas.renew(heap, arena, thread, chunk, size) if align <= chunks.UNIT else chunk.at(NULL)
    locks.release(heap.memory, arena.lock)
    return chunk


def resize_chunk(heap, chunk, size, align):
    """Resize a chunk, which may move; return the result, or null if the caller must copy the block itself."""
    if chunks.is_mapped(chunk):
        return system.remap_chunk(heap, chunk, size, align <= heap.memory.PAGE)
    return resize_in_arena(heap, chunk, size, align)
