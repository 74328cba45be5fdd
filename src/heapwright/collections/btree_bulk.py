"""Appending one B tree to another, and splitting one in two, with Rust's requests.

`append` builds a new tree from both old ones. It takes their pairs in order and frees each old node when all pairs in
and below it are taken. So at most the nodes of the result and one old path are live at once.

`split_off` makes an empty tree of the same height, and moves to it, level by level, all that lies to the right of the
key. Then it fills or merges the nodes along the cut. Source: library/alloc/src/collections/btree (append.rs,
merge_iter.rs, split.rs, fix.rs). As in Rust, neither can be undone when memory runs out half-way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from heapwright.collections.btree import BTree, last_leaf
from heapwright.collections.btree_node import CAPACITY, MIN_PAIRS, Node
from heapwright.collections.owned import discard

Taken = tuple[Any, Any]  # a key and a value that were moved out of their node


def append(tree: BTree, other: BTree) -> None:
    """Move all pairs of another tree to this one; for equal keys, keep this tree's key and the other's value."""
    if len(other) == 0:
        return
    if len(tree) == 0:
        tree._swap_with(other)
        return
    pairs = merged(tree._pair.key.plain, dying(tree._root()), dying(other._root()))
    tree._store_tree(0, 0, 0)
    other._store_tree(0, 0, 0)
    tree._set_root(tree._new_node(0))
    push_sorted(tree, pairs)


def split_off(tree: BTree, other: BTree, key: Any) -> None:
    """Move the pairs from a key on to another, empty tree."""
    other._element = tree._element
    if len(tree) == 0:
        return
    wanted, left, count = tree._pair.key.plain(key), tree._root(), len(tree)
    right = other._new_pillar(left.height)
    other._set_root(right)
    move_right(tree, wanted, left, right)
    mend_border(tree, is_right=True)
    mend_border(other, is_right=False)
    moved = sum(1 for _ in other._pairs())
    tree._store_items(count - moved)
    other._store_items(moved)


# --- appending


def dying(node: Node) -> Iterator[Taken]:
    """Move all pairs of a tree out, and free each node before the first pair beyond it."""
    for index in range(node.length + 1):
        if node.height:
            yield from dying(node.edge(index))
        if index < node.length:
            pair = node.take_pair(index)
            yield pair["key"], pair["value"]
    node.runtime.dealloc(node.address)


def merged(plain: Any, left: Iterator[Taken], right: Iterator[Taken]) -> Iterator[Taken]:
    """The pairs of both trees in order."""
    a, b = next(left, None), next(right, None)
    while a is not None or b is not None:
        if b is None or (a is not None and plain(a[0]) < plain(b[0])):
            assert a is not None
            yield a
            a = next(left, None)
        elif a is None or plain(b[0]) < plain(a[0]):
            yield b
            b = next(right, None)
        else:
            discard([a[1], b[0]])
            yield a[0], b[1]
            a, b = next(left, None), next(right, None)


def push_sorted(tree: BTree, pairs: Iterator[Taken]) -> None:
    """Add pairs at the end; fill each node before the next one."""
    leaf, items = last_leaf(tree._root()), len(tree)
    for pair in pairs:
        if leaf.length == CAPACITY:
            node = open_ancestor(tree, leaf)
            child = tree._new_pillar(node.height - 1)
            node.push(*pair, child)
            leaf = last_leaf(child)
        else:
            leaf.push(*pair)
        items += 1
        tree._store_items(items)
    fill_right_border(tree._root())


def open_ancestor(tree: BTree, node: Node) -> Node:
    """The lowest node above another one that has room for a pair; a new root if there is none."""
    while node.parent is not None:
        node = node.parent[0]
        if node.length < CAPACITY:
            return node
    root = tree._new_node(node.height + 1)
    tree._grow_root(root)
    return root


def fill_right_border(node: Node) -> None:
    """Give the last child of each node on the right border enough pairs; its neighbour has plenty."""
    while node.height:
        last = node.length - 1
        while node.edge(last + 1).length < MIN_PAIRS:
            node.steal_left(last)
        node = node.edge(last + 1)


# --- splitting


def move_right(tree: BTree, wanted: Any, left: Node, right: Node) -> None:
    """Move all that is not less than a key to the empty nodes of another tree, from the root down."""
    plain = tree._pair.key.plain
    while True:
        length = left.length
        index = sum(1 for each in range(length) if plain(left.key(each, tree)) < wanted)
        right.copy_pairs(0, left, index, length - index)
        right.copy_edges(1, left, index + 1, length - index)
        left.length, right.length = index, length - index
        if left.height == 0:
            return
        left, right = left.edge(index), right.edge(0)


def mend_border(tree: BTree, *, is_right: bool) -> None:
    """Fill or merge the nodes along the border of a cut tree, and drop roots without pairs."""
    tree._drop_empty_roots()
    node = tree._root()
    while node.height and node.length:
        at = node.length - 1 if is_right else 0
        if node.edge(at).length + 1 + node.edge(at + 1).length <= CAPACITY:
            tree.runtime.dealloc(node.merge(at).address)
            node = node.edge(at)
            continue
        border = node.edge(at + 1 if is_right else at)
        while border.length < MIN_PAIRS + 1:  # one to spare, in case its own children merge
            (node.steal_left if is_right else node.steal_right)(at)
        node = border
    tree._drop_empty_roots()
