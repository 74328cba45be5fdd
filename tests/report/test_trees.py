"""Trees of call stacks."""

import numpy as np
import pytest

from heapwright.report.trees import MAX_DEPTH, bottom_up, top_down
from heapwright.traces.stacks import Frame, Stacks

A, B, C, D = (Frame(name) for name in "abcd")


def made(*weighted):
    stacks = Stacks()
    numbers = [stacks.add(frames) for frames, _ in weighted]
    values = np.zeros(len(stacks), np.int64)
    np.add.at(values, numbers, [value for _, value in weighted])
    return stacks, values


def told(node, stacks):
    name = stacks.frames[node.frame].function if node.frame >= 0 else ""
    return name, node.value, node.own, [told(child, stacks) for child in node.children]


def test_top_down_begins_at_the_outermost_frame():
    stacks, values = made(([C, B, A], 60), ([B, A], 30), ([D, A], 10))
    tree = told(top_down(stacks, values), stacks)
    assert tree == ("", 100, 0, [("a", 100, 0, [("b", 90, 30, [("c", 60, 60, [])]), ("d", 10, 10, [])])])


def test_bottom_up_begins_at_the_innermost_frame():
    stacks, values = made(([C, B, A], 60), ([C, D, A], 25), ([C], 15))
    tree = told(bottom_up(stacks, values), stacks)
    assert tree == (
        "",
        100,
        0,
        [("c", 100, 15, [("b", 60, 0, [("a", 60, 60, [])]), ("d", 25, 0, [("a", 25, 25, [])])])],
    )


def test_what_is_too_small_has_no_node():
    stacks, values = made(([B, A], 999), ([C, A], 1))
    assert told(top_down(stacks, values), stacks)[3] == [("a", 1000, 0, [("b", 999, 999, [])])]
    assert [node[0] for node in told(bottom_up(stacks, values), stacks)[3]] == ["b"]


@pytest.mark.parametrize("tree", [top_down, bottom_up])
def test_deep_recursion_ends(tree):
    stacks, values = made(([A] * 5000, 7))
    node, depth = tree(stacks, values), 0
    while node.children:
        (node,), depth = node.children, depth + 1
    assert (depth, node.own) == (MAX_DEPTH, 7)


def test_unknown_callers_are_the_roots_own():
    stacks, values = made(([], 5), ([A], 5))
    assert told(top_down(stacks, values), stacks)[:2] == ("", 10)
    assert told(bottom_up(stacks, values), stacks)[3] == [("a", 5, 5, [])]
