"""When values end: by drop, with their block, with their last reference, with their owner; and never twice."""

import gc

import pytest

from heapwright import allocator
from heapwright.collections import Box, String, UseAfterDrop, Vec, drop, forget, serve
from heapwright.collections.runtime import Owner
from heapwright.machine import Fault, start


def test_the_end_of_a_with(heap, requests):
    with Box(1) as x, Vec.of([1, 2]):
        assert x.value == 1
    assert requests == ["4@4", "8@4", "free 8@4", "free 4@4"]
    assert x.is_dropped


def test_a_with_may_drop_early(requests):
    with Box(1) as x:
        drop(x)
    assert requests == ["4@4", "free 4@4"]


def test_the_last_reference(requests):
    x = Box(1)
    y = x
    del x
    assert requests == ["4@4"]
    del y
    assert requests == ["4@4", "free 4@4"]


def test_the_end_of_a_function(heap, requests):
    def scope():
        x = Box(1)
        return x.value

    assert scope() == 1
    assert requests == ["4@4", "free 4@4"] and not heap.leaks()


def test_an_exception_drops_what_it_unwinds(requests):
    def scope():
        x = Box(1)
        raise KeyError(x.value)

    with pytest.raises(KeyError) as error:
        scope()
    del error
    gc.collect()
    assert requests == ["4@4", "free 4@4"]


def test_use_after_drop_names_the_place(heap):
    x = Box(1)
    drop(x)
    with pytest.raises(UseAfterDrop, match=r"this Box<i32> was dropped at test_ownership\.py:\d+"):
        _ = x.value
    assert repr(x).startswith("<Box<i32> dropped at test_ownership.py:")


def test_a_double_drop(heap):
    s = String("x")
    s.drop()
    with pytest.raises(UseAfterDrop, match=r"this String was dropped at"):
        s.drop()


def test_what_was_moved_is_gone_and_goes_with_its_owner(heap, requests):
    s = String("abc")
    v = Vec()
    v.push(s)
    with pytest.raises(UseAfterDrop, match="this String was moved at"):
        s.push_str("d")
    v[0].push_str("d")
    assert str(v[0]) == "abcd" and v[0].capacity == 8
    with pytest.raises(TypeError, match="belongs to the value that contains it"):
        v[0].drop()
    drop(v)
    assert requests == ["3@1", "96@8", "3@1 -> 8", "free 8@1", "free 96@8"]


def test_nested_owners_end_together(heap):
    rows = Vec()
    for number in range(3):
        row = Vec()
        row.extend(range(number))
        rows.push(row)
    x = Box(Box(String("deep")))
    assert repr(rows) == "[[], [0], [0, 1]]" and str(x.value.value) == "deep"
    x.value = Box(String("other"))
    rows.truncate(1)
    drop(rows)
    drop(x)
    assert not heap.leaks()


def test_forget_and_leak(heap):
    x, y = Box(1), Box(2)
    forget(x)
    address = y.leak()
    with pytest.raises(UseAfterDrop, match="forgotten at"):
        _ = y.value
    assert len(heap.leaks()) == 2
    for block in heap.leaks():
        assert block.allocated.file == __file__
        heap.dealloc(block.address)
    assert address not in heap.live


def test_python_circles_are_dropped_by_its_collector(heap):
    circle = [Box(1)]
    circle.append(circle)
    del circle
    gc.collect()
    assert not heap.leaks()


def test_a_finalizer_inside_of_a_call_waits_for_its_end(heap, runtime, requests):
    kept = [Box(1)]
    stop = heap.process.observe(access=lambda *seen: kept.clear())
    x = Box(2)
    stop()
    assert requests.taken() == ["4@4", "4@4"]
    y = Box(3)
    assert requests == ["free 4@4", "4@4"]
    assert (x.value, y.value) == (2, 3)


def test_what_goes_wrong_in_a_finalizer_is_raised_by_the_next_operation():
    heap = start(allocator.load("kr"))
    with pytest.raises(Fault, match="double free"), serve(heap):
        x = Box(1)
        heap.dealloc(x.address)
        del x
        Box(2)


def test_after_the_program_nothing_is_dropped():
    heap = start(allocator.load("kr"))
    with pytest.raises(ValueError, match="over"), serve(heap):
        x = Box(1)
        raise ValueError("it is over")
    del x
    assert len(heap.leaks()) == 1


def test_no_heap_no_box():
    with pytest.raises(RuntimeError, match="with serve"):
        Box(1)


def test_a_child_has_its_own_copy(runtime):
    v = Vec.of([1, 2])
    child = runtime.fork()
    assert child.owners == {v.address: Owner("Vec<i32>")}
    with serve(child):
        v.push(3)
        assert list(v) == [1, 2, 3]
        drop(v)
        assert not child.heap.leaks()
        with pytest.raises(UseAfterDrop):
            v.push(4)
    child.heap.check()
    assert list(v) == [1, 2] and v.capacity == 2
    assert (child.owners, runtime.owners) == ({}, {v.address: Owner("Vec<i32>")})
