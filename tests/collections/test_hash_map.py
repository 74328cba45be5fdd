"""HashMap asks for hashbrown's sizes, and maps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapwright import allocator
from heapwright.collections import (
    Box,
    HashMap,
    HashSet,
    OutOfMemory,
    Panic,
    String,
    StructType,
    drop,
    i32,
    serve,
    u8,
    u16,
    u32,
    u64,
    unit,
)
from heapwright.collections.hash_table import buckets_for, capacity_of
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
    assert table.remove(5) is None and len(table) == 0
    assert {request for request in requests if "free" not in request} == {"52@16"}


def test_what_it_owns_goes_with_it(heap):
    table = HashMap()
    for word in ("one", "two", "three", "four"):
        table.insert(String(word), String(word * 2))
    table.insert(String("one"), String("other"))
    assert str(table["one"]) == "other" and str(table["four"]) == "fourfour"
    assert str(table.remove("two")) == "twotwo"
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
    assert [buckets_for(n, 8) for n in (1, 3, 4, 7, 8, 14, 15)] == [4, 4, 8, 8, 16, 16, 32]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 12)), max_size=60))
def test_a_map_is_a_dict(story):
    with serve(start(allocator.load("kr"))) as runtime:
        table, model = HashMap(u32, u32), {}
        for inserts, number in story:
            if inserts:
                table.insert(number, len(model))
                model[number] = len(model)
            else:
                assert table.remove(number) == model.pop(number, None)
            assert dict(table.items()) == model and len(table) == len(model)
        drop(table)
        assert not runtime.heap.leaks()


@pytest.mark.parametrize(
    ("key", "value", "first"),
    [(u8, unit, "48@16"), (u8, u8, "40@16"), (u16, unit, "40@16"), (u16, u8, "36@16"), (u32, u8, "52@16")],
    ids=str,
)
def test_the_first_table_of_small_pairs(requests, key, value, first):
    table = HashMap(key, value)
    table.insert(1, None if value is unit else 1)
    assert requests == [first]


@pytest.mark.long
def test_two_live_pairs_of_5000_need_one_table(requests):
    table = HashMap(u64, u64)
    for number in range(5000):
        table.insert(number, number)
        if number >= 2:
            assert table.remove(number - 2) == number - 2
    assert len(table) == 2 and requests == ["84@16"]


def test_reserve_shrink_and_clone(requests):
    table = HashMap.with_capacity(100, u32, u32)
    assert (requests.taken(), table.capacity) == (["1168@16"], 112)
    table.extend({number: number for number in range(20)})
    twin = table.clone()
    assert (requests.taken(), dict(twin.items())) == (["1168@16"], {number: number for number in range(20)})
    table.shrink_to_fit()
    assert (requests.taken(), table.capacity) == (["304@16", "free 1168@16"], 28)
    assert sorted(table.drain()) == [(number, number) for number in range(20)]
    assert len(table) == 0 and requests == []
    table.shrink_to_fit()
    assert requests == ["free 304@16"]


def test_entries(requests):
    counts = HashMap()
    for letter in "abracadabra":
        counts.entry(letter).or_insert(0).value += 1
    assert dict(counts.items()) == {"a": 5, "b": 2, "r": 2, "c": 1, "d": 1}
    counts.entry("a").and_modify(lambda count: setattr(count, "value", 9))
    assert counts["a"] == 9 and not counts.entry("z").is_occupied and "z" not in counts
    assert counts.entry("z").or_insert_with(lambda: 7).value == 7


def test_an_entry_drops_the_second_key_and_the_value_nobody_needs(requests):
    table = HashMap()
    table.insert(String("k"), String("one"))
    requests.taken()
    assert str(table.entry(String("k")).or_insert(String("two!")).value) == "one"
    assert requests == ["1@1", "free 1@1", "4@1", "free 4@1"]


def test_insert_returns_the_old_value(heap):
    table = HashMap()
    assert table.insert(String("k"), String("one")) is None
    old = table.insert(String("k"), String("two"))
    assert (str(old), str(table["k"])) == ("one", "two")


def test_a_set(requests):
    seen = HashSet(u8)
    assert [seen.insert(value) for value in (3, 5, 3)] == [True, True, False]
    assert (3 in seen, 4 in seen, len(seen), sorted(seen)) == (True, False, 2, [3, 5])
    assert (seen.remove(3), seen.remove(3)) == (True, False)
    seen.extend(range(10))
    seen.retain(lambda value: value % 3 == 0)
    assert sorted(seen.clone().drain()) == [0, 3, 6, 9] and seen.type_name == "HashSet<u8>"
    assert requests.taken() == ["48@16", "48@16", "free 48@16"]


@pytest.mark.parametrize("key", [1.5, [1.5]])
def test_what_has_no_hash_is_no_key(heap, key):
    with pytest.raises(TypeError, match="no hash"):
        HashMap().insert(key, 1)


def test_structs_and_containers_are_keys(heap):
    point = StructType("Point", x=i32, y=i32)
    table = HashMap()
    table.insert(point(x=1, y=2), "a")
    table.insert(point(x=2, y=1), "b")
    assert table[point(x=1, y=2)] == "a" and table.remove(point(x=2, y=1)) == "b" and len(table) == 1
    boxes = HashMap()
    boxes.insert(Box(7), 1)
    assert boxes[7] == 1 and boxes[Box(7)] == 1
