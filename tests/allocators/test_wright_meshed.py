"""Wright's meshing: pages of slabs with disjoint live blocks share a frame, and nobody notices."""

import random

import pytest
from heaps import bytes_by_kind, fresh
from wrights import Told, home_of, merged, scattered, slab_of

from heapwright import allocator
from heapwright.allocators import wright
from heapwright.allocators.wright import meshes, meshing, records, slabs
from heapwright.machine import Fault
from heapwright.spans import USED

DESIGN = allocator.load("wright[MESHED=1]")
PAGE = meshes.PAGE
SIZE, SLABS = 256, 12


def frames(heap):
    return len(heap.process.kernel.frames.owned_by(heap.process.pid))


# --- a trim


@pytest.mark.parametrize(("sizes", "keep"), [((16,), 64), ((48,), 16), ((SIZE,), 8), ((24, 100, 1000), 8)])
def test_a_trim_lets_pages_share_frames_and_changes_no_byte(heap, sizes, keep):
    told = scattered(heap, keep, sizes, 3 * records.TILE // min(sizes))
    before = frames(heap)
    released = heap.trim()
    assert merged(heap) > 0 and released >= merged(heap) * PAGE
    assert frames(heap) <= before - merged(heap) + 2, "a page of sheets, and one of the home that only a trim needs"
    heap.check()
    heap.process.check()
    told.compare()
    assert bytes_by_kind(heap)[USED] == sum(heap.usable_size(block) for block in told.contents)


def test_fewer_frames_than_without():
    found = []
    for spec in ("wright", "wright[MESHED=1]"):
        heap = fresh(spec)
        scattered(heap)
        heap.trim()
        found.append(frames(heap))
    assert found[1] < 0.8 * found[0]


def test_pages_of_which_more_than_half_is_in_use_are_left_alone(heap):
    scattered(heap, keep=1)
    heap.trim()
    assert heap.state.meshes.pages == 0


def test_several_pages_may_share_one_frame(heap):
    scattered(heap, keep=16)
    heap.trim()
    assert merged(heap) > heap.state.meshes.frames
    heap.check()


# --- afterwards


@pytest.mark.parametrize("sizes", [(SIZE,), (16, 40, 100, 600)])
def test_the_heap_goes_on_with_meshed_pages(heap, sizes):
    told, rng = scattered(heap, sizes=sizes), random.Random(2)
    for _ in range(4):
        heap.trim()
        told.churn(rng, 300, sizes)
        heap.check()
        told.compare()
    heap.process.check()


def test_the_blocks_of_a_page_that_shares_its_frame_are_handed_out_again(heap):
    told = scattered(heap)
    heap.trim()
    joined = [block for block in told.contents if slab_of(heap, block).meshed][::2]
    for block in joined:
        del told.contents[block]
        heap.dealloc(block)
    more = {heap.alloc(SIZE) for _ in range(SLABS * 64)}
    assert set(joined) <= more and more.isdisjoint(told.contents)
    for block in more:
        told.write(block)
    told.compare()
    heap.check()


def test_realloc_moves_a_block_out_of_a_meshed_page(heap):
    told = scattered(heap)
    heap.trim()
    block = next(block for block in told.contents if slab_of(heap, block).meshed)
    moved = heap.realloc(block, 10 * SIZE)
    assert heap.user.load(moved, 8) == told.contents.pop(block)
    told.compare()
    heap.check()


def test_an_empty_slab_gives_its_frames_up_and_its_partners_keep_theirs(heap):
    told = scattered(heap)
    heap.trim()
    slab = next(slab_of(heap, block) for block in told.contents if slab_of(heap, block).meshed)
    for block in [block for block in told.contents if slab_of(heap, block) == slab]:
        del told.contents[block]
        heap.dealloc(block)
    heap.trim()
    assert slab.tag.load() == records.FREE_TAG and slab.meshed == 0
    heap.check()
    told.compare()


def test_a_drained_heap_has_no_meshed_pages_and_keeps_no_frames(heap):
    told = scattered(heap)
    heap.trim()
    for block in told.contents:
        heap.dealloc(block)
    heap.trim()
    assert (heap.state.meshes.pages, heap.state.meshes.frames) == (0, 0)
    assert heap.memory.held() <= wright.RETAINS and not heap.process.kernel.frames.users
    heap.check()


def test_a_page_whose_partners_are_gone_has_all_of_its_frame_again(heap):
    told = scattered(heap)
    heap.trim()
    whose = {block: slab_of(heap, block).address for block in told.contents}
    kept = min(set(whose.values()))
    for block, slab in whose.items():
        if slab != kept:
            del told.contents[block]
            heap.dealloc(block)
    heap.trim()
    slab = records.Record(heap.memory, kept)
    meshed = [meshes.place_of(slab, number) for number in range(meshes.PAGES) if meshes.is_meshed(slab, number)]
    assert len(meshed) == heap.state.meshes.pages < meshes.PAGES
    assert not any(meshes.is_alone(heap.state, page) for page in meshed), "two pages of one slab share a frame"
    assert slabs.out_of(slab) == len(told.contents)
    heap.check()
    told.compare()


# --- without a trim

MILLISECOND = 1_000_000  # nanoseconds


def drain(heap, told, times, step):
    """Free all but one in eight blocks, while time passes; return the numbers of pages that were meshed then."""
    blocks, pages = list(told.contents), []
    for i, block in enumerate(blocks):
        if i % (len(blocks) // times) == 0:
            heap.process.clock += step
            pages.append(heap.state.meshes.pages)
        if i % 8:
            del told.contents[block]
            heap.dealloc(block)
    return pages


def test_a_home_that_drains_for_a_while_is_meshed(heap):
    told = scattered(heap, keep=1, count=4 * SLABS * 64)
    pages = drain(heap, told, 100, 10 * MILLISECOND)
    assert pages[5] == 0 and pages[-1] > 0 and len(set(pages)) <= 10
    heap.check()
    told.compare()


def test_a_short_drain_is_not_worth_it(heap):
    told = scattered(heap, keep=1, count=4 * SLABS * 64)
    assert not any(drain(heap, told, 100, MILLISECOND // 2))


# --- others


def test_parent_and_child_do_not_see_each_others_bytes(heap):
    told = scattered(heap)
    heap.trim()
    child = heap.fork()
    theirs = Told(child)
    theirs.contents = dict(told.contents)
    for i, (mine, other) in enumerate(zip(told.contents, theirs.contents, strict=True)):
        told.write(mine, 2 * i + 1)
        theirs.write(other, 2 * i + 2)
    for each in (told, theirs):
        each.compare()
        each.churn(random.Random(4), 200, (SIZE,))
        each.heap.trim()
        each.heap.check()
        each.heap.process.check()
        each.compare()
    assert merged(child) > 0 and merged(heap) > 0


def test_a_child_without_frames_of_its_own_does_not_go_on(heap):
    scattered(heap)
    heap.trim()
    heap._call("fork_prepare")
    heap.state.meshes.spare = -1  # as if the kernel had refused
    child = heap.over(heap.process.fork())
    with pytest.raises(Fault, match="no memory for the shared frames of a forked child"):
        child._call("fork_child")


# --- refusals


@pytest.mark.parametrize("refused", range(1, 12))
def test_a_refused_call_of_the_kernel_loses_no_block(heap, refused):
    told = scattered(heap)
    heap.process.kernel.calls.at(refused, once=True)
    heap.trim()
    heap.process.kernel.calls.never()
    heap.check()
    told.compare()
    heap.process.check()
    heap.trim()
    told.churn(random.Random(refused), 100, (SIZE,))
    heap.trim()
    heap.check()
    told.compare()


def test_a_slab_whose_pages_cannot_leave_their_frame_waits_and_serves_again(heap):
    told = scattered(heap)
    heap.trim()
    slab = next(slab_of(heap, block) for block in told.contents if slab_of(heap, block).meshed)
    mine = [block for block in told.contents if slab_of(heap, block) == slab]
    heap.process.kernel.calls.at(1)
    for block in mine:
        del told.contents[block]
        heap.dealloc(block)
    slabs_tidied(heap)
    heap.process.kernel.calls.never()
    assert slab.left == 0 and slab.state == records.AWAKE and slab.tag.load() != records.FREE_TAG
    heap.check()
    told.compare()
    for _ in range(2 * SLABS * 64):
        told.write(heap.alloc(SIZE))
    heap.check()
    told.compare()


def slabs_tidied(heap):
    """Put the lists of the thread's home home, and nothing else."""
    home = home_of(heap)
    DESIGN.parts[0].lives.tidy(heap.state, DESIGN.parts[0].homes.Home(heap.memory, home.address))


def test_an_empty_slab_that_waited_goes_at_the_next_trim(heap):
    told = scattered(heap)
    heap.trim()
    heap.process.kernel.calls.at(1)
    for block in told.contents:
        heap.dealloc(block)
    slabs_tidied(heap)
    heap.process.kernel.calls.never()
    assert heap.state.meshes.pages > 0
    heap.check()
    heap.trim()
    assert heap.state.meshes.pages == 0 and heap.memory.held() <= wright.RETAINS
    heap.check()


# --- the order of blocks


@pytest.mark.parametrize("size", [16, 48, 256, 1024, 4096])
def test_pages_hand_out_their_blocks_in_orders_of_their_own(size):
    plain, own = fresh("wright"), fresh("wright[MESHED=1]")
    count = 2 * (records.TILE // size)
    expected, found = ([heap.alloc(size) for _ in range(count)] for heap in (plain, own))
    assert sorted(expected) == sorted(found)
    orders = {}
    for block in found:
        orders.setdefault(block // PAGE, []).append(block % PAGE)
    assert size > 1024 or len({tuple(each) for each in orders.values()}) > len(orders) // 2
    own.check()


@pytest.mark.parametrize("keep", [4, 8, 16])
def test_survivors_of_a_pattern_can_be_meshed(heap, keep):
    """All blocks but each 4th, 8th or 16th are freed: in one order, the survivors would all lie at the same places."""
    blocks = [heap.alloc(64) for _ in range(4 * 256)]
    for i, block in enumerate(blocks):
        if i % keep:
            heap.dealloc(block)
    heap.trim()
    assert merged(heap) >= 4


# --- what is drawn


def test_the_sheets_lie_behind_the_records_and_before_the_first_tile():
    assert meshes.SHEETS == records.TILES * records.RECORD
    assert meshes.SHEETS + (records.TILES - 1) * meshes.Sheet.SIZE <= records.TILE
    assert meshes.Sheet.rings.offset == 128 and meshing.PLACES == 256


def test_the_default_has_no_meshed_pages():
    heap = fresh("wright")
    scattered(heap)
    heap.trim()
    assert heap.state.meshes.pages == 0
