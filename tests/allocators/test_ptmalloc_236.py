"""ptmalloc[VERSION=236], the malloc of glibc 2.36: fast bins, and what else differs.

test_originals.py has its addresses.
"""

from pathlib import Path

import pytest
from heaps import fresh, spans

from heapwright import allocator, options
from heapwright.conformance.story import Play, busy_day
from heapwright.machine import Fault, start
from heapwright.spans import CACHED, FREE, OWN

SPEC = "ptmalloc[VERSION=236]"
DESIGN = allocator.load(SPEC)
LIBC = DESIGN.bind(Path(allocator.__file__).with_name("libc.py"))
KIB = 1 << 10
ROOM = 7  # chunks of a size in the cache
FAST = 40  # bytes: their chunk has 48


@pytest.fixture
def heap():
    return start(DESIGN)


def free_all(heap, blocks):
    for block in blocks:
        heap.dealloc(block)


def with_full_cache(heap, size, more):
    """Fill the cache with chunks for `size` bytes; return `more` blocks of the size, in address order."""
    blocks = [heap.alloc(size) for _ in range(ROOM + more)]
    free_all(heap, blocks[:ROOM])
    return blocks[ROOM:]


def in_lists(heap, words):
    """The blocks in the lists whose names contain these words."""
    return [block for name, blocks in heap.lists() if words in name for block in blocks]


# --- fast bins


def test_what_the_cache_has_no_room_for_waits_in_a_fast_bin(heap):
    blocks = with_full_cache(heap, FAST, 4)
    free_all(heap, blocks)
    assert in_lists(heap, "fast bin 1") == blocks[::-1]
    assert len(spans(heap, CACHED)) == ROOM + 4, "neighbours do not merge"
    heap.check()


def test_the_newest_serves_first_and_the_others_fill_the_cache(heap):
    blocks = with_full_cache(heap, FAST, 4)
    free_all(heap, blocks)
    for _ in range(ROOM):
        heap.alloc(FAST)
    assert heap.alloc(FAST) == blocks[3]
    assert in_lists(heap, "fast") == [] and in_lists(heap, "cache bin 3") == blocks[:3]
    assert [heap.alloc(FAST) for _ in range(3)] == blocks[:3], "the oldest came last into the cache"
    heap.check()


def test_links_in_a_fast_bin_are_disguised(heap):
    below, above = with_full_cache(heap, FAST, 2)
    free_all(heap, (below, above))
    assert heap.memory.load(above, 8) == below ^ (above >> 12)


@pytest.mark.parametrize(("size", "is_fast"), [(24, True), (120, True), (121, False), (136, False)])
def test_a_fast_chunk_has_128_bytes_at_most(heap, size, is_fast):
    block, _ = with_full_cache(heap, size, 2)
    heap.dealloc(block)
    assert (block in in_lists(heap, "fast bin")) == is_fast != (block in in_lists(heap, "unsorted"))
    heap.check()


@pytest.mark.parametrize("how", ["a large request", "a large free", "trim", "mallopt", "the end of the top"])
def test_fast_chunks_merge(heap, how):
    large = heap.alloc(70 * KIB)
    blocks = with_full_cache(heap, FAST, 5)
    free_all(heap, blocks[:4])
    assert len(in_lists(heap, "fast")) == 4
    if how == "a large request":
        heap.alloc(1001)
    elif how == "a large free":
        heap.dealloc(large)
    elif how == "trim":
        heap.trim()
    elif how == "mallopt":
        LIBC.mallopt(heap.state, options.M_PERTURB, 0)
    else:
        while in_lists(heap, "fast"):
            heap.alloc(1000)
    assert in_lists(heap, "fast") == []
    assert any(begin + 8 <= blocks[0] < begin + size for begin, size in spans(heap, FREE)) or how.startswith("the end")
    heap.check()


def test_small_requests_leave_them_alone(heap):
    blocks = with_full_cache(heap, FAST, 2)
    free_all(heap, blocks)
    heap.dealloc(heap.alloc(1000))
    heap.alloc(1000)
    assert in_lists(heap, "fast") == blocks[::-1]


@pytest.mark.parametrize(
    ("limit", "size", "is_fast"),
    [
        (7, 24, False),
        (24, 24, True),
        (24, 25, False),
        (64, 56, True),
        (160, 152, True),
        (160, 153, False),
    ],
)
def test_the_limit_is_a_setting(limit, size, is_fast):
    for early in (True, False):
        heap = start(DESIGN)
        if early:
            heap.process.settings[options.M_MXFAST] = limit
        else:
            assert LIBC.mallopt(heap.state, options.M_MXFAST, limit) == 1
        block, _ = with_full_cache(heap, size, 2)
        heap.dealloc(block)
        assert (block in in_lists(heap, "fast")) == is_fast
        heap.check()


@pytest.mark.parametrize("limit", [161, 1 << 20, -1])
def test_a_limit_beyond_160_is_refused(heap, limit):
    assert LIBC.mallopt(heap.state, options.M_MXFAST, limit) == 0
    assert heap.state.fast_limit[0] == 128


def test_a_survey_counts_them(heap):
    blocks = with_full_cache(heap, FAST, 3) + with_full_cache(heap, 100, 2)
    heap.alloc(24)
    before = heap.survey()
    free_all(heap, blocks)
    after = heap.survey()
    assert (after["fast_blocks"], after["fast_bytes"]) == (5, 3 * 48 + 2 * 112)
    assert before["fast_blocks"] == 0 and after["free_blocks"] == before["free_blocks"] + 5
    assert after["free_bytes"] == before["free_bytes"] + after["fast_bytes"]
    assert after["live_bytes"] == before["live_bytes"] - after["fast_bytes"]


def test_the_default_version_has_none(heap):
    assert allocator.load("ptmalloc").Heap.SIZE < DESIGN.Heap.SIZE
    assert not any("fast" in name for name, _ in fresh("ptmalloc").lists())


# --- invariants


@pytest.mark.parametrize("place", [-8, 40])
def test_a_fast_chunk_of_another_size_or_without_its_flags_is_noticed(heap, place):
    """Its own head, and the head of the next chunk."""
    blocks = with_full_cache(heap, FAST, 3)
    free_all(heap, blocks[:2])
    old = heap.process.peek(blocks[0] + place, 8)
    heap.process.poke(blocks[0] + place, bytes([old[0] ^ (0x40 if place < 0 else 1)]) + old[1:])
    with pytest.raises(Fault, match="PT14"):
        heap.check()


@pytest.mark.parametrize("other", [0, 1])
def test_a_chunk_in_two_lists_is_noticed(heap, other):
    """The last of a fast bin leads to the first, or to a chunk in the cache."""
    cached = heap.alloc(100)
    heap.dealloc(cached)
    blocks = with_full_cache(heap, FAST, 3)
    free_all(heap, blocks[:2])
    target = (blocks[1], cached)[other]
    heap.process.poke(blocks[0], (target ^ blocks[0] >> 12).to_bytes(8, "little"))
    with pytest.raises(Fault, match="PT15"):
        heap.check()


# --- what else differs


def test_calloc_and_aligned_requests_take_nothing_from_the_cache(heap):
    blocks = [heap.alloc(100), heap.alloc(100, 64)]
    free_all(heap, blocks)
    assert heap.alloc_zeroed(100) not in blocks
    assert heap.alloc(100, 64) not in blocks
    assert sorted(heap.alloc(100) for _ in range(2)) == sorted(blocks)
    heap.check()


def test_a_first_request_that_is_aligned_makes_no_cache(heap):
    block = heap.alloc(100, 64)
    assert block - heap.process.heap_start < 656, "the chunk of the cache"
    heap.dealloc(block)
    assert block in in_lists(heap, "cache"), "this free has made it"
    heap.check()


def test_a_merged_chunk_is_unsorted_whatever_its_size(heap):
    block, _ = with_full_cache(heap, 500, 2)
    heap.dealloc(block)
    assert in_lists(heap, "unsorted") == [block]


def test_the_end_of_a_block_that_shrinks_goes_to_the_cache(heap):
    block, _ = heap.alloc(1000), heap.alloc(24)
    heap.realloc(block, 500)
    assert in_lists(heap, "cache bin 31") == [block + 512]
    heap.check()


def test_trim_leaves_the_cache_alone(heap):
    block = heap.alloc(100)
    heap.dealloc(block)
    heap.trim()
    assert heap.alloc(100) == block


@pytest.mark.parametrize(("size", "mapped"), [(208872, 0), (208873, 1)])
def test_the_threshold_is_the_length_of_a_mapping(heap, size, mapped):
    """A chunk as long as the mapping that was freed is mapped again; a smaller one is not."""
    heap.dealloc(heap.alloc(200 * KIB))
    assert heap.state.mmap_threshold.load() == 208896
    heap.alloc(size)
    assert heap.state.mapped_chunks.load() == mapped


def test_everything_is_given_back(heap):
    play = Play(heap)
    play.play(busy_day(300))
    play.end()
    heap.thread_exit()
    heap.trim()
    heap.check()
    assert [kind for _, _, kind in heap.spans()] == [OWN, FREE]
