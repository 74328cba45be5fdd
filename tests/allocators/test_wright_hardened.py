"""wright[HARDENED=1]: seals, encoded links, blocks that wait, guards, and the table of segments."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hardened_heaps import MIB, WRIGHT, expect_room, free, fresh, reported
from heaps import on

from heapwright import allocator


def side_by_side(heap, size):
    """Two live blocks, of which the second follows the first."""
    blocks = sorted(heap.alloc(size) for _ in range(300))
    least = min(high - low for low, high in pairwise(blocks))
    return next((low, high) for low, high in pairwise(blocks) if high - low == least)


def come_and_go(heap, size, times=200):
    for _ in range(times):
        heap.dealloc(heap.alloc(size))


def through_the_wait(heap, address, size):
    """Free a block, and enough others that it is in its list again."""
    others = [heap.alloc(size) for _ in range(70)]
    heap.dealloc(address)
    for other in others:
        heap.dealloc(other)


# --- ends


@pytest.mark.parametrize("size", [24, 100, 1000])
@pytest.mark.parametrize("before", [b"\0", b"z", b"\0\0", b"z" * 8, b"z" * 30])
def test_a_write_before_a_block_is_seen(size, before):
    heap = fresh()
    _, block = side_by_side(heap, size)
    heap.process.poke(block - len(before), before)
    assert reported(free, heap, block) == "written before its start"


def test_a_byte_farther_before_is_seen_when_the_neighbour_is_freed():
    heap = fresh()
    low, high = side_by_side(heap, 100)
    heap.process.poke(high - 8, bytes([heap.process.peek(high - 8, 1)[0] ^ 1]))
    heap.dealloc(high)
    assert reported(free, heap, low) == "written behind its end"


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 15, 16, 20, 24, 25, 31, 32, 100, 1000, 1016, 1017, 5000, 20_000])
@pytest.mark.parametrize("offset", [0, 3, 7])
def test_each_byte_behind_a_block_is_seen(size, offset):
    heap = fresh()
    heap.alloc(size)
    block = heap.alloc(size)
    heap.process.poke(block + size + offset, bytes([heap.process.peek(block + size + offset, 1)[0] ^ 1]))
    assert reported(free, heap, block) == "written behind its end"


@pytest.mark.parametrize("size", [1, 20, 24, 25, 100, 1000])
def test_each_bit_of_a_pattern_and_a_seal_counts(size):
    """Also those of the size in the seal. With a smaller one, the caller's bytes are compared: the machine objects."""
    heap = fresh()
    block = [heap.alloc(size) for _ in range(3)][1]
    heap.user.fill(block, size, ord("x"))
    end = block + max(size + 8 + 15 & -16, 32)
    for place in range(block + size, end):
        byte = heap.process.peek(place, 1)
        for bit in range(8):
            heap.process.poke(place, bytes([byte[0] ^ 1 << bit]))
            assert reported(free, heap, block)
        heap.process.poke(place, byte)


@pytest.mark.parametrize("size", [32_761, 32_768, 100_001, 200_000, 524_279, 524_280])
def test_the_end_of_a_large_block_too(size):
    heap = fresh()
    block = heap.alloc(size)
    heap.process.poke(block + size, b"\0")
    assert reported(free, heap, block) == "written behind its end"


@pytest.mark.parametrize("align", [32, 256, 4096, 1 << 14, 1 << 17])
def test_and_of_an_aligned_one(align):
    heap = fresh()
    block = heap.alloc(100, align)
    heap.process.poke(block + 100, b"\0")
    assert block % align == 0 and reported(free, heap, block) == "written behind its end"


@pytest.mark.parametrize("align", [1 << 17, 1 << 18, 1 << 19, 1 << 20])
def test_the_largest_alignments_have_room_before_the_guard(align):
    heap = fresh()
    blocks = [heap.alloc(size, align) for size in (100, 200_000, 500_000)]
    assert all(block and block % align == 0 for block in blocks)


def test_usable_bytes_are_the_requested_ones():
    heap = fresh()
    for size in (0, 1, 24, 1000, 5000, 40_000, 500_000, 3 * MIB):
        assert heap.usable_size(heap.alloc(size)) == size


@pytest.mark.parametrize(("size", "new_size"), [(100, 104), (104, 100), (100, 97), (5000, 5100), (100_000, 101_000)])
def test_a_block_that_is_resized_where_it_is_has_a_new_end(size, new_size):
    heap = fresh()
    block = heap.alloc(size)
    assert heap.realloc(block, new_size) == block and heap.usable_size(block) == new_size
    heap.process.poke(block + new_size, b"\0")
    assert reported(free, heap, block) == "written behind its end"


@pytest.mark.parametrize("new_size", [524_280, 524_281, 524_287, 524_288, 524_289])
def test_a_large_block_that_grows_as_far_as_it_can_keeps_room_for_its_end(new_size):
    heap = fresh()
    for block in (heap.alloc(new_size), heap.realloc(heap.alloc(300_000), new_size)):
        heap.process.poke(block, b"x" * new_size)
        assert block % MIB == 0 or reported(expect_room, heap, block, new_size + 1) == "written behind its end"
        heap.process.poke(block + new_size, b"x")
        assert reported(free, heap, block) == "written behind its end"


def test_a_realloc_looks_at_the_end():
    heap = fresh()
    block = heap.alloc(100)
    heap.process.poke(block + 100, b"\0")
    assert reported(heap.realloc, block, 5000) == "written behind its end"


# --- links


@pytest.mark.parametrize("size", [24, 100, 1000])
def test_an_overwritten_link_is_reported(size):
    heap = fresh()
    block = heap.alloc(size)
    through_the_wait(heap, block, size)
    heap.process.poke(block, (0x3FFFE04000).to_bytes(8, "little"))
    assert reported(come_and_go, heap, size) == "written after it was freed"


def test_a_link_of_a_batch_too():
    heap = fresh()
    blocks = [heap.alloc(100) for _ in range(200)]
    with on(heap, heap.process.new_thread()):
        for block in blocks:
            heap.dealloc(block)
        WRIGHT.lives.tidy(heap.state, WRIGHT.homes.this_home(heap.state))
    home = WRIGHT.homes.this_home(heap.state)
    batch = WRIGHT.remote.newest_batch(home)
    heap.process.poke(batch.address + 8, b"changed!")
    assert reported(heap.trim) == "written after it was freed"


def test_links_do_not_tell_addresses():
    """A reader of freed memory does not see where other blocks are."""
    heap = fresh()
    blocks = [heap.alloc(100) for _ in range(200)]
    for block in blocks:
        heap.dealloc(block)
    words = [int.from_bytes(heap.process.peek(block, 8), "little") for block in blocks]
    assert len(set(words)) > 100 and not {word >> 20 for word in words} & {block >> 20 for block in blocks}


# --- waiting


@pytest.mark.parametrize(("size", "distance"), [(24, 64), (1000, 64), (2000, 8), (30_000, 8)])
def test_a_freed_block_waits_behind_others(size, distance):
    heap = fresh()
    block = heap.alloc(size)
    others = [heap.alloc(size) for _ in range(distance)]
    heap.dealloc(block)
    for other in others[:-1]:
        heap.dealloc(other)
    assert all(heap.alloc(size) != block for _ in range(5))


def test_a_freed_large_block_waits_until_the_next_one_is_freed():
    heap = fresh()
    block, other = heap.alloc(100_000), heap.alloc(60_000)
    heap.dealloc(block)
    assert reported(free, heap, block) == "double free"
    heap.check()
    assert heap.alloc(100_000) != block
    heap.dealloc(other)
    assert heap.alloc(100_000) == block
    heap.check()


def test_a_write_to_a_large_block_that_waits_is_seen():
    heap = fresh()
    block, other = heap.alloc(100_000), heap.alloc(60_000)
    heap.dealloc(block)
    heap.process.poke(block + 1000, b"z")
    assert reported(free, heap, other) == "written after it was freed"


def test_a_trim_ends_every_wait():
    heap = fresh()
    heap.dealloc(heap.alloc(100_000))
    for block in [heap.alloc(1000) for _ in range(50)]:
        heap.dealloc(block)
    assert any(WRIGHT.contents.waiting_in(WRIGHT.homes.this_home(heap.state)))
    heap.trim()
    heap.check()
    assert not any(WRIGHT.contents.waiting_in(WRIGHT.homes.this_home(heap.state)))
    assert heap.memory.held() <= WRIGHT.RETAINS


def test_blocks_of_another_thread_wait_and_go_home():
    heap = fresh()
    blocks = [heap.alloc(100) for _ in range(100)]
    with on(heap, heap.process.new_thread()):
        for block in blocks:
            heap.dealloc(block)
        heap.check()
        assert reported(free, heap, blocks[-1]) == "double free"


# --- zeros and order


@pytest.mark.parametrize("size", [24, 1000, 1100, 20_000])
def test_calloc_is_zero_even_where_nobody_checks(size):
    heap = fresh()
    for block in [heap.alloc(size) for _ in range(100)]:
        heap.dealloc(block)
        if size > WRIGHT.seals.CHECKED + 100:
            heap.process.poke(block + size - 50, b"written after it was freed")
    for _ in range(100):
        heap.alloc_zeroed(size)  # the machine looks


def test_a_resize_within_its_tiles_leaves_the_run_behind_alone():
    """That run is a slab on tiles that were used before, so its blocks must be cleared when they are carved."""
    heap = fresh()
    old = [heap.alloc(150_000) for _ in range(3)]
    heap.process.poke(old[1], b"x" * 150_000)
    heap.dealloc(old[1])
    heap.dealloc(heap.alloc(400_000))  # what was freed before it need not wait any longer
    block = heap.alloc(1000)
    assert block // (1 << 14) == old[1] // (1 << 14)
    heap.realloc(old[0], 151_000)
    for _ in range(100):
        heap.alloc(1000)


def test_memory_that_a_large_block_left_is_cleared():
    heap = fresh()
    block = heap.alloc(400_000)
    heap.process.poke(block, b"x" * 400_000)
    heap.dealloc(block)
    assert all(set(heap.process.peek(heap.alloc(1000), 8)) != {ord("x")} for _ in range(100))


def test_the_order_is_another_one_with_another_secret():
    orders = [tuple(fresh_order(seed)) for seed in range(4)]
    assert len(set(orders)) == 4 and len({frozenset(order) for order in orders}) == 1


def fresh_order(seed):
    heap = fresh(seed=seed)
    return [heap.alloc(500) for _ in range(8)]


# --- segments


def test_segments_end_with_a_protected_tile_and_open_it_when_they_go():
    heap = fresh()
    block = heap.alloc(100)
    behind = (block | (MIB - 1)) - 7
    assert reported(heap.user.store, behind, 8, 1).startswith("user store")
    segment = WRIGHT.records.segment_of(WRIGHT.records.record_of(heap.state, block))
    assert segment.guards == WRIGHT.claims.known_segments.BEFORE_TILES | WRIGHT.claims.known_segments.BEHIND_TILES
    heap.dealloc(block)
    heap.trim()
    huge = heap.alloc(MIB)  # may be where the segment was
    heap.user.store(huge + MIB - 8, 8, 1)


def test_segments_that_share_a_word_of_the_table(monkeypatch):
    monkeypatch.setattr(WRIGHT.claims.known_segments, "WORDS", 1)
    heap = fresh()
    rng, blocks = random.Random(3), [heap.alloc(30_000) for _ in range(120)]
    rng.shuffle(blocks)
    assert len({block // MIB for block in blocks}) > 2
    for block in blocks:
        heap.dealloc(block)
        heap.check()
    heap.trim()
    heap.check()
    assert reported(free, heap, blocks[0]) in ("not a block of this heap", "double free")


def test_the_guards_are_where_the_kernel_grants_them():
    """Without them the heap works, and gives its segments back."""
    heap = fresh()
    heap.process.space.protect = lambda *_: -1
    block = heap.alloc(100)
    heap.dealloc(block)
    assert heap.trim() > 0
    heap.check()


# --- the plain variant


def test_plain_wright_has_none_of_it():
    plain = allocator.load("wright").parts[-1]
    assert plain.DETECTS == () and plain.hardened.WAITING == 0 and plain.claims.known_segments.Known.SIZE == 0
    assert (plain.records.TILES, WRIGHT.records.TILES) == (64, 63)
    assert plain.ALIGN == plain.records.ALIGN
    assert plain.records.Segment.key.offset == plain.hardened.KEY
