"""The heap of glibc: best fit in arenas, and in front of them a private cache for each thread.

Source: W. Gloger, ptmalloc2, 2001, after D. Lea, malloc.c 2.7.0; glibc malloc/malloc.c and malloc/arena.c as of 2.43:
no fast bins and no malloc_consolidate; sixteen chunks of each size in a cache, for requests of up to 1032 bytes (the
larger ones, up to 4 MiB, that a tunable of glibc adds are left out); small chunks are freed straight into small bins.
There are at most 16 arenas, or the number set by `mallopt`. glibc has eight per processor, and assumes two processors
if it cannot count them.

The variant `ptmalloc[VERSION=236]` is the malloc of glibc 2.36: fast bins, seven chunks of each size in a cache, no
cached calloc (`version` has the whole list). In a process with one thread, whose break no other code moves, it returns
the addresses that glibc 2.36 returns.

A chunk (`chunks` explains every field):

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

Fields of the allocator: the thresholds that adapt to the program, the list of arenas, the main arena, and an empty
cache for exiting threads. The main arena lives on the break, every other arena in segments of 64 MiB. Chunks of 128 KiB
and more have their own mappings; this threshold can rise to 32 MiB.

`alloc` takes a chunk from the first of these that has one. All but the first need the lock of the thread's arena:

    the thread's cache;
    the fast bin of the size, in 2.36;
    the small bin of the size;  the unsorted chunks, sorted on the way;  the best fit among the sorted chunks;
    the top;  the kernel.

`dealloc` puts the chunk into the thread's cache, if it has room. Otherwise it locks the chunk's arena, merges the chunk
with free neighbours or the top, puts the result into a small bin or on the unsorted list, and trims a long top. In 2.36
chunks of up to 128 bytes wait unmerged in fast bins, and all others go to the unsorted list.

Invariants
    PT1   chunks lie at multiples of 16 and have as many bytes, at least 32
    PT2   a chunk but the top is in use, as the next one says, if and only if it is in no bin
    PT3   a free chunk lies between chunks in use or before the top, and the next one repeats its size
    PT4   the lists of the bins are linked both ways
    PT5   a bin holds its own sizes, large ones falling, and the first of each size is on the circle of sizes
    PT6   a large or small bin whose map bit is clear is empty
    PT7   the top has at least 32 bytes and follows a chunk in use
    PT8   a bin of the cache and its room make as many as are to be kept; its entries have its size and say K
    PT9   a chunk in use says A if and only if it lies in a segment
    PT10  the segments of an arena make its system_bytes
    PT11  a mapped chunk ends 16 bytes before its mapping does
    PT12  the chunks in an arena's bins lie in that arena's memory, and do not say A
    PT13  the main arena's chunks are not more than its own system_bytes

The cache serves requests of up to 1032 bytes in a few instructions, none of them atomic. `walk` reports the top as
free, and fences, arenas, segments and caches as the allocator's own memory.
"""

from __future__ import annotations

from heapwright import bits, locks
from heapwright.allocators.ptmalloc import arenas, cache, checks, chunks, inspect, options, state, threads, version
from heapwright.layout import NULL, Array, Atomic, Inline, Struct, Word

walk, check, lists = inspect.walk, inspect.check, inspect.lists
survey, survey_part = inspect.survey, inspect.survey_part

OVERHEAD = 8
SMALLEST = 32
ALIGN = 16
ALLOC_COST = "O(1) from the cache, else O(unsorted chunks + sizes in a bin)"
DEALLOC_COST = "O(1) into the cache, else O(sizes in a bin)"
GIVES_BACK = "the top beyond 128 KiB, empty segments, large mappings"

TUNABLES = (("VERSION", "version.VERSION", (236, 243)),)
THREADS = "own"
DETECTS = ("double free",)
UNMAPS = (128 << 10) - 64  # size plus alignment from which a free may unmap the block: a second one is a SIGSEGV
RETAINS = "all that sbrk gave: the last chunk may be in the cache of a thread"
RECLAIMS = True  # a search sorts the chunks that it passes, even when it finds none
RACES = (
    "Halves.lower: who frees a chunk reads its size there; only the flag P changes under it",
    "Halves.upper: only the thread that frees or caches the chunk writes K, and others read P",
    "Heap.arenas: it is zero only before the first call, which the caller has made",
)
SLOW_PATHS = ("alloc_slowly", "dealloc_slowly", "serve", "realloc_slowly", "take", "wait_for")


class Heap(Struct):
    mmap_threshold: Atomic[Word]
    trim_threshold: Atomic[Word]
    max_threshold: Atomic[Word]  # limit to which both adapt to the program; zero once the program has set one of them
    top_pad: Atomic[Word]  # bytes requested from the kernel beyond the need, and kept when the top is trimmed
    max_mapped: Atomic[Word]  # the most chunks that may have their own mappings
    perturb: Atomic[Word]  # if it is not 0, its lowest byte fills freed memory
    mapped_chunks: Atomic[Word]
    mapped_bytes: Atomic[Word]
    cache_room: Word  # chunks of each size that a cache keeps
    cache_bins: Word  # sizes that a cache keeps, as the end of its range of bins
    unsorted_limit: Word  # chunks to sort once the cache has got one; 0: all
    list_lock: Atomic[Word]  # guards the following fields and the threads' choice of arenas
    max_arenas: Word  # the number set by the program; 0 for the default
    arena_test: Word  # arenas that may exist in any case, whatever the default limit
    arenas: Word  # number of arenas; zero until the heap is opened
    last_shared: state.Arena
    main: Inline[state.Arena]
    nobody: Inline[state.Thread]  # the cache of exiting threads; always zero
    fast_limit: Array[Word, version.FAST_LIMITS]  # bytes of the largest chunk that a fast bin takes


def alloc_slowly(heap, size, align):
    if bits.is_absurd(size, align):
        return NULL
    if cache.is_cached_size(size) and cache.may_align(align):
        address = cache.pop_aligned(threads.open_thread(heap), cache.bin_for(size), align)
        if address != NULL:
            return address
    chunk, _ = serve(heap, chunks.chunk_size_for(size), align)
    if not chunk:
        return NULL
    arenas.perturb_new(heap, chunks.address_of(chunk), size)
    return chunks.address_of(chunk)


def serve(heap, size, align):
    """Take a chunk from an arena or the kernel, or null; also return how many of its first bytes may not be zero."""
    thread = threads.cache_for(heap, align)
    arena = state.own_arena(heap) if state.own_arena(heap) else heap.main
    locks.acquire(heap.memory, arena.lock)
    top = arena.top
    used = state.top_bytes(arena)
    chunk = take_any(heap, arena, thread, size, align)
    locks.release(heap.memory, arena.lock)
    if not chunk and not state.is_main(arena):
        chunk = serve_from_main(heap, thread, size, align)
    if not chunk or chunks.is_mapped(chunk):
        return chunk, 0
    return chunk, min(used, chunks.usable_in(chunk)) if chunk == top else chunks.usable_in(chunk)


def take_any(heap, arena, thread, size, align):
    if align <= chunks.UNIT:
        return arenas.take(heap, arena, thread, size)
    return arenas.take_aligned(heap, arena, thread, size, align)


def serve_from_main(heap, thread, size, align):
    """Take a chunk from the main arena: the break may still grow when the kernel refuses mappings."""
    locks.acquire(heap.memory, heap.main.lock)
    chunk = take_any(heap, heap.main, thread, size, align)
    locks.release(heap.memory, heap.main.lock)
    return chunk


def dealloc_slowly(heap, address):
    chunk = chunks.chunk_of(heap, address)
    checks.refuse_invalid(chunk)
    if chunks.is_kept(chunk):
        heap.memory.fault("double free", address)
    thread = threads.open_thread(heap)
    if not arenas.keep(thread, chunk):
        threads.give_back(heap, chunk)


# --- the allocator


def alloc(heap, size, align):
    """Pop the most recently cached chunk of the size, or else take the slow path."""
    if cache.is_cached_size(size) and align <= chunks.UNIT:
        thread = state.thread_of(heap)
        index = cache.bin_for(size)
        if thread and cache.is_whole(thread.entries[index]):
            return cache.pop(thread, index)
    return alloc_slowly(heap, size, align)


def dealloc(heap, address, size, align):
    """Push the chunk on the cache, unless it has no room or the chunk is already marked as cached."""
    if bits.is_aligned(address, chunks.UNIT):
        chunk = chunks.chunk_of(heap, address)
        if cache.can_be_kept(chunk):
            thread = state.thread_of(heap)
            if thread and thread.room[cache.bin_of(chunk)] > 0:
                cache.push(thread, cache.bin_of(chunk), chunk)
                return
    dealloc_slowly(heap, address)


def usable_size(heap, address):
    return chunks.usable_in(chunks.chunk_of(heap, address))


def alloc_zeroed(heap, size, align):
    """Clear only memory that may have been used before: not a fresh mapping, nor what the top has just gained."""
    if cache.serves_calloc(size) or bits.is_absurd(size, align):
        address, dirty = alloc(heap, size, align), size
    else:
        chunk, dirty = serve(heap, chunks.chunk_size_for(size), align)
        address = chunks.address_of(chunk) if chunk else NULL
    if address != NULL:
        heap.memory.fill(address, min(dirty, size), 0)
    return address


def realloc(heap, address, size, align, new_size):
    """Leave the block if it fits closely; otherwise grow or shrink it in place, or move it."""
    chunk = chunks.chunk_of(heap, address)
    usable = chunks.usable_in(chunk)
    if usable - chunks.UNIT < new_size <= usable and (
        chunks.is_mapped(chunk) or not chunks.is_kept(chunk) and chunks.is_in_use(chunk)
    ):
        return address
    return realloc_slowly(heap, address, align, new_size)


def realloc_slowly(heap, address, align, new_size):
    if bits.is_absurd(new_size, align):
        return NULL
    chunk = chunks.chunk_of(heap, address)
    size = chunks.chunk_size_for(new_size)
    checks.refuse_invalid(chunk)
    if chunks.is_kept(chunk):
        heap.memory.fault("realloc of a free block", address)
    fresh = threads.resize_chunk(heap, chunk, size, align)
    return chunks.address_of(fresh) if fresh else stay_or_move(heap, address, align, new_size)


def stay_or_move(heap, address, align, new_size):
    usable = usable_size(heap, address)
    if new_size <= usable:
        return address
    target = alloc(heap, new_size, align)
    if target != NULL:
        heap.memory.copy(target, address, usable)
        dealloc(heap, address, usable, align)
    return target


def trim(heap, pad):
    """Release the whole pages of free chunks and what the tops can spare beyond `pad`; return the bytes.

    Unlike glibc, first empty the thread's cache, because a few chunks in it keep many free chunks from merging.
    """
    thread = state.thread_of(heap)
    released = threads.empty_cache(heap, thread) if thread and not version.IS_236 else 0
    arena = heap.main
    while arena and heap.arenas > 0:
        locks.acquire(heap.memory, arena.lock)
        released += arenas.trim_arena(heap, arena, pad)
        locks.release(heap.memory, arena.lock)
        arena = state.arena_after(heap, arena)
    return released


def tune(heap, option, value):
    return options.set_option(heap, option, value)


def thread_exit(heap):
    threads.close_thread(heap)


def fork_prepare(heap):
    threads.lock_all(heap)


def fork_parent(heap):
    threads.unlock_all(heap)


def fork_child(heap):
    threads.forget_threads(heap)
    threads.unlock_all(heap)


def release_held(heap):
    threads.unlock_own(heap)
