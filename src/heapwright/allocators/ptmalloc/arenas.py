"""Operations on a ptmalloc arena under its lock: take, resize and release a chunk, and trim.

Source: glibc malloc/malloc.c (_int_malloc, _int_memalign, _int_realloc, _int_free_chunk, mtrim).
"""

from __future__ import annotations

from heapwright import bits
from heapwright.allocators.parts import whole_pages
from heapwright.allocators.ptmalloc import bins, cache, checks, chunks, fast_bins, state, system, version
from heapwright.allocators.ptmalloc.chunks import Chunk
from heapwright.layout import NULL

MAX_SORTED = 10000  # unsorted chunks examined for one request


# --- taking


def take(heap, arena, thread, size):
    """Take a chunk of `size` bytes or little more: of that size, the best fit, off the top, or new; null if none."""
    chunk = take_ready(heap, arena, thread, size)
    if not chunk:
        chunk = take_free(heap, arena, thread, size)
    if not chunk and fast_bins.consolidate(arena):
        chunk = take_free(heap, arena, thread, size)
    if not chunk:
        chunk = take_new(heap, arena, size)
    return chunk


def take_ready(heap, arena, thread, size):
    """Take a chunk of the size from its fast bin or its small bin, and more of them into the cache; null if none."""
    if fast_bins.is_fast(heap, size) and fast_bins.has(arena, size):
        chunk = fast_bins.pop(arena, size)
        stash_fast(arena, thread, size)
        return chunk
    if not bins.is_small(size):
        fast_bins.consolidate(arena)
        return arena.top.at(NULL)
    chunk = bins.take_small(arena, size)
    if chunk:
        stash_others(arena, thread, size)
    return chunk


def take_free(heap, arena, thread, size):
    """Take a chunk from the unsorted list, the best fit of the sorted ones, or the front of the top; null if none."""
    chunk = sort_unsorted(heap, arena, thread, size)
    if not chunk:
        chunk = bins.take_best(arena, size)
    if not chunk:
        chunk = bins.take_top(arena, size)
    return chunk


def keep(thread, chunk):
    """Put a chunk into the thread's cache; False if the cache has no room for it."""
    if not cache.can_be_kept(chunk) or thread.room[cache.bin_of(chunk)] == 0:
        return False
    cache.push(thread, cache.bin_of(chunk), chunk)
    return True


def stash_fast(arena, thread, size):
    """Refill the cache from the fast bin of this size."""
    while thread.room[size >> 4] > 0 and fast_bins.has(arena, size):
        keep(thread, fast_bins.pop(arena, size))


def stash_others(arena, thread, size):
    """Refill the cache with further chunks of this size."""
    index = size >> 4
    while thread.room[index] > 0:
        chunk = bins.take_small(arena, size)
        if not chunk:
            return
        keep(thread, chunk)


def sort_unsorted(heap, arena, thread, size):
    """Use an unsorted chunk of the right size, and sort the others into their bins; return the chunk taken, or null.

    Chunks of the exact size go to the cache while it has room. At the end, one of them is popped and returned.
    """
    anchor = bins.anchor_of(arena, bins.UNSORTED)
    kept, others = -1, 0
    for _ in range(MAX_SORTED):
        chunk = anchor.back
        if chunk == anchor:
            break
        checks.refuse_unsorted(arena, chunk, anchor)
        is_local = is_run(arena, chunk, anchor, size)
        take_off(anchor, chunk)
        if is_local:
            bins.cut(arena, chunk, size)
            return chunk
        if chunks.size_of(chunk) == size:
            bins.use_whole(arena, chunk)
            if not keep(thread, chunk):
                return chunk
            kept = cache.bin_of(chunk)
        else:
            bins.insert_sorted(arena, chunk)
            others += 1
            if is_enough(heap, kept, others):
                break
    if kept == -1:
        return anchor.at(NULL)
    return chunks.chunk_of(heap, cache.pop(thread, kept))


def is_enough(heap, kept, others):
    """Whether the cache has got a chunk and more than `unsorted_limit` others were sorted."""
    return kept != -1 and others > heap.unsorted_limit > 0


def take_off(anchor, chunk):
    """Take the last chunk off the unsorted list. It is on no circle of sizes."""
    anchor.back = chunk.back
    chunk.back.forward = anchor


def is_run(arena, chunk, anchor, size):
    """Whether a run of small requests continues: the last remainder is long enough and the only unsorted chunk."""
    is_alone = chunk.back == anchor and chunk == arena.last_remainder
    return is_alone and bins.is_small(size) and chunks.size_of(chunk) > size + chunks.MIN_CHUNK


def take_new(heap, arena, size):
    """Take a chunk of new memory from the kernel: a mapping if it is large, or else cut off the grown top."""
    if size >= heap.mmap_threshold.load() and heap.mapped_chunks.load() < heap.max_mapped.load():
        chunk = system.map_chunk(heap, size)
        if chunk:
            return chunk
    if system.grow(heap, arena, size):
        chunk = bins.take_top(arena, size)
        if chunk:
            return chunk
    return system.map_chunk(heap, size)


def take_aligned(heap, arena, thread, size, align):
    """Take a chunk with room for any alignment, and free the excess at both ends."""
    chunk = take(heap, arena, thread, size + align + version.ALIGN_SLACK)
    if not chunk:
        return chunk
    if chunks.is_mapped(chunk):
        return system.shift_mapped(chunk, align)
    if not bits.is_aligned(chunks.address_of(chunk), align):
        chunk = free_lead(heap, arena, thread, chunk, align)
    if chunks.size_of(chunk) - size >= version.MIN_TAIL:
        free_locked(heap, arena, thread, bins.split(arena, chunk, size))
    return chunk


def free_lead(heap, arena, thread, chunk, align):
    """Free the front of a chunk, so that the rest has an aligned address; return the rest."""
    lead = bits.align_up(chunks.address_of(chunk) + chunks.MIN_CHUNK, align) - chunks.address_of(chunk)
    rest = chunks.offset_by(chunk, lead)
    rest.head = (chunks.size_of(chunk) - lead) | chunks.PREVIOUS_IN_USE | arena.flag
    chunks.set_size(chunk, lead)
    free_locked(heap, arena, thread, chunk)
    return rest


def free_excess(heap, arena, thread, chunk, size):
    """Free the part of a chunk beyond `size` bytes, if that can be a chunk."""
    if chunks.size_of(chunk) - size >= chunks.MIN_CHUNK:
        free_locked(heap, arena, thread, bins.split(arena, chunk, size))


def free_locked(heap, arena, thread, chunk):
    """Free a chunk, or a piece of one, inside another call. In 2.36 the cache may take it, as from the program."""
    if not version.IS_236 or not keep(thread, chunk):
        release(heap, arena, chunk)


# --- resizing


def resize(heap, arena, thread, chunk, size):
    """Resize a chunk in place, using the top or a free chunk behind it; False if the chunk must move."""
    if chunks.size_of(chunk) < size and not lengthen(arena, chunk, size):
        return False
    free_excess(heap, arena, thread, chunk, size)
    return True


def lengthen(arena, chunk, size):
    """Extend a chunk into the free chunk or the top behind it; False if that does not yield `size` bytes."""
    behind = chunks.next_of(chunk)
    whole = chunks.size_of(chunk) + chunks.size_of(behind)
    if behind == arena.top:
        if whole < size + chunks.MIN_CHUNK:
            return False
        bins.set_top(arena, chunks.offset_by(chunk, size), whole - size)
        chunks.set_size(chunk, size)
        return True
    if chunks.is_in_use(behind) or whole < size:
        return False
    bins.unlink(arena, behind)
    chunks.set_size(chunk, whole)
    chunks.say_previous_used(chunks.next_of(chunk))
    return True


def renew(heap, arena, thread, chunk, size):
    """Move the content of a chunk that cannot grow to another one; null when memory is exhausted.

    The new chunk may be the one directly behind, when the top has grown for it. Then the two merge, and nothing moves.
    """
    behind = chunks.next_of(chunk)
    fresh = take(heap, arena, thread, size)
    if not fresh:
        return fresh
    perturb_new(heap, chunks.address_of(fresh), chunks.usable_in(fresh))
    if fresh == behind:
        chunks.set_size(chunk, chunks.size_of(chunk) + chunks.size_of(fresh))
        free_excess(heap, arena, thread, chunk, size)
        return chunk
    heap.memory.copy(chunks.address_of(fresh), chunks.address_of(chunk), chunks.size_of(chunk) - chunks.OVERHEAD)
    free_locked(heap, arena, thread, chunk)
    return fresh


# --- releasing


def release(heap, arena, chunk):
    """Free a chunk in use; return the number of bytes released to the kernel."""
    perturb_freed(heap, chunks.address_of(chunk), chunks.size_of(chunk) - chunks.HEADER)
    if fast_bins.is_fast(heap, chunks.size_of(chunk)):
        fast_bins.push(arena, chunk)
        return 0
    return system.trim_if_worth(heap, arena, bins.merge(arena, chunk))


# --- M_PERTURB: fill bytes on which no program may rely


def perturb_new(heap, address, size):
    """Fill a new block, unless it comes from a cache or must be zero."""
    perturb = heap.perturb.load()
    if perturb != 0:
        heap.memory.fill(address, size, (perturb ^ 0xFF) & 0xFF)


def perturb_freed(heap, address, size):
    """Fill a freed block, unless it goes to a cache."""
    perturb = heap.perturb.load()
    if perturb != 0:
        heap.memory.fill(address, size, perturb & 0xFF)


def decommit_free(heap, arena):
    """Release the whole pages inside free chunks, but not their tags; return the bytes."""
    released = 0
    for index in range(1, state.BINS):
        if index == bins.UNSORTED or index >= bins.index_of(heap.memory.PAGE):
            anchor = bins.anchor_of(arena, index)
            chunk = anchor.back
            while chunk != anchor:
                released += whole_pages.decommit_inside(
                    heap.memory, chunk.address + Chunk.SIZE, chunks.next_of(chunk).address
                )
                chunk = chunk.back
    return released


def trim_arena(heap, arena, pad):
    """Release the pages of an arena's free chunks, and those of its top beyond `pad` bytes; return the bytes."""
    fast_bins.consolidate(arena)
    released = decommit_free(heap, arena)
    return released + (
        system.trim_main(heap, pad) if state.is_main(arena) else system.trim_segments(heap, arena, pad, 0)
    )
