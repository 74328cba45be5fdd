"""HashMap asks for hashbrown's sizes, and maps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapwright import allocator
from heapwright.collections import HashMap, OutOfMemory, Panic, String, drop, serve, u32
from heapwright.collections.hash_map import buckets_for, capacity_of
from heapwright.machine import start


def test_the_sizes_of_hashbrown(requests):
    table, capacities = HashMap(u32, u32), []
    for number in range(112):
        table.insert(number, number * number)
        capacities.append(table.capacity)
    assert sorted(set(capacities)) == [3, 7, 14, 28, 56, 112]
    sizes = [52, 88, 160, 304, 592, 1168]
    assert requests[0] == "52@16"
    assert requests[1:] == [r for a, b in zip(sizes, sizes[1:], strict=False) for r in (f"{b}@16", f"free {a}@16")]
    assert all(table[number] == number * number for number in range(112))


def test_an_empty_map_has_no_block(requests):
    table = HashMap()
    assert (len(table), table.capacity, table.get(1), 1 in table, repr(table)) == (0, 0, None, False, "{}")
    drop(table)
    assert requests == []


def test_removed_places_are_used_again(requests):
    table = HashMap(u32, u32)
    for number in range(1000):
        table.insert(number, 1)
        assert table.remove(number)
    assert not table.remove(5) and len(table) == 0
    assert {request for request in requests if "free" not in request} == {"52@16"}


def test_what_it_owns_goes_with_it(heap):
    table = HashMap()
    for word in ("one", "two", "three", "four"):
        table.insert(String(word), String(word * 2))
    table.insert(String("one"), String("other"))
    assert str(table["one"]) == "other" and str(table["four"]) == "fourfour"
    assert table.remove("two")
    drop(table)
    assert not heap.leaks()


def test_what_is_not_there(heap):
    table = HashMap()
    table.insert("a", 1)
    assert repr(table) == '{"a": 1}' and dict(table.items()) == {"a": 1} and list(table) == ["a"]
    with pytest.raises(Panic, match='no entry found for key "b"'):
        table["b"]


def test_no_memory_leaves_the_table(heap):
    table = HashMap(u32, u32)
    for number in range(3):
        table.insert(number, number)
    heap.process.kernel.calls.at(1)
    held = []
    with pytest.raises(OutOfMemory):
        while True:
            held.append(HashMap(u32, u32))
            held[-1].insert(1, 1)
    with pytest.raises(OutOfMemory):
        for number in range(3, 2000):
            table.insert(number, number)
    assert all(table[number] == number for number in range(len(table)))


def test_capacities():
    assert [capacity_of(n) for n in (0, 4, 8, 16, 32)] == [0, 3, 7, 14, 28]
    assert [buckets_for(n) for n in (1, 3, 4, 7, 8, 14, 15)] == [4, 4, 8, 8, 16, 16, 32]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 12)), max_size=60))
def test_a_map_is_a_dict(story):
    with serve(start(allocator.load("kr"))) as runtime:
        table, model = HashMap(u32, u32), {}
        for inserts, number in story:
            if inserts:
                table.insert(number, len(model))
                model[number] = len(model)
            else:
                assert table.remove(number) == (model.pop(number, None) is not None)
            assert dict(table.items()) == model and len(table) == len(model)
        drop(table)
        assert not runtime.heap.leaks()
