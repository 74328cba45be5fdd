"""A heap at work: every wrong thing that an allocator or a program does is a fault."""

from functools import partial
from itertools import count, repeat
from pathlib import Path

import pytest
from toy import Bump, Header, bump, bump_alloc, bump_dealloc, bump_walk, fault

from heapwright.layout import Array, Struct, Word
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
    (lambda place: place + 8, "not a multiple of 16"),
    (lambda place: -1, "the result is 0"),
    (lambda place: None, "returned None, which is not an address"),
    (lambda place: True, "returned True, which is not an address"),
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


NO_NUMBERS = [None, 1.5, "text", [], Header(None, 0)]


@pytest.mark.parametrize("result", NO_NUMBERS, ids=repr)
@pytest.mark.parametrize("name", ["alloc", "alloc_zeroed", "realloc", "usable_size", "trim"])
def test_results_that_are_no_numbers(name, result):
    heap = start(bump(**{name: lambda heap, *_: result}))
    address = heap.alloc(40) if name != "alloc" else 0
    arguments = {"alloc": (40,), "alloc_zeroed": (40,), "realloc": (address, 80), "usable_size": (address,), "trim": ()}
    found = fault(getattr(heap, name), *arguments[name])
    assert found.kind == Kind.RESULT and found.what.startswith(f"returned {result!r}, which is not ")
    assert found.call.startswith(f"{name}(") and found.place.function == "<lambda>"


@pytest.mark.parametrize("result", [1 << 63, -(1 << 80), 1 << 200])
def test_results_that_need_more_than_64_bits(result):
    for name in ("alloc", "usable_size"):
        heap = start(bump(**{name: lambda heap, *_: result}))
        call = heap.alloc if name == "alloc" else partial(heap.usable_size, heap.alloc(40))
        found = fault(call, *[40] * (name == "alloc"))
        assert found.kind == Kind.RESULT and "needs more than 64 bits" in found.what


@pytest.mark.parametrize("result", [8, 4096, 1 << 40, -16, 1 << 62, (1 << 63) - 1])
def test_a_realloc_to_where_no_block_can_be(result):
    heap = start(bump(realloc=lambda heap, *_: result))
    assert fault(heap.realloc, heap.alloc(40), 80).kind == Kind.RESULT


def test_false_is_no_memory():
    assert start(bump(alloc=lambda heap, size, align: False)).alloc(40) == 0


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

    assert "calls itself endlessly" in fault(start(bump(alloc=alloc)).alloc, 40).what


# --- what Python says of an allocator is the allocator's fault


def divides(heap, size, align):
    return size // heap.first


def misspells(heap, size, align):
    return heap.frist


def keeps_something_elsewhere(heap, size, align):
    heap.sum_of_sizes = size


def reaches_too_far(heap, size, align):
    return Wide(heap.memory, 4096).bins[4]


class Wide(Struct):
    bins: Array[Word, 4]


def asserts(heap, size, align):
    raise AssertionError("large blocks alone")


def leaves(heap, size, align):
    raise SystemExit(3)


def adds_nothing(heap, size, align):
    return size + None


def keeps_it_in_the_type(heap, size, align):
    Bump.last_size = size


def keeps_it_in_an_array(heap, size, align):
    Wide(heap.memory, 4096).bins[0:2] = size


ERRORS = {
    divides: "ZeroDivisionError: integer division or modulo by zero",
    misspells: "Bump has no field 'frist': did you mean 'first'?",
    keeps_something_elsewhere: "Bump has no field 'sum_of_sizes': it has first, last; "
    "all state lies in declared fields (D4)",
    reaches_too_far: "IndexError: element 4 of Array[Word, 4]",
    asserts: "AssertionError: large blocks alone",
    leaves: "SystemExit: 3",
    adds_nothing: "TypeError: unsupported operand type(s) for +: 'int' and 'NoneType'",
    keeps_it_in_the_type: "AttributeError: Bump.last_size = ...: state lies in the fields of a heap, not in its types",
    keeps_it_in_an_array: "TypeError: '<=' not supported between instances of 'int' and 'slice'",
}


@pytest.mark.parametrize("alloc", ERRORS, ids=lambda alloc: alloc.__name__)
def test_a_python_error_is_the_allocators_fault(alloc):
    heap = start(bump(alloc=alloc))
    found = fault(heap.alloc, 40)
    assert (found.kind, found.what) == (Kind.ERROR, ERRORS[alloc])
    assert (found.call, found.place.function) == ("alloc(40, 16)", alloc.__name__)
    assert found.place.file == __file__
    assert heap.process.thread.call is None


def test_an_alloc_of_other_arguments_is_told_where_it_is_defined():
    found = fault(start(bump(alloc=lambda heap, size: 0)).alloc, 40)
    assert found.kind == Kind.ERROR and "takes 2 positional arguments but 3 were given" in found.what
    assert found.place.function == "<lambda>" and "lambda heap, size: 0" in found.place.text


def test_what_a_user_of_the_heap_gets_wrong_is_the_users_line():
    heap = start(bump())
    address = heap.alloc(40)
    for found in (fault(heap.user.load, address + 64, 8), fault(heap.dealloc, address + 8)):
        assert Path(found.place.file).name == "toy.py" and found.place.function == "fault"  # it makes the call
        assert found.call == ""


def test_a_check_that_raises_is_a_fault_at_its_line():
    heap = start(bump(check=lambda heap, start, end: {}[start]))
    address = heap.alloc(40) - 16
    found = fault(heap.check)
    assert (found.kind, found.what) == (Kind.ERROR, f"KeyError: {address}") and "{}[start]" in found.place.text


def failing_check(heap, start, end):
    assert heap.first == 1, "I1  the first is one"


WALKS = [
    (lambda heap, start, end: [(start, end - start, FREE)], "U9 a free span"),
    (lambda heap, start, end: [(start, end - start, USED)], "U3 the used span"),
    (lambda heap, start, end: list(bump_walk(heap, start, end))[:-1], "U5 walk tiles the extent: it ends at"),
    (lambda heap, start, end: list(bump_walk(heap, start, end))[1:], "U5 walk tiles the extent: expected a span"),
    (lambda heap, start, end: [(start, 40, USED), (start + 40, end - start - 40, USED)], "U2 the live block"),
    (lambda heap, start, end: [(start, 16, USED), (start + 16, end - start - 16, USED)], "U9 the used span of 16"),
    (lambda heap, start, end: [(start, end - start, 7)], "U5 walk yields (start, size, kind)"),
    (lambda heap, start, end: [(start, end - start, -1)], "U5 walk yields (start, size, kind)"),
]


WALKS += [
    (
        lambda heap, start, end: [(start, end - start)],
        "U5 walk yields (start, size, kind)",
    ),
    (
        lambda heap, start, end: [(start, end - start, None)],
        "U5 walk yields (start, size, kind)",
    ),
    (
        lambda heap, start, end: [Header(heap.memory, start)],
        "U5 walk yields (start, size, kind)",
    ),
    (lambda heap, start, end: [(start, 16, FREE), (start - 16, 16, FREE)], "U5 walk tiles the extent: expected"),
    (lambda heap, start, end: [(start, 16, FREE), (start, 16, FREE)], "U5 walk tiles the extent: expected"),
    (lambda heap, start, end: [(start, 1 << 70, FREE)], "U5 walk tiles the extent: it ends at"),
    (
        lambda heap, start, end: (tuple(span) for span in repeat((start, end - start, FREE))),
        "U5 walk tiles the extent",
    ),
    (lambda heap, start, end: ((n * 16 + start, 16, FREE) for n in count()), "U5 walk tiles the extent"),
]


@pytest.mark.parametrize(("walk", "what"), WALKS)
def test_a_walk_that_lies(walk, what):
    heap = start(bump(walk=walk))
    heap.alloc(40)
    heap.alloc(40)
    with pytest.raises(BrokenInvariant) as caught:
        heap.check()
    assert caught.value.kind == Kind.INVARIANT and what in caught.value.what


LISTS = [lambda heap: [5], lambda heap: [("a", ["b"])], lambda heap: None, lambda heap: [("a", 5)], lambda heap: {}[1]]


@pytest.mark.parametrize("lists", LISTS)
def test_lists_that_are_none(lists):
    found = fault(start(bump(lists=lists)).lists)
    assert found.kind == Kind.ERROR and found.call == "lists()" and found.place.function == "<lambda>"


def test_a_block_that_no_extent_holds():
    heap = start(bump(alloc=lambda heap, size, align: heap.memory.mmap(size), walk=lambda heap, start, end: []))
    mapping = heap.alloc(PAGE)
    heap.process.space.mappings.cut(mapping, mapping + PAGE)
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
