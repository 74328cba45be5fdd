"""The heap of glibc: best fit in arenas, before them a cache for each thread that is touched by no other.

Source: W. Gloger, ptmalloc2, 2001, after D. Lea, malloc.c 2.7.0; glibc malloc/malloc.c and malloc/arena.c as of 2.43:
no fast bins and no malloc_consolidate; sixteen chunks of each size in a cache, for requests of up to 1032 bytes (the
larger ones, up to 4 MiB, that a tunable of glibc's adds are left out); small chunks are freed straight into small bins.
glibc 2.36, against which this is measured, has seven chunks of each size, fast bins, and no cached calloc. There are at
most 16 arenas, or as many as `mallopt` says: glibc has eight for each processor, and takes two if it cannot count them.

A chunk; the whole story is in `ptmalloc_chunks`:

      in use                              free
      chunk -> +--------------------+     +--------------------+
             0 | previous_size      |     | previous_size      |  only if the chunk before is free
             8 | K | size   | A M P |     | size       |    1  |
    address -> +--------------------+     +--------------------+
            16 | the caller's bytes |     | forward            |
            24 |                    |     | back               |
            32 |                    |     | smaller, larger    |  in large chunks
       size -> +--------------------+     +--------------------+
               | more of them       |     | size again         |
               +--------------------+     +--------------------+

The heap's own words: the thresholds that follow the program, the list of arenas, the main arena, and an empty cache
for threads at their end. The main arena lives on the break, each other one in segments of 64 MiB; chunks from 128 KiB
(later up to 32 MiB) have a mapping of their own. A request is served

    from the thread's cache; else, under the lock of the thread's arena,
    from its small bin;  from the unsorted chunks, which get sorted on the way;  by the best fit of the sorted ones;
    off the top;  from the kernel.

Invariants
    PT1   chunks lie at multiples of 16 and have as many bytes, at least 32
    PT2   a chunk but the top is in use, as the next one says, if and only if it is in no bin
    PT3   a free chunk lies between chunks in use or before the top, and the next one repeats its size
    PT4   the lists of the bins are linked both ways
    PT5   a bin holds its own sizes, large ones falling, and the first of each size is on the circle of sizes
    PT6   a large or small bin whose map bit is clear is empty
    PT7   the top has at least 32 bytes and follows a chunk in use
    PT8   a bin of the cache and its room make sixteen; its entries have its size and say K
    PT9   a chunk in use says A if and only if it lies in a segment
    PT10  the segments of an arena make its system_bytes
    PT11  a mapped chunk ends 16 bytes before its mapping does
    PT12  the chunks in an arena's bins lie in that arena's memory, and do not say A
    PT13  the main arena's chunks are not more than its own system_bytes

Vital statistics: overhead 8 bytes, smallest chunk 32, alignment 16; alloc and dealloc of up to 1032 bytes are a
few instructions without an atomic one when the cache answers, O(unsorted + sizes in a bin) when not; the top beyond
128 KiB, empty segments and large mappings are given back. `walk` calls the top free, and fences, arenas, segments and
caches the heap's own.
"""

from __future__ import annotations

from heapwright.allocators.ptmalloc_arenas import decommit_free, renew, resize
from heapwright.allocators.ptmalloc_bins import UNSORTED, index_of, is_small, top_bytes
from heapwright.allocators.ptmalloc_cache import (
    LEAST_BIN,
    ROOM,
    bin_for,
    bin_of,
    can_be_kept,
    is_cached_size,
    is_whole,
    pop,
    push,
)
from heapwright.allocators.ptmalloc_chunks import (
    LEAST,
    NON_MAIN,
    OVERHEAD,
    UNIT,
    Chunk,
    address_of,
    chunk_of,
    chunk_size_for,
    follows_used,
    is_in_use,
    is_kept,
    is_mapped,
    next_of,
    size_of,
    usable_in,
)
from heapwright.allocators.ptmalloc_inspect import (
    all_arenas,
    entries_of,
    lists,  # noqa: F401  for pictures
    members,
    segments_of,
)
from heapwright.allocators.ptmalloc_serve import alloc_slowly, dealloc_slowly, serve
from heapwright.allocators.ptmalloc_state import (
    BINS,
    CACHE_BINS,
    MAP_BITS,
    Arena,
    Thread,
    arena_of,
    is_main,
    segment_of,
    thread_of,
)
from heapwright.allocators.ptmalloc_stretches import end_of_part, end_of_span, first_chunk, is_last, kind_of
from heapwright.allocators.ptmalloc_system import base_of, length_of, remap_chunk, trim_main, trim_segments
from heapwright.allocators.ptmalloc_threads import close_thread, forget_threads, lock_all, open_thread, unlock_all
from heapwright.allocators.ptmalloc_tune import set_option
from heapwright.bits import bit, is_absurd, is_aligned
from heapwright.layout import NULL, Atomic, Inline, Struct, Word
from heapwright.locks import acquire
from heapwright.locks import release as unlock
from heapwright.spans import CACHED, FREE, OWN, UNUSED, USED

THREADS = "own"
DETECTS = ("double free",)
RETAINS = "all that sbrk gave: the last chunk may be in the cache of a thread"
TIDIES = True  # a search sorts what it passes, also when it finds nothing
RACES = (
    "Halves.lower: who frees a chunk reads its size there; only the flag P changes under it",
    "Halves.upper: only the thread whose cache it is writes K, and others read P",
    "Heap.arenas: it is zero only before the first call, which the caller has made",
)
SLOW_PATHS = ("alloc_slowly", "dealloc_slowly", "serve", "realloc_slowly", "take", "wait_for")


class Heap(Struct):
    mmap_threshold: Atomic[Word]
    trim_threshold: Atomic[Word]
    most_threshold: Atomic[Word]  # up to which the two follow the program; zero once it has set one
    top_pad: Atomic[Word]  # asked for beyond what is needed, and kept when the top is trimmed
    mapped_chunks: Atomic[Word]
    mapped_bytes: Atomic[Word]
    list_lock: Atomic[Word]  # for what follows, and for who is in which list
    most_arenas: Word
    arenas: Word  # how many; zero until the heap is opened
    last_shared: Arena
    main: Inline[Arena]
    nobody: Inline[Thread]  # zero for ever


# --- the allocator


def alloc(heap, size, align):
    """The most recently cached chunk of the size; else whatever the arena finds."""
    if is_cached_size(size) and align <= UNIT:
        thread = thread_of(heap)
        index = bin_for(size)
        if thread and is_whole(thread.entries[index]):
            return pop(thread, index)
    return alloc_slowly(heap, size, align)


def dealloc(heap, address, size, align):
    """Into the cache, unless there is no room, or the chunk seems to be in it."""
    if is_aligned(address, UNIT):
        chunk = chunk_of(heap, address)
        if can_be_kept(chunk):
            thread = thread_of(heap)
            if thread and thread.room[bin_of(chunk)] > 0:
                push(thread, bin_of(chunk), chunk)
                return
    dealloc_slowly(heap, address)


def usable_size(heap, address):
    return usable_in(chunk_of(heap, address))


def alloc_zeroed(heap, size, align):
    """Clear what may have been used before: not a fresh mapping, nor what the top has just grown by."""
    if is_cached_size(size) or is_absurd(size, align):
        address = alloc(heap, size, align)
        dirty = size
    else:
        chunk, dirty = serve(heap, chunk_size_for(size), align)
        address = address_of(chunk) if chunk else NULL
    if address != NULL:
        heap.memory.fill(address, min(dirty, size), 0)
    return address


def realloc(heap, address, size, align, new_size):
    """Stay if the fit is close; else grow or shrink in place, or move."""
    usable = usable_size(heap, address)
    if usable - UNIT < new_size <= usable:
        return address
    return realloc_slowly(heap, address, align, new_size)


def realloc_slowly(heap, address, align, new_size):
    if is_absurd(new_size, align):
        return NULL
    chunk = chunk_of(heap, address)
    size = chunk_size_for(new_size)
    if is_mapped(chunk):
        fresh = remap_chunk(heap, chunk, size, align <= heap.memory.PAGE)
    else:
        fresh = resize_in_arena(heap, chunk, size, align)
    return address_of(fresh) if fresh else stay_or_move(heap, address, align, new_size)


def resize_in_arena(heap, chunk, size, align):
    """The chunk with its new size, or its content in another of its arena; null if that cannot be."""
    thread = open_thread(heap)
    arena = arena_of(heap, chunk)
    acquire(heap.memory, arena.lock)
    if not resize(heap, arena, chunk, size):
        chunk = renew(heap, arena, thread, chunk, size) if align <= UNIT else chunk.at(NULL)
    unlock(heap.memory, arena.lock)
    return chunk


def stay_or_move(heap, address, align, new_size):
    usable = usable_size(heap, address)
    if new_size <= usable:
        return address
    target = alloc(heap, new_size, align)
    if target != NULL:
        heap.memory.copy(target, address, usable)
        dealloc(heap, address, usable, align)
    return target


def trim(heap):
    """Give back the whole pages of free chunks and what the tops can spare; return the bytes."""
    released = 0
    arena = heap.main
    while arena and heap.arenas > 0:
        acquire(heap.memory, arena.lock)
        released += decommit_free(heap, arena)
        released += trim_main(heap, 0) if is_main(arena) else trim_segments(heap, arena, 0)
        unlock(heap.memory, arena.lock)
        arena = arena_after(heap, arena)
    return released


def arena_after(heap, arena):
    """The next arena, read under the lock under which one is added, so that it is seen whole."""
    acquire(heap.memory, heap.list_lock)
    following = arena.next
    unlock(heap.memory, heap.list_lock)
    return following


def tune(heap, option, value):
    return set_option(heap, option, value)


def thread_exit(heap):
    close_thread(heap)


def fork_prepare(heap):
    lock_all(heap)


def fork_parent(heap):
    unlock_all(heap)


def fork_child(heap):
    forget_threads(heap)
    unlock_all(heap)


# --- looking at it


def walk(heap, start, end):
    """Yield (start, size, kind) for each chunk and record of [start, end), part by part.

    A chunk is told from its head to the next one's: what the caller may write of it lies in between.
    """
    part = start
    while part < end:
        chunk = first_chunk(heap, part)
        place = chunk.address + OVERHEAD
        yield part, place - part, OWN
        is_more = True
        while is_more and place < end:
            chunk = chunk.at(place - OVERHEAD)
            stop = min(end_of_span(heap, part, chunk), end)
            yield place, stop - place, kind_of(heap, part, chunk)
            is_more = not is_last(heap, part, chunk)
            place = stop
        part = end_of_part(heap, part, place)
        if part > place:
            yield place, part - place, UNUSED


def check(heap, start, end):
    if heap.arenas == 0:
        return
    arenas = all_arenas(heap)
    unused = {chunk.address for arena in arenas for index in range(1, BINS) for chunk in members(arena, index)}
    unused |= {arena.top.address for arena in arenas}
    for arena in arenas:
        check_arena(arena)
    check_stretch(heap, start, end, unused)
    check_cache(heap, thread_of(heap))


def check_arena(arena):
    for index in range(1, BINS):
        chunks = members(arena, index)
        for chunk in chunks:
            check_free(arena, chunk)
        if index != UNSORTED:
            check_bin(index, chunks)
            marked = arena.map[index // MAP_BITS] & bit(index % MAP_BITS)
            assert marked or not chunks, "PT6   a large or small bin whose map bit is clear is empty"
    if arena.top:
        good = top_bytes(arena) >= LEAST and follows_used(arena.top)
        assert good, "PT7   the top has at least 32 bytes and follows a chunk in use"
    if not is_main(arena):
        total = sum(segment.size for segment in segments_of(arena))
        assert total == arena.system_bytes, "PT10  the segments of an arena make its system_bytes"


def check_free(arena, chunk):
    behind = next_of(chunk)
    apart = follows_used(chunk) and not follows_used(behind) and (behind == arena.top or is_in_use(behind))
    rule = "PT3   a free chunk lies between chunks in use or before the top, and the next one repeats its size"
    assert apart and behind.previous_size == size_of(chunk), rule
    owned = is_main(arena) or segment_of(chunk).arena == arena
    rule = "PT12  the chunks in an arena's bins lie in that arena's memory, and do not say A"
    assert owned and not chunk.head & NON_MAIN, rule


def check_bin(index, chunks):
    rule = "PT5   a bin holds its own sizes, large ones falling, and the first of each size is on the circle of sizes"
    sizes = [size_of(chunk) for chunk in chunks]
    assert all(index_of(size) == index for size in sizes) and sizes == sorted(sizes, reverse=True), rule
    if not chunks or is_small(sizes[0]):
        return
    firsts = [chunk for chunk, size, before in zip(chunks, sizes, [0, *sizes], strict=False) if size != before]
    for chunk, smaller in zip(firsts, firsts[1:] + firsts[:1], strict=True):
        assert chunk.smaller == smaller and smaller.larger == chunk, rule
    assert sum(bool(chunk.smaller) for chunk in chunks) == len(firsts), rule


def check_stretch(heap, start, end, unused):
    segments = {each.address for arena in all_arenas(heap)[1:] for each in segments_of(arena)}
    held = 0
    for place, _, kind in walk(heap, start, end):
        chunk = Chunk(heap.memory, place - OVERHEAD)
        if kind in (FREE, USED, CACHED):
            good = is_aligned(chunk.address | size_of(chunk), UNIT) and size_of(chunk) >= LEAST
            assert good, "PT1   chunks lie at multiples of 16 and have as many bytes, at least 32"
            rule = "PT2   a chunk but the top is in use, as the next one says, if and only if it is in no bin"
            assert (kind == FREE) == (chunk.address in unused), rule
        if kind in (USED, CACHED):
            check_used(heap, chunk, segments)
            held += 0 if is_mapped(chunk) or chunk.head & NON_MAIN else size_of(chunk)
    rule = "PT13  the main arena's chunks are not more than its own system_bytes"
    assert held <= heap.main.system_bytes, rule


def check_used(heap, chunk, segments):
    if is_mapped(chunk):
        whole = is_aligned(base_of(chunk).address | length_of(chunk), heap.memory.PAGE)
        assert whole, "PT11  a mapped chunk ends 16 bytes before its mapping does"
        return
    says = chunk.head & NON_MAIN != 0
    inside = segment_of(chunk).address in segments
    assert says == inside, "PT9   a chunk in use says A if and only if it lies in a segment"


def check_cache(heap, thread):
    if not thread or thread == heap.nobody:
        return
    rule = "PT8   a bin of the cache and its room make sixteen; its entries have its size and say K"
    for index in range(LEAST_BIN, CACHE_BINS):
        chunks = [chunk_of(heap, entry.address) for entry in entries_of(thread, index)]
        assert all(size_of(chunk) == index * UNIT and is_kept(chunk) for chunk in chunks), rule
        assert len(chunks) + thread.room[index] == ROOM, rule
