"""The misuse that ptmalloc reports: chunks whose tags or links were changed, checked where they are read anyway.

Source: glibc malloc/malloc.c and malloc/arena.c, malloc_printerr and the assertions, as of 2.36 to 2.43.

    here                                   glibc
    invalid pointer                        free(), realloc(), munmap_chunk(), mremap_chunk(): invalid pointer
    invalid size                           free(): invalid size; realloc(): invalid old size
    double free                            double free detected in tcache 2; double free or corruption (top), (!prev),
                                           (fasttop)
    corrupted size of a block              double free or corruption (out)
    corrupted size behind a chunk          free(), realloc(): invalid next size; free(): invalid next size (fast)
    corrupted size before a chunk          corrupted size vs. prev_size while consolidating
    corrupted size of a free chunk         corrupted size vs. prev_size; assertions on what bins hold
    corrupted size of an unsorted chunk    malloc(): invalid size (unsorted)
    corrupted size behind an unsorted one  malloc(): invalid next size (unsorted)
    corrupted end of an unsorted chunk     malloc(): mismatching next->prev_size (unsorted)
    an unsorted chunk in use               malloc(): invalid next->prev_inuse (unsorted)
    corrupted list of unsorted chunks      malloc(): unsorted double linked list corrupted
    corrupted list of free chunks          corrupted double-linked list; corrupted unsorted chunks; chunks in smallbin
                                           corrupted; smallbin, largebin (bk) double linked list corrupted
    corrupted list of sizes                corrupted double-linked list (not small); largebin (nextsize)
    corrupted top size                     malloc(): corrupted top size; sysmalloc's assertion on the old top
    corrupted cache                        unaligned tcache chunk, too many chunks detected in tcache
    corrupted fast bin                     malloc(), malloc_consolidate(): unaligned fastbin chunk detected
    corrupted size of a fast chunk         malloc(): memory corruption (fast); malloc_consolidate(): invalid chunk size;
                                           invalid fastbin entry (free)
    corrupted fence                        heap_trim's assertions
    the break was lowered into the heap    break adjusted to free malloc space

The reports of fast bins are those of the version of 2.36. Two reports go further than glibc. A chunk that merges into
another one gets the mark K, like a cached chunk, so its second free is detected whatever merges later. And `realloc`
reports a free block.

The caller holds the lock of the arena.
"""

from __future__ import annotations

from heapwright import bits
from heapwright.allocators.ptmalloc import chunks, state

UNEVEN = 8  # a bit of a head that is neither a flag nor set in any valid size


# --- chunks that a caller frees or resizes


def refuse_invalid(chunk):
    """Report an address or a size that no chunk can have."""
    address = chunks.address_of(chunk)
    if not bits.is_aligned(address, chunks.UNIT):
        chunk.memory.fault("invalid pointer", address)
    if chunks.size_of(chunk) < chunks.MIN_CHUNK or chunk.head & UNEVEN or is_beyond_segments(chunk):
        chunk.memory.fault("invalid size", address)


def is_beyond_segments(chunk):
    """Whether a chunk claims to lie in a segment but is larger than one; its arena cannot be found then."""
    return (
        chunk.head & (chunks.NON_MAIN | chunks.MAPPED) == chunks.NON_MAIN
        and chunks.size_of(chunk) >= state.SEGMENT_BYTES
    )


def refuse_beyond(arena, chunk):
    """Report a chunk that ends where no chunk of its arena can end."""
    size = chunks.size_of(chunk)
    if not bits.unsigned_less(size, arena.system_bytes):
        chunk.memory.fault("invalid size", chunks.address_of(chunk))
    if not ends_inside(arena, chunk, chunk.address + size):
        chunk.memory.fault("corrupted size of a block", chunks.address_of(chunk))


def ends_inside(arena, chunk, end):
    """Whether a chunk can end at `end`: neither in the top nor beyond its segment."""
    if chunk.address < arena.top.address < end:
        return False
    segment = state.segment_of(chunk)
    return state.is_main(arena) or bits.unsigned_less(end - segment.address, segment.size)


def is_free(arena, chunk):
    """Whether a chunk is the top or lies in it, or the next chunk's P bit says that it is free."""
    return bits.unsigned_less(chunk.address - arena.top.address, chunks.size_of(arena.top)) or not chunks.is_in_use(
        chunk
    )


def refuse_behind(arena, chunk):
    """Report a chunk in use that is followed by an impossible size."""
    if not is_size_behind(arena, chunks.next_of(chunk)):
        chunk.memory.fault("corrupted size behind a chunk", chunks.address_of(chunk))


def is_size_behind(arena, chunk):
    """Whether a chunk that follows another one has a possible size. A fence has half of MIN_CHUNK."""
    return chunks.MIN_CHUNK // 2 <= chunks.size_of(chunk) <= arena.system_bytes


def refuse_freed(arena, chunk):
    """Report a double free, or a chunk whose own size or next size is corrupt."""
    refuse_beyond(arena, chunk)
    if is_free(arena, chunk):
        chunk.memory.fault("double free", chunks.address_of(chunk))
    refuse_behind(arena, chunk)


def refuse_resized(arena, chunk):
    """Report the same faults of a chunk that is about to be resized."""
    refuse_beyond(arena, chunk)
    if is_free(arena, chunk):
        chunk.memory.fault("realloc of a free block", chunks.address_of(chunk))
    refuse_behind(arena, chunk)


def refuse_previous(arena, chunk):
    """Report a chunk before which no free chunk ends, although its P bit says so."""
    size = chunk.previous_size
    if not is_size_before(arena, chunk, size) or chunks.size_of(chunks.offset_by(chunk, -size)) != size:
        chunk.memory.fault("corrupted size before a chunk", chunks.address_of(chunk))


def is_size_before(arena, chunk, size):
    """Whether a chunk of `size` bytes before another one would lie in the arena's memory."""
    if (
        size < chunks.MIN_CHUNK
        or not bits.unsigned_less(size, arena.system_bytes)
        or not bits.is_aligned(size, chunks.UNIT)
    ):
        return False
    start = chunk.memory.extent_start() if state.is_main(arena) else state.segment_of(chunk).address
    return chunk.address < start or chunk.address - size >= start


def mark_merged(chunk):
    """Mark the head of a chunk that merged into another one, so that a second free is detected."""
    chunks.halves_of(chunk).upper = chunks.KEPT_HALF


# --- chunks in a bin


def refuse_corrupted(arena, chunk):
    """Report a free chunk whose head, or the copy of its size at its end, has changed."""
    size = chunks.size_of(chunk)
    is_whole = chunk.head & chunks.FLAGS == chunks.PREVIOUS_IN_USE and bits.unsigned_less(size, arena.system_bytes)
    if not is_whole or chunks.next_of(chunk).previous_size != size:
        chunk.memory.fault("corrupted size of a free chunk", chunk.address)


def refuse_unsorted(arena, chunk, anchor):
    """Report an unsorted chunk, the last in its list, whose tags or links have changed."""
    size = chunks.size_of(chunk)
    if size < chunks.MIN_CHUNK or not bits.unsigned_less(size, arena.system_bytes):
        chunk.memory.fault("corrupted size of an unsorted chunk", chunk.address)
    after = chunks.next_of(chunk)
    if not is_size_behind(arena, after):
        chunk.memory.fault("corrupted size behind an unsorted one", chunk.address)
    if after.previous_size != size:
        chunk.memory.fault("corrupted end of an unsorted chunk", chunk.address)
    if chunk.forward != anchor or chunk.back.forward != chunk:
        chunk.memory.fault("corrupted list of unsorted chunks", chunk.address)
    if chunks.follows_used(after):
        chunk.memory.fault("an unsorted chunk in use", chunk.address)


def refuse_small(chunk, size):
    """Report a chunk that is smaller than any in its bin."""
    if chunks.size_of(chunk) < size:
        chunk.memory.fault("corrupted size of a free chunk", chunk.address)


# --- the top


def refuse_top(arena):
    """Report a top that is longer than its whole arena."""
    if arena.top and not bits.unsigned_less(chunks.size_of(arena.top), arena.system_bytes + 1):
        arena.memory.fault("corrupted top size", arena.top.address)


def refuse_top_end(arena, page):
    """Report a top that does not end where the arena's memory ends."""
    if arena.top and not (chunks.follows_used(arena.top) and ends_well(arena, page)):
        arena.memory.fault("corrupted top size", arena.top.address)


def ends_well(arena, page):
    end = arena.top.address + chunks.size_of(arena.top)
    segment = state.segment_of(arena.top)
    return bits.is_aligned(end, page) if state.is_main(arena) else end == segment.address + segment.size


def refuse_lowered_break(arena, place):
    """Report a break that other code has lowered into the top."""
    top = arena.top
    if top and top.address < place < top.address + chunks.size_of(top):
        arena.memory.fault("the break was lowered into the heap", place)
