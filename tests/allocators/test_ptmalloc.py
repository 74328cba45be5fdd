"""The heap of glibc: what the cache, the bins, the top and the mappings do, by the address."""

from pathlib import Path

import pytest
from heaps import spans

from heapwright import allocator
from heapwright.allocators.ptmalloc.bins import index_of
from heapwright.allocators.ptmalloc.cache import bin_for
from heapwright.allocators.ptmalloc.chunks import KEPT, chunk_of, chunk_size_for, is_mapped, size_of
from heapwright.allocators.ptmalloc.version import ROOM
from heapwright.conformance.story import Play, busy_day
from heapwright.machine import Fault
from heapwright.machine.shadow import ALLOCATOR
from heapwright.spans import CACHED, FREE, OWN, UNUSED, USED

DESIGN = allocator.load("ptmalloc")
KIB, MIB = 1 << 10, 1 << 20
LIBC = DESIGN.bind(Path(allocator.__file__).with_name("libc.py"))
LARGE = 2000  # bytes that no cache takes
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3


def free_all(heap, blocks):
    for block in blocks:
        heap.dealloc(block)


def separated(heap, sizes):
    """Blocks of the given sizes, each followed by a small one that stays, so that none merge."""
    return [(heap.alloc(size), heap.alloc(24))[0] for size in sizes]


# --- sizes


@pytest.mark.parametrize(("size", "chunk"), [(0, 32), (24, 32), (25, 48), (40, 48), (41, 64), (1032, 1040)])
def test_a_chunk_costs_eight_bytes(heap, size, chunk):
    assert chunk_size_for(size) == chunk
    assert heap.usable_size(heap.alloc(size)) == chunk - 8


@pytest.mark.parametrize("size", range(0, 1033, 8))
def test_a_request_looks_where_its_chunk_is_kept(size):
    assert bin_for(size) == chunk_size_for(size) // 16


@pytest.mark.parametrize(
    ("index", "first", "last"),
    [
        (2, 32, 32),
        (63, 1008, 1008),
        (64, 1024, 1072),
        (95, 3008, 3056),
        (96, 3072, 3120),
        (97, 3136, 3568),
        (98, 3584, 4080),
        (112, 10752, 12272),
        (113, 12288, 16368),
        (119, 36864, 40944),
        (120, 40960, 65520),
        (123, 131072, 163824),
        (125, 262144, 524272),
        (126, 524288, 1 << 40),
    ],
)
def test_edges_of_bins(index, first, last):
    assert index_of(first) == index_of(last) == index
    assert index == 126 or index_of(last + 16) == index + 1


# --- the cache


def test_the_last_freed_comes_first(heap):
    blocks = [heap.alloc(100) for _ in range(3)]
    free_all(heap, blocks)
    assert [heap.alloc(100) for _ in range(3)] == blocks[::-1]


def test_the_cache_keeps_sixteen_of_a_size(heap):
    blocks = separated(heap, [100] * (ROOM + 2))
    free_all(heap, blocks)
    assert len(spans(heap, CACHED)) == ROOM
    assert sorted(begin + 8 for begin, _ in spans(heap, FREE))[:2] == blocks[ROOM:]
    heap.check()


def test_a_small_bin_is_first_in_first_out_and_fills_the_cache(heap):
    blocks = separated(heap, [100] * (ROOM + 5))
    free_all(heap, blocks)
    assert [heap.alloc(100) for _ in range(ROOM)] == blocks[:ROOM][::-1]
    assert heap.alloc(100) == blocks[ROOM]
    assert len(spans(heap, CACHED)) == 4
    heap.check()


def test_links_in_the_cache_are_disguised(heap):
    below, above = heap.alloc(100), heap.alloc(100)
    heap.dealloc(below)
    heap.dealloc(above)
    assert heap.memory.load(above, 8) == below ^ (above >> 12)


def test_the_cache_serves_aligned_requests_with_what_happens_to_be_aligned(heap):
    block = heap.alloc(100, 256)
    heap.dealloc(block)
    assert heap.alloc(100, 64) == block


@pytest.mark.parametrize("between", [1, 5])
def test_double_free_in_the_cache(heap, between):
    block, *others = [heap.alloc(100) for _ in range(between + 1)]
    free_all(heap, [block, *others])
    with pytest.raises(Fault, match="double free"):
        heap.dealloc(block, unchecked=True)


@pytest.mark.parametrize(("size", "reason"), [(LARGE, "double free"), (300 * KIB, "unmapped address")])
def test_double_free_of_what_no_cache_keeps(heap, size, reason):
    """A mapping is gone with its header: the processor stops its second free, as UNMAPS says."""
    block, _ = heap.alloc(size), heap.alloc(24)
    heap.dealloc(block)
    with pytest.raises(Fault, match=reason):
        heap.dealloc(block, unchecked=True)


def test_an_overwritten_link_is_noticed(heap):
    blocks = [heap.alloc(100) for _ in range(2)]
    free_all(heap, blocks)
    heap.memory.store(blocks[1], 8, 0x1234567)
    heap.alloc(100)
    with pytest.raises(Fault, match="corrupted cache"):
        heap.alloc(100)


# --- bins


def test_neighbours_merge_at_once(heap):
    blocks = [heap.alloc(LARGE) for _ in range(3)]
    heap.alloc(24)
    for i in (0, 2, 1):
        heap.dealloc(blocks[i])
        heap.check()
    assert (blocks[0] - 8, 3 * chunk_size_for(LARGE)) in spans(heap, FREE)


def test_the_best_fit_is_split_and_the_rest_serves_a_run(heap):
    blocks = separated(heap, [9000, 5000, 7000])
    free_all(heap, blocks)
    assert heap.alloc(4000) == blocks[1]
    heap.alloc(6900)
    small = heap.alloc(500)
    assert small == blocks[1] + chunk_size_for(4000)
    assert heap.alloc(200) == small + chunk_size_for(500)
    heap.check()


def test_equal_large_chunks_spare_the_first_of_their_size(heap):
    blocks = separated(heap, [5000] * 4 + [5100, 4950])
    free_all(heap, blocks)
    heap.alloc(9000)
    heap.check()
    taken = [heap.alloc(5000) for _ in range(4)]
    assert sorted(taken) == blocks[:4]
    assert taken[-1] == blocks[0]
    heap.check()


# --- the top and the kernel


def test_the_heap_starts_with_its_need_and_a_pad(heap):
    heap.alloc(100)
    assert heap.process.brk - heap.process.heap_start == 132 * KIB + 4 * KIB * (heap.process.heap_start % 4096 != 0)


def test_a_large_top_is_trimmed(heap):
    blocks = [heap.alloc(100 * KIB) for _ in range(5)]
    high = heap.process.brk
    free_all(heap, blocks)
    assert heap.process.brk <= high - 300 * KIB
    heap.check()


def test_trim_gives_back_the_top_and_pages_inside(heap):
    blocks = [heap.alloc(60 * KIB), heap.alloc(24), heap.alloc(60 * KIB)]
    heap.dealloc(blocks[0])
    heap.dealloc(blocks[2])
    assert heap.trim() >= 120 * KIB
    heap.check()


def test_the_break_moved_by_another(heap):
    blocks = [heap.alloc(100 * KIB)]
    heap.user.sbrk(12345)
    blocks += [heap.alloc(100 * KIB) for _ in range(3)]
    heap.check()
    assert len(heap.extents()) == 2
    free_all(heap, blocks)
    heap.check()
    assert heap.alloc(90 * KIB)


def test_large_requests_are_mapped_until_one_was_freed(heap):
    block = heap.alloc(200 * KIB)
    assert chunk_of(heap.state, block).head & 2
    heap.dealloc(block)
    assert spans(heap, USED) == []
    again = heap.alloc(200 * KIB)
    assert not chunk_of(heap.state, again).head & 2
    heap.check()


def test_a_mapping_that_the_kernel_does_not_take_back_stays_counted(heap):
    block = heap.alloc(200 * KIB)
    heap.process.kernel.returns.at(1, once=True)
    heap.dealloc(block)
    heap.check()
    assert heap.state.mapped_chunks.load() == 1
    assert heap.state.mapped_bytes.load() == heap.process.space.mappings.size_of(ALLOCATOR)
    with pytest.raises(Fault, match="double free"):
        heap.dealloc(block, unchecked=True)


@pytest.mark.parametrize("align", [32, 4096, 1 << 16])
def test_a_mapped_chunk_is_aligned_and_grows(heap, align):
    above = heap.alloc(600 * KIB)
    block = heap.alloc(200 * KIB, align)
    heap.check()
    heap.dealloc(above)
    assert heap.realloc(block, 500 * KIB) == block
    heap.check()
    assert heap.realloc(block, 100) == block
    heap.check()
    heap.dealloc(block)
    heap.check()


def test_a_mapped_chunk_that_must_move_takes_its_pages_along(heap):
    block = heap.alloc(200 * KIB, 64)
    heap.alloc(600 * KIB)
    block = heap.realloc(block, 900 * KIB)
    assert block % 64 == 0
    heap.check()


# --- realloc


def test_realloc_stays_into_the_top(heap):
    block = heap.alloc(LARGE)
    assert heap.realloc(block, 3 * LARGE) == block
    assert heap.realloc(block, 120 * KIB) == block
    assert heap.realloc(block, 100) == block
    heap.check()


def test_realloc_stays_where_the_next_is_free(heap):
    blocks = [heap.alloc(LARGE) for _ in range(3)]
    heap.dealloc(blocks[1])
    assert heap.realloc(blocks[0], 2 * LARGE) == blocks[0]
    heap.check()


def test_realloc_moves_else(heap):
    blocks = [heap.alloc(LARGE) for _ in range(2)]
    assert heap.realloc(blocks[0], 2 * LARGE) > blocks[1]
    assert size_of(chunk_of(heap.state, blocks[0])) == chunk_size_for(LARGE)
    heap.check()


# --- what a program may set


def test_a_threshold_that_is_set_follows_the_program_no_more(heap):
    assert LIBC.mallopt(heap.state, M_MMAP_THRESHOLD, 64 * KIB) == 1
    for _ in range(2):
        block = heap.alloc(200 * KIB)
        assert is_mapped(chunk_of(heap.state, block))
        heap.dealloc(block)
    assert not is_mapped(chunk_of(heap.state, heap.alloc(50 * KIB)))
    heap.check()


def test_a_top_may_be_kept_for_ever_and_padded_less(heap):
    assert LIBC.mallopt(heap.state, M_TOP_PAD, 0) == 1
    assert LIBC.mallopt(heap.state, M_TRIM_THRESHOLD, -1) == 1
    blocks = [heap.alloc(100 * KIB) for _ in range(5)]
    held = heap.memory.held()
    assert held < 510 * KIB
    free_all(heap, blocks)
    assert heap.memory.held() == held
    heap.check()


# --- the whole


def test_everything_is_given_back(heap):
    play = Play(heap)
    play.play(busy_day(300))
    play.end()
    heap.thread_exit()
    heap.trim()
    heap.check()
    assert [kind for _, _, kind in heap.spans()] == [OWN, FREE]


def test_walk_tells_the_caches_and_records(heap):
    blocks = [heap.alloc(100) for _ in range(2)]
    heap.dealloc(blocks[0])
    found = {kind for _, _, kind in heap.spans()}
    assert found == {OWN, CACHED, USED, FREE} and UNUSED not in found
    assert chunk_of(heap.state, blocks[0]).head & KEPT
