"""Ownership cycles are named, whatever collection they lead through; what is no cycle is not."""

import gc

import pytest

from heapwright.collections import (
    Arc,
    ArcWeak,
    BinaryHeap,
    Box,
    BoxedSlice,
    BTreeMap,
    Handle,
    HashMap,
    LinkedList,
    Option,
    Rc,
    String,
    StructType,
    Vec,
    VecDeque,
    Weak,
    forget,
    u32,
)
from heapwright.collections.leaks import find_leaks


def tree_type(rc, weak, container, parent):
    """A node with children in a container, and its parent as an Rc or a Weak."""
    child = Handle(rc, lambda: node)
    held = {"children": container(child), "parent": Option(Handle(parent, lambda: node))}
    node = StructType("Node", name=Handle(String), **held)
    return node


def sequence_of(kind):
    return lambda child: Handle(kind, child)


def push(children, node):
    getattr(children, "push", getattr(children, "push_back", None))(node)


def family(rc, weak, kind, parent):
    """A parent in whose Vec is a child that knows its parent."""
    node = tree_type(rc, weak, sequence_of(kind), parent)
    element = node.fields["children"].element
    root = rc(node(name=String("root"), children=kind(element), parent=None))
    known = root.clone() if parent is rc else root.downgrade()
    push(root.value.children, rc(node(name=String("child"), children=kind(element), parent=known)))
    return root


@pytest.mark.parametrize(("rc", "weak"), [(Rc, Weak), (Arc, ArcWeak)])
@pytest.mark.parametrize("kind", [Vec, VecDeque, LinkedList])
def test_a_parent_that_children_own(runtime, rc, weak, kind):
    root = family(rc, weak, kind, rc)
    places = [root.address, root.value.children[0].address] if kind is not LinkedList else []
    del root
    gc.collect()
    leaks = find_leaks(runtime)
    rings = [leak for leak in leaks if leak.circle]
    assert {leak.owner for leak in rings} == {f"{rc.__name__}<Node>", f"{kind.__name__}<{rc.__name__}<Node>>"}
    assert all(len(leak.circle) == 3 for leak in rings)
    assert {leak.owner for leak in leaks if not leak.circle} == {"String"}, "what hangs on the cycle is not in it"
    if places:
        block = next(leak for leak in rings if leak.owner.startswith(kind.__name__)).block.address
        name, many = f"{rc.__name__}<Node>", f"{kind.__name__}<{rc.__name__}<Node>>"
        way = (
            f"{name} at {places[0]:#x} -> {many} at {block:#x} -> {name} at {places[1]:#x} -> {name} at {places[0]:#x}"
        )
        assert any(str(leak).endswith(f"keeps itself alive: {way}") for leak in rings)


@pytest.mark.parametrize(("rc", "weak"), [(Rc, Weak), (Arc, ArcWeak)])
@pytest.mark.parametrize("kind", [Vec, VecDeque, LinkedList])
def test_a_parent_that_children_know(heap, runtime, rc, weak, kind):
    root = family(rc, weak, kind, weak)
    del root
    gc.collect()
    assert find_leaks(runtime) == []


def test_a_weak_parent_is_no_cycle_even_if_the_tree_leaks(runtime):
    forget(family(Rc, Weak, Vec, Weak))
    assert len(find_leaks(runtime)) == 5 and not any(leak.circle for leak in find_leaks(runtime))


@pytest.mark.parametrize("kind", [HashMap, BTreeMap])
@pytest.mark.parametrize("others", [0, 40])
def test_a_cycle_through_a_map(runtime, kind, others):
    """With 40 others the BTreeMap has several nodes; the way leads through that with the pair only."""
    node = StructType("Node", table=Handle(kind, u32, Handle(Rc, lambda: node)))
    rc = Rc(node(table=kind(u32, Handle(Rc, node))))
    for number in range(others):
        rc.value.table.insert(number, Rc(node(table=kind(u32, Handle(Rc, node)))))
    rc.value.table.insert(1000, rc.clone())
    del rc
    rings = [leak for leak in find_leaks(runtime) if leak.circle]
    assert sorted(leak.owner.partition("<")[0] for leak in rings) == [kind.__name__, "Rc"]


@pytest.mark.parametrize("wrap", [Box, lambda rc: BoxedSlice([rc]), lambda rc: Vec.of([Vec.of([rc])])], ids="abc")
def test_a_cycle_through_boxes_and_nested_vecs(runtime, wrap):
    probe = wrap(Rc(1))
    kind, depth = type(probe), len(list(chain_of(probe)))
    inner = Handle(Rc, lambda: node)
    held = Handle(kind, Handle(Vec, inner)) if depth == 2 else Handle(kind, inner)
    node = StructType("Node", next=Option(Handle(Rc, lambda: cell)))
    cell = StructType("Cell", held=held)
    rc = Rc(node(next=None))
    rc.value.next = Rc(cell(held=wrap(rc.clone())))
    del rc, probe
    rings = [leak for leak in find_leaks(runtime) if leak.circle]
    assert len(rings) == 2 + depth and all(len(leak.circle) == 2 + depth for leak in rings)


def chain_of(value):
    """The blocks from a container down to its Rc."""
    while not isinstance(value, Rc):
        ((address, inside),) = value.holdings()
        yield address
        value = next(inside)


def test_a_word_that_looks_like_a_pointer_is_none(runtime):
    """The address of an Rc as a number owns nothing, and neither does a stale element behind a Vec's length."""
    node = StructType("Node", number=Handle(Vec, Handle(Rc, lambda: node)))
    rc = Rc(node(number=Vec(Handle(Rc, node))))
    rc.value.number.push(rc.clone())
    back = rc.value.number.pop()
    forget(back)
    del rc
    leaks = find_leaks(runtime)
    assert len(leaks) == 2 and not any(leak.circle for leak in leaks)


def test_many_leaks_without_a_cycle_are_judged_fast(runtime):
    node = StructType("Node", next=Option(Handle(Box, lambda: node)))
    first = None
    for _ in range(300):
        first = Box(node(next=first))
    forget(first)
    leaks = find_leaks(runtime)
    assert len(leaks) == 300 and not any(leak.circle for leak in leaks)


def test_a_forgotten_heap_of_rcs(runtime):
    heap = BinaryHeap.of([Rc(3), Rc(1), Rc(2)])
    assert heap.peek().value == 3
    forget(heap)
    assert sorted(leak.owner for leak in find_leaks(runtime)) == ["BinaryHeap<Rc<i32>>", *["Rc<i32>"] * 3]
