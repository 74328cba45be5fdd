"""dlmalloc: the choices of the original, its segments and mappings, its guards, and its invariants after everything."""

from random import Random
from zlib import crc32

import pytest
from heaps import Blocks

from heapwright import allocator
from heapwright.allocators.dlmalloc import trees
from heapwright.allocators.dlmalloc.inspect import segments_of
from heapwright.allocators.dlmalloc.segments import FROM_BREAK, MAPPED
from heapwright.machine import Fault, start

DLMALLOC = allocator.load("dlmalloc")
KIB, MIB = 1 << 10, 1 << 20
PAGE = 4096


def heap(**options):
    return start(DLMALLOC, **options)


def opened(**options):
    """A heap that has top: only then are large requests mapped."""
    h = heap(**options)
    h.dealloc(h.alloc(1))
    return h


def holes(h, *sizes):
    """Free chunks for requests of these sizes, in this order, with blocks between them so that none can merge."""
    made = [(h.alloc(size), h.alloc(20))[0] for size in sizes]
    for address in made:
        h.dealloc(address)
    return made


def story(h, seed, n, maximum, *, foreign=0.0, check_every=20):
    """Random calls, and moves of the break by somebody else: the blocks that were handed out, and the living ones."""
    random = Random(seed)
    blocks = Blocks(h, random)
    for step in range(n):
        choice = random.random()
        if random.random() < foreign:
            h.user.sbrk(random.choice([1, 16, 24, PAGE, 5000]))
        if blocks.plain and choice < 0.4:
            blocks.free_one(blocks.plain)
        elif blocks.aligned and choice < 0.44:
            blocks.free_one(blocks.aligned)
        elif blocks.plain and choice < 0.54:
            blocks.resize(random.randrange(len(blocks.plain)), random.randrange(1, maximum))
        elif choice < 0.6:
            blocks.give(random.randrange(maximum), 1 << random.randrange(5, 13))
        else:
            blocks.give(random.randrange(maximum if choice < 0.75 else 200))
        if step % check_every == 0:
            h.check()
    return blocks.all()


def finish(h, live):
    """After everything is freed and trimmed, the invariants hold, and nobody holds a block."""
    for address in live:
        h.dealloc(address)
    h.check()
    h.trim()
    h.check()
    h.process.check()
    assert not h.leaks()


# --- as the original does it


# crc32 of the addresses that malloc.c 2.8.6 gives in `story`, from the first page of its heap on
ORIGINAL = {1: 1158687737, 2: 3743841073, 3: 638259722, 4: 129542799, 5: 2222973580}


@pytest.mark.parametrize("seed", ORIGINAL)
def test_addresses_are_those_of_the_original(seed):
    h = heap()
    given, _ = story(h, seed, 600, 5000, check_every=200)
    assert h.process.heap_start % PAGE == 0
    assert crc32(" ".join(str(address - h.process.heap_start) for address in given).encode()) == ORIGINAL[seed]


def test_small_chunks_leave_their_bin_latest_first():
    h = heap()
    first, second = holes(h, 100, 100)
    assert [h.alloc(100), h.alloc(100)] == [second, first]


def test_the_victim_gives_neighbours():
    h = heap()
    [hole] = holes(h, 1000)
    assert [h.alloc(24) for _ in range(3)] == [hole, hole + 32, hole + 64]
    assert h.state.victim.address == hole + 96 - 16


def test_an_exact_bin_comes_before_the_victim():
    h = heap()
    large, small = holes(h, 1000, 100)
    assert h.alloc(24) == small, "the least that is large enough is split, and the rest is the victim"
    assert h.alloc(200) == large
    assert h.alloc(72) == small + 32, "the old victim, which lies in a bin now"
    assert h.alloc(72) == large + 208


def test_equal_large_chunks_leave_first_come_first_served_but_for_the_node():
    h = heap()
    a, b, c = holes(h, 2000, 2000, 2000)
    assert [h.alloc(2000) for _ in range(3)] == [a, b, c]


def test_large_requests_take_the_best_fit():
    h = heap()
    made = dict(zip((5000, 3000, 2100, 9000, 2500), holes(h, 5000, 3000, 2100, 9000, 2500), strict=True))
    for size in sorted(made):
        assert h.alloc(size - 40) == made[size]
        h.check()


def test_tree_bins():
    sizes = [256, 368, 384, 512, 768, 1024, (1 << 24) - 16, 1 << 24, 1 << 40, (1 << 40) + MIB, 1 << 41]
    assert [trees.tree_index(size) for size in sizes] == [0, 0, 1, 2, 3, 4, 31, 31, 31, 31, 31]
    minimum = [(2 + index % 2) << index // 2 + 7 for index in range(31)]
    assert [trees.tree_index(size) for size in minimum] == list(range(31))
    assert [trees.tree_index(size - 16) for size in minimum[1:]] == list(range(30))


def test_a_tree_gives_the_best_fit_in_every_order_of_removal():
    random, h = Random(3), heap()
    sizes = [random.randrange(1000, 1500) & -16 for _ in range(40)]
    sizes = dict(zip(holes(h, *sizes), sizes, strict=True))
    while sizes:
        request = random.choice(list(sizes.values())) - random.choice((0, 16, 208))
        best = min(size for size in sizes.values() if size >= request)
        assert sizes.pop(h.alloc(request)) == best
        h.check()


# --- other sizes in place


def test_growing_in_place():
    h = heap()
    block = h.alloc(40)
    assert h.realloc(block, 3000) == block, "into top"
    behind, _ = h.alloc(500), h.alloc(20)
    h.dealloc(behind)
    assert h.realloc(block, 3200) == block, "into a free chunk, whose rest stays free"
    h.check()
    assert h.realloc(block, 3400) == block
    assert h.realloc(block, 40) == block
    h.check()
    assert h.alloc(100) == block + 48, "from what was given back"
    assert h.realloc(block, 100) != block


def test_growing_into_the_victim():
    h = heap()
    [hole] = holes(h, 400)
    block = h.alloc(24)
    whole = h.state.victim_size
    assert h.realloc(block, 100) == block == hole
    h.check()
    assert h.realloc(block, 24 + whole) == block
    assert h.state.victim_size == 0
    h.check()


# --- memory from elsewhere


@pytest.mark.parametrize("page", [PAGE, 65536])
@pytest.mark.parametrize("foreign", [0.0, 0.05])
def test_when_all_is_free_and_the_break_its_own_a_page_or_two_are_left(page, foreign):
    h = heap(page=page)
    finish(h, story(h, 5, 500, 4000, foreign=foreign)[1])
    if not foreign:
        assert h.state.top_size < 2 * page and len(segments_of(h.state)) == 1


def test_a_moved_break_starts_a_segment_and_closes_the_last():
    h = opened()
    h.user.sbrk(PAGE)
    block = h.alloc(3 * PAGE)
    assert len(segments_of(h.state)) == 2 and block > h.state.segment.start
    h.check()
    assert h.alloc(3000) < h.state.segment.start, "what was top is an ordinary free chunk"
    assert h.trim() == 0, "a segment that is no mapping and not the last stays"


def test_segments_are_mapped_once_the_break_cannot_grow():
    h = opened()
    h.state.break_use = 1
    h.check = lambda: [DLMALLOC.check(h.state, part.start, part.start + part.size) for part in segments_of(h.state)]
    _, live = story(h, 7, 500, 20000)
    assert h.state.segment.origin == MAPPED
    finish(h, live)
    [_, *others] = segments_of(h.state)
    assert all(segment.origin == FROM_BREAK for segment in others), "empty mapped segments went back"


def test_the_break_is_not_given_up_for_a_request_that_nobody_can_serve():
    h = opened()
    assert h.alloc(1 << 50) == 0
    assert h.state.break_use == 0
    h.check()


# --- mappings


def test_a_large_request_is_mapped_once_the_heap_is_open():
    h = heap()
    first = h.alloc(300 * KIB)
    assert not h.process.mappings
    second = h.alloc(300 * KIB)
    assert h.process.mappings and second % PAGE == 16
    h.check()
    h.dealloc(second)
    assert not h.process.mappings
    h.dealloc(first)
    h.check()


@pytest.mark.parametrize("align", [16, 64, PAGE, 64 * KIB, MIB])
def test_a_mapping_changes_its_size_and_keeps_its_alignment(align):
    h = opened()
    block, size = DLMALLOC.alloc(h.state, 300 * KIB, align), 300 * KIB
    h.memory.store(block, 8, 7)
    for new_size in (600 * KIB, 590 * KIB, 280 * KIB, 2 * MIB, 1000):
        block = DLMALLOC.realloc(h.state, block, size, align, new_size)
        size = new_size
        assert block % align == 0 and h.memory.load(block, 8) == 7
        h.memory.fill(block + 8, DLMALLOC.usable_size(h.state, block) - 8, 1)
        for extent in h.extents():
            DLMALLOC.check(h.state, *extent)


# --- giving back


def test_top_is_trimmed_beyond_its_threshold():
    h = heap()
    blocks = [h.alloc(200 * KIB) for _ in range(20)]
    grown = h.process.brk
    for address in blocks:
        h.dealloc(address)
    assert h.process.brk < grown - 2 * MIB and h.state.top_size < 2 * PAGE
    h.check()


def test_a_trim_that_fails_is_not_tried_again():
    h = heap()
    blocks = [h.alloc(200 * KIB) for _ in range(20)]
    h.user.sbrk(PAGE)
    for address in blocks:
        h.dealloc(address)
    assert h.state.trim_check == (1 << 63) - 1 and h.state.top_size > 2 * MIB
    h.check()


def test_freeing_many_large_chunks_releases_empty_segments():
    h = opened()
    h.state.break_use = 1
    first, last = h.alloc(100 * KIB), h.alloc(200 * KIB)
    h.state.release_checks = 1
    h.dealloc(first)
    h.check()
    assert h.alloc(20) and last in h.live


# --- guards


def misuse(call, *arguments, **options):
    with pytest.raises(Fault) as caught:
        call(*arguments, **options)
    return str(caught.value)


def test_a_double_free_is_noticed_even_of_what_became_top():
    h = heap()
    last = h.alloc(5000)
    h.dealloc(last)
    assert "double free" in misuse(h.dealloc, last, unchecked=True)


def test_a_foreign_address_is_noticed():
    h = heap()
    h.user.sbrk(4 * PAGE)
    h.alloc(10)
    assert "not a block of this heap" in misuse(h.dealloc, h.process.heap_start + 64, unchecked=True)


@pytest.mark.parametrize("size", [100, 2000])
def test_a_corrupted_link_is_noticed(size):
    h = heap()
    first, second = holes(h, size, size)
    chunk = h.state.top.at(first - 16)
    chunk.forward = chunk
    chunk.back = chunk.at(second - 16)
    taken = "not yet"
    with pytest.raises(Fault, match="corrupted heap"):
        while taken:
            taken = h.alloc(size)
            assert taken in (first, second)
