"""Blocks that move: their bytes and handles stay, on every allocator, and what is held falls where it can."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heapwright import allocator
from heapwright.collections import Box, HandleTable, OutOfMemory, Panic, drop, serve
from heapwright.machine import Fault, start
from heapwright.programs.run import run_program

MERGING = ("linked_list", "tlsf", "dlmalloc")  # and they give back the end of the heap
MERGING_LESS = ("segregated_fits",)  # as those, but many equal blocks stay where they are
PAGED = ("slab", "pages_split", "hoard")  # they give back what became empty of the pages for one size
KEEPING = ("pages", "segregated_storage", "buddy", "wright")
GROWING = ("kr", "ptmalloc")  # they keep at their end what told that no hole is left


def held_by(lines):
    """Bytes held (before, after) for mixed sizes and for one size."""
    mixed_before, mixed, one_before, one = (int(re.search(r"([\d,]+) held", x)[1].replace(",", "")) for x in lines)
    return (mixed_before, mixed), (one_before, one)


@pytest.mark.long
@pytest.mark.parametrize("name", allocator.ALLOCATORS)
def test_what_a_compaction_is_worth(name):
    outcome = run_program("compacttest", name)
    (mixed_before, mixed), (one_before, one) = held_by(outcome.output)
    assert (outcome.exit_code, outcome.leaks) == (0, [])
    assert name in (*MERGING, *MERGING_LESS, *PAGED, *KEEPING, *GROWING), "a new design: which sort is it?"
    if name in MERGING:
        assert mixed < 0.75 * mixed_before and one < 0.6 * one_before
    elif name in MERGING_LESS:
        assert mixed < 0.75 * mixed_before and one < 0.9 * one_before
    elif name in PAGED:
        assert mixed <= mixed_before and one < 0.9 * one_before
    elif name in KEEPING:
        assert (mixed, one) == (mixed_before, one_before)


@pytest.mark.long
@pytest.mark.parametrize("name", allocator.ALLOCATORS)
@settings(max_examples=10)
@given(
    st.lists(st.tuples(st.sampled_from(["insert", "remove", "set", "compact"]), st.integers(0, 600)), max_size=15),
)
def test_a_table_is_a_dict(name, story):
    heap = start(allocator.load(name))
    with serve(heap), HandleTable() as table:
        model = {}
        for number, (what, given) in enumerate(story):
            data = bytes([number]) * (given + 1)
            if what == "insert":
                model[table.insert(data)] = data
            elif what == "compact":
                table.compact()
            elif model:
                handle = sorted(model)[given % len(model)]
                if what == "set":
                    model[handle] = table[handle] = bytes(reversed(model[handle][1:] + b"!"))
                else:
                    table.remove(handle)
                    del model[handle]
            assert dict(table.items()) == model
        heap.check()
    assert not heap.leaks()


def test_the_table_asks_as_a_vec_does(requests):
    table = HandleTable()
    handles = [table.insert(bytes(5)) for _ in range(5)]
    assert requests.taken() == ["64@8", *["5@16"] * 4, "64@8 -> 128", "5@16"]
    table.remove(handles[1])
    assert table.insert(b"x") == handles[1] and table[handles[1]] == b"x"
    assert requests.taken() == ["free 5@16", "1@16"]
    drop(table)
    assert len(requests) == 6


def test_no_handle(heap):
    table = HandleTable()
    handle = table.insert(b"abc")
    assert repr(table) == "{0: [97, 98, 99]}"
    table.remove(handle)
    for wrong in (handle, -1, 1):
        with pytest.raises(Panic, match=f"no block has the handle {wrong}"):
            table[wrong]
    with pytest.raises(Panic):
        table.remove(handle)


def test_as_many_bytes(heap):
    table = HandleTable()
    handle = table.insert(b"abc")
    with pytest.raises(TypeError, match="2 bytes are not a block of 3"):
        table[handle] = b"ab"


def test_an_address_that_was_kept_is_found_out(heap):
    table = HandleTable()
    first, second = table.insert(bytes(64)), table.insert(bytes(64))
    kept = table.address_of(second)
    table.remove(first)
    assert table.compact().blocks_moved >= 1 and table.address_of(second) < kept
    with pytest.raises(Fault, match="user load"):
        heap.user.load(kept + 56, 8)


def test_a_block_outside_the_table_pins():
    with serve(start(allocator.load("linked_list"))) as runtime:
        table = HandleTable()
        handles = [table.insert(bytes(1024)) for _ in range(100)]
        box = Box(bytes(2000))
        for handle in handles[:-1]:
            table.remove(handle)
        pinned = table.compact()
        drop(box)
        assert pinned.held_after > 0.9 * pinned.held_before > 2 * table.compact().held_after
        runtime.heap.check()


def test_nothing_to_do(heap):
    result = HandleTable().compact()
    assert (result.passes, result.blocks_moved, result.bytes_moved) == (1, 0, 0)


def test_no_memory_leaves_the_table(heap):
    table = HandleTable()
    handles = [table.insert(bytes([number]) * 100) for number in range(20)]
    for handle in handles[::2]:
        table.remove(handle)
    heap.process.kernel.calls.at(1)
    before = dict(table.items())
    table.compact()
    with pytest.raises(OutOfMemory):
        table.insert(bytes(1 << 20))
    assert dict(table.items()) == before
    while True:
        try:
            before[table.insert(b"more")] = b"more"
        except OutOfMemory:
            break
    assert dict(table.items()) == before


def test_a_child_compacts_its_own_copy(runtime):
    table = HandleTable()
    handles = [table.insert(bytes([number]) * 64) for number in range(10)]
    before = [table.address_of(handle) for handle in handles]
    child = runtime.fork()
    with serve(child):
        for handle in handles[:5]:
            table.remove(handle)
        table.compact()
        assert [table[handle][0] for handle in handles[5:]] == [5, 6, 7, 8, 9]
        drop(table)
    assert [table.address_of(handle) for handle in handles] == before
