"""What can be set of ptmalloc: by mallopt, and before the heap opens, as the environment does in a real process."""

from pathlib import Path

import pytest
from heaps import on, spans

from heapwright import allocator, options
from heapwright.allocators.ptmalloc.chunks import chunk_of, is_mapped
from heapwright.machine import start
from heapwright.spans import CACHED, FREE

DESIGN = allocator.load("ptmalloc")
KIB, MIB = 1 << 10, 1 << 20
LIBC = DESIGN.bind(Path(allocator.__file__).with_name("libc.py"))
LARGE = 2000  # bytes that no cache takes
ROOMY = {"page": 1 << 16, "frames": 1 << 14}  # a machine with room for segments


def opened_with(settings, **machine):
    heap = start(DESIGN, **machine)
    heap.process.settings.update(settings)
    return heap


def separated(heap, sizes):
    """Blocks of the given sizes, each followed by a small one that stays, so that none merge."""
    return [(heap.alloc(size), heap.alloc(24))[0] for size in sizes]


def mallopt(heap, option, value):
    return LIBC.mallopt(heap.state, option, value)


# --- mallopt


@pytest.mark.parametrize("option", [*range(-10, 6), 1000])
def test_every_option_answers_1_as_in_glibc(heap, option):
    for value in (0, 1, 64, -1, 1 << 30):
        assert mallopt(heap, option, value) == 1
    for size in (24, LARGE, 300 * KIB, 2 * MIB):
        assert heap.alloc(size)
    heap.check()


def test_no_program_can_say_the_options_of_the_environment(heap):
    heap.alloc(100)
    for option in (options.TCACHE_MAX, options.TCACHE_COUNT, options.TCACHE_UNSORTED_LIMIT):
        mallopt(heap, option, 0)  # its lower half is an option of no meaning
        assert DESIGN.tune(heap.state, option, 0) == 0, "too late"
    assert heap.state.cache_room == 16
    heap.dealloc(heap.alloc(100))
    assert spans(heap, CACHED)


@pytest.mark.parametrize("option", [options.M_TRIM_THRESHOLD, options.M_TOP_PAD, options.M_MMAP_THRESHOLD, -4])
def test_a_threshold_that_is_set_stops_all_from_following_the_program(heap, option):
    mallopt(heap, option, 256 * KIB)
    heap.dealloc(heap.alloc(900 * KIB))
    assert is_mapped(chunk_of(heap.state, heap.alloc(900 * KIB)))


def test_no_chunks_are_mapped_where_none_may_be(heap):
    mallopt(heap, options.M_MMAP_MAX, 0)
    assert not is_mapped(chunk_of(heap.state, heap.alloc(2 * MIB)))
    mallopt(heap, options.M_MMAP_MAX, 2)
    assert [is_mapped(chunk_of(heap.state, heap.alloc(2 * MIB))) for _ in range(4)] == [True, True, False, False]
    heap.check()


def test_an_absurd_pad_leaves_memory_to_be_had(heap):
    mallopt(heap, options.M_TOP_PAD, -1)
    assert all(heap.alloc(size) for size in (100, 100 * KIB, 3 * MIB))
    heap.check()


# --- bytes that nobody may rely on


def test_what_goes_past_the_caches_is_filled(heap):
    mallopt(heap, options.M_PERTURB, 0xA5)
    heap.junk = False
    block, _ = heap.alloc(LARGE), heap.alloc(24)
    assert heap.process.peek(block, LARGE) == b"\x5a" * LARGE
    heap.process.poke(block, b"\1" * LARGE)
    heap.dealloc(block)
    assert heap.process.peek(block + 32, LARGE - 40) == b"\xa5" * (LARGE - 40)
    assert heap.process.peek(heap.alloc_zeroed(LARGE), LARGE) == bytes(LARGE)
    heap.check()


def test_what_realloc_adds_and_gives_up_is_filled(heap):
    mallopt(heap, options.M_PERTURB, 0xA5)
    heap.junk = False
    block, _ = heap.alloc(LARGE), heap.alloc(24)
    heap.process.poke(block, b"\1" * LARGE)
    moved = heap.realloc(block, 2 * LARGE)
    assert moved != block
    assert heap.process.peek(moved, LARGE) == b"\1" * LARGE
    assert heap.process.peek(moved + LARGE + 8, LARGE - 8) == b"\x5a" * (LARGE - 8)
    assert heap.process.peek(block + 32, LARGE - 40) == b"\xa5" * (LARGE - 40)
    heap.process.poke(moved, b"\1" * 2 * LARGE)
    heap.realloc(moved, LARGE)
    assert heap.process.peek(moved + LARGE + 64, LARGE - 64) == b"\xa5" * (LARGE - 64)
    heap.check()


def test_the_caches_fill_nothing(heap):
    heap.dealloc(heap.alloc(100))
    mallopt(heap, options.M_PERTURB, 0xA5)
    heap.junk = False
    block = heap.alloc(100)
    heap.process.poke(block, b"\1" * 100)
    heap.dealloc(block)
    assert heap.process.peek(block + 16, 84) == b"\1" * 84


# --- what holds from the start


def test_the_first_growth_knows_its_pad():
    for pad, held in ((0, 4 * KIB), (MIB, MIB + 4 * KIB)):
        heap = opened_with({options.M_TOP_PAD: pad})
        heap.alloc(100)
        assert held <= heap.memory.held() <= held + 8 * KIB


def test_mallopt_before_the_first_call_is_in_time_for_the_first_growth(heap):
    mallopt(heap, options.M_TOP_PAD, 0)
    assert heap.memory.held() == 0
    heap.alloc(100)
    assert heap.memory.held() <= 8 * KIB


def test_thresholds():
    settings = {options.M_MMAP_THRESHOLD: 50 * KIB, options.M_TRIM_THRESHOLD: 1 << 62, options.M_TOP_PAD: 0}
    heap = opened_with(settings)
    assert is_mapped(chunk_of(heap.state, heap.alloc(51 * KIB)))
    blocks = [heap.alloc(40 * KIB) for _ in range(20)]
    held = heap.memory.held()
    for block in blocks:
        heap.dealloc(block)
    assert heap.memory.held() == held
    heap.check()


@pytest.mark.parametrize(("maximum", "arenas"), [(1, 1), (2, 2), (5, 5)])
def test_arenas(maximum, arenas):
    heap = opened_with({options.M_ARENA_MAX: maximum}, **ROOMY)
    for _ in range(6):
        with on(heap, heap.process.new_thread()):
            heap.alloc(100)
    assert heap.state.arenas == arenas


def test_there_is_no_limit_below_the_test():
    heap = opened_with({options.M_ARENA_TEST: 18}, **ROOMY)
    heap.alloc(100)
    heap.state.arenas = 16  # pretend
    new = []
    for _ in range(5):
        with on(heap, heap.process.new_thread()):
            heap.alloc(100)
            new.append(heap.state.arenas)
    assert new == [17, 18, 19, 19, 19]


@pytest.mark.parametrize("count", [0, 1, 3, 40])
def test_how_many_chunks_a_cache_keeps(count):
    heap = opened_with({options.TCACHE_COUNT: count})
    for block in separated(heap, [100] * 60):
        heap.dealloc(block)
    assert len(spans(heap, CACHED)) == count
    heap.check()


@pytest.mark.parametrize(("maximum", "kept"), [(0, 1), (24, 1), (25, 2), (400, 3), (1032, 4), (1033, 4), (5000, 4)])
def test_the_largest_request_that_a_cache_serves(maximum, kept):
    """As in glibc, a limit that is too large is none: 1032 bytes are the most."""
    heap = opened_with({options.TCACHE_MAX: maximum})
    for block in separated(heap, [24, 40, 400, 1032]):
        heap.dealloc(block)
    assert len(spans(heap, CACHED)) == kept
    heap.check()


@pytest.mark.parametrize(("limit", "left"), [(0, 0), (3, 16), (7, 12)])
def test_how_many_unsorted_chunks_are_sorted_once_the_cache_has_one(limit, left):
    heap = opened_with({options.TCACHE_UNSORTED_LIMIT: limit, options.TCACHE_COUNT: 2})
    fillers = separated(heap, [1040] + [2000 + 64 * i for i in range(20)])
    match = separated(heap, [1032] * 3)
    for block in (*match, *fillers[1:]):
        heap.dealloc(block)  # two of the first go to the cache, one and all others are unsorted
    taken = [heap.alloc(1032) for _ in range(2)]
    assert sorted(taken) == sorted(match[:2])
    before = len(unsorted(heap))
    assert heap.alloc(1032) == match[2]
    assert before == 21 and len(unsorted(heap)) == left
    heap.check()


def unsorted(heap):
    return dict(heap.lists()).get("main arena, unsorted bin 1", [])


def test_a_child_has_its_parents_settings():
    heap = opened_with({options.TCACHE_COUNT: 3})
    heap.alloc(24)
    child = heap.fork()
    for block in separated(child, [100] * 10):
        child.dealloc(block)
    assert len(spans(child, CACHED)) == 3
    assert child.process.settings == heap.process.settings
    child.check()


def test_a_setting_holds_for_the_heap_that_opens_after_it(heap):
    heap.alloc(100)
    heap.process.settings[options.M_TOP_PAD] = 10 * MIB
    blocks = [heap.alloc(100 * KIB) for _ in range(5)]
    assert heap.memory.held() < MIB
    for block in blocks:
        heap.dealloc(block)
    assert spans(heap, FREE)
