"""Rc and Weak: the counts, when value and memory go, and the circles that a leak report names."""

import pytest

from heapwright.collections import Handle, Option, Rc, String, StructType, Weak, drop, forget, i32, u8, u64
from heapwright.collections.leaks import find_leaks

NODE = StructType("Node", value=i32, next=Option(Handle(Rc, lambda: NODE)), back=Option(Handle(Weak, lambda: NODE)))


def node(value, next=None, back=None):
    return Rc(NODE(value=value, next=next, back=back))


@pytest.mark.parametrize(("value", "kind"), [(7, u8), (7, u64), (7, None)])
def test_the_block_is_24_at_8(requests, value, kind):
    rc = Rc(value, kind)
    assert rc.value == 7 and requests == ["24@8"]


def test_counts_lie_in_the_heap(heap, requests):
    rc = Rc(7)
    twin, weak = rc.clone(), rc.downgrade()
    assert (rc.strong_count, rc.weak_count) == (2, 1)
    assert [heap.user.load(rc.address + offset, 8) for offset in (0, 8)] == [2, 2]
    drop(rc)
    assert twin.value == 7 and requests == ["24@8"]
    again = weak.upgrade()
    assert twin.strong_count == 2
    drop(again)
    drop(weak)
    drop(twin)
    assert requests == ["24@8", "free 24@8"]


def test_a_weak_keeps_the_memory_but_not_the_value(heap, requests):
    rc = Rc(String("x"))
    weak = rc.downgrade()
    other = weak.clone()
    drop(rc)
    assert requests.taken() == ["1@1", "40@8", "free 1@1"]
    assert weak.upgrade() is None
    drop(weak)
    assert requests == []
    drop(other)
    assert requests == ["free 40@8"]


def test_a_weak_of_nothing(requests):
    weak = Weak()
    assert weak.upgrade() is None and weak.clone().upgrade() is None
    drop(weak)
    assert requests == []


def test_a_circle_leaks_and_is_named(heap, runtime):
    first = node(1)
    second = node(2, next=first.clone())
    first.value.next = second.clone()
    third = node(3, next=first.clone())
    forget(third)
    places = first.address, second.address
    del first, second
    leaks = {leak.block.address: leak for leak in find_leaks(runtime)}
    assert len(leaks) == 3
    first_leak, second_leak = (leaks[place] for place in places)
    assert [link.block.address for link in first_leak.circle] == list(places)
    assert [link.block.address for link in second_leak.circle] == list(reversed(places))
    only = next(leak for place, leak in leaks.items() if place not in places)
    assert only.circle == ()
    way = " -> ".join(f"Rc<Node> at {place:#x}" for place in (*places, places[0]))
    assert str(first_leak).startswith(f"Rc<Node>, 40 bytes at {places[0]:#x}, allocated at test_rc.py:")
    assert str(first_leak).endswith(f"keeps itself alive: {way}")


def test_an_rc_that_owns_itself(runtime):
    rc = node(1)
    rc.value.next = rc.clone()
    del rc
    (leak,) = find_leaks(runtime)
    assert len(leak.circle) == 1


def test_a_weak_breaks_the_circle(heap, runtime):
    first = node(1)
    second = node(2, back=first.downgrade())
    first.value.next = second
    assert first.value.next.value.back.upgrade().value.value == 1
    del first, second
    assert find_leaks(runtime) == []
