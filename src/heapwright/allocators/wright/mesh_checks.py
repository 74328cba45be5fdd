"""The assertions of `check` that concern meshed pages. Interpreted only.

Invariants
    W15 the pages that share a frame form a circle, which is counted
    W16 of the pages that share a frame, at most one has a block that is not sunk at each place
    W17 only a slab of one tile, carved to its end, has meshed pages; a sunk block touches one, and is not on a list
"""

from __future__ import annotations

from heapwright.allocators.wright import meshes, records

W15 = "W15 the pages that share a frame form a circle, which is counted"
W16 = "W16 of the pages that share a frame, at most one has a block that is not sunk at each place"
W17 = "W17 only a slab of one tile, carved to its end, has meshed pages; a sunk block touches one, and is not on a list"


def check_meshes(heap, slabs):
    """Check the rings of the meshed pages of all slabs."""
    pages = {}
    for slab in slabs:
        if slab.meshed:
            assert slab.tiles == 1 and slab.carved == slab.capacity, W17
        for number in filter(lambda each, slab=slab: meshes.is_meshed(slab, each), range(meshes.PAGES)):
            pages[meshes.place_of(slab, number)] = slab
    left, rings = set(pages), 0
    while left:
        ring = ring_from(heap, left)
        assert ring, W15
        left -= set(ring)
        rings += 1
        check_ring(ring, pages)
    assert heap.meshes.pages == len(pages) and heap.meshes.frames == rings, W15


def ring_from(heap, left):
    """The pages of one ring among those that are left; none if it leads elsewhere, or twice through a page."""
    first = min(left)
    ring, page = [first], meshes.after(heap.memory, first)
    while page != first:
        if page not in left or page in ring:
            return []
        ring.append(page)
        page = meshes.after(heap.memory, page)
    return ring


def check_ring(ring, pages):
    seen = set()
    for page in ring:
        held = places_of(pages[page], page)
        assert not seen & held, W16
        seen |= held


def places_of(slab, page):
    """The offsets in a page, in steps of 16 bytes, of the slab's blocks that are not sunk."""
    first, found = records.start_of(slab), set()
    for address in range(first, first + slab.carved * slab.size, slab.size):
        if meshes.touches(slab, address, meshes.number_of(page)) and not meshes.is_sunk(slab, address):
            found |= set(range(max(address, page) - page, min(address + slab.size, page + meshes.PAGE) - page, 16))
    return found


def check_sunk(slab, blocks, listed):
    """Check the sunk blocks of a slab, given its blocks and those on its list; return them."""
    if not slab.meshed:
        return []
    sunk = [address for address in blocks if meshes.is_sunk(slab, address)]
    assert meshes.sunk_in(slab) == len(sunk) and not set(sunk) & set(listed), W17
    assert all(meshes.is_in_mesh(slab, records.Block(slab.memory, address)) for address in sunk), W17
    return sunk
