"""What hoard and slab know of an address before they read anything there."""

import pytest
from heaps import fresh

from heapwright.allocators.parts.known_places import BOUNDARY, IS_LARGE, NOTES, WORDS, forget, note_of, remember
from heapwright.machine import Fault

KIB, MIB = 1 << 10, 1 << 20
SHARED = WORDS * BOUNDARY  # so far apart places share a word
UNBUFFERED = 8 * KIB + 1  # hoard's smallest object that no thread keeps


@pytest.fixture(params=["hoard", "slab"])
def heap(request):
    return fresh(request.param)


def is_known(heap, address):
    return note_of(heap.state.places, address) < NOTES


# --- the table


def test_a_header_is_known_by_every_address_behind_it(heap):
    places, header = heap.state.places, 5 * SHARED
    remember(places, header, 7)
    assert [note_of(places, header + offset) for offset in (1, 16, 4096, BOUNDARY - 1, BOUNDARY)] == [7] * 5
    assert not is_known(heap, header)
    assert not is_known(heap, header + BOUNDARY + 1)


def test_null_is_never_known(heap):
    assert not any(is_known(heap, address) for address in (1, 16, BOUNDARY))


def test_of_two_that_share_a_word_the_last_is_known(heap):
    places = heap.state.places
    remember(places, SHARED, 3)
    remember(places, 2 * SHARED, IS_LARGE)
    assert not is_known(heap, SHARED + 16)
    assert note_of(places, 2 * SHARED + 16) == IS_LARGE


def test_what_is_forgotten_is_a_whole_range_and_nothing_else(heap):
    places = heap.state.places
    for i in range(5):
        remember(places, SHARED + i * BOUNDARY, i)
    forget(places, SHARED + BOUNDARY, 3 * BOUNDARY)
    assert [is_known(heap, SHARED + i * BOUNDARY + 1) for i in range(5)] == [True, False, False, False, True]
    forget(places, 2 * SHARED, 5 * BOUNDARY)
    assert is_known(heap, SHARED + 1)


# --- the heap


def test_what_was_given_up_for_another_is_found_again(heap):
    block = heap.alloc(100)
    remember(heap.state.places, (block & -BOUNDARY) + SHARED, 3)
    assert not is_known(heap, block)
    heap.thread_exit()  # no buffer, no magazine: the block goes the whole way
    heap.dealloc(block)
    assert is_known(heap, block)
    heap.check()


@pytest.mark.long
@pytest.mark.parametrize("size", [100, 20 * KIB, MIB, 40 * MIB])
def test_what_the_kernel_got_back_is_not_known(heap, size):
    blocks = [heap.alloc(size) for _ in range(40 if size < MIB else 2)]
    assert all(is_known(heap, block) for block in blocks)
    for block in blocks:
        heap.dealloc(block)
    heap.thread_exit()
    heap.trim()
    held = heap.extents()
    gone = [block for block in blocks if not any(start <= block < end for start, end in held)]
    assert gone or size == 100
    assert not any(is_known(heap, block) for block in gone)


@pytest.mark.parametrize("size", [MIB, 40 * MIB])
def test_a_second_free_of_a_large_object_is_reported(heap, size):
    block = heap.alloc(size)
    heap.dealloc(block)
    with pytest.raises(Fault, match="double free" if size == MIB else "not a (block of this heap|live block)"):
        heap.dealloc(block, unchecked=True)


def test_the_inside_of_a_large_object_is_reported(heap):
    with pytest.raises(Fault, match="no block begins here"):
        heap.dealloc(heap.alloc(MIB) + 16, unchecked=True)


@pytest.mark.parametrize("offset", [0, 32, 5 * 4096])
def test_an_address_whose_header_would_lie_nowhere_is_reported(heap, offset):
    heap.alloc(100)
    theirs = heap.user.mmap(4096 * 8)
    with pytest.raises(Fault, match="not a (block of this heap|live block)"):
        heap.dealloc(theirs + offset, unchecked=True)


def test_hoard_reports_what_was_freed_last_where_nothing_is_buffered():
    heap = fresh("hoard")
    block, _ = heap.alloc(UNBUFFERED), heap.alloc(UNBUFFERED)
    heap.dealloc(block)
    with pytest.raises(Fault, match="double free"):
        heap.dealloc(block, unchecked=True)
