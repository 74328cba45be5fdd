"""A heap on a vmem arena: every block is a range of one arena, and its boundary tag lies elsewhere.

Source: J. Bonwick, J. Adams, Magazines and Vmem, USENIX 2001, section 4. It shows what the part vmem does by itself.

      address -> +--------------------+       a block: the caller's bytes, all of them
                 | the caller's bytes |       free memory: nothing in it is used
                 +--------------------+

The heap's own words: an arena. It imports spans of at least 256 KiB from the kernel.

Invariants
    V1  a span's segments tile it in address order, and its tag leads them, linked both ways
    V2  neighbours are not both free
    V3  a free segment is in the list of its size, and a bit says which lists have members
    V4  a segment in use is in the hash table under its start, a cached one in the quantum cache of its size
    V5  the counts are exact: bytes in use, bytes in all, free spans, ranges in each quantum cache
"""

from __future__ import annotations

from heapwright import bits, spans
from heapwright.allocators.parts import chains, vmem
from heapwright.layout import NULL, Inline, Struct

OVERHEAD = 0
OVERHEAD_ELSEWHERE = "56 bytes for the tag"
SMALLEST = 16
ALIGN = 16
DETECTS = ("double free", "foreign", "interior")
RETAINS = "the pages of tags, as many as were ever needed at once"
RECLAIMS = True

QUANTUM = 16
IMPORT = 1 << 18  # bytes of a span, at least


class Heap(Struct):
    arena: Inline[vmem.Arena]


def import_span(heap, size):
    """Add a span with room for `size` bytes; return whether the kernel gave it."""
    arena = heap.arena
    size = bits.align_up(max(size, IMPORT), heap.memory.PAGE)
    start = heap.memory.mmap(size)
    if start == -1:
        return False
    is_added = vmem.add_span(arena, start, size)
    if not is_added:
        heap.memory.munmap(start, size)
    return is_added


def export_spans(heap):
    """Unmap the spans that are wholly free; return the bytes. If the kernel refuses one, the heap keeps it."""
    given_back = 0
    start, size = vmem.take_free_span(heap.arena)
    while size > 0 and heap.memory.munmap(start, size) != -1:
        given_back += size
        start, size = vmem.take_free_span(heap.arena)
    if size > 0:
        vmem.add_span(heap.arena, start, size)
    return given_back


def alloc(heap, size, align):
    if bits.is_absurd(size, align):
        return NULL
    if heap.arena.quantum == 0:
        vmem.open_arena(heap.arena, QUANTUM)
    start = vmem.allocate(heap.arena, size, align)
    if start == vmem.NOTHING and import_span(heap, size + align):
        start = vmem.allocate(heap.arena, size, align)
    if start == vmem.NOTHING:
        vmem.reap(heap.arena)
        start = vmem.allocate(heap.arena, size, align)
    return start if start != vmem.NOTHING else NULL


def dealloc(heap, address, size, align):
    if heap.arena.quantum == 0 or vmem.release(heap.arena, address) == 0:
        heap.memory.fault("not a live block", address)
    export_spans(heap)


def usable_size(heap, address):
    tag = vmem.find(heap.arena, address)
    if not tag:
        heap.memory.fault("not a live block", address)
    return tag.size


def trim(heap, pad):
    vmem.reap(heap.arena)
    return export_spans(heap)


# --- inspection


def walk(heap, start, end):
    while start < end:
        size, kind = span_at(heap.arena, start)
        yield start, size, kind
        start += size


def span_at(arena, start):
    """The size and kind of what begins at an address: a page of tags, or a segment."""
    page = arena.pages
    while page:
        if page.address == start:
            return page.size, spans.OWN
        page = page.next
    tag = arena.first
    while tag.start != start or tag.kind == vmem.SPAN:
        tag = tag.upper
    return tag.size, kind_of(tag)


def kind_of(tag):
    if tag.kind == vmem.IN_USE:
        return spans.USED
    return spans.CACHED if tag.kind == vmem.CACHED else spans.FREE


def check(heap, start, end):
    arena = heap.arena
    tags = list(segments(arena.first))
    whole = [(tag, list(segments_of(tag))) for tag in tags if tag.kind == vmem.SPAN]
    is_linked = all(low == high.lower for low, high in zip(tags, tags[1:], strict=False))
    tiled = all(tiles(span, inside) for span, inside in whole)
    assert is_linked and tiled, (
        "V1  a span's segments tile it in address order, and its tag leads them, linked both ways"
    )
    kinds = [tag.kind for tag in tags]
    assert (vmem.FREE, vmem.FREE) not in zip(kinds, kinds[1:], strict=False), "V2  neighbours are not both free"
    check_lists(arena, tags)
    held = [tag.size for tag in tags if tag.kind == vmem.IN_USE]
    counts = [len(list(chains.chain_of(arena.firsts[i]))) for i in range(vmem.CACHED_SIZES)]
    total = sum(tag.size for tag, _ in whole)
    free_spans = sum(inside[0].kind == vmem.FREE and len(inside) == 1 for _, inside in whole)
    sums = (sum(held), total, free_spans, counts)
    assert sums == (arena.in_use, arena.total, arena.free_spans, list(arena.counts)), (
        "V5  the counts are exact: bytes in use, bytes in all, free spans, ranges in each quantum cache"
    )


def check_lists(arena, tags):
    free = {tag.address for tag in tags if tag.kind == vmem.FREE}
    listed = [(i, tag) for i in range(vmem.LISTS) for tag in chains.chain_of(arena.free[i])]
    lists = sum(1 << i for i in {i for i, _ in listed})
    in_place = all(tag.size >> i == 1 for i, tag in listed) and lists == arena.has_free
    assert in_place and {tag.address for _, tag in listed} == free, (
        "V3  a free segment is in the list of its size, and a bit says which lists have members"
    )
    found = all(vmem.find(arena, tag.start) == tag for tag in tags if tag.kind == vmem.IN_USE)
    kept = {tag.address for i in range(vmem.CACHED_SIZES) for tag in chains.chain_of(arena.firsts[i])}
    sized = all(
        tag.size == (i + 1) * arena.quantum
        for i in range(vmem.CACHED_SIZES)
        for tag in chains.chain_of(arena.firsts[i])
    )
    assert found and sized and kept == {tag.address for tag in tags if tag.kind == vmem.CACHED}, (
        "V4  a segment in use is in the hash table under its start, a cached one in the quantum cache of its size"
    )


def segments(tag):
    while tag:
        yield tag
        tag = tag.upper


def segments_of(span):
    tag = span.upper
    while tag and tag.kind != vmem.SPAN:
        yield tag
        tag = tag.upper


def tiles(span, inside):
    ends = [span.start, *(vmem.end_of(tag) for tag in inside)]
    return [tag.start for tag in inside] == ends[:-1] and ends[-1] == vmem.end_of(span)
