"""The invariants that only wright's variants have: each is broken by damage of its kind."""

from __future__ import annotations

import random

import pytest
from wrights import slab_of

from heapwright import allocator
from heapwright.allocators.wright import meshes, records
from heapwright.machine import start

SIZE, BLOCKS, KEPT = 256, 768, 96


@pytest.fixture
def meshed():
    """A heap with pages that share frames, and its live blocks."""
    heap, rng = start(allocator.load("wright[MESHED=1]")), random.Random(1)
    blocks = [heap.alloc(SIZE) for _ in range(BLOCKS)]
    rng.shuffle(blocks)
    for block in blocks[KEPT:]:
        heap.dealloc(block)
    heap.trim()
    heap.check()
    return heap, blocks[:KEPT]


def a_sunk_block(heap, blocks):
    """A slab, and a block of it that lies where another page's bytes are."""
    for slab in filter(lambda each: each.meshed, (slab_of(heap, block) for block in blocks)):
        first = records.start_of(slab)
        for address in range(first, first + slab.carved * SIZE, SIZE):
            if meshes.is_sunk(slab, address):
                return slab, address
    raise AssertionError("no page shares a frame")


def one_page_more(heap, blocks):
    heap.state.meshes.pages += 1


def a_block_rises(heap, blocks):
    slab, address = a_sunk_block(heap, blocks)
    meshes.mark(slab, address, False)


def one_block_less(heap, blocks):
    slab, _ = a_sunk_block(heap, blocks)
    slab.carved -= 1


@pytest.mark.parametrize(
    ("damage", "invariant"), [(one_page_more, "W15"), (a_block_rises, "W16"), (one_block_less, "W17")]
)
def test_of_a_meshed_heap(meshed, damage, invariant):
    damage(*meshed)
    with pytest.raises(AssertionError, match=invariant):
        meshed[0].check()


def no_seal(heap, block):
    heap.process.poke(block + 104, bytes(8))


def no_segment(heap, block):
    design = heap.allocator.parts[-1]
    segment = design.records.segment_of(design.records.record_of(heap.state, block))
    design.claims.known_segments.word_for(heap.state, segment.address).store(segment.at(0))


@pytest.mark.parametrize(("damage", "invariant"), [(no_seal, "W18"), (no_segment, "W19")])
def test_of_a_hardened_heap(damage, invariant):
    heap = start(allocator.load("wright[HARDENED=1]"))
    block = heap.alloc(100)
    heap.check()
    damage(heap, block)
    with pytest.raises(AssertionError, match=invariant):
        heap.check()
