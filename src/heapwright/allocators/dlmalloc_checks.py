"""What dlmalloc's `walk` and `check` ask, and its lists. Everything here only looks; but for `walk`, interpreted."""

from __future__ import annotations

from heapwright.allocators.dlmalloc_bins import small_bin
from heapwright.allocators.dlmalloc_chunks import (
    LEAST_CHUNK,
    PREVIOUS_USED,
    Chunk,
    address_of,
    after,
    before,
    has_footers,
    has_mark,
    is_live,
    is_mapped,
    is_previous_used,
    is_used,
    plus,
    size_of,
)
from heapwright.allocators.dlmalloc_segments import FENCE, TOP_FOOT, end_of, first_chunk, segment_holding
from heapwright.allocators.dlmalloc_system import MAPPED_FOOT
from heapwright.allocators.dlmalloc_trees import SHIFT, first_bit
from heapwright.bits import is_aligned
from heapwright.layout import WORD
from heapwright.spans import FREE, OWN, USED

BINS = range(32)


# --- walk


def span_at(heap, place, end):
    """The size and kind of what begins at a place.

    A chunk's span goes from head to head, because the foot behind a chunk in use is its caller's.
    """
    segment = segment_holding(heap, place)
    if not segment:
        return gap_at(heap, place, next_start(heap, place, end) - place)
    first_head = first_chunk(segment).address + Chunk.head.offset
    if place < first_head:
        return first_head - place, OWN
    chunk = Chunk(heap.memory, place - Chunk.head.offset)
    if chunk == heap.top:
        return heap.top_size, FREE
    if chunk.head in (FENCE, TOP_FOOT):
        return end_of(segment) - place, OWN
    if address_of(chunk) == segment.address:
        return size_of(chunk), OWN
    return size_of(chunk), USED if is_used(chunk) else FREE


def gap_at(heap, place, size):
    """The size and kind of what begins outside of all segments: a mapping, or somebody else's memory."""
    chunk = Chunk(heap.memory, place)
    length = size_of(chunk) + MAPPED_FOOT
    if length <= size and is_mapped(chunk) and is_aligned(length, heap.memory.PAGE):
        return length, USED
    return size, OWN


def next_start(heap, address, end):
    """Where the next segment above an address starts, at most `end`."""
    segment = heap.segment
    while segment:
        if address < segment.start < end:
            end = segment.start
        segment = segment.next
    return end


# --- lists


def lists(heap):
    """Yield (name, addresses) for each small bin, each ring of a tree bin, the victim and top.

    A ring's name is the bin's and the sides that lead to it.
    """
    for index in BINS:
        yield f"small bin {index}", list(map(address_of, small_chunks(heap, index)))
    for index in BINS:
        for node, path in nodes_of(heap, index):
            yield "/".join(map(str, (f"tree bin {index}", *path))), list(map(address_of, ring_of(node)))
    for name, chunk in (("victim", heap.victim), ("top", heap.top)):
        yield name, [address_of(chunk)] if chunk else []


# --- what there is to check


def segments_of(heap):
    segments = [heap.segment] if heap.top else []
    while segments and segments[-1].next:
        segments.append(segments[-1].next)
    return segments


def chunks_of(heap, segment):
    """The chunks of a segment up to its fences or through top."""
    chunk = first_chunk(segment)
    while chunk.head != FENCE:
        yield chunk
        if chunk == heap.top:
            return
        chunk = after(chunk)


# --- DL2, DL3: neighbours


def agrees(chunk):
    """Whether the neighbours know of a chunk in use, and it of the one before."""
    if is_live(chunk) and not is_previous_used(after(chunk)):
        return False
    return is_previous_used(chunk) or (not is_live(before(chunk)) and after(before(chunk)) == chunk)


def is_sealed(heap, chunk):
    """Whether a free chunk says its size at its end, and touches no other free chunk."""
    if chunk == heap.top:
        return is_previous_used(chunk)
    behind = after(chunk)
    footed = behind.previous_size == size_of(chunk) and not is_previous_used(behind)
    return footed and is_previous_used(chunk) and is_live(behind)


# --- DL4, DL5: bins


def small_chunks(heap, index):
    """The circle of a small bin; nothing if its bit is not set."""
    head, chunks = small_bin(heap, index), []
    chunk = head.forward if heap.small_map >> index & 1 else head
    while chunk != head:
        chunks.append(chunk)
        chunk = chunk.forward
    return chunks


def is_small_bin(heap, index):
    head, chunks = small_bin(heap, index), small_chunks(heap, index)
    circle = [head, *chunks, head]
    fits = all(size_of(chunk) == index * 8 and not is_live(chunk) for chunk in chunks)
    linked = all(b.back == a for a, b in zip(circle, circle[1:], strict=False)) or not chunks
    return fits and linked and bool(chunks) == bool(heap.small_map >> index & 1)


def nodes_of(heap, index):
    """The nodes of a tree bin, each with the sides that lead to it."""
    root = heap.tree_bins[index]
    waiting = [(root, ())] if root else []
    while waiting:
        node, path = waiting.pop()
        yield node, path
        waiting += [(node.children[side], (*path, side)) for side in (0, 1) if node.children[side]]


def ring_of(node):
    ring = [node]
    while ring[-1].forward != node:
        ring.append(ring[-1].forward)
    return ring


def tree_chunks(heap, index):
    return [chunk for node, _ in nodes_of(heap, index) for chunk in ring_of(node)]


def is_tree_bin(heap, index):
    root = heap.tree_bins[index]
    marked = bool(root) == bool(heap.tree_map >> index & 1)
    rooted = not root or root.parent.address == heap.tree_bins.at(index)
    return marked and rooted and all(is_node(node, path, index) for node, path in nodes_of(heap, index))


def is_in_bin(size, index):
    """Whether the first two bits of a size are those of its bin, or, of the last bin, not less."""
    of_bin, shift = (index & 1) + 2, (index >> 1) + SHIFT - 1
    return size >> shift >= of_bin if index == BINS[-1] else size >> shift == of_bin


def is_node(node, path, index):
    """Whether a node lies where the bits of its size lead, with its ring and its children."""
    size, bit, ring = size_of(node), first_bit(index), ring_of(node)
    placed = is_in_bin(size, index) and all(size >> bit - i & 1 == side for i, side in enumerate(path))
    equal = all(size_of(each) == size and each.index == index and not is_live(each) for each in ring)
    linked = all(each.forward.back == each for each in ring) and not any(each.parent for each in ring[1:])
    children = [node.children[0], node.children[1]]
    return placed and equal and linked and all(child.parent == node for child in children if child)


# --- DL6 to DL9: the victim, top, all chunks and segments, mappings


def is_victim(heap):
    victim = heap.victim
    if heap.victim_size == 0:
        return not victim
    return size_of(victim) == heap.victim_size >= LEAST_CHUNK and not is_live(victim)


def is_top(heap):
    top = heap.top
    if not top:
        return heap.top_size == 0
    ends = top.address + heap.top_size + TOP_FOOT == end_of(heap.segment)
    return ends and top.head == heap.top_size | PREVIOUS_USED and heap.segment.start <= top.address


def unused_chunks(heap):
    """The addresses of everything that is in a bin, the victim and top: of each free chunk, once."""
    small = [chunk for index in BINS for chunk in small_chunks(heap, index)]
    large = [chunk for index in BINS for chunk in tree_chunks(heap, index)]
    return sorted(chunk.address for chunk in [*small, *large, heap.victim, heap.top] if chunk)


def are_apart(segments):
    ordered = sorted(segments, key=lambda segment: segment.start)
    return all(end_of(a) <= b.start for a, b in zip(ordered, ordered[1:], strict=False))


def holds_record(segment):
    return segment.start < segment.address < end_of(segment) - segment.SIZE


def is_mapping(heap, start, end):
    """Whether a mapping has whole pages and a fence at the end."""
    fence = Chunk(heap.memory, end - MAPPED_FOOT)
    return (end - start) % heap.memory.PAGE == 0 and fence.head == FENCE and plus(fence, WORD).head == 0


# --- DL11: whose chunks they are


def is_own(heap, chunk):
    """Whether a chunk lies where the heap's can; with footers, whether one in use has its mark."""
    is_marked = not has_footers(heap) or not is_live(chunk) or has_mark(heap, chunk)
    return chunk.address >= heap.least_address and is_marked
