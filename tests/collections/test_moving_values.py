"""Values that own memory move into collections and out of them, and errors leave the collections whole."""

import pytest

from heapwright.collections import (
    BinaryHeap,
    Box,
    BoxedSlice,
    BoxedStr,
    BTreeMap,
    BTreeSet,
    Handle,
    HashMap,
    LinkedList,
    OutOfBounds,
    Panic,
    Rc,
    String,
    StructType,
    UseAfterDrop,
    Vec,
    VecDeque,
    drop,
    i32,
    u8,
)

ITEM = StructType("Item", name=Handle(String), count=i32)


def words(kind, *texts):
    filled = kind()
    filled.extend([String(text) for text in texts])
    return filled


def test_a_string_pops_out_of_a_vec(heap, requests):
    v = words(Vec, "one", "two")
    requests.taken()
    word = v.pop()
    assert (str(word), len(v), requests) == ("two", 1, [])
    word.push_str("!")
    drop(v)
    assert str(word) == "two!"
    drop(word)
    assert not heap.leaks()


@pytest.mark.parametrize("take", [lambda v: v.remove(1), lambda v: v.swap_remove(1), lambda v: list(v.drain(1, 2))[0]])
def test_what_is_taken_is_the_takers(heap, take):
    v = words(Vec, "a", "b", "c")
    taken = take(v)
    assert str(taken) == "b" and sorted(map(str, v)) == ["a", "c"]
    drop(v)
    assert str(taken) == "b"
    drop(taken)
    assert not heap.leaks()


def test_what_nobody_takes_is_dropped_in_order(requests):
    v = words(Vec, "a", "bb", "ccc")
    requests.taken()
    v.drain()
    assert requests == ["free 1@1", "free 2@1", "free 3@1"]


def test_a_struct_moves_out_as_a_whole(heap):
    v = Vec()
    v.push(ITEM(name=String("screw"), count=3))
    item = v.pop()
    assert (str(item.name), item.count, repr(item)) == ("screw", 3, 'Item { name: "screw", count: 3 }')
    item.count = 4
    item.name.push_str("s")
    with pytest.raises(AttributeError, match="no field price"):
        item.price = 1
    v.push(item)
    with pytest.raises(UseAfterDrop, match="moved"):
        item.name.push_str("s")
    assert (str(v[0].name), v[0].count) == ("screws", 4)
    with pytest.raises(TypeError, match="belongs to the value that contains it"):
        v.push(v[0])
    drop(v)
    assert not heap.leaks()


def test_a_struct_without_containers_is_copied(heap):
    point = StructType("Point", x=i32, y=i32)
    v = Vec.of([point(x=1, y=2)])
    v.push(v[0])
    v[1].x = 5
    assert repr(v) == "[Point { x: 1, y: 2 }, Point { x: 5, y: 2 }]"


def test_clones_are_deep(heap):
    v = words(Vec, "a", "b")
    twin = v.clone()
    twin[0].push_str("!")
    assert (repr(v), repr(twin)) == ('["a", "b"]', '["a!", "b"]')
    shared = Vec.of([Rc(1)])
    assert shared.clone()[0].strong_count == 2


def test_boxes_of_slices_and_texts(heap, requests):
    slice, text = BoxedSlice([1, 2, 3]), BoxedStr("häuser")
    assert requests.taken() == ["12@4", "7@1"]
    assert (repr(slice), slice.type_name, str(text), text.type_name) == (
        "[1, 2, 3]",
        "Box<[i32]>",
        "häuser",
        "Box<str>",
    )
    slice[0] = 9
    v, s = slice.into_vec(), text.into_string()
    assert (list(v), v.capacity, s.capacity, requests) == ([9, 2, 3], 3, 7, [])
    with pytest.raises(UseAfterDrop, match="moved"):
        len(slice)
    with pytest.raises(OutOfBounds):
        v.into_boxed_slice()[3]


def test_a_box_gives_up_its_value(heap, requests):
    value = Box(String("x")).into_inner()
    assert (str(value), requests) == ("x", ["1@1", "24@8", "free 24@8"])


@pytest.mark.parametrize("kind", [Vec, VecDeque])
def test_a_panic_while_retaining_keeps_the_rest(heap, kind):
    v = words(kind, "a", "b", "c", "d")

    def choose(word):
        if str(word) == "c":
            raise Panic("no idea")
        return str(word) != "a"

    with pytest.raises(Panic):
        v.retain(choose)
    assert [str(each) for each in v if str(each) != "a"] == ["b", "c", "d"]
    drop(v)
    assert not heap.leaks()


@pytest.mark.parametrize("kind", [Vec, VecDeque, LinkedList])
def test_bounds(heap, kind):
    v = kind.of([1, 2, 3]) if kind is not LinkedList else kind(i32)
    wrong = [lambda: v.split_off(9), lambda: v.split_off(-1)]
    if kind is not LinkedList:
        wrong += [lambda: v.insert(5, 1), lambda: v.insert(-1, 1), lambda: v.drain(2, 1), lambda: v.drain(0, 4)]
    for each in wrong:
        with pytest.raises(OutOfBounds):
            each()
    with pytest.raises(TypeError):
        (v.insert if kind is not LinkedList else lambda _, value: Vec.of([1]).insert(0, value))(1, "text")
    assert list(v) == ([] if kind is LinkedList else [1, 2, 3])


def test_texts_are_cut_between_characters_only(heap):
    s = String("aé")
    for wrong in (lambda: s.insert_str(2, "x"), lambda: s.truncate(2), lambda: s.split_off(2), lambda: s.remove(9)):
        with pytest.raises(Panic, match="not a char boundary"):
            wrong()
    with pytest.raises(Panic, match="cannot remove a char from the end"):
        s.remove(3)
    assert (s.pop(), s.remove(0), s.pop(), str(s)) == ("é", "a", None, "")


def test_a_heap_gives_the_greatest_first(heap):
    numbers = BinaryHeap.of([3, 1, 4, 1, 5, 9, 2, 6])
    assert (numbers.peek(), numbers.pop(), numbers.pop(), len(numbers)) == (9, 9, 6, 6)
    assert list(numbers.into_sorted_vec()) == [1, 1, 2, 3, 4, 5]
    assert BinaryHeap(u8).pop() is None and BinaryHeap(u8).peek() is None


def test_trees_in_parts(heap):
    numbers = BTreeMap()
    numbers.extend((number, str(number)) for number in range(100))
    assert [key for key, _ in numbers.range(10, 13)] == [10, 11, 12]
    upper = numbers.split_off(60)
    assert (list(numbers), list(upper)) == (list(range(60)), list(range(60, 100)))
    upper.insert(5, "five")
    numbers.append(upper)
    assert (len(upper), list(numbers), numbers[5]) == (0, list(range(100)), "five")
    assert (numbers.pop_first(), numbers.pop_last()) == ((0, "0"), (99, "99"))
    evens = BTreeSet()
    evens.extend(range(10))
    evens.retain(lambda value: value % 2 == 0)
    assert (list(evens.split_off(4)), repr(evens), evens.pop_last(), evens.pop_first()) == ([4, 6, 8], "{0, 2}", 2, 0)


def test_fields_of_any_collection(heap):
    kind = StructType("All", table=Handle(HashMap, i32, i32), text=Handle(String), tree=Handle(BTreeSet, u8))
    held = Box(kind(table=HashMap(), text=String(), tree=BTreeSet()))
    held.value.table.insert(1, 2)
    held.value.text.push_str("abc")
    held.value.tree.insert(7)
    assert repr(held) == 'All { table: {1: 2}, text: "abc", tree: {7} }'
    with pytest.raises(TypeError, match="is not a HashMap<i32, i32>"):
        held.value.table = HashMap(u8, u8)
    drop(held)
    assert not heap.leaks()


def test_rc_in_place_and_apart(requests):
    rc = Rc(1)
    rc.get_mut().value = 2
    twin = rc.clone()
    assert rc.get_mut() is None and rc.try_unwrap() is None
    twin.make_mut().value = 3
    assert (rc.value, twin.value, rc.strong_count, rc.ptr_eq(twin)) == (2, 3, 1, False)
    assert rc.try_unwrap() == 2 and rc.is_dropped
    assert requests == ["24@8", "24@8", "free 24@8"]


def test_a_weak_that_is_lent_while_a_cycle_is_made(heap):
    with pytest.raises(TypeError, match="clone it"):
        node = StructType("Node", me=Handle(type(Rc(1).downgrade()), lambda: node))
        Rc.new_cyclic(node, lambda weak: node(me=weak))
    me = Rc.new_cyclic(node, lambda weak: node(me=weak.clone()))
    assert (me.strong_count, me.weak_count) == (1, 1)
    assert me.value.me.upgrade().ptr_eq(me)
    drop(me)
    assert not heap.leaks()
