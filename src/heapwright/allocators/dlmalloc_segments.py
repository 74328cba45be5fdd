"""Segments, the stretches of the break or of mappings that dlmalloc cuts chunks from: how they come and how they go.

A segment is one stretch from the kernel. The first, whose record is in the heap's words, ends with the chunk top and
a foot of 80 bytes. When a stretch arrives that does not continue it, the foot takes the old record in, and the
rest of top becomes an ordinary chunk:

      +--------+-- ... --+-----------------+--------+-------+-------+-------+
      | chunks           | what was top    | record | fence | fence | fence |
      +--------+-- ... --+-----------------+--------+-------+-------+-------+
                           if 32 or more     48       heads 8 bytes apart, 32 in all

What the kernel will not take back becomes a segment, and serves requests; a mapping is offered again whenever empty
segments are.

A heap here is `dlmalloc.Heap`.
"""

from __future__ import annotations

from heapwright.allocators.dlmalloc_bins import give_back, move_top, set_victim, take_from_top
from heapwright.allocators.dlmalloc_chunks import (
    ALIGNMENT,
    BOTH_USED,
    HEADER,
    LEAST_CHUNK,
    Chunk,
    address_of,
    has_footers,
    is_live,
    mark_freed,
    plus,
    size_of,
    use_first,
)
from heapwright.allocators.dlmalloc_trees import insert_tree, tree_of, unlink_tree
from heapwright.bits import MOST, align_down, align_up
from heapwright.layout import NULL, WORD, Struct, Word

TRIM_THRESHOLD = 2 << 20
RELEASE_RATE = 4095  # how many large chunks are freed from one look at the segments to the next

FENCE = BOTH_USED | WORD  # a head


class Segment(Struct):
    start: Word
    size: Word
    next: Segment
    is_mapped: Word


RECORD_CHUNK = align_up(Segment.SIZE + WORD, ALIGNMENT)
TOP_FOOT = RECORD_CHUNK + LEAST_CHUNK
PADDING = TOP_FOOT + ALIGNMENT  # enough to take the request from top, wherever the stretch begins


# --- segments


def end_of(segment):
    return segment.start + segment.size


def segment_holding(heap, address):
    """The segment in which an address lies, or null."""
    segment = heap.segment
    while segment and not segment.start <= address < end_of(segment):
        segment = segment.next
    return segment


def segment_starting(heap, address, is_mapped):
    """The segment of one kind that starts at an address, or null."""
    segment = heap.segment
    while segment and not (segment.start == address and segment.is_mapped == is_mapped):
        segment = segment.next
    return segment


def first_chunk(segment):
    return Chunk(segment.memory, align_up(segment.start, ALIGNMENT))


def count(heap, size):
    heap.footprint += size
    heap.peak = max(heap.peak, heap.footprint)


def set_top(heap, chunk, size):
    """Make a chunk top, in front of its foot, and try trimming again."""
    move_top(heap, chunk, size)
    plus(chunk, size).head = TOP_FOOT
    heap.trim_check = TRIM_THRESHOLD


def start_top(heap, segment):
    """Make all of a new segment top."""
    chunk = first_chunk(segment)
    set_top(heap, chunk, end_of(segment) - TOP_FOOT - chunk.address)


# --- a stretch from the kernel


def stretch_for(heap, size):
    """A stretch for a chunk of `size` bytes: (start, size, whether mapped); its size is 0 if there is none.

    Once the break did not grow and a mapping came instead, the break is tried last.
    """
    if heap.break_failed == 0:
        start, given = from_break(heap, size)
        if given != 0:
            return start, given, 0
    wanted = align_up(size + PADDING, heap.memory.PAGE)
    start = heap.memory.mmap(wanted)
    if start != -1:
        heap.break_failed = 1
        return start, wanted, 1
    if heap.break_failed != 0:
        start, given = move_break(heap, size, wanted, NULL)
        return start, given, 0
    return NULL, 0, 0


def from_break(heap, size):
    """Move the break by what top lacks, or, at first, by the whole and to the end of a page."""
    page = heap.memory.PAGE
    if heap.top:
        lacking = align_up(size - heap.top_size + PADDING, page)
        return move_break(heap, size, lacking, end_of(heap.segment))
    start = heap.memory.sbrk(0)
    return move_break(heap, size, align_up(size + PADDING, page) + (-start & (page - 1)), start)


def move_break(heap, size, wanted, expected):
    """Move the break by `wanted` bytes. Where somebody else moved it too, take enough to start anew."""
    start = heap.memory.sbrk(wanted)
    if start == -1:
        return start, 0
    if start == expected:
        return start, wanted
    end = align_up(max(start + wanted, align_up(start, ALIGNMENT) + size + PADDING), heap.memory.PAGE)
    more = heap.memory.sbrk(end - start - wanted)
    if more == start + wanted:
        return start, end - start
    if more != -1:
        keep_too_little(heap, more, end - start - wanted)
    if heap.memory.sbrk(0) != start + wanted or heap.memory.sbrk(-wanted) == -1:
        keep_too_little(heap, start, wanted)
    return start, 0


# --- growing


def take_from_stretch(heap, start, given, is_mapped, size):
    """Make a stretch part of the heap, and take a chunk from its start, or from the top that it became or extends."""
    if not heap.top:
        open_heap(heap, start, given, is_mapped)
    elif start == end_of(heap.segment) and heap.segment.is_mapped == is_mapped:
        heap.segment.size += given
        set_top(heap, heap.top, heap.top_size + given)
    else:
        heap.least_address = min(heap.least_address, start)
        above = segment_starting(heap, start + given, is_mapped)
        if above:
            return prepend(heap, above, start, size)
        add_segment(heap, start, given, is_mapped)
    return take_from_top(heap, size)


def set_segment(segment, start, size, is_mapped):
    segment.start = start
    segment.size = size
    segment.is_mapped = is_mapped


def open_heap(heap, start, size, is_mapped):
    heap.least_address = start
    if has_footers(heap):
        heap.magic[0] = heap.memory.random() | 1
    set_segment(heap.segment, start, size, is_mapped)
    heap.release_checks = RELEASE_RATE
    start_top(heap, heap.segment)


def add_segment(heap, start, size, is_mapped):
    """Make a stretch the first segment, and close the one before with its record and fences."""
    old_top, old_end = heap.top, end_of(heap.segment)
    record_chunk = close_place(heap)
    record = close(heap, record_chunk, old_end)
    set_segment(record, heap.segment.start, heap.segment.size, heap.segment.is_mapped)
    link_second(heap, record)
    set_segment(heap.segment, start, size, is_mapped)
    start_top(heap, heap.segment)
    if record_chunk != old_top:
        use_first(heap, old_top, record_chunk.address - old_top.address)
        give_back(heap, old_top)


def close_place(heap):
    """Where the record goes: into the foot, or from the start of top if too little would be left of it."""
    return heap.top if heap.top_size < LEAST_CHUNK else plus(heap.top, heap.top_size)


def close(heap, record_chunk, end):
    """End a segment with a chunk for its record, and up to the end fences, so that nothing merges over it."""
    use_first(heap, record_chunk, RECORD_CHUNK)
    fence = plus(record_chunk, RECORD_CHUNK)
    while fence.address + HEADER <= end:
        fence.head = FENCE
        fence = plus(fence, WORD)
    return Segment(heap.memory, address_of(record_chunk))


def link_second(heap, segment):
    """Put a segment into the list behind the first, which has top."""
    segment.next = heap.segment.next
    heap.segment.next = segment


def prepend(heap, segment, start, size):
    """Extend a segment downwards: a chunk of `size` bytes in use, and the rest merged with what was first."""
    old_first = first_chunk(segment)
    segment.size += segment.start - start
    segment.start = start
    chunk = first_chunk(segment)
    use_first(heap, chunk, size)
    rest = plus(chunk, size)
    use_first(heap, rest, old_first.address - rest.address)
    give_back(heap, rest)
    return chunk


# --- giving back


def trim(heap):
    """Give back the end of top and empty segments; after a failure, wait until top is set anew. Returns the bytes."""
    released = shrink_top(heap) + release_unused(heap)
    if released == 0 and heap.top_size > heap.trim_check:
        heap.trim_check = MOST
    return released


def shrink_top(heap):
    """Leave top less than a page beyond its foot's size; return how many bytes went."""
    size = align_up(heap.top_size - TOP_FOOT, heap.memory.PAGE) - heap.memory.PAGE
    if size <= 0 or not give_end(heap, size):
        return 0
    heap.segment.size -= size
    heap.footprint -= size
    set_top(heap, heap.top, heap.top_size - size)
    return size


def give_end(heap, size):
    """Whether the kernel takes the first segment's end: the break only if it is still where we left it."""
    end = end_of(heap.segment)
    if heap.segment.is_mapped != 0:
        return heap.memory.munmap(end - size, size) == 0
    return heap.memory.sbrk(0) == end and heap.memory.sbrk(-size) != -1


def release_unused(heap):
    """Unmap every mapped segment, but the first, that is one free chunk; return how many bytes went."""
    released, seen = 0, 0
    last = heap.segment
    segment = last.next
    while segment:
        following, size = segment.next, segment.size
        if segment.is_mapped != 0 and is_empty(segment) and release(heap, segment):
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
    return not is_live(chunk) and chunk.address + size_of(chunk) >= end_of(segment) - TOP_FOOT


def release(heap, segment):
    """Unmap a segment of one free chunk; False, and the chunk free in its tree, if the kernel will not."""
    chunk, size = first_chunk(segment), segment.size
    if chunk == heap.victim:
        set_victim(heap, chunk.at(NULL), 0)
    else:
        unlink_tree(heap, tree_of(chunk))
    if heap.memory.munmap(segment.start, size) != 0:
        insert_tree(heap, tree_of(chunk), size_of(chunk))
        return False
    heap.footprint -= size
    return True


def keep_too_little(heap, start, size):
    """Keep a stretch too small for the request; less than a page, or before the heap is open, it is lost."""
    if heap.top and size >= heap.memory.PAGE:
        count(heap, size)
        heap.least_address = min(heap.least_address, start)
        keep(heap, start, size, 0)


def keep(heap, start, size, is_mapped):
    """Make a segment of one free chunk, the second in the list, of a stretch that is counted."""
    chunk = heap.top.at(align_up(start, ALIGNMENT))
    free = align_down(start + size - TOP_FOOT - chunk.address, ALIGNMENT)
    record = close(heap, plus(chunk, free), start + size)
    set_segment(record, start, size, is_mapped)
    link_second(heap, record)
    mark_freed(chunk, free)
    insert_tree(heap, tree_of(chunk), free)
