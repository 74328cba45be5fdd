"""BTreeMap asks for Rust's nodes, keeps their rules, and maps in order."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapwright import allocator
from heapwright.collections import BTreeMap, OutOfMemory, Panic, String, Vec, drop, serve, u8, u32
from heapwright.collections.btree_node import CAPACITY, MIN_PAIRS, layout_of, middle_for
from heapwright.machine import start

LEAF, INTERNAL = "104@8", "200@8"  # of u32, u32


def check(table):
    """The rules of a B tree: nodes of 5 to 11, but for the root; each child knows its parent and its index."""
    if not table._load(0):
        return
    front = [table._root()]
    assert front[0].parent is None and (front[0].length or not front[0].height)
    while front:
        for node in front:
            assert node.length <= CAPACITY and (node.parent is None or node.length >= MIN_PAIRS)
        below = [(node, i) for node in front if node.height for i in range(node.length + 1)]
        for node, index in below:
            parent, edge = node.edge(index).parent
            assert (parent.address, edge) == (node.address, index)
        front = [node.edge(index) for node, index in below]
    keys = list(table)
    assert keys == sorted(keys) and len(keys) == len(table)


def test_the_nodes_of_ascending_keys(requests):
    table = BTreeMap(u32, u32)
    asked = []
    for number in range(7 * 7 + 12):
        table.insert(number, number)
        asked += [number] * len(requests.taken())
    check(table)
    assert asked[:5] == [0, 11, 11, 18, 25]  # a leaf; its sibling and a root; then a leaf for each seven keys ...


def test_the_sizes_of_nodes(requests):
    table = BTreeMap(u32, u32)
    for number in range(12):
        table.insert(number, number)
    assert requests.taken() == [LEAF, LEAF, INTERNAL]
    for number in range(12):
        assert table.remove(number) == number
    assert sorted(requests.taken()) == [f"free {LEAF}", f"free {INTERNAL}"]
    drop(table)
    assert requests == [f"free {LEAF}"], "the first leaf stays"


def test_sizes_as_rustc_lays_them_out(heap):
    sizes = [layout_of(BTreeMap(key, value)._pair) for key, value in ((u8, u8), (u32, u8))]
    assert [(each.leaf.size, each.internal.size) for each in sizes] == [(40, 136), (72, 168)]


def test_split_points():
    assert [middle_for(index) for index in range(12)] == [4] * 5 + [5, 5] + [6] * 5


def test_an_empty_map_has_no_block(requests):
    table = BTreeMap()
    assert (len(table), table.get(1), 1 in table, table.remove(1), repr(table)) == (0, None, False, None, "{}")
    drop(table)
    assert requests == []


def test_what_it_owns_goes_with_it(heap):
    table = BTreeMap()
    words = [f"{number:03}" for number in range(100)]
    for word in random.Random(1).sample(words, 100):
        table.insert(String(word), String(word * 2))
    table.insert(String("007"), String("other"))
    assert str(table["007"]) == "other" and str(table["099"]) == "099099"
    assert [str(key) for key in table] == words
    for word in words[::3]:
        assert table.remove(word)
    assert [str(key) for key in table] == [word for word in words if int(word) % 3]
    drop(table)
    assert not heap.leaks()


def test_a_map_inside_a_vec(heap):
    inner = BTreeMap()
    inner.insert("a", 1)
    outer = Vec()
    outer.push(inner)
    outer[0].insert("b", 2)
    assert repr(outer) == '[{"a": 1, "b": 2}]'
    drop(outer)
    assert not heap.leaks()


def test_what_is_not_there_and_what_does_not_fit(heap):
    table = BTreeMap(u32, u8)
    for number in (1, 3, 2):
        table.insert(number, number)
    with pytest.raises(Panic, match="no entry found for key 4"):
        table[4]
    for key, value in ((0, 256), (-1, 0), ("a", 0)):
        with pytest.raises(TypeError):
            table.insert(key, value)
    assert dict(table.items()) == {1: 1, 2: 2, 3: 3} and len(table) == 3


def ascending(count):
    table = BTreeMap(u32, u32)
    for number in range(count):
        table.insert(number, 1)
    return table


def first_of_three_nodes(runtime):
    """How many ascending keys there are before the one that needs a leaf, an internal node and a root."""
    table, count, held = BTreeMap(u32, u32), 0, 0
    while len(runtime.heap.live) < held + 3:
        held = len(runtime.heap.live)
        table.insert(count, 1)
        count += 1
    return count - 1


@pytest.mark.parametrize("failing", range(1, 4))
def test_no_memory_leaves_the_map(runtime, failing):
    table = ascending(first_of_three_nodes(runtime))
    before, held = dict(table.items()), len(runtime.heap.live)
    alloc, calls = runtime.heap.alloc, []
    runtime.heap.alloc = lambda *given: 0 if calls.append(given) or len(calls) == failing else alloc(*given)
    with pytest.raises(OutOfMemory):
        table.insert(len(before), 1)
    assert len(calls) == failing
    runtime.heap.alloc = alloc
    check(table)
    assert dict(table.items()) == before and len(runtime.heap.live) == held
    table.insert(len(before), 1)
    check(table)
    assert len(runtime.heap.live) == held + 3


@pytest.mark.parametrize("seed", range(4))
def test_a_large_map_is_a_dict(seed):
    """Three levels, up and down again."""
    dice = random.Random(seed)
    with serve(start(allocator.load("kr"))) as runtime:
        table, model = BTreeMap(u32, u32), {}
        for number in dice.sample(range(1000), 400):
            table.insert(number, seed)
            model[number] = seed
        check(table)
        assert table._load(1) == 2 and dict(table.items()) == model
        for count, number in enumerate(dice.sample(sorted(model), 400)):
            assert (table.remove(number), table.remove(number)) == (seed, None)
            del model[number]
            if count % 20 == 0:
                check(table)
                assert dict(table.items()) == model
        assert len(runtime.heap.live) == 1
        drop(table)
        assert not runtime.heap.leaks()


@given(st.lists(st.tuples(st.sampled_from([True, True, False]), st.integers(0, 60)), max_size=150))
def test_a_map_is_a_dict(story):
    with serve(start(allocator.load("kr"))) as runtime:
        table, model = BTreeMap(u32, u32), {}
        for inserts, number in story:
            if inserts:
                table.insert(number, len(model))
                model[number] = len(model)
            else:
                assert table.remove(number) == model.pop(number, None)
        check(table)
        assert dict(table.items()) == model
        drop(table)
        assert not runtime.heap.leaks()
