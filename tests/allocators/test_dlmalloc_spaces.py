"""dlmalloc's spaces, bulk calls, limits and options, in the machine: what the recording does not show."""

import pytest
from own_functions import PAGE, Program

from heapwright.allocators.dlmalloc.segments import LENT
from heapwright.allocators.dlmalloc.settings import MMAP_THRESHOLD
from heapwright.machine import Fault

ENOMEM = 12
KIB = 1 << 10
COST = 1024  # of a space: its record with a head, and the foot of top


@pytest.fixture(params=["dlmalloc", "dlmalloc[FOOTERS=1]", "counted(locked(dlmalloc))"])
def program(request):
    made = Program(request.param)
    made.heap.dealloc(made.heap.alloc(1))
    return made


def block_of(program, space, size):
    return program.give("mspace_malloc", space, size, size=size)


def free(program, space, block):
    program.take(block, "mspace_free", space, block)


def lent_space(program, size=16 * KIB):
    base = program.heap.user.mmap(size)
    program.heap.lend(base, size)
    return base, program.call("create_mspace_with_base", base, size, 0)


# --- spaces


def test_spaces_are_heaps_of_their_own(program):
    first, second = program.call("create_mspace", 0, 0), program.call("create_mspace", 50_000, 1)
    ours, theirs, plain = block_of(program, first, 100), block_of(program, second, 100), program.heap.alloc(100)
    assert first < ours < first + PAGE and second < theirs < second + 50_000
    assert plain < program.heap.process.brk
    program.heap.check()
    free(program, second, theirs)
    assert block_of(program, first, 100) != theirs == block_of(program, second, 100)
    program.heap.check()


def test_the_end_of_a_space_gives_its_segments_back(program):
    held = program.heap.memory.held()
    space, other = program.call("create_mspace", 0, 0), program.call("create_mspace", 0, 0)
    blocks = [block_of(program, space, 3000) for _ in range(20)]
    kept = block_of(program, other, 50)
    footprint = program.call("mspace_footprint", space)
    for block in blocks:
        free(program, space, block)
    assert program.call("destroy_mspace", space) == footprint > 60_000
    assert program.heap.memory.held() == held + PAGE
    program.heap.check()
    free(program, other, kept)
    program.call("destroy_mspace", other)
    assert program.heap.memory.held() == held


def test_a_block_of_the_first_capacity_needs_no_growth(program):
    for capacity in (PAGE, 10_000, 100_000):
        space = program.call("create_mspace", capacity, 0)
        footprint = program.call("mspace_footprint", space)
        block_of(program, space, capacity - 32)
        assert program.call("mspace_footprint", space) == footprint


def test_a_large_block_stays_in_a_space_that_tracks_it(program):
    space = program.call("create_mspace", 0, 0)
    assert program.call("mspace_track_large_chunks", space, 1) == 0
    large = block_of(program, space, MMAP_THRESHOLD + 1)
    assert [used for *_, used in program.visited("mspace_inspect_all", space) if used > MMAP_THRESHOLD]
    free(program, space, large)
    assert program.call("mspace_track_large_chunks", space, 0) == 1
    block_of(program, space, 2 * MMAP_THRESHOLD)
    assert not [used for *_, used in program.visited("mspace_inspect_all", space) if used > MMAP_THRESHOLD]
    program.heap.check()


def test_memory_of_the_program_is_lent_and_comes_home(program):
    base, space = lent_space(program)
    segment = program.heap.state.at(space).segment if program.heap.allocator.spec.startswith("dlmalloc") else None
    assert segment is None or segment.origin == LENT
    assert base < space < base + 16 * KIB
    blocks = [block_of(program, space, 1000) for _ in range(30)]
    assert any(base < block < base + 16 * KIB for block in blocks)
    assert not all(base < block < base + 16 * KIB for block in blocks), "it grows by mappings"
    program.heap.check()
    for block in blocks:
        free(program, space, block)
    program.call("mspace_trim", space, 0)
    program.heap.check()
    assert program.call("destroy_mspace", space) % PAGE == 0
    program.heap.take_home(base, 16 * KIB)
    program.heap.user.store(base, 8, 1)
    program.heap.check()


def test_lent_memory_in_any_place_and_size(program):
    base = program.heap.user.mmap(PAGE)
    program.heap.lend(base, PAGE)
    cost = 16 * (program.heap.allocator.parts[-1].FOOTERS) + COST
    for offset in (1, 8, 15):
        assert program.call("create_mspace_with_base", base + offset, cost + 16 - offset, 0) == 0
    assert program.call("create_mspace_with_base", base, -1, 0) == 0
    space = program.call("create_mspace_with_base", base + 5, cost + 1013, 0)
    assert space % 16 == 0 and base < block_of(program, space, 800) < base + PAGE
    free(program, space, program.heap.leaks()[0].address)
    assert program.call("mspace_footprint", space) <= cost + 1013


def test_no_memory_for_a_space(program):
    program.heap.process.kernel.calls.at(1)
    assert program.call("create_mspace", 0, 0) == 0
    assert program.call("create_mspace", 1 << 62, 0) == 0
    assert program.call("create_mspace", -1, 0) == 0
    program.heap.check()


def test_a_space_without_memory_changes_nothing(program):
    space = program.call("create_mspace", 0, 0)
    program.heap.process.kernel.calls.at(1)
    before = program.visited("mspace_inspect_all", space)
    assert block_of(program, space, 9000) == 0 == block_of(program, space, MMAP_THRESHOLD)
    assert program.heap.process.thread.errno == ENOMEM
    assert program.call("mspace_memalign", space, -1, 10) == 0 == program.call("mspace_calloc", space, 1 << 40, 1 << 40)
    assert program.visited("mspace_inspect_all", space) == before
    program.heap.check()


# --- misuse


def fault_of(program, name, *arguments):
    with pytest.raises(Fault) as caught:
        program.call(name, *arguments)
    return str(caught.value)


def test_a_block_of_another_space_is_reported(program):
    first, second = program.call("create_mspace", 0, 0), program.call("create_mspace", 0, 0)
    block = block_of(program, first, 100)
    assert "not a block of this heap" in fault_of(program, "mspace_free", second, block)


def test_a_block_freed_twice_is_reported(program):
    space = program.call("create_mspace", 0, 0)
    block = block_of(program, space, 100)
    free(program, space, block)
    assert "double free" in fault_of(program, "mspace_free", space, block)


def test_what_is_no_space_is_reported(program):
    _, space = lent_space(program)
    program.call("destroy_mspace", space)
    assert "not a space of this heap" in fault_of(program, "mspace_malloc", space, 100)
    program.heap.process.thread.call = None


def test_a_block_of_an_array_that_is_free_already_is_reported(program):
    first, second, _ = (program.heap.alloc(100) for _ in range(3))
    program.heap.dealloc(second)
    assert "double free" in fault_of(program, "bulk_free", program.array([first, second]), 2)


def test_a_block_joined_by_a_bulk_free_is_known_to_be_free(program):
    first, second, _ = (program.heap.alloc(100) for _ in range(3))
    program.take_all([first, second], "bulk_free")
    for block in (first, second):
        with pytest.raises(Fault, match=r"double free|not a block"):
            program.heap.dealloc(block, unchecked=True)
        program.heap._call("release_held")


# --- many blocks at once


def test_independent_blocks_are_neighbours_and_free_one_by_one(program):
    *blocks, array = program.together("independent_calloc", 5, 100, sizes=[100] * 5)
    distances = {b - a for a, b in zip(blocks, blocks[1:], strict=False)}
    assert len(distances) == 1 and array == blocks[-1] + distances.pop()
    program.heap.check()
    for block in (blocks[2], array, blocks[0]):
        program.heap.dealloc(block)
        program.heap.check()


def test_a_place_of_the_callers_for_the_addresses(program):
    assert program.call("independent_calloc", 3, 40, program.room) == program.room
    blocks = [program.adopt(block, 40) for block in program.words(program.room, 3)]
    assert len(set(blocks)) == 3
    assert program.call("independent_calloc", 0, 40, program.room) == program.room
    program.heap.check()


def test_large_elements_come_from_a_segment(program):
    *blocks, _ = program.together("independent_calloc", 2, MMAP_THRESHOLD, sizes=[MMAP_THRESHOLD] * 2)
    program.heap.dealloc(blocks[0])
    program.heap.check()
    assert program.heap.alloc(MMAP_THRESHOLD + KIB) > blocks[1], "mapped again afterwards"


@pytest.mark.parametrize("count", [-1, 1 << 62, 1 << 40])
def test_absurd_numbers_of_elements(program, count):
    before = program.visited("malloc_inspect_all")
    assert program.call("independent_calloc", count, 1 << 30, 0) == 0
    assert program.call("independent_comalloc", 2, program.array([1, -1]), 0) == 0
    assert program.heap.process.thread.errno == ENOMEM
    assert program.visited("malloc_inspect_all") == before


def test_all_that_is_freed_at_once_becomes_one_chunk(program):
    blocks, _ = [program.heap.alloc(100) for _ in range(10)], program.heap.alloc(20)
    free_chunks = len([used for *_, used in program.visited("malloc_inspect_all") if used == 0])
    assert program.take_all(blocks, "bulk_free") == 0
    assert program.words(program.room, 10) == [0] * 10
    assert len([used for *_, used in program.visited("malloc_inspect_all") if used == 0]) == free_chunks + 1
    program.heap.check()


def test_a_long_top_is_trimmed_after_a_bulk_free(program):
    blocks = [program.heap.alloc(200 * KIB) for _ in range(20)]
    grown = program.heap.process.brk
    program.take_all(blocks, "bulk_free")
    assert program.heap.process.brk < grown - 2 * KIB * KIB


def test_what_layers_count(program):
    if not program.heap.allocator.spec.startswith("counted"):
        return
    blocks = program.together("independent_calloc", 4, 100, sizes=[100] * 4)
    assert program.heap.survey()["live_blocks"] == 5
    assert program.resize(blocks[0], 90, "realloc_in_place", blocks[0], 90) == blocks[0]
    assert program.resize(blocks[0], 9000, "realloc_in_place", blocks[0], 9000) == 0
    program.take_all(blocks[:3], "bulk_free")
    figures = program.heap.survey()
    assert figures["live_blocks"] == 2
    assert figures["live_bytes"] == sum(program.heap.usable_size(block) for block in blocks[3:])


@pytest.mark.parametrize("is_locked", [0, 1])
def test_statistics_look_into_spaces_that_have_a_lock(program, is_locked):
    before = program.heap.survey()
    space = program.call("create_mspace", 20_000, is_locked)
    after = program.heap.survey()
    assert after["heap_bytes"] - before["heap_bytes"] == program.call("mspace_footprint", space)
    assert after["free_blocks"] - before["free_blocks"] == is_locked
    if program.heap.allocator.spec.startswith("dlmalloc"):
        assert (after["live_bytes"] - before["live_bytes"] < 2 * KIB) == bool(is_locked)


# --- limits and options


def test_a_limit_is_a_number_of_whole_units(program):
    assert program.call("malloc_footprint_limit") == -1
    assert program.call("malloc_set_footprint_limit", 0) == PAGE, "the least; in the source, 0 lifts the limit"
    assert program.heap.alloc(9000) == 0
    program.call("mspace_mallopt", -2, 4 * PAGE)
    assert program.call("malloc_set_footprint_limit", PAGE + 1) == 4 * PAGE
    assert program.call("malloc_footprint_limit") == 4 * PAGE
    assert program.call("malloc_set_footprint_limit", -1) == 0
    assert program.heap.alloc(9000) != 0
    assert program.call("malloc_footprint") == program.call("malloc_max_footprint") == program.heap.memory.held()


def test_options_hold_for_spaces_too(program):
    space = program.call("create_mspace", 0, 0)
    assert program.call("mspace_mallopt", -2, 16 * PAGE) == 1
    block_of(program, space, 2 * PAGE)
    assert program.call("mspace_footprint", space) == 17 * PAGE
    assert program.call("mspace_mallopt", -3, 8 * KIB) == 1
    block_of(program, space, 80 * KIB)
    assert not [used for *_, used in program.visited("mspace_inspect_all", space) if used > 79 * KIB], "it is a mapping"
    assert program.call("mspace_mallopt", -3, -1) == 1
    block_of(program, space, 900 * KIB)
    assert [used for *_, used in program.visited("mspace_inspect_all", space) if used > 899 * KIB]
    for option, value in ((-2, PAGE - 1), (-2, 3 * PAGE), (-2, -1), (-4, 1), (1, 1)):
        assert program.call("mspace_mallopt", option, value) == 0
    program.heap.check()


def test_a_trim_threshold(program):
    program.call("mspace_mallopt", -1, 20_000)
    blocks = [program.heap.alloc(10_000) for _ in range(10)]
    grown = program.heap.process.brk
    for block in blocks:
        program.heap.dealloc(block)
    assert program.heap.process.brk < grown - 50_000


# --- the lock of a space


def test_a_child_finds_the_spaces_unlocked(program):
    space = program.call("create_mspace", 0, 1)
    lock = program.heap.allocator.interface.bottom.Heap(program.heap.memory, space).lock
    program.heap._call("fork_prepare")
    assert lock.load() != 0
    program.heap._call("fork_parent")
    assert lock.load() == 0
    child = program.heap.fork()
    assert child.call("mspace_malloc", program.interface.mspace_malloc, space, 100) != 0


def test_a_report_releases_the_lock(program):
    space = program.call("create_mspace", 0, 1)
    block = block_of(program, space, 100)
    free(program, space, block)
    assert "double free" in fault_of(program, "mspace_free", space, block)
    program.heap._call("release_held")
    assert block_of(program, space, 100) == block
