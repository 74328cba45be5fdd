"""Memory from the kernel for ptmalloc, and back: the break, segments, and chunks with a mapping of their own.

Source: glibc malloc/malloc.c (sysmalloc, systrim, munmap_chunk, mremap_chunk), malloc/arena.c (new_heap, grow_heap,
heap_trim).

An arena whose memory cannot be extended goes on elsewhere: its old top ends in two fences, sixteen bytes or so that
look like chunks in use, and the rest of it is freed. Where another's memory lies between, the second fence spans it.

A mapping that the kernel does not take back (it may be the middle of one, and mappings at their limit) is lost, as
glibc's is; but it stays counted, the kernel has its frames, and its first words, which say K, tell `walk` of it.
"""

from __future__ import annotations

from heapwright.allocators.ptmalloc_bins import merge, set_top, top_bytes, unlink
from heapwright.allocators.ptmalloc_chunks import (
    HEADER,
    KEPT,
    LEAST,
    MAPPED,
    NON_MAIN,
    PREVIOUS_IN_USE,
    UNIT,
    Chunk,
    address_of,
    follows_used,
    offset_by,
    previous_of,
    size_of,
)
from heapwright.allocators.ptmalloc_state import SEGMENT_BYTES, Segment, is_main, segment_of
from heapwright.bits import align_down, align_up
from heapwright.layout import NULL

FENCE = 16
LAST_FENCE = FENCE | MAPPED | NON_MAIN  # but for P
MOST_MAPPED = 65536  # chunks with a mapping of their own
WORTH_TRIMMING = 65536  # a free chunk this large is worth a look at the top
LEAST_MAPPING = 1 << 20  # in place of the break


# --- chunks with a mapping of their own


def map_chunk(heap, size):
    """A chunk of at least `size` bytes in its own mapping, or null."""
    length = align_up(size + HEADER, heap.memory.PAGE)
    base = heap.memory.mmap(length)
    if base == -1:
        return Chunk(heap.memory, NULL)
    heap.mapped_chunks.add(1)
    heap.mapped_bytes.add(length)
    return place_mapped(Chunk(heap.memory, base), length, 0)


def place_mapped(base, length, distance):
    """Write the head of a chunk `distance` bytes into a mapping, and the mapping's own first words."""
    base.previous_size = distance
    base.head = MAPPED
    chunk = offset_by(base, distance)
    chunk.previous_size = distance
    chunk.head = (length - distance - HEADER) | MAPPED
    return chunk


def base_of(chunk):
    return offset_by(chunk, -chunk.previous_size)


def length_of(chunk):
    return chunk.previous_size + size_of(chunk) + HEADER


def shift_mapped(chunk, align):
    """Move the head of a fresh mapped chunk so that its address is a multiple of `align`."""
    distance = align_up(address_of(chunk), align) - address_of(chunk)
    return place_mapped(chunk, length_of(chunk), distance) if distance else chunk


def unmap_chunk(heap, chunk):
    """Return a mapping; from now on, requests as large as this one are served from the arenas."""
    size = size_of(chunk)
    length = length_of(chunk)
    base = base_of(chunk)
    if base.head & MAPPED == 0 or (base.address | length) & (heap.memory.PAGE - 1):
        heap.memory.fault("invalid pointer", address_of(chunk))
    if heap.mmap_threshold.load() < size <= heap.most_threshold.load():
        heap.mmap_threshold.store(size)
        heap.trim_threshold.store(2 * size)
    if unmap(heap.memory, base.address, length):
        heap.mapped_chunks.add(-1)
        heap.mapped_bytes.add(-length)


def unmap(memory, start, length):
    """Return a mapping; False if the kernel refuses, and then it is lost, but for its frames."""
    if memory.munmap(start, length) == -1:
        memory.decommit(start, length)
        place_mapped(Chunk(memory, start), length, 0).head |= KEPT
        return False
    return True


def remap_chunk(heap, chunk, size, may_move):
    """Give a mapped chunk another size, perhaps elsewhere; null if that cannot be."""
    distance = chunk.previous_size
    old = length_of(chunk)
    length = align_up(distance + size + HEADER, heap.memory.PAGE)
    if length == old:
        return chunk
    base = heap.memory.mremap(base_of(chunk).address, old, length, may_move)
    if base == -1:
        return chunk.at(NULL)
    heap.mapped_bytes.add(length - old)
    return place_mapped(chunk.at(base), length, distance)


# --- a new place for the top


def lengthen_top(arena, length):
    set_top(arena, arena.top, top_bytes(arena) + align_down(length, UNIT))
    arena.system_bytes += length


def move_top(arena, start, length, gap_end):
    """Go on at another place; free what is left of the old top, and fence it off as far as `gap_end`."""
    old = arena.top
    first = align_up(start, UNIT)
    set_top(arena, old.at(first), align_down(start + length - first, UNIT))
    arena.system_bytes += length
    if old:
        fence_off(arena, old, gap_end)


def fence_off(arena, old, gap_end):
    """Close a former top with two fences, and free the rest. The second is the last, or spans the gap behind it."""
    last = offset_by(old, size_of(old) - FENCE)
    left = size_of(old) - 2 * FENCE
    fence = offset_by(old, left if left >= LEAST else 0)
    gap = gap_end - last.address
    last.previous_size = last.address - fence.address
    last.head = (gap | MAPPED if gap > FENCE else LAST_FENCE) | PREVIOUS_IN_USE
    fence.head = last.previous_size | PREVIOUS_IN_USE | MAPPED
    if left >= LEAST:
        old.head = left | PREVIOUS_IN_USE | arena.flag
        merge(arena, old)


def is_last_fence(chunk):
    return chunk.head & ~PREVIOUS_IN_USE == LAST_FENCE


# --- the main arena: the break


def end_of_top(arena):
    return arena.top.address + top_bytes(arena)


def grow_main(heap, size):
    """Move the break so that a chunk of `size` bytes can be cut off the top; elsewhere if somebody else moved it."""
    arena = heap.main
    place = heap.memory.sbrk(0)
    need = size + LEAST
    need += -top_bytes(arena) if place == end_of_top(arena) else UNIT
    length = align_up(place + need + heap.top_pad.load(), heap.memory.PAGE) - place
    start = heap.memory.sbrk(length)
    if start == -1:
        return map_more(heap, size)
    if start == end_of_top(arena):
        lengthen_top(arena, length)
    else:
        move_top(arena, start, length, align_up(start, UNIT))
    return True


def map_more(heap, size):
    """Go on in a mapping when the break is stuck."""
    length = align_up(max(size + LEAST + heap.top_pad.load(), LEAST_MAPPING), heap.memory.PAGE)
    start = heap.memory.mmap(length)
    if start == -1:
        return False
    move_top(heap.main, start, length, 0)
    return True


def trim_main(heap, pad):
    """Lower the break by the whole pages of the top beyond `pad`, if it is where we left it; return the bytes."""
    arena = heap.main
    spare = spare_bytes(arena, pad, heap.memory.PAGE)
    if spare == 0 or heap.memory.sbrk(0) != end_of_top(arena) or heap.memory.sbrk(-spare) == -1:
        return 0
    shorten_top(arena, spare)
    return spare


def spare_bytes(arena, pad, page):
    return max(align_down(top_bytes(arena) - LEAST - 1 - pad, page), 0)


def shorten_top(arena, length):
    set_top(arena, arena.top, top_bytes(arena) - length)
    arena.system_bytes -= length


# --- the other arenas: segments


def map_segment(memory, size):
    """A segment, with its record, of which `size` bytes are in use; null if there is no memory."""
    start = map_aligned(memory)
    segment = Segment(memory, start)
    if start == -1:
        return segment.at(NULL)
    segment.size = size
    return segment


def map_aligned(memory):
    """Map SEGMENT_BYTES at a multiple of themselves: at the first try if the kernel goes on where it stopped."""
    start = memory.mmap(SEGMENT_BYTES)
    if start == -1 or start & (SEGMENT_BYTES - 1) == 0:
        return start
    unmap(memory, start, SEGMENT_BYTES)
    wide = memory.mmap(2 * SEGMENT_BYTES)
    if wide == -1:
        return -1
    start = align_up(wide, SEGMENT_BYTES)
    if start > wide:
        unmap(memory, wide, start - wide)
    unmap(memory, start + SEGMENT_BYTES, wide + SEGMENT_BYTES - start)
    return start


def padded_size(heap, need):
    """How much of a new segment to use at first, or 0 if `need` bytes do not fit one."""
    size = align_up(min(need, SEGMENT_BYTES) + heap.top_pad.load(), heap.memory.PAGE)
    return min(size, SEGMENT_BYTES) if need <= SEGMENT_BYTES else 0


def grow_segments(heap, arena, size):
    """Use more of the top's segment, or another, so that a chunk of `size` bytes can be cut off the top."""
    segment = segment_of(arena.top)
    need = align_up(size + LEAST - top_bytes(arena), heap.memory.PAGE)
    if segment.size + need <= SEGMENT_BYTES:
        segment.size += need
        lengthen_top(arena, need)
        return True
    first_size = padded_size(heap, size + LEAST + Segment.SIZE)
    if first_size == 0:
        return False
    fresh = map_segment(heap.memory, first_size)
    if not fresh:
        return False
    fresh.arena = arena
    fresh.previous = segment
    move_top(arena, fresh.address + Segment.SIZE, first_size - Segment.SIZE, 0)
    arena.system_bytes += Segment.SIZE
    return True


def trim_segments(heap, arena, pad):
    """Unmap segments that hold only the top, then give back the top's whole pages beyond `pad`; return the bytes."""
    released = 0
    while holds_only_top(arena) and is_roomy(heap, segment_of(arena.top).previous, pad):
        size = segment_of(arena.top).size
        if not drop_segment(heap, arena):
            return released
        released += size
    spare = spare_bytes(arena, pad, heap.memory.PAGE)
    if top_bytes(arena) < heap.trim_threshold.load() or spare == 0:
        return released
    if heap.memory.decommit(end_of_top(arena) - spare, spare) == -1:
        return released
    segment_of(arena.top).size -= spare
    shorten_top(arena, spare)
    return released + spare


def holds_only_top(arena):
    """Whether the top's segment, which is then not the arena's first, has no other chunk."""
    return arena.top.address == segment_of(arena.top).address + Segment.SIZE


def fence_in(segment):
    """The first of the two fences at the end of a segment that is not the last."""
    return previous_of(Chunk(segment.memory, segment.address + segment.size - FENCE))


def is_roomy(heap, segment, pad):
    """Whether a segment, if it became the last again, would have a top that is worth its while."""
    fence = fence_in(segment)
    room = size_of(fence) + FENCE + SEGMENT_BYTES - segment.size
    if not follows_used(fence):
        room += fence.previous_size
    return room >= pad + LEAST + heap.memory.PAGE


def drop_segment(heap, arena):
    """Unmap the last segment; the end of the one before becomes the top. False if the kernel refuses."""
    last = segment_of(arena.top)
    size = last.size
    top = fence_in(last.previous)
    if heap.memory.munmap(last.address, SEGMENT_BYTES) == -1:
        return False
    length = size_of(top) + FENCE
    if not follows_used(top):
        length += top.previous_size
        top = previous_of(top)
        unlink(top)
    set_top(arena, top, length)
    arena.system_bytes -= size
    return True


# --- either


def grow(heap, arena, size):
    """Make the top of an arena long enough for a chunk of `size` bytes; False when memory is exhausted."""
    if is_main(arena):
        return grow_main(heap, size)
    return grow_segments(heap, arena, size)


def trim_if_worth(heap, arena, size):
    """After a free that made a chunk of `size` bytes: give the kernel what the top can spare."""
    if size < WORTH_TRIMMING:
        return
    if not is_main(arena):
        trim_segments(heap, arena, heap.top_pad.load())
    elif top_bytes(arena) >= heap.trim_threshold.load():
        trim_main(heap, heap.top_pad.load())
