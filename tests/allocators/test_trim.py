"""`trim` gives back the frames of whole free pages, wherever they lie, and what it leaves is a sound heap."""

import random

import pytest
from heaps import fresh, on
from hoards import processors
from slabs import BYTE, Objects

from heapwright.allocators.hoard.inspect import superblocks_of
from heapwright.allocators.parts.chains import chain_of
from heapwright.allocators.parts.size_classes import class_of
from heapwright.conformance.story import Play, Step
from heapwright.conformance.universal import all_intact, walk_tiles
from heapwright.spans import FREE, UNUSED, USED

PAGE, KIB = 4096, 1 << 10
GIVE_PAGES = (
    *("linked_list", "segregated_fits", "buddy", "pages_split", "dlmalloc", "tlsf", "hoard", "slab", "ptmalloc"),
)
SIZES = (200, 1000, 3000, 9000)
BLOCKS = 160
KEPT_WITH_LINKS = {  # of each free block
    **{"linked_list": 16, "segregated_fits": 24, "buddy": 16, "tlsf": 32, "dlmalloc": 64, "ptmalloc": 48}
}


@pytest.fixture(params=GIVE_PAGES)
def heap(request):
    return fresh(request.param, frames=1 << 14)


def frames_of(heap):
    """The pages of the allocator's memory that have a frame."""
    table = heap.process.space.table
    pages = {page for start, end in heap.extents() for page in range(start // PAGE, -(-end // PAGE))}
    return {page for page in pages if table.frame_of(table.entry(page * PAGE))}


def free_pages(heap):
    """The pages in which nothing is in use, nor anything that a free block is found by."""
    name = heap.allocator.spec
    free = []
    for start, size, kind in heap.spans():
        if kind in (FREE, UNUSED):
            first = start + (KEPT_WITH_LINKS.get(name, 0) if size >= PAGE else 0)
            if free and free[-1][1] == first:
                free[-1] = free[-1][0], start + size
            else:
                free.append((first, start + size))
    return {page for start, end in free for page in range(-(-start // PAGE), end // PAGE)}


def with_holes(heap, rng):
    """A story of blocks of which few are left."""
    play = Play(heap)
    for _ in range(BLOCKS):
        play.take(Step("alloc", 0, rng.choice(SIZES) - rng.randrange(16), 64 if rng.random() < 0.1 else 16))
    while len(play.blocks) > BLOCKS // 12:
        play.take(Step("free", rng.randrange(1000)))
    return play


def test_pages_in_which_all_is_free_lose_their_frames(heap):
    play = with_holes(heap, random.Random(1))
    before, decommits = frames_of(heap), heap.memory.decommits()
    play.take(Step("trim"))
    after, free = frames_of(heap), free_pages(heap)
    assert len(before) - len(after) > len(before) // 5
    assert heap.memory.decommits() > decommits
    assert len(after & free) <= (2 if heap.allocator.spec in KEPT_WITH_LINKS else 0), "the ends of the heap's top"
    play.take(Step("trim"))
    assert frames_of(heap) == after
    all_intact(play)
    heap.check()


def test_a_trimmed_heap_serves_on(heap):
    """The free pages come back, and what is said of them is right all the time."""
    rng = random.Random(7)
    play = with_holes(heap, rng)
    held = heap.memory.held()
    for _ in range(2):
        play.take(Step("trim"))
        for _ in range(60):
            kind = rng.choice(("alloc", "alloc", "zeroed", "free", "realloc"))
            play.take(Step(kind, rng.randrange(1000), rng.choice(SIZES)))
        assert all(play.results)
        walk_tiles(play)
        heap.check()
        all_intact(play)
    assert heap.memory.held() <= held + 256 * KIB
    play.end()
    play.take(Step("trim"))
    heap.check()
    assert not [span for span in heap.spans() if span[2] == USED]


def test_the_kernel_may_refuse(heap):
    play = with_holes(heap, random.Random(9))
    heap.process.kernel.returns.at(1, once=False)
    play.take(Step("trim"))
    heap.check()
    heap.process.kernel.returns.never()
    for size in SIZES * 5:
        play.take(Step("alloc", 0, size))
    assert all(play.results)
    all_intact(play)
    heap.check()


@pytest.mark.parametrize("name", ["linked_list", "segregated_fits", "dlmalloc", "tlsf", "ptmalloc"])
@pytest.mark.parametrize("pad", [0, 1, 4096, 50_000, 10**9, 1 << 62])
def test_the_end_of_the_heap_keeps_a_pad(name, pad):
    heap = fresh(name)
    heap.alloc(3000)
    heap.dealloc(heap.alloc(100_000))
    before = heap.memory.held()
    heap.trim(pad)
    after = heap.memory.held()
    tail = [size for start, size, kind in heap.spans() if kind == FREE][-1]
    assert after < before or pad > 50_000
    assert tail >= min(pad, 100_000) and (pad > 50_000 or tail < pad + 2 * PAGE)
    heap.check()


def test_kr_gives_nothing_back():
    heap = fresh("kr")
    heap.dealloc(heap.alloc(100_000))
    held = heap.memory.held()
    assert heap.trim() == 0 and heap.memory.held() == held


# --- dlmalloc: of chunks of equal size, all but one keep no more than their links


def across_pages(heap, pages):
    """Free blocks, of so many pages with a live one behind each. 16 bytes behind their links, a page begins."""
    border = -(-heap.alloc(24) // PAGE) * PAGE + PAGE
    heap.alloc(border - 48 - heap.alloc(24) - 32)
    blocks = []
    for count in pages:
        blocks.append(heap.alloc(count * PAGE - 32 - 8))
        heap.alloc(24)
    assert all((block + 32) % PAGE == 0 for block in blocks)
    for block in blocks:
        heap.dealloc(block)
    return blocks


def test_equal_chunks_of_dlmalloc_keep_their_links_alone():
    heap = fresh("dlmalloc")
    blocks = across_pages(heap, [2] * 20)
    heap.trim()
    assert sum((block + 32) // PAGE in frames_of(heap) for block in blocks) <= 1


def test_equal_chunks_of_dlmalloc_inherit_places_in_the_tree():
    heap = fresh("dlmalloc")
    pages = [8, 9, 10, 11] * 4
    random.Random(3).shuffle(pages)
    across_pages(heap, pages)
    heap.trim()
    heap.check()
    held = heap.memory.held()
    random.Random(4).shuffle(pages)
    for count in pages:
        assert heap.alloc(count * PAGE - 32 - 8)
        heap.check()
    assert heap.memory.held() == held, "each found a chunk of its size"


# --- hoard: pages that are gone


def superblocks(heap):
    return [superblock for owner in processors(heap) for _, superblock in superblocks_of(owner)]


@pytest.mark.parametrize("size", [300, 1000, 4000, 20_000])
def test_objects_of_pages_that_are_gone_are_handed_out_last(size):
    heap = fresh("hoard")
    blocks = [heap.alloc(size) for _ in range(2 * 65536 // size)]
    for i, block in enumerate(blocks):
        if i % (40_000 // size):
            heap.dealloc(block)
    heap.trim()
    heap.check()
    kept, gone = set(heap.live), [superblock for superblock in superblocks(heap) if superblock.gone]
    assert gone or size == 20_000, "else this tests nothing"
    again = [heap.alloc(size) for _ in range(len(blocks) - len(kept))]
    assert len({*again, *kept}) == len(again) + len(kept)
    assert not any(superblock.gone for superblock in superblocks(heap))
    heap.check()
    for block in (*again, *kept):
        heap.dealloc(block)
    heap.check()


def test_what_another_thread_holds_keeps_its_pages():
    heap = fresh("hoard")
    other = heap.process.new_thread()
    with on(heap, other):
        blocks = [heap.alloc(1000) for _ in range(200)]
        for block in blocks:
            heap.dealloc(block)
        held = len(list(chain_of(heap.state.roster.youngest.buffers[class_of(1000)].first)))
    assert held > 0
    heap.trim()
    heap.check()
    with on(heap, other):
        assert {heap.alloc(1000) for _ in range(held)} <= set(blocks)
    heap.check()


# --- slab: objects that are constructed


@pytest.mark.parametrize("functions", [(True, True), (True, False), (False, True)])
def test_constructed_objects_keep_what_they_are(functions):
    heap = fresh("slab")
    kind = Objects(heap, 1000, 16, "", *functions)
    objects = [kind.alloc() for _ in range(200)]
    for each in objects:
        heap.user.fill(each, 1000, BYTE)
    for index, each in enumerate(objects):
        if index % 40:
            kind.free(each)
    heap.trim()
    again = [kind.alloc() for _ in range(100)]
    assert set(again) < set(objects)
    assert all(heap.process.peek(each, 1000) == bytes([BYTE]) * 1000 for each in again)
