"""wright[HARDENED=1]: the ends of huge blocks, which are closed when they are freed, and what a copy may write."""

from __future__ import annotations

import pytest
from hardened_heaps import MIB, expect_room, free, fresh, reported

# --- huge blocks


@pytest.mark.parametrize("size", [524_281, 1_000_001, MIB - 1, MIB + 4096, 3 * MIB + 4095])
def test_the_end_of_a_huge_block_too(size):
    heap = fresh()
    block, grown = heap.alloc(size), heap.realloc(heap.alloc(size), size + 5000)
    for end in (block + size, grown + size + 5000):
        heap.process.poke(end, b"\0")
    assert [reported(free, heap, each) for each in (block, grown)] == ["written behind its end"] * 2


def test_the_size_of_a_huge_block_is_known():
    heap = fresh()
    block = heap.alloc(3 * MIB)
    for said in (3 * MIB - 1, 3 * MIB + 1):
        assert reported(heap.allocator.expect_size, heap.state, block, said, 16) == "wrong size"
    heap.allocator.expect_size(heap.state, block, 3 * MIB, 16)


def test_a_freed_huge_block_is_closed():
    heap = fresh()
    block = heap.alloc(3 * MIB)
    heap.dealloc(block)
    assert heap.state.huge.kept >= 3 * MIB
    assert reported(heap.user.store, block + 5000, 8, 1).startswith("user store")
    again = heap.alloc(2 * MIB)  # a part of it
    heap.user.fill(again, 2 * MIB, 1)
    heap.check()


def test_a_kept_range_that_cannot_be_opened_is_not_used():
    heap = fresh()
    block = heap.alloc(3 * MIB)
    heap.dealloc(block)
    heap.process.space.protect = lambda *_: -1
    other = heap.alloc(3 * MIB)
    heap.user.fill(other, 3 * MIB, 1)
    assert other != block
    heap.check()


# --- before a copy


def test_a_copy_must_fit_into_its_block():
    heap = fresh()
    for size in (0, 24, 100, 1000, 5000, 100_000):
        block = heap.alloc(size)
        for at, count in ((0, size), (size // 2, size - size // 2), (size, 0)):
            expect_room(heap, block + at, count)
        for at, count in ((0, size + 8), (size // 2, size + 8), (0, -1), (size + 1, 8), (size, 8)):
            assert reported(expect_room, heap, block + at, count) == "written behind its end"


@pytest.mark.parametrize("size", [24, 1000, 5000, 100_000])
def test_a_copy_of_one_byte_too_many(size):
    heap = fresh()
    block = heap.alloc(size)
    assert reported(expect_room, heap, block, size + 1) == "written behind its end"


def test_a_copy_of_less_than_a_seal_is_not_looked_at():
    heap = fresh()
    block = heap.alloc(100)
    expect_room(heap, block + 100, 7)
    assert reported(expect_room, heap, block + 100, 8) == "written behind its end"


def test_a_copy_must_not_lead_to_free_memory():
    heap = fresh()
    for size in (24, 1000, 5000, 100_000):
        block = heap.alloc(size)
        heap.dealloc(block)
        assert reported(expect_room, heap, block, 8) == "written to free memory"
    for at in (0, 4096, MIB - 16):
        assert reported(expect_room, heap, (block & -MIB) + at, 8) == "written to free memory"


def test_a_copy_to_elsewhere_is_not_looked_at():
    heap = fresh()
    heap.alloc(100)
    for address in (16, 1 << 46, heap.alloc(3 * MIB), heap.process.user.mmap(4096)):
        expect_room(heap, address, 1 << 40)
