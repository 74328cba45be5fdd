"""Inspection of dlmalloc: `walk`, `check` and lists. Nothing here changes the heap."""

from __future__ import annotations

from heapwright import bits, spans
from heapwright.allocators.dlmalloc import bins, chunks, segments, system, trees
from heapwright.allocators.dlmalloc.chunks import Chunk
from heapwright.layout import WORD

BINS = range(32)


# --- walk


def span_at(heap, place, end):
    """The size and kind of the span that begins at an address.

    A chunk's span goes from head to head, because the foot behind a chunk in use belongs to its caller.
    """
    owner = owner_of(heap, place)
    if not owner:
        return gap_at(heap, place, next_start(heap, place, end) - place)
    segment = segments.segment_holding(owner, place)
    first_head = segments.first_chunk(segment).address + Chunk.head.offset
    if place < first_head:
        return first_head - place, spans.OWN
    chunk = Chunk(heap.memory, place - Chunk.head.offset)
    if chunk == owner.top:
        return owner.top_size, spans.FREE
    if chunk.head in (segments.FENCE, segments.TOP_FOOT):
        return segments.end_of(segment) - place, spans.OWN
    if chunks.address_of(chunk) in (segment.address, owner.address):
        return chunks.size_of(chunk), spans.OWN
    return chunks.size_of(chunk), spans.USED if chunks.is_used(chunk) else spans.FREE


def gap_at(heap, place, size):
    """The size and kind of a span outside all segments: a mapping, or memory of other code."""
    chunk = Chunk(heap.memory, place)
    length = chunks.size_of(chunk) + system.MAPPED_FOOT
    if length <= size and chunks.is_mapped(chunk) and bits.is_aligned(length, heap.memory.PAGE):
        return length, spans.USED
    return size, spans.OWN


def owner_of(heap, address):
    """The heap in whose segments an address lies, the first one or a space; null if there is none."""
    owner = heap
    while owner and not segments.segment_holding(owner, address):
        owner = owner.next
    return owner


def next_start(heap, address, end):
    """The start of the next segment of any heap above an address, at most `end`."""
    owner = heap
    while owner:
        segment = owner.segment
        while segment:
            if address < segment.start < end:
                end = segment.start
            segment = segment.next
        owner = owner.next
    return end


# --- lists


def lists(heap):
    """Yield (name, addresses) for each small bin, each ring of a tree bin, the victim and top.

    The name of a ring is that of its bin with the sides that lead to it.
    """
    for index in BINS:
        yield f"small bin {index}", list(map(chunks.address_of, small_chunks(heap, index)))
    for index in BINS:
        for node, path in nodes_of(heap, index):
            yield "/".join(map(str, (f"tree bin {index}", *path))), list(map(chunks.address_of, ring_of(node)))
    for name, chunk in (("victim", heap.victim), ("top", heap.top)):
        yield name, [chunks.address_of(chunk)] if chunk else []


# --- heaps, segments and chunks


def heaps_of(heap):
    """The first heap and its spaces."""
    owners = [heap]
    while owners[-1].next:
        owners.append(owners[-1].next)
    return owners


def segments_of(heap):
    every_segment = [heap.segment] if heap.top else []
    while every_segment and every_segment[-1].next:
        every_segment.append(every_segment[-1].next)
    return every_segment


def chunks_of(heap, segment):
    """The chunks of a segment, up to its fences or including top."""
    chunk = segments.first_chunk(segment)
    while chunk.head != segments.FENCE:
        yield chunk
        if chunk == heap.top:
            return
        chunk = chunks.after(chunk)


# --- DL2, DL3: neighbours


def agrees(chunk):
    """Whether a chunk and its neighbours agree on which of them are in use."""
    if chunks.is_live(chunk) and not chunks.is_previous_used(chunks.after(chunk)):
        return False
    return chunks.is_previous_used(chunk) or (
        not chunks.is_live(chunks.before(chunk)) and chunks.after(chunks.before(chunk)) == chunk
    )


def is_sealed(heap, chunk):
    """Whether a free chunk has its size at its end and touches no other free chunk."""
    if chunk == heap.top:
        return chunks.is_previous_used(chunk)
    behind = chunks.after(chunk)
    footed = behind.previous_size == chunks.size_of(chunk) and not chunks.is_previous_used(behind)
    return footed and chunks.is_previous_used(chunk) and chunks.is_live(behind)


# --- DL4, DL5: bins


def small_chunks(heap, index):
    """The circle of a small bin; nothing if its bit is not set."""
    head, every_chunk = bins.small_bin(heap, index), []
    chunk = head.forward if heap.small_map >> index & 1 else head
    while chunk != head:
        every_chunk.append(chunk)
        chunk = chunk.forward
    return every_chunk


def is_small_bin(heap, index):
    head, every_chunk = bins.small_bin(heap, index), small_chunks(heap, index)
    circle = [head, *every_chunk, head]
    fits = all(chunks.size_of(chunk) == index * 8 and not chunks.is_live(chunk) for chunk in every_chunk)
    linked = all(b.back == a for a, b in zip(circle, circle[1:], strict=False)) or not every_chunk
    return fits and linked and bool(every_chunk) == bool(heap.small_map >> index & 1)


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


def has_place(chunk):
    return chunk.parent or chunk.children[0] or chunk.children[1]


def is_in_bin(size, index):
    """Whether the first two bits of a size are those of its bin, or at least those in the last bin."""
    of_bin, shift = (index & 1) + 2, (index >> 1) + trees.SHIFT - 1
    return size >> shift >= of_bin if index == BINS[-1] else size >> shift == of_bin


def is_node(node, path, index):
    """Whether a node lies where the bits of its size lead, and its ring and children are consistent."""
    size, bit, ring = chunks.size_of(node), trees.first_bit(index), ring_of(node)
    placed = is_in_bin(size, index) and all(size >> bit - i & 1 == side for i, side in enumerate(path))
    equal = node.index == index and all(chunks.size_of(each) == size and not chunks.is_live(each) for each in ring)
    linked = all(each.forward.back == each for each in ring) and not any(has_place(each) for each in ring[1:])
    children = [node.children[0], node.children[1]]
    return placed and equal and linked and all(child.parent == node for child in children if child)


# --- DL6 to DL9: the victim, top, all chunks and segments, mappings


def is_victim(heap):
    victim = heap.victim
    if heap.victim_size == 0:
        return not victim
    return chunks.size_of(victim) == heap.victim_size >= chunks.MIN_CHUNK and not chunks.is_live(victim)


def is_top(heap):
    top = heap.top
    if not top:
        return heap.top_size == 0
    ends = top.address + heap.top_size + segments.TOP_FOOT == segments.end_of(heap.segment)
    return ends and top.head == heap.top_size | chunks.PREVIOUS_USED and heap.segment.start <= top.address


def unused_chunks(heap):
    """The addresses of all free chunks in a bin, the victim and top: each free chunk should occur once."""
    small = [chunk for index in BINS for chunk in small_chunks(heap, index)]
    large = [chunk for index in BINS for chunk in tree_chunks(heap, index)]
    return sorted(chunk.address for chunk in [*small, *large, heap.victim, heap.top] if chunk)


def are_apart(every_segment):
    ordered = sorted(every_segment, key=lambda segment: segment.start)
    return all(segments.end_of(a) <= b.start for a, b in zip(ordered, ordered[1:], strict=False))


def holds_record(segment):
    return segment.start < segment.address < segments.end_of(segment) - segment.SIZE


def is_mapping(heap, start, end):
    """Whether a mapping consists of whole pages and ends with a fence."""
    fence = Chunk(heap.memory, end - system.MAPPED_FOOT)
    return (
        (end - start) % heap.memory.PAGE == 0
        and fence.head == segments.FENCE
        and chunks.offset_by(fence, WORD).head == 0
    )


# --- DL11: whose chunks they are


def is_own(heap, chunk):
    """Whether a chunk lies in the heap's range of addresses and, with footers, has its mark if it is in use."""
    is_marked = not chunks.has_footers(heap) or not chunks.is_live(chunk) or chunks.has_mark(heap, chunk)
    return chunk.address >= heap.min_address and is_marked


# --- DL8: spaces


def is_space(heap, space):
    """Whether a space lies in a segment of its own, in a chunk in use, and names the first heap."""
    chunk = chunks.chunk_of(heap, space.address)
    return space.first == heap and segments.segment_holding(space, chunk.address) and chunks.is_used(chunk)


# --- walk and check


def walk(heap, start, end):
    """Yield (start, size, kind) for each chunk, foot and record of [start, end), in address order.

    Spaces lie among the mappings of the first heap, which walks them too.
    """
    owner = owner_of(heap, start)
    place = segments.segment_holding(owner, start).start if owner else start
    while place < end:
        size, kind = span_at(heap, place, end)
        if place + size > start:
            yield max(place, start), min(place + size, end) - max(place, start), kind
        place += size


def check(heap, start, end):
    owners = heaps_of(heap)
    for owner in owners:
        check_heap(heap, owner)
    every_segment = [part for owner in owners for part in segments_of(owner)]
    is_ours = any(start < segments.end_of(part) and part.start < end for part in every_segment)
    assert is_ours or is_mapping(heap, start, end), "DL9   a chunk that is a mapping fills whole pages up to its fence"
    assert is_ours or any(is_own(owner, Chunk(heap.memory, start)) for owner in owners), (
        "DL11  no chunk lies below the least address"
    )
    assert are_apart(every_segment) and all(is_space(heap, space) for space in owners[1:]), (
        "DL8   chunks tile their segments, which do not overlap"
    )


def check_heap(first, heap):
    """The invariants of one heap, which is the first or one of its spaces."""
    every_segment = segments_of(heap)
    assert all(
        bits.is_aligned(chunk.address, chunks.ALIGNMENT) for part in every_segment for chunk in chunks_of(heap, part)
    ), "DL1   every chunk lies at a multiple of 16"
    every_chunk = [chunk for part in every_segment for chunk in chunks_of(heap, part)]
    free = [chunk for chunk in every_chunk if not chunks.is_live(chunk)]
    spanned = [sum(size for _, size, _ in walk(first, part.start, segments.end_of(part))) for part in every_segment]
    assert all(agrees(chunk) for chunk in every_chunk if chunk != heap.top), (
        "DL2   a chunk behind one in use says so, and if it says that the one before is free, that one ends there"
    )
    assert all(is_sealed(heap, chunk) for chunk in free), (
        "DL3   a free chunk has its size at its end, and lies between chunks in use"
    )
    assert all(is_small_bin(heap, index) for index in BINS), (
        "DL4   a small bin is a circle of free chunks of one size, and its bit says whether there are any"
    )
    assert all(is_tree_bin(heap, index) for index in BINS), (
        "DL5   a tree bin is a trie on the bits of sizes, each node in a ring of its equals, and its bit says so"
    )
    assert is_victim(heap), "DL6   the victim is a free chunk of the size that the heap keeps for it"
    assert is_top(heap), "DL7   top is the free end of the first segment, all but a foot of 80 bytes"
    assert (
        spanned == [part.size for part in every_segment]
        and are_apart(every_segment)
        and all(map(holds_record, every_segment[1:]))
        and unused_chunks(heap) == sorted(chunk.address for chunk in free)
    ), (
        "DL8   chunks tile their segments, which do not overlap and, but for the first, hold their own records, and "
        "each free one is in one bin, once, or is the victim or top"
    )
    assert sum(part.size for part in every_segment) <= heap.footprint <= heap.peak, (
        "DL10  the footprint covers the segments and was never more than the peak"
    )
    assert all(is_own(heap, chunk) for chunk in every_chunk), (
        "DL11  no chunk lies below the least address, and with footers each one in use ends with the heap's mark"
    )
