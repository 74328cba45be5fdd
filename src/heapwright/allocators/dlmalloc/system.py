"""Memory from the kernel when no free chunk serves: a mapping for one large chunk, or the growth of a segment.

A chunk with its own mapping has neither bit set. Its `previous_size` is its distance from the start of the mapping:

      +-----------------+---------------------+--------+--------+
      | previous_size   | the chunk           | fence  | 0      |   of 32 bytes, the second word is the fence's head
      +-----------------+---------------------+--------+--------+

A heap here is `dlmalloc.Heap`.
"""

from __future__ import annotations

from heapwright import bits
from heapwright.allocators.dlmalloc import bins, chunks, segments, trees
from heapwright.allocators.dlmalloc.settings import is_beyond_limit, settings_of
from heapwright.allocators.dlmalloc.trees import Tree
from heapwright.allocators.parts import whole_pages
from heapwright.layout import NULL, WORD

MAPPED_FOOT = 4 * WORD
MAPPED_OVERHEAD = 6 * WORD + chunks.ALIGNMENT - 1


def take_from_kernel(heap, size):
    """Take a chunk of new memory; null when memory is exhausted."""
    if size >= settings_of(heap).mmap_threshold and heap.top_size != 0 and heap.is_tracking == 0:
        chunk = map_chunk(heap, size)
        if chunk:
            return chunk
    start, given, origin = segments.extent_for(heap, size)
    if given == 0:
        return heap.top.at(NULL)
    segments.count(heap, given)
    return segments.take_from_extent(heap, start, given, origin, size)


# --- chunks with their own mappings


def map_chunk(heap, size):
    """Map a chunk of `size` bytes; null if the kernel refuses, or the limit of the footprint does."""
    length = bits.align_up(size + MAPPED_OVERHEAD, heap.memory.PAGE)
    if is_beyond_limit(heap, length):
        return heap.top.at(NULL)
    start = heap.memory.mmap(length)
    if start == -1:
        return heap.top.at(NULL)
    chunk = heap.top.at(start)
    chunk.previous_size = 0
    finish_mapped(heap, chunk, length - MAPPED_FOOT)
    heap.mapped_chunks += 1
    segments.count(heap, length)
    return chunk


def finish_mapped(heap, chunk, size):
    """Write the heads of a mapping. If memalign moved the chunk up, `walk` needs one at the mapping's start too."""
    lead = chunk.previous_size
    chunks.offset_by(chunk, -lead).head = lead + size
    chunk.head = size
    chunks.set_foot(heap, chunk, size)
    fence = chunks.offset_by(chunk, size)
    fence.head = segments.FENCE
    chunks.offset_by(fence, WORD).head = 0
    heap.min_address = min(heap.min_address, chunk.address - lead)


def mapped_length(chunk):
    return chunk.previous_size + chunks.size_of(chunk) + MAPPED_FOOT


def unmap_chunk(heap, chunk):
    start, length = chunk.address - chunk.previous_size, mapped_length(chunk)
    heap.mapped_chunks -= 1
    if heap.memory.munmap(start, length) == 0:
        heap.footprint -= length
    else:
        segments.keep(heap, start, length, segments.MAPPED)


def remap_chunk(heap, chunk, size, may_move):
    """Resize a mapped chunk, which may move; null if the kernel refuses or the size is small."""
    spare = chunks.size_of(chunk) - size
    if bins.is_small(size):
        return chunk.at(NULL)
    if WORD <= spare <= 2 * settings_of(heap).granularity:
        return chunk
    lead, old_length = chunk.previous_size, mapped_length(chunk)
    length = bits.align_up(lead + size + MAPPED_OVERHEAD, heap.memory.PAGE)
    start = heap.memory.mremap(chunk.address - lead, old_length, length, may_move)
    if start == -1:
        return chunk.at(NULL)
    chunk = chunk.at(start + lead)
    finish_mapped(heap, chunk, length - lead - MAPPED_FOOT)
    segments.count(heap, length - old_length)
    return chunk


MAX_LENGTH = 1 << 61  # longer than any mapping; sums of smaller numbers do not overflow


def is_own_mapping(heap, chunk):
    """Whether a chunk to be freed or resized has its own mapping; report anything that is not a chunk in use."""
    if not bits.unsigned_less(chunk.address - heap.segment.start, heap.top.address - heap.segment.start):
        return is_apart(heap, chunk)
    refuse_free(heap, chunk)
    return False


def is_apart(heap, chunk):
    """Answer the same question outside the newest segment, where the address may be invalid."""
    if chunk.address < heap.min_address:
        heap.memory.fault("not a block of this heap", chunks.address_of(chunk))
    if segments.segment_holding(heap, chunk.address):
        refuse_free(heap, chunk)
        return False
    if not heap.memory.is_mapped(chunk.address):
        heap.memory.fault("not a live block", chunks.address_of(chunk))
    if not is_mapping(heap, chunk):
        heap.memory.fault("not a block of this heap", chunks.address_of(chunk))
    refuse_unmarked(heap, chunk)
    return True


def refuse_free(heap, chunk):
    """Report a chunk of a segment that is not in use. Links may have overwritten a head inside free memory."""
    if not chunks.is_used(chunk) or chunk.head < chunks.MIN_CHUNK:
        heap.memory.fault("double free", chunks.address_of(chunk))
    refuse_unmarked(heap, chunk)


def refuse_unmarked(heap, chunk):
    """Report a chunk that does not end with the heap's mark, if the heap has footers."""
    if chunks.has_footers(heap) and not chunks.has_mark(heap, chunk):
        heap.memory.fault("not a block of this heap, or somebody wrote behind its end", chunks.address_of(chunk))


def is_mapping(heap, chunk):
    """Whether a chunk claims to be a mapping and its fields describe whole pages."""
    if not chunks.is_mapped(chunk) or not bits.unsigned_less(chunk.previous_size | chunk.head, MAX_LENGTH):
        return False
    whole = bits.is_aligned(chunk.address - chunk.previous_size | mapped_length(chunk), heap.memory.PAGE)
    return whole and chunks.size_of(chunk) > 0


# --- pages of free chunks


def decommit_free(heap):
    """Release the frames of the whole pages inside free chunks; return the number of bytes released."""
    given_back = 0
    segment = heap.segment
    while heap.top and segment:
        if segment.origin != segments.LENT:
            given_back += decommit_in(heap, segment)
        segment = segment.next
    return given_back


def decommit_in(heap, segment):
    """Release the frames of free chunks in one segment; return the bytes."""
    given_back = 0
    chunk = segments.first_chunk(segment)
    while chunk.head != segments.FENCE and chunk != heap.top:
        if not chunks.is_live(chunk):
            given_back += decommit_chunk(heap, chunk)
        chunk = chunks.after(chunk)
    if chunk == heap.top:
        given_back += decommit_chunk(heap, chunk)
    return given_back


def decommit_chunk(heap, chunk):
    """Release the frames inside one free chunk larger than a page, but keep its head and the links still needed."""
    if chunks.size_of(chunk) <= heap.memory.PAGE:
        return 0
    return whole_pages.decommit_inside(
        heap.memory, chunk.address + bytes_read_again(heap, chunk), chunks.after(chunk).address
    )


def bytes_read_again(heap, chunk):
    """The bytes at the start of a free large chunk that must stay. A chunk that only hangs in a ring has no parent."""
    if chunk == heap.top or chunk == heap.victim:  # noqa: PLR1714  `in` does not compile
        return chunks.HEADER
    return Tree.SIZE if trees.tree_of(chunk).parent else Tree.children.offset
