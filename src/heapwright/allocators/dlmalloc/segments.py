"""Segments, the extents of the break or of mappings from which dlmalloc cuts chunks: growth and release.

A segment is one extent from the kernel. The record of the first segment is a field of the heap. This segment ends with
the chunk top and a foot of 80 bytes. When an extent arrives that does not continue it, the old record moves into the
foot, and the rest of top becomes an ordinary chunk:

      +--------+-- ... --+-----------------+--------+-------+-------+-------+
      | chunks           | what was top    | record | fence | fence | fence |
      +--------+-- ... --+-----------------+--------+-------+-------+-------+
                           if 32 or more     48       heads 8 bytes apart, 32 in all

Memory that the kernel refuses to take back becomes a segment and serves requests. A mapping is offered again with the
empty segments.

A heap here is `dlmalloc.Heap`.
"""

from __future__ import annotations

from heapwright import bits
from heapwright.allocators.dlmalloc import bins, chunks, trees
from heapwright.allocators.dlmalloc.chunks import Chunk
from heapwright.allocators.dlmalloc.settings import in_units, is_beyond_limit, settings_of
from heapwright.allocators.parts import breaks
from heapwright.layout import NULL, WORD, Struct, Word

RELEASE_RATE = 4095  # large chunks freed between two searches for empty segments

FENCE = chunks.BOTH_USED | WORD  # the head of a fence

FROM_BREAK, MAPPED, LENT = 0, 1, 2  # the origins of a segment; the heap never extends or releases what it was lent
BREAK_WORKS, BREAK_FAILED, NO_BREAK = 0, 1, 2  # a heap's use of the break


class Segment(Struct):
    start: Word
    size: Word
    next: Segment
    origin: Word


RECORD_CHUNK = bits.align_up(Segment.SIZE + WORD, chunks.ALIGNMENT)
TOP_FOOT = RECORD_CHUNK + chunks.MIN_CHUNK
MIN_SEGMENT = 2 * TOP_FOOT
PADDING = TOP_FOOT + chunks.ALIGNMENT  # bytes beyond the request that suffice wherever the extent begins


# --- segments


def end_of(segment):
    return segment.start + segment.size


def segment_holding(heap, address):
    """The segment that contains an address, or null."""
    segment = heap.segment
    while segment and not segment.start <= address < end_of(segment):
        segment = segment.next
    return segment


def segment_starting(heap, address, origin):
    """The segment of one origin that starts at an address, or null."""
    segment = heap.segment
    while segment and not (segment.start == address and segment.origin == origin):
        segment = segment.next
    return segment


def first_chunk(segment):
    return Chunk(segment.memory, bits.align_up(segment.start, chunks.ALIGNMENT))


def count(heap, size):
    heap.footprint += size
    heap.peak = max(heap.peak, heap.footprint)


def set_top(heap, chunk, size):
    """Make a chunk top, in front of its foot, and reset the trim threshold."""
    bins.move_top(heap, chunk, size)
    chunks.offset_by(chunk, size).head = TOP_FOOT
    heap.trim_check = settings_of(heap).trim_threshold


def start_top(heap, segment):
    """Make a whole new segment top."""
    chunk = first_chunk(segment)
    set_top(heap, chunk, end_of(segment) - TOP_FOOT - chunk.address)


# --- an extent from the kernel


def extent_for(heap, size):
    """Get an extent for a chunk of `size` bytes; return (start, size, origin), with size 0 if there is none.

    Once the break has failed to grow and a mapping has succeeded, the break is tried last. A space never moves it.
    """
    wanted = in_units(heap, size + PADDING)
    if is_beyond_limit(heap, wanted):
        return NULL, 0, FROM_BREAK
    if heap.break_use == BREAK_WORKS:
        start, given = from_break(heap, size)
        if given != 0:
            return start, given, FROM_BREAK
    start = heap.memory.mmap(wanted)
    if start != -1:
        heap.break_use = max(heap.break_use, BREAK_FAILED)
        return start, wanted, MAPPED
    if heap.break_use == BREAK_FAILED:
        start, given = move_break(heap, size, wanted, NULL)
        return start, given, FROM_BREAK
    return NULL, 0, FROM_BREAK


def from_break(heap, size):
    """Move the break by what top lacks; the first time, by the whole request up to the end of a page."""
    if heap.top:
        lacking = in_units(heap, size - heap.top_size + PADDING)
        return move_break(heap, size, lacking, end_of(heap.segment))
    start = heap.memory.sbrk(0)
    wanted = in_units(heap, size + PADDING) + (-start & (heap.memory.PAGE - 1))
    if is_beyond_limit(heap, wanted):
        return start, 0
    return move_break(heap, size, wanted, start)


def move_break(heap, size, wanted, expected):
    """Move the break by `wanted` bytes. If other code has moved it too, take enough for a new segment."""
    start, given = breaks.grow(heap.memory, wanted)
    if given < wanted:
        keep_too_little(heap, start, given)
        return start, 0
    if start == expected:
        return start, wanted
    end = bits.align_up(max(start + wanted, bits.align_up(start, chunks.ALIGNMENT) + size + PADDING), heap.memory.PAGE)
    lacking = end - start - wanted
    more, given = breaks.grow(heap.memory, lacking)
    if more == start + wanted and given == lacking:
        return start, end - start
    keep_too_little(heap, more, given)
    keep_too_little(heap, start, wanted - breaks.shrink(heap.memory, start + wanted, wanted))
    return start, 0


# --- growing


def take_from_extent(heap, start, given, origin, size):
    """Add an extent to the heap, and take a chunk from its start or from top."""
    if not heap.top:
        open_heap(heap, start, given, origin)
    elif start == end_of(heap.segment) and heap.segment.origin == origin:
        heap.segment.size += given
        set_top(heap, heap.top, heap.top_size + given)
    else:
        heap.min_address = min(heap.min_address, start)
        above = segment_starting(heap, start + given, origin)
        if above:
            return prepend(heap, above, start, size)
        add_segment(heap, start, given, origin)
    return bins.take_from_top(heap, size)


def set_segment(segment, start, size, origin):
    segment.start = start
    segment.size = size
    segment.origin = origin


def open_heap(heap, start, size, origin):
    begin(heap, start, size, origin)
    start_top(heap, heap.segment)


def begin(heap, start, size, origin):
    """Fill in the fields of a heap whose first segment is this extent."""
    heap.min_address = start
    if chunks.has_footers(heap):
        heap.magic[0] = heap.memory.random() | 1
    set_segment(heap.segment, start, size, origin)
    heap.release_checks = RELEASE_RATE


def add_segment(heap, start, size, origin):
    """Make an extent the first segment, and close the previous one with its record and fences."""
    old_top, old_end = heap.top, end_of(heap.segment)
    record_chunk = close_place(heap)
    record = close(heap, record_chunk, old_end)
    set_segment(record, heap.segment.start, heap.segment.size, heap.segment.origin)
    link_second(heap, record)
    set_segment(heap.segment, start, size, origin)
    start_top(heap, heap.segment)
    if record_chunk != old_top:
        chunks.use_first(heap, old_top, record_chunk.address - old_top.address)
        bins.give_back(heap, old_top)


def close_place(heap):
    """The place of the record: in the foot, or at the start of top if top is too small for a chunk."""
    return heap.top if heap.top_size < chunks.MIN_CHUNK else chunks.offset_by(heap.top, heap.top_size)


def close(heap, record_chunk, end):
    """End a segment with a chunk for its record, followed by fences up to the end, which prevent merging."""
    chunks.use_first(heap, record_chunk, RECORD_CHUNK)
    fence = chunks.offset_by(record_chunk, RECORD_CHUNK)
    while fence.address + chunks.HEADER <= end:
        fence.head = FENCE
        fence = chunks.offset_by(fence, WORD)
    return Segment(heap.memory, chunks.address_of(record_chunk))


def link_second(heap, segment):
    """Insert a segment into the list behind the first, which has top."""
    segment.next = heap.segment.next
    heap.segment.next = segment


def prepend(heap, segment, start, size):
    """Extend a segment downwards; take a chunk of `size` bytes, and merge the rest with the former first chunk."""
    old_first = first_chunk(segment)
    segment.size += segment.start - start
    segment.start = start
    chunk = first_chunk(segment)
    chunks.use_first(heap, chunk, size)
    rest = chunks.offset_by(chunk, size)
    chunks.use_first(heap, rest, old_first.address - rest.address)
    bins.give_back(heap, rest)
    return chunk


# --- releasing


def trim_end(heap, pad):
    """Release the end of top beyond `pad` bytes, and empty segments; return the number of bytes released.

    After a failure, do not try again until top is set anew.
    """
    released = shrink_top(heap, pad) + release_unused(heap)
    if released == 0 and heap.top_size > heap.trim_check:
        heap.trim_check = bits.MAX_WORD
    return released


def shrink_top(heap, pad):
    """Shrink top to at most a unit beyond `pad` bytes and the size of its foot; return the bytes released."""
    unit = settings_of(heap).granularity
    size = bits.align_up(heap.top_size - TOP_FOOT - pad, unit) - unit
    given = give_end(heap, size) if size > 0 else 0
    if given > 0:
        heap.segment.size -= given
        heap.footprint -= given
        set_top(heap, heap.top, heap.top_size - given)
    return given


def give_end(heap, size):
    """Release the last `size` bytes of the first segment; return the bytes. The break must still end the segment."""
    end = end_of(heap.segment)
    if heap.segment.origin == FROM_BREAK:
        return breaks.shrink(heap.memory, end, size)
    if heap.segment.origin == LENT or holds_heap(heap, heap.segment):
        return 0
    return size if heap.memory.munmap(end - size, size) == 0 else 0


def holds_heap(heap, segment):
    """Whether a segment is the one that a space, its heap, lies in. It stays whole, as in the source."""
    return segment.start <= heap.address < end_of(segment)


def release_unused(heap):
    """Unmap every mapped segment, except the first, that is one free chunk; return the number of bytes released."""
    released, seen = 0, 0
    last = heap.segment
    segment = last.next
    while segment:
        following, size = segment.next, segment.size
        if segment.origin == MAPPED and is_empty(segment) and release(heap, segment):
            last.next = following
            released += size
        else:
            last = segment
        segment = following
        seen += 1
    heap.release_checks = max(seen, RELEASE_RATE)
    return released


def is_empty(segment):
    chunk = first_chunk(segment)
    return not chunks.is_live(chunk) and chunk.address + chunks.size_of(chunk) >= end_of(segment) - TOP_FOOT


def release(heap, segment):
    """Unmap a segment of one free chunk. False if the kernel refuses; the chunk is then free in its tree."""
    chunk, size = first_chunk(segment), segment.size
    if chunk == heap.victim:
        bins.set_victim(heap, chunk.at(NULL), 0)
    else:
        trees.unlink_tree(heap, trees.tree_of(chunk))
    if heap.memory.munmap(segment.start, size) != 0:
        trees.insert_tree(heap, trees.tree_of(chunk), chunks.size_of(chunk))
        return False
    heap.footprint -= size
    return True


def keep_too_little(heap, start, size):
    """Keep an extent that is too small for the request. One that is too small for a segment is lost."""
    if size < MIN_SEGMENT:
        return
    count(heap, size)
    if heap.top:
        heap.min_address = min(heap.min_address, start)
        keep(heap, start, size, FROM_BREAK)
    else:
        open_heap(heap, start, size, FROM_BREAK)


def keep(heap, start, size, origin):
    """Make an extent a segment of one free chunk, second in the list. The caller has counted the extent."""
    chunk = heap.top.at(bits.align_up(start, chunks.ALIGNMENT))
    free = bits.align_down(start + size - TOP_FOOT - chunk.address, chunks.ALIGNMENT)
    record = close(heap, chunks.offset_by(chunk, free), start + size)
    set_segment(record, start, size, origin)
    link_second(heap, record)
    chunks.mark_freed(chunk, free)
    trees.insert_tree(heap, trees.tree_of(chunk), free)
