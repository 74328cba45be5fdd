"""TLSF's pools that the program lends, address for address as TLSF 3.1, and what the recording does not show."""

from __future__ import annotations

import pytest
from own_functions import PAGE, Program
from pool_replay import PROGRAMS, differences

from heapwright.machine import Fault

KIB = 1 << 10
OVERHEAD = 40


@pytest.mark.parametrize("text", PROGRAMS, ids=range(len(PROGRAMS)))
def test_each_call_gives_what_the_original_gave(text):
    assert differences(Program("tlsf"), text) == []


def test_the_recording_has_every_kind_of_call_and_answer():
    lines = [line for text in PROGRAMS for line in text.splitlines()[1:]]
    assert {line[0] for line in lines} == set("ndwmrf") and len(PROGRAMS) == 6
    assert {line.partition(" = ")[2] for line in lines if line[0] == "d"} == {"0", "1", "-1"}
    assert any(line[0] == "m" and line.endswith("= -1") for line in lines)


# --- pools of the program's heap


@pytest.fixture(params=["tlsf", "counted(locked(tlsf))"])
def program(request):
    return Program(request.param)


def lent_pool(program, size=16 * KIB):
    base = program.lent(size)
    return base, program.call("tlsf_add_pool", 0, base, size)


def test_a_lent_pool_serves_before_the_break(program):
    base, pool = lent_pool(program)
    assert pool == base == program.call("tlsf_get_pool", 0)
    block = program.heap.alloc(1000)
    assert base + 32 == block and program.heap.process.brk == program.heap.process.heap_start
    program.heap.check()
    assert program.heap.alloc(20 * KIB) < program.heap.process.brk, "more than the pool has comes from the break"
    program.heap.dealloc(block)
    program.heap.check()
    assert program.visited("tlsf_walk_pool", pool) == [(block, 16 * KIB - OVERHEAD, 0)]


def test_a_pool_is_refused_while_a_block_is_live(program):
    base, pool = lent_pool(program)
    block = program.heap.alloc(1000)
    assert program.call("tlsf_remove_pool", 0, pool) == 0
    program.heap.check()
    assert program.heap.alloc(500) == block + 1008, "it still serves"
    program.heap.dealloc(block)
    assert program.call("tlsf_remove_pool", 0, pool) == 0
    program.heap.dealloc(block + 1008)
    assert program.call("tlsf_remove_pool", 0, pool) == 1
    program.heap.take_home(base, 16 * KIB)
    program.heap.user.store(base, 8, 7)
    assert program.call("tlsf_get_pool", 0) == 0
    assert program.heap.alloc(1000) < program.heap.process.brk
    program.heap.check()


def test_the_list_of_pools(program):
    first, second, third = (lent_pool(program)[1] for _ in range(3))
    assert program.call("tlsf_get_pool", 0) == third
    assert [program.call("tlsf_next_pool", pool) for pool in (third, second, first)] == [second, first, 0]
    program.call("tlsf_remove_pool", 0, second)
    assert program.call("tlsf_next_pool", third) == first


@pytest.mark.parametrize(("offset", "size"), [(8, 1024), (0, 63), (0, -16), (0, 1 << 46)])
def test_memory_that_is_no_pool(program, offset, size):
    base = program.lent(PAGE)
    assert program.call("tlsf_add_pool", 0, base + offset, size) == 0
    assert program.call("tlsf_get_pool", 0) == 0


def test_the_smallest_pool(program):
    base = program.lent(PAGE)
    assert program.call("tlsf_add_pool", 0, base, 64 + 15) == base
    assert program.heap.alloc(24) == base + 32
    assert program.call("tlsf_check_pool", base) == 0 == program.call("tlsf_check", 0)


def test_a_large_freed_block_of_a_pool_leaves_the_break_alone(program):
    lent_pool(program, 4 << 20)
    block = program.heap.alloc(3 << 20)
    program.heap.dealloc(block)
    assert program.heap.trim() == 0
    program.heap.check()


def test_statistics_count_lent_memory(program):
    lent_pool(program)
    block = program.heap.alloc(1000)
    figures = program.heap.survey()
    assert (figures["heap_bytes"], figures["free_blocks"]) == (16 * KIB, 1)
    assert figures["free_bytes"] == 16 * KIB - OVERHEAD - 1000
    program.heap.dealloc(block)
    assert program.heap.survey()["largest_free"] == 16 * KIB - OVERHEAD + 8


# --- faults


def test_a_broken_pool_is_noticed(program):
    base, pool = lent_pool(program)
    block = program.heap.alloc(1000)
    program.heap.process.poke(block + 1000, bytes(8))  # the size of the next block
    assert program.call("tlsf_check_pool", pool) > 0 < program.call("tlsf_check", 0)


def fault_of(program, name, *arguments):
    with pytest.raises(Fault) as caught:
        program.call(name, *arguments)
    return str(caught.value)


def test_what_is_no_pool_is_reported(program):
    _, pool = lent_pool(program)
    assert "not a pool of this heap" in fault_of(program, "tlsf_remove_pool", 0, pool + 64)


def test_an_allocator_that_ended_is_reported(program):
    own = program.lent(32 * KIB)
    assert program.call("tlsf_create_with_pool", own, 32 * KIB) == own
    program.call("tlsf_destroy", own)
    assert "not an allocator" in fault_of(program, "tlsf_malloc", own, 100)


def test_a_block_freed_twice_is_reported(program):
    own = program.lent(32 * KIB)
    program.call("tlsf_create_with_pool", own, 32 * KIB)
    block = program.give("tlsf_malloc", own, 100, size=100)
    program.take(block, "tlsf_free", own, block)
    assert "double free" in fault_of(program, "tlsf_free", own, block)


# --- allocators of the program's own


def test_two_allocators_beside_the_heap(program):
    first, second = (program.lent(32 * KIB) for _ in range(2))
    for own in (first, second):
        program.call("tlsf_create_with_pool", own, 32 * KIB)
    blocks = [program.give("tlsf_malloc", own, 1000, size=1000) for own in (first, second)]
    plain = program.heap.alloc(1000)
    assert first < blocks[0] < first + 32 * KIB and second < blocks[1] < second + 32 * KIB
    assert plain < program.heap.process.brk
    program.heap.check()
    assert program.give("tlsf_malloc", first, 30 * KIB, size=30 * KIB) == 0, "it has its pools and no other memory"
    assert program.heap.process.thread.errno == 12
    assert program.give("tlsf_memalign", second, 512, 100, size=100, align=512) % 512 == 0
    assert program.call("tlsf_memalign", second, 48, 100) == 0
    program.heap.check()


@pytest.mark.parametrize("size", [0, 10_000, 10_280])
def test_too_little_memory_for_an_allocator(program, size):
    own = program.lent(4 * PAGE)
    assert program.call("tlsf_create_with_pool", own, size) == 0
    assert program.call("tlsf_create", own + 8) == 0 == program.call("tlsf_create", 0)


def test_what_layers_count():
    program = Program("counted(locked(tlsf))")
    lent_pool(program)
    block = program.give("tlsf_malloc", 0, 100, size=100)
    assert program.heap.survey()["live_blocks"] == 1
    program.take(block, "tlsf_free", 0, block)
    assert program.heap.survey()["live_blocks"] == 0
