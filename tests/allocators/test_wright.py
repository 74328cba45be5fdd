"""Wright: classes, slabs that sleep and wake, lists with room, tiles and segments, large and huge blocks."""

import random

import pytest
from heaps import bytes_by_kind, kernel_calls, spans
from hypothesis import given
from hypothesis import strategies as some
from wrights import home_of, list_of, slab_of

from heapwright import allocator
from heapwright.allocators import wright
from heapwright.allocators.wright import classes, homes, records, slabs, tiles
from heapwright.conformance import misuse
from heapwright.machine import Fault
from heapwright.spans import CACHED, FREE, USED

DESIGN = allocator.load("wright")
KIB, MIB = 1 << 10, 1 << 20


# --- classes


def test_classes_are_total_monotone_and_waste_little():
    sizes = [classes.size_of_class(k) for k in range(classes.CLASSES)]
    assert sizes[:4] == [0, 16, 32, 48] and sizes[64:67] == [1024, 1152, 1280] and sizes[-1] == classes.MAX_SMALL
    assert sizes == sorted(set(sizes))
    assert [classes.class_of(size) for size in sizes[1:]] == list(range(1, classes.CLASSES))
    for size in range(1, classes.MAX_SMALL + 1):
        given = sizes[classes.class_of(size)]
        assert size <= given and (given - size < 16 or 9 * (given - size) <= given)


@given(some.integers(1, classes.MAX_SMALL), some.sampled_from([16 << k for k in range(11)]))
def test_a_request_rounded_to_its_alignment_gets_an_aligned_class(size, align):
    rounded = -(-size // align) * align
    if rounded <= classes.MAX_SMALL:
        assert classes.size_of_class(classes.class_of(rounded)) % align == 0


@pytest.mark.parametrize("size_class", range(1, classes.CLASSES))
def test_a_run_has_four_blocks_and_wastes_at_most_a_sixteenth(size_class):
    size = classes.size_of_class(size_class)
    run = classes.tiles_for(size) * classes.TILE
    assert run // size >= classes.MIN_BLOCKS and 16 * (run % size) <= run
    assert classes.tiles_for(size) <= tiles.MAX_RUN


# --- layouts


def test_the_records_are_as_drawn():
    offsets = {field.name: field.offset for field in records.Record}
    drawn = {"tag": 0, "free": 8, "left": 16, "back": 24, "carved": 28, "next": 32, "previous": 40, "capacity": 48}
    assert offsets == drawn | {"tiles": 50, "state": 52, "is_fresh": 54, "meshed": 55, "size": 56, "holes": 60}
    assert records.Record.SIZE == 1 << records.LOG2_RECORD == records.TILES
    assert homes.Hot.SIZE == 1 << records.LOG2_STEP and records.Segment.SIZE <= records.RECORD


def test_the_inbox_has_a_cache_line_of_its_own():
    line = homes.Home.inbox.offset // 64
    others = [field.offset // 64 for field in homes.Home if field.name not in ("apart", "inbox", "apart_too")]
    assert line not in others and homes.Home.limits.offset // 64 > line


def test_what_a_thread_needs_that_frees_no_blocks_of_others_lies_in_the_first_page_of_its_home():
    assert homes.Home.partial.offset + 8 * classes.CLASSES == homes.Home.outbox.offset <= 4096


# --- lists and slabs


def no_room(heap, size):
    """Let the next block of a class that is freed go home."""
    home, size_class = home_of(heap), classes.class_of(size)
    home.limits[size_class] = home.hot[size_class].room = 0


def test_a_slab_is_carved_a_page_at_a_time(heap):
    first = heap.alloc(64)
    slab = slab_of(heap, first)
    assert first == records.start_of(slab) and slab.carved == 64 and slab.capacity == 256
    assert bytes_by_kind(heap)[CACHED] == 63 * 64
    for _ in range(64):
        heap.alloc(64)
    assert slab.carved == 128
    heap.check()


def test_what_was_freed_last_is_given_out_first(heap):
    a, b = heap.alloc(100), heap.alloc(100)
    heap.dealloc(a)
    heap.dealloc(b)
    assert [heap.alloc(112), heap.alloc(97)] == [b, a]


def test_a_list_without_room_sends_its_older_half_home(heap):
    blocks = [heap.alloc(1024) for _ in range(16)]
    slab, hot = slab_of(heap, blocks[0]), home_of(heap).hot[classes.class_of(1024)]
    limit = homes.final_limit(classes.class_of(1024))
    assert limit == 16 and hot.room == limit
    other = [heap.alloc(1024) for _ in range(16)]
    for block in blocks + other[:4]:
        heap.dealloc(block)
        heap.check()
    assert list_of(heap, classes.class_of(1024)) == [*other[3::-1], *blocks[:7:-1]] and hot.room == 4
    assert {slab_of(heap, each).address for each in blocks[:8]} == {slab.address} and slab.left == 8
    heap.check()


def test_a_list_of_the_largest_class_has_one_block(heap):
    blocks = [heap.alloc(32 * KIB) for _ in range(5)]
    for i, block in enumerate(blocks):
        heap.dealloc(block)
        assert list_of(heap, classes.class_of(32 * KIB))[:1] == [block]
        assert slab_of(heap, block).state != records.CURRENT or i == 4
        heap.check()


def test_the_room_of_a_list_doubles_with_each_refill(heap):
    rooms = []
    hot = home_of(heap).hot[classes.class_of(16)]
    for _ in range(6):
        while hot.first:
            heap.alloc(16)
        heap.alloc(16)
        rooms.append(hot.room)
    assert rooms == [32, 64, 128, 256, 512, 512]


def test_a_slab_sleeps_when_all_is_handed_out_and_wakes_when_an_eighth_came_home(heap):
    blocks = [heap.alloc(2048) for _ in range(9)]  # 8 to a slab
    slab = slab_of(heap, blocks[0])
    assert slab.state == records.ASLEEP and slab.left == 1 == slabs.wake_of(slab)
    no_room(heap, 2048)
    heap.dealloc(blocks[3])
    assert slab.state == records.AWAKE and slab.left == 7
    assert home_of(heap).partial[classes.class_of(2048)] == slab
    for block in blocks[:3] + blocks[4:8]:
        no_room(heap, 2048)
        heap.dealloc(block)
        heap.check()
    assert not home_of(heap).partial[classes.class_of(2048)], "an empty slab is given up"
    assert slab.tag.load() == records.FREE_TAG


def test_lists_go_home_when_the_heap_has_grown(heap):
    heap.dealloc(heap.alloc(24))
    assert list_of(heap, classes.class_of(24))
    large = [heap.alloc(500 * KIB) for _ in range(4)]
    heap.alloc(48)
    assert not list_of(heap, classes.class_of(24))
    for block in large:
        heap.dealloc(block)
    heap.check()


# --- tiles and segments


def test_the_lowest_tiles_serve_first(heap):
    blocks = [heap.alloc(40 * KIB) for _ in range(5)]
    for block in (blocks[3], blocks[1]):
        heap.dealloc(block)
    assert heap.alloc(40 * KIB) == blocks[1]


def test_a_full_segment_serves_again_when_a_run_of_it_is_free(heap):
    blocks = [heap.alloc(140 * KIB) for _ in range(14)]  # nine tiles each: they fill two segments
    heap.dealloc(max(blocks))
    assert heap.alloc(40 * KIB) == max(blocks), "there is no room in the lower segment"
    heap.dealloc(min(blocks))
    heap.check()
    assert heap.alloc(140 * KIB) == min(blocks)


def test_dirty_tiles_serve_before_fresh_ones(heap):
    first, second = heap.alloc(40 * KIB), heap.alloc(40 * KIB)
    heap.dealloc(first)
    heap.trim()
    heap.dealloc(second)
    assert heap.alloc(40 * KIB) == second
    heap.check()


def test_a_large_block_grows_and_shrinks_where_it_is(heap):
    block = heap.alloc(40 * KIB)
    assert heap.realloc(block, 500 * KIB) == block
    assert heap.realloc(block, 50 * KIB) == block
    behind = heap.alloc(40 * KIB)
    assert behind == block + 64 * KIB
    moved = heap.realloc(block, 100 * KIB)
    assert moved != block
    heap.check()


def test_a_large_block_of_fresh_tiles_is_not_cleared(heap):
    heap.alloc(16)  # keeps the segment
    block = heap.alloc_zeroed(100 * KIB)
    record = records.record_of(heap.state, block)
    assert record.is_fresh == 1
    heap.dealloc(block)
    assert heap.alloc_zeroed(100 * KIB) == block and record.is_fresh == 0
    heap.dealloc(block)
    heap.trim()
    assert heap.alloc_zeroed(100 * KIB) == block and record.is_fresh == 1


def test_an_empty_segment_serves_a_huge_block(heap):
    heap.dealloc(heap.alloc(MIB))  # now there is a record for a range
    heap.trim()
    keep_all(heap)
    blocks = [heap.alloc(400 * KIB) for _ in range(2)]
    for block in blocks:
        heap.dealloc(block)
    heap.process.kernel.calls.at(1)
    assert heap.alloc(MIB) == records.segment_of(records.record_of(heap.state, blocks[0])).address
    heap.process.kernel.calls.never()
    heap.check()


def test_a_kept_range_becomes_a_segment(heap):
    block, _, _ = heap.alloc(4 * MIB), heap.alloc(4 * MIB), heap.alloc(MIB // 2 + 1)
    homes.this_home(heap.state)
    keep_all(heap)
    heap.dealloc(block)
    calls = kernel_calls(heap)
    assert block < heap.alloc(200 * KIB) < block + MIB and not [name for name, _ in calls if name == "mmap"]
    heap.check()


def test_trim_gives_everything_back(heap):
    for size in (16, 500, 5000, 25_000, 300_000, 3 * MIB):
        for block in [heap.alloc(size) for _ in range(20)]:
            heap.dealloc(block)
    assert heap.trim() > 0
    assert heap.memory.held() <= wright.RETAINS
    heap.check()


# --- huge blocks


def keep_all(heap):
    """Let the reserve keep everything."""
    heap.state.reserve.credit = 1 << 40


def test_a_huge_block_is_kept_for_the_next_one(heap):
    blocks = [heap.alloc(5 * MIB) for _ in range(2)]
    keep_all(heap)
    heap.dealloc(blocks[0])
    calls = kernel_calls(heap)
    assert heap.alloc(4 * MIB) == blocks[0] and not [name for name, _ in calls if name == "mmap"]
    heap.check()


def test_kept_ranges_merge_and_are_bounded(heap):
    blocks = [heap.alloc(3 * MIB) for _ in range(8)]
    rng = random.Random(3)
    rng.shuffle(blocks)
    keep_all(heap)
    for block in blocks:
        heap.dealloc(block)
        heap.check()
    store = heap.state.huge
    assert store.kept == store.peak == 24 * MIB and store.ranges == 1
    heap.alloc(20 * MIB)
    heap.alloc(20 * MIB)
    assert store.kept == 4 * MIB
    heap.alloc(20 * MIB)
    assert store.kept == 4 * MIB and store.live == store.peak == 60 * MIB
    heap.trim()
    assert heap.state.huge.kept == 0


def test_a_huge_block_shrinks_and_grows_where_it_is(heap):
    block = heap.alloc(8 * MIB)
    assert heap.realloc(block, 2 * MIB) == block and heap.usable_size(block) == 2 * MIB
    assert heap.realloc(block, 4 * MIB) == block and heap.usable_size(block) == 4 * MIB
    heap.check()


@pytest.mark.parametrize("align", [32 * KIB, 256 * KIB, MIB, 4 * MIB])
@pytest.mark.parametrize("size", [100, 100_000, 600_000])
def test_large_alignments(heap, size, align):
    blocks = [heap.alloc(size, align) for _ in range(3)]
    assert all(block % align == 0 for block in blocks)
    heap.check()
    for block in blocks:
        heap.dealloc(block)
    heap.check()


def test_a_huge_block_that_is_kept_is_not_freed_again(heap):
    keep_all(heap)
    block, _ = heap.alloc(3 * MIB), heap.alloc(3 * MIB)
    heap.dealloc(block)
    with pytest.raises(Fault, match="double free"):
        heap.dealloc(block, unchecked=True)


# --- misuse that the paths for large blocks see at once


@pytest.mark.parametrize(("size", "offset", "report"), [
    (100_000, 0, "double free"), (12 * MIB, 0, "not a block of this heap"), (100_000, 16, "no block begins here"),
    (3 * MIB, MIB, "not a block of this heap"),
])  # fmt: skip
def test_misuse_of_large_blocks_is_reported(heap, size, offset, report):
    block, _ = heap.alloc(size), heap.alloc(size)
    if offset == 0:
        heap.dealloc(block)
    with pytest.raises(Fault, match=report):
        heap.dealloc(block + offset, unchecked=True)


@pytest.mark.parametrize("content", [bytes(16), b"A" * 16])
def test_memory_of_the_program_is_not_a_block(heap, content):
    block = heap.alloc(100)
    heap.alloc(40)
    place = heap.process.user.mmap(2 * MIB)
    misuse.open_to_the_allocator(heap, place, 2 * MIB, content)
    with pytest.raises(Fault, match="not a block of this heap"):
        heap.dealloc(place + MIB + 64 * KIB + 16, unchecked=True)
    heap.dealloc(block)


def test_tiles_are_free_after_their_blocks(heap):
    block = heap.alloc(200 * KIB)
    heap.alloc(200 * KIB)
    heap.dealloc(block)
    assert (block, 208 * KIB) in spans(heap, FREE) and len(spans(heap, USED)) == 1
