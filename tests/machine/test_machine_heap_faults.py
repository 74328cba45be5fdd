"""A heap at work: every wrong thing that an allocator or a program does is a fault."""

import pytest
from toy import Header, bump, bump_alloc, bump_dealloc, bump_walk, fault

from heapwright.machine import BrokenInvariant, Kind, start
from heapwright.spans import FREE, USED

PAGE = 4096


# --- what the user's program does wrong


def test_double_free():
    heap = start(bump())
    address = heap.alloc(40)
    heap.dealloc(address)
    found = fault(heap.dealloc, address)
    assert found.kind == Kind.MISUSE and found.what == f"double free: dealloc({address:#x})"
    assert "freed at test_machine_heap_faults.py:" in str(found)


def test_interior_and_foreign_pointers():
    heap = start(bump())
    address = heap.alloc(40)
    assert "a pointer into the inside of a block" in fault(heap.dealloc, address + 8).what
    assert "no block was ever there" in fault(heap.dealloc, 0).what
    assert "no block was ever there" in fault(heap.realloc, address + 400, 8).what
    heap.dealloc(address)
    assert fault(heap.realloc, address, 8).what == f"realloc({address:#x}) of a freed block"


def test_the_allocator_may_get_to_see_a_double_free():
    def dealloc(heap, address, size, align):
        if Header(heap.memory, address - 16).state != USED:
            heap.memory.fault("double free", address)
        bump_dealloc(heap, address, size, align)

    heap = start(bump(dealloc=dealloc))
    address = heap.alloc(40)
    heap.dealloc(address)
    found = fault(heap.dealloc, address, unchecked=True)
    assert found.call == f"dealloc({address:#x}, 40, 16)" and found.place.function == "dealloc"


def test_use_after_free():
    heap = start(bump())
    address = heap.alloc(40)
    heap.dealloc(address)
    found = fault(heap.user.load, address + 8, 8)
    assert found.kind == Kind.FREED
    assert f"is 8 bytes into the freed block #1 of 40 bytes at {address:#x}" in str(found)


# --- what an allocator does wrong


def test_touching_live_payload():
    def dealloc(heap, address, size, align):
        heap.memory.store(address + 64, 8, 0)

    heap = start(bump(dealloc=dealloc))
    first, second = heap.alloc(40), heap.alloc(40)
    found = fault(heap.dealloc, first)
    assert found.kind == Kind.LIVE and found.block.address == second
    assert f"during dealloc({first:#x}, 40, 16)" in str(found)
    assert "in dealloc: heap.memory.store(address + 64, 8, 0)" in str(found)


BAD_RESULTS = [
    (lambda place: place + 8, "no multiple of 16"),
    (lambda place: -1, "the result is 0"),
    (lambda place: None, "returned None, which is no address"),
    (lambda place: True, "returned True, which is no address"),
    (lambda place: place + (1 << 30), "not all mapped"),
    (lambda place: place + 48, "not all mapped"),
    (lambda place: 4096, "not in the heap"),
    (lambda place: -16, "not in the heap"),
]


@pytest.mark.parametrize(("result", "what"), BAD_RESULTS)
def test_results_that_are_no_blocks(result, what):
    heap = start(bump(alloc=lambda heap, size, align: result(bump_alloc(heap, size, align))))
    found = fault(heap.alloc, 40)
    assert found.kind == Kind.RESULT and what in found.what


def test_results_that_overlap():
    def same(heap, size, align):
        if not heap.first:
            heap.first = bump_alloc(heap, 64, align)
        return heap.first + heap.last

    heap = start(bump(alloc=same))
    address = heap.alloc(40)
    assert "where a live block lies" in fault(heap.alloc, 40).what
    heap.memory.store(heap.words + 8, 8, 16)
    assert f"which overlap a live block at {address + 16:#x}" in fault(heap.alloc, 40).what


def test_zeroed_memory_that_is_not_zero():
    heap = start(bump(alloc_zeroed=bump_alloc))
    heap.memory.fill(heap.memory.sbrk(80), 80, 1)
    heap.process.sbrk(-64)  # leaves ones in a page that stays mapped
    found = fault(heap.alloc_zeroed, 64)
    assert found.kind == Kind.RESULT and "not zero at" in found.what


@pytest.mark.parametrize("fails", [False, True])
def test_a_realloc_that_loses_contents(fails):
    def realloc(heap, address, size, align, new_size):
        heap.memory.store(address, 8, 0)
        return 0 if fails else address

    heap = start(bump(realloc=realloc))
    address = heap.alloc(40)
    heap.user.store(address, 8, 0x0100)
    found = fault(heap.realloc, address, 32)
    assert found.kind == Kind.RESULT and "changed byte 1 of the" in found.what


def test_a_usable_size_that_is_too_small_or_too_large():
    for says, what in ((8, "says 8 of a block of 40 bytes"), (4000, "not all mapped")):
        heap = start(bump(usable_size=lambda heap, address, says=says: says))
        assert what in fault(heap.usable_size, heap.alloc(40)).what


def test_an_endless_loop_is_a_fault():
    def alloc(heap, size, align):
        while heap.first == 0:
            pass

    heap = start(bump(alloc=alloc), budget=1000)
    found = fault(heap.alloc, 40)
    assert found.kind == Kind.BUDGET and found.call == "alloc(40, 16)"
    assert found.place.text == "while heap.first == 0:"


def test_an_endless_recursion_is_a_fault():
    def alloc(heap, size, align):
        return alloc(heap, size, align)

    assert "calls itself without end" in fault(start(bump(alloc=alloc)).alloc, 40).what


def failing_check(heap, start, end):
    assert heap.first == 1, "I1  the first is one"


WALKS = [
    (lambda heap, start, end: [(start, end - start, FREE)], "U9 a free span"),
    (lambda heap, start, end: [(start, end - start, USED)], "U3 the used span"),
    (lambda heap, start, end: list(bump_walk(heap, start, end))[:-1], "U5 walk tiles the stretch: it ends at"),
    (lambda heap, start, end: list(bump_walk(heap, start, end))[1:], "U5 walk tiles the stretch: expected a span"),
    (lambda heap, start, end: [(start, 40, USED), (start + 40, end - start - 40, USED)], "U2 the live block"),
    (lambda heap, start, end: [(start, 16, USED), (start + 16, end - start - 16, USED)], "U9 the used span of 16"),
    (lambda heap, start, end: [(start, end - start, 7)], "U5 walk tiles"),
]


@pytest.mark.parametrize(("walk", "what"), WALKS)
def test_a_walk_that_lies(walk, what):
    heap = start(bump(walk=walk))
    heap.alloc(40)
    heap.alloc(40)
    with pytest.raises(BrokenInvariant) as caught:
        heap.check()
    assert caught.value.kind == Kind.INVARIANT and what in caught.value.what


def test_a_block_that_no_stretch_holds():
    heap = start(bump(alloc=lambda heap, size, align: heap.memory.mmap(size), walk=lambda heap, start, end: []))
    area = heap.alloc(PAGE)
    heap.process.space.areas.cut(area, area + PAGE)
    with pytest.raises(AssertionError, match="U9 no used span holds the live block #1"):
        heap.check()


def test_an_invariant_that_does_not_hold():
    heap = start(bump(check=failing_check))
    heap.alloc(8)
    with pytest.raises(AssertionError, match="broken invariant: I1  the first is one"):
        heap.check()


def test_a_check_that_reads_what_is_not_there_is_a_fault():
    heap = start(bump(check=lambda heap, start, end: heap.memory.load(end, 8)))
    heap.alloc(8)
    assert fault(heap.check).kind == Kind.UNMAPPED
