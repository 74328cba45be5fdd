"""Memory from and to the kernel for ptmalloc: the break, segments, and chunks with their own mappings.

Source: glibc malloc/malloc.c (sysmalloc, systrim, munmap_chunk, mremap_chunk), malloc/arena.c (new_heap, grow_heap,
heap_trim).

An arena that cannot extend its memory continues elsewhere. Two fences of about sixteen bytes close its old top. They
look like chunks in use. The rest of the old top is freed. If foreign memory lies in between, the second fence
spans it.

The kernel may refuse to unmap a mapping, for example when the range is the middle of a larger one and the process has
reached its limit of mappings. Such a range is lost, as in glibc. But it stays counted, its frames are released, and K
in its first words identifies it to `walk`.
"""

from __future__ import annotations

from heapwright import bits
from heapwright.allocators.parts import breaks
from heapwright.allocators.ptmalloc import bins, checks, chunks, fast_bins, state, version
from heapwright.allocators.ptmalloc.chunks import Chunk
from heapwright.allocators.ptmalloc.state import Segment
from heapwright.layout import NULL

FENCE = 16
LAST_FENCE = FENCE | chunks.MAPPED | chunks.NON_MAIN  # without P
WORTH_TRIMMING = 65536  # bytes of a freed chunk from which the allocator considers trimming the top
MIN_PIECE = 4 * chunks.MIN_CHUNK  # least useful growth of the break: a chunk and the fences that close it
MIN_MAPPING = 1 << 20  # least mapping that replaces the break


# --- chunks with their own mappings


def map_chunk(heap, size):
    """Map a chunk of at least `size` bytes; null when memory is exhausted."""
    length = bits.align_up(size + chunks.HEADER, heap.memory.PAGE)
    base = heap.memory.mmap(length)
    if base == -1:
        return Chunk(heap.memory, NULL)
    heap.mapped_chunks.add(1)
    heap.mapped_bytes.add(length)
    return place_mapped(Chunk(heap.memory, base), length, 0)


def place_mapped(base, length, distance):
    """Write the head of a chunk `distance` bytes into a mapping, and the mapping's own first words."""
    base.previous_size = distance
    base.head = chunks.MAPPED
    chunk = chunks.offset_by(base, distance)
    chunk.previous_size = distance
    chunk.head = (length - distance - chunks.HEADER) | chunks.MAPPED
    return chunk


def base_of(chunk):
    return chunks.offset_by(chunk, -chunk.previous_size)


def length_of(chunk):
    return chunk.previous_size + chunks.size_of(chunk) + chunks.HEADER


def refuse_no_mapping(chunk, base, length, page):
    """Report a mapped chunk that contradicts the first words of its mapping, which repeat the chunk's place."""
    offset = chunks.address_of(chunk) & (page - 1)
    is_whole = bits.is_aligned(base.address | length, page) and offset & (offset - 1) == 0
    if is_whole and base != chunk:
        is_whole = chunk.memory.is_mapped(base.address) and base.head == chunks.MAPPED
        is_whole = is_whole and base.previous_size == chunk.previous_size
    if not is_whole:
        chunk.memory.fault("invalid pointer", chunks.address_of(chunk))


def shift_mapped(chunk, align):
    """Move the head of a fresh mapped chunk so that its address is a multiple of `align`."""
    distance = bits.align_up(chunks.address_of(chunk), align) - chunks.address_of(chunk)
    return place_mapped(chunk, length_of(chunk), distance) if distance else chunk


def unmap_chunk(heap, chunk):
    """Unmap a chunk; return the bytes unmapped. The threshold rises, so arenas serve later requests of this size."""
    length = length_of(chunk)
    base = base_of(chunk)
    refuse_no_mapping(chunk, base, length, heap.memory.PAGE)
    adapt_thresholds(heap, chunks.size_of(chunk) + version.MAPPING_END)
    if not unmap(heap.memory, base.address, length):
        return 0
    heap.mapped_chunks.add(-1)
    heap.mapped_bytes.add(-length)
    return length


def adapt_thresholds(heap, size):
    """Raise the thresholds to a chunk whose mapping goes back, unless the program has set one or it is too large."""
    if heap.mmap_threshold.load() < size + version.MAPPING_FLAG <= heap.max_threshold.load():
        heap.mmap_threshold.store(size)
        heap.trim_threshold.store(2 * size)


def unmap(memory, start, length):
    """Unmap a range. False if the kernel refuses: the range is lost then, but its frames are released."""
    if memory.munmap(start, length) == -1:
        memory.decommit(start, length)
        place_mapped(Chunk(memory, start), length, 0).head |= chunks.KEPT
        return False
    return True


def remap_chunk(heap, chunk, size, may_move):
    """Resize a mapped chunk, which may move; null if the kernel refuses."""
    distance = chunk.previous_size
    old = length_of(chunk)
    refuse_no_mapping(chunk, base_of(chunk), old, heap.memory.PAGE)
    length = bits.align_up(distance + size + chunks.HEADER, heap.memory.PAGE)
    if length == old:
        return chunk
    base = heap.memory.mremap(base_of(chunk).address, old, length, may_move)
    if base == -1:
        return chunk.at(NULL)
    heap.mapped_bytes.add(length - old)
    return place_mapped(chunk.at(base), length, distance)


# --- a new place for the top


def lengthen_top(arena, length):
    bins.set_top(arena, arena.top, state.top_bytes(arena) + bits.align_down(length, chunks.UNIT))
    state.count_system(arena, length)


def move_top(arena, start, length, gap_end):
    """Continue the top at another place; free the rest of the old top, and fence it off up to `gap_end`."""
    old = arena.top
    first = bits.align_up(start, chunks.UNIT)
    bins.set_top(arena, old.at(first), bits.align_down(start + length - first, chunks.UNIT))
    state.count_system(arena, length)
    if old:
        fence_off(arena, old, gap_end)


def fence_off(arena, old, gap_end):
    """Close a former top with two fences, and free the rest. The second fence ends the part or spans the gap behind."""
    last = chunks.offset_by(old, chunks.size_of(old) - FENCE)
    left = chunks.size_of(old) - 2 * FENCE
    fence = chunks.offset_by(old, left if left >= chunks.MIN_CHUNK else 0)
    gap = gap_end - last.address
    last.previous_size = last.address - fence.address
    last.head = (gap | chunks.MAPPED if gap > FENCE else LAST_FENCE) | chunks.PREVIOUS_IN_USE
    fence.head = last.previous_size | chunks.PREVIOUS_IN_USE | chunks.MAPPED
    if left >= chunks.MIN_CHUNK:
        old.head = left | chunks.PREVIOUS_IN_USE | arena.flag
        bins.merge(arena, old)


def is_last_fence(chunk):
    return chunk.head & ~chunks.PREVIOUS_IN_USE == LAST_FENCE


# --- the main arena: the break


def end_of_top(arena):
    return arena.top.address + state.top_bytes(arena)


def grow_main(heap, size):
    """Grow the top by moving the break, for a chunk of `size` bytes. The top moves if other code moved the break."""
    arena = heap.main
    place = heap.memory.sbrk(0)
    checks.refuse_lowered_break(arena, place)
    need = size + chunks.MIN_CHUNK
    need += -state.top_bytes(arena) if place == end_of_top(arena) else chunks.UNIT
    length = bits.align_up(place + need + heap.top_pad.load(), heap.memory.PAGE) - place
    start, given = breaks.grow(heap.memory, length)
    if given >= MIN_PIECE:
        lengthen_or_move_top(arena, start, given)
    return given == length or map_more(heap, size)


def lengthen_or_move_top(arena, start, length):
    if start == end_of_top(arena):
        lengthen_top(arena, length)
    else:
        move_top(arena, start, length, bits.align_up(start, chunks.UNIT))


def map_more(heap, size):
    """Continue the main arena in a mapping when the break cannot grow."""
    length = bits.align_up(max(size + chunks.MIN_CHUNK, MIN_MAPPING), heap.memory.PAGE)
    start = heap.memory.mmap(length)
    if start == -1:
        return False
    move_top(heap.main, start, length, 0)
    return True


def trim_main(heap, pad):
    """Lower the break by the top's whole pages beyond `pad`, if it still ends the top; return the bytes."""
    arena = heap.main
    given = breaks.shrink(heap.memory, end_of_top(arena), spare_bytes(arena, pad, heap.memory.PAGE))
    if given > 0:
        shorten_top(arena, given)
    return given


def spare_bytes(arena, pad, page):
    return max(bits.align_down(state.top_bytes(arena) - chunks.MIN_CHUNK - 1 - pad, page), 0)


def shorten_top(arena, length):
    bins.set_top(arena, arena.top, state.top_bytes(arena) - length)
    arena.system_bytes -= length


# --- the other arenas: segments


def map_segment(memory, size):
    """Map a segment of which `size` bytes are in use, its record included; null when memory is exhausted."""
    start = map_aligned(memory)
    segment = Segment(memory, start)
    if start == -1:
        return segment.at(NULL)
    segment.size = size
    return segment


def map_aligned(memory):
    """Map SEGMENT_BYTES at a multiple of SEGMENT_BYTES.

    The first try succeeds if the kernel continues where it placed the last segment. Unlike `parts.mappings`, this marks
    what the kernel refuses to unmap, so that `walk` can tell it from a segment.
    """
    start = memory.mmap(state.SEGMENT_BYTES)
    if start == -1 or start & (state.SEGMENT_BYTES - 1) == 0:
        return start
    unmap(memory, start, state.SEGMENT_BYTES)
    wide = memory.mmap(2 * state.SEGMENT_BYTES)
    if wide == -1:
        return -1
    start = bits.align_up(wide, state.SEGMENT_BYTES)
    if start > wide:
        unmap(memory, wide, start - wide)
    unmap(memory, start + state.SEGMENT_BYTES, wide + state.SEGMENT_BYTES - start)
    return start


def padded_size(heap, need):
    """The bytes of a new segment to use at first, or 0 if `need` bytes do not fit into one."""
    size = bits.align_up(min(need, state.SEGMENT_BYTES) + heap.top_pad.load(), heap.memory.PAGE)
    return min(size, state.SEGMENT_BYTES) if need <= state.SEGMENT_BYTES else 0


def grow_segments(heap, arena, size):
    """Grow the top for a chunk of `size` bytes, in its segment or in a new one."""
    segment = state.segment_of(arena.top)
    need = bits.align_up(size + chunks.MIN_CHUNK - state.top_bytes(arena), heap.memory.PAGE)
    if segment.size + need <= state.SEGMENT_BYTES:
        segment.size += need
        lengthen_top(arena, need)
        return True
    first_size = padded_size(heap, size + chunks.MIN_CHUNK + Segment.SIZE)
    if first_size == 0:
        return False
    fresh = map_segment(heap.memory, first_size)
    if not fresh:
        return False
    fresh.arena = arena
    fresh.previous = segment
    move_top(arena, fresh.address + Segment.SIZE, first_size - Segment.SIZE, 0)
    state.count_system(arena, Segment.SIZE)
    return True


def trim_segments(heap, arena, pad, minimum):
    """Unmap segments that hold only the top, then release the top's whole pages beyond `pad`; return the bytes.

    A top of fewer than `minimum` bytes stays.
    """
    released = 0
    while holds_only_top(arena) and is_roomy(heap, state.segment_of(arena.top).previous, pad):
        size = state.segment_of(arena.top).size
        if not drop_segment(heap, arena):
            return released
        released += size
    spare = spare_bytes(arena, pad, heap.memory.PAGE)
    if state.top_bytes(arena) < minimum or spare == 0:
        return released
    if heap.memory.decommit(end_of_top(arena) - spare, spare) == -1:
        return released
    state.segment_of(arena.top).size -= spare
    shorten_top(arena, spare)
    return released + spare


def holds_only_top(arena):
    """Whether the top is the only chunk of its segment. An arena's first segment never qualifies."""
    return arena.top.address == state.segment_of(arena.top).address + Segment.SIZE


def fence_in(segment):
    """The first of the two fences at the end of a segment that has a successor."""
    last = Chunk(segment.memory, segment.address + segment.size - FENCE)
    size = last.previous_size
    if not is_last_fence(last) or not (size == FENCE or size == 2 * FENCE):
        last.memory.fault("corrupted fence", last.address)
    if chunks.previous_of(last).head & ~chunks.PREVIOUS_IN_USE != size | chunks.MAPPED:
        last.memory.fault("corrupted fence", last.address)
    return chunks.previous_of(last)


def is_roomy(heap, segment, pad):
    """Whether a segment that became the last again would have a top of at least `pad` bytes and a page."""
    fence = fence_in(segment)
    room = chunks.size_of(fence) + FENCE + state.SEGMENT_BYTES - segment.size
    if not chunks.follows_used(fence):
        room += fence.previous_size
    return room >= pad + chunks.MIN_CHUNK + heap.memory.PAGE


def drop_segment(heap, arena):
    """Unmap the last segment; the free end of the previous one becomes the top. False if the kernel refuses."""
    last = state.segment_of(arena.top)
    size = last.size
    top = fence_in(last.previous)
    if heap.memory.munmap(last.address, state.SEGMENT_BYTES) == -1:
        return False
    length = chunks.size_of(top) + FENCE
    if not chunks.follows_used(top):
        length += top.previous_size
        top = chunks.previous_of(top)
        bins.unlink(arena, top)
    bins.set_top(arena, top, length)
    arena.system_bytes -= size
    return True


# --- any arena


def grow(heap, arena, size):
    """Grow the top of an arena for a chunk of `size` bytes; False when memory is exhausted."""
    checks.refuse_top_end(arena, heap.memory.PAGE)
    if state.is_main(arena):
        return grow_main(heap, size)
    return grow_segments(heap, arena, size)


def trim_if_worth(heap, arena, size):
    """Trim the top after a free that made a chunk of `size` bytes, if that is large; return the bytes released."""
    if size < WORTH_TRIMMING:
        return 0
    fast_bins.consolidate(arena)
    if not state.is_main(arena):
        return trim_segments(heap, arena, heap.top_pad.load(), heap.trim_threshold.load())
    if state.top_bytes(arena) < heap.trim_threshold.load():
        return 0
    return trim_main(heap, heap.top_pad.load())
