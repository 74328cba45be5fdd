"""BTreeMap: pairs in the order of their keys, in nodes of 5 to 11, as many as Rust's has and splits and merges.

Its words are the address and the height of the root, and how many pairs there are. It has no block before the first
insertion; the first leaf stays until the map is dropped. Source: library/alloc/src/collections/btree (search.rs,
node.rs, fix.rs, remove.rs). Unlike there, the full parents of a full node are split before it, from the top down, once
there is a new node for each of them: without memory, the map is as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from heapwright.collections.btree_node import CAPACITY, LEAST, Layout, Node, layout_of, middle_for
from heapwright.collections.errors import OutOfMemory
from heapwright.collections.map import Map
from heapwright.collections.string import String
from heapwright.collections.types import Type

ROOT, HEIGHT, ITEMS = 0, 1, 2


class BTreeMap(Map):
    """`BTreeMap()` takes its types from the first pair, `BTreeMap(u32, u32)` is told. Keys have an order in Python."""

    WORDS = 3
    __slots__ = ()

    def __init__(self, key: Type | None = None, value: Type | None = None):
        super().__init__(key, value, 0, 0, 0)

    def __len__(self) -> int:
        return self._load(ITEMS)

    def insert(self, key: Any, value: Any) -> None:
        """Add a pair, or replace the value of a key that is there."""
        self._learn_types(key, value)
        if not self._load(ROOT):
            self._set_root(self._new_node(0))
        node, index, is_there = self._search(key)
        if is_there:
            self._replace(node.value_place(index), value)
        else:
            self._insert_at(*self._make_room(node, index), key, value)

    def remove(self, key: Any) -> bool:
        """Drop a pair; say whether there was one."""
        place = self._find(key)
        if place is None:
            return False
        node, index = place
        node.drop_pair(index)
        if node.height:
            leaf = last_leaf(node.edge(index))
            node.copy_pairs(index, leaf, leaf.length - 1)
            node, index = leaf, leaf.length - 1
        node.close(index, index)
        self._refill(node)
        self._store(ITEMS, len(self) - 1)
        return True

    def items(self) -> Iterator[tuple[Any, Any]]:
        """The pairs in the order of their keys."""
        if self._load(ROOT):
            for node, index in places(self._root()):
                yield node.key(index, self), node.value(index, self)

    # --- finding

    def _find(self, key: Any) -> tuple[Node, int] | None:
        if not self._load(ROOT):
            return None
        node, index, is_there = self._search(key)
        return (node, index) if is_there else None

    def _value(self, place: tuple[Node, int]) -> Any:
        node, index = place
        return node.value(index, self)

    def _search(self, key: Any) -> tuple[Node, int, bool]:
        """The place of a key, and that it is there; or the place in a leaf where it would be."""
        node, wanted = self._root(), order_of(key)
        while True:
            index, length = 0, node.length
            while index < length and order_of(node.key(index, self)) < wanted:
                index += 1
            if index < length and order_of(node.key(index, self)) == wanted:
                return node, index, True
            if node.height == 0:
                return node, index, False
            node = node.edge(index)

    # --- inserting

    def _insert_at(self, leaf: Node, index: int, key: Any, value: Any) -> None:
        leaf.open(index, index)
        try:
            leaf.write_pair(index, key, value)
        except Exception:
            leaf.close(index, index)
            raise
        self._store(ITEMS, len(self) + 1)

    def _replace(self, place: int, value: Any) -> None:
        kind = self._layout.value
        kind.drop(self.runtime, place)
        kind.write(self.runtime, place, value)

    def _make_room(self, leaf: Node, index: int) -> tuple[Node, int]:
        """Where a pair can be inserted that belongs at that index of a leaf: it is split if it is full."""
        full = full_nodes(leaf, index)
        if not full:
            return leaf, index
        fresh = self._new_nodes(full)
        if len(fresh) > len(full):
            self._grow_root(fresh.pop())
        middle, right = 0, leaf
        while full:
            (node, place), right = full.pop(), fresh.pop()
            middle = middle_for(place)
            node.split(middle, right)
        return (leaf, index) if index <= middle else (right, index - middle - 1)

    def _new_nodes(self, full: list[tuple[Node, int]]) -> list[Node]:
        """A node for each that is to be split, and if the root is one of them, a new root."""
        heights = range(len(full) + (len(full) > self._load(HEIGHT)))
        made: list[Node] = []
        try:
            made.extend(self._new_node(height) for height in heights)
        except OutOfMemory:
            for node in made:
                self.runtime.dealloc(node.address)
            raise
        return made

    def _grow_root(self, root: Node) -> None:
        root.set_edge(0, self._root())
        self._set_root(root)

    # --- removing

    def _refill(self, node: Node) -> None:
        """Give a node as many pairs as it must have: one of a sibling's, or all of them; then its parent is next."""
        while node.length < LEAST and node.parent is not None:
            parent, index = node.parent
            at = max(index - 1, 0)
            if parent.edge(at).length + 1 + parent.edge(at + 1).length <= CAPACITY:
                self.runtime.dealloc(parent.merge(at).address)
            elif index:
                parent.steal_left(at)
            else:
                parent.steal_right(at)
            node = parent
        if node.length == 0 and node.height:
            self._shrink_root(node)

    def _shrink_root(self, root: Node) -> None:
        """A root without pairs gives way to its only child."""
        child = root.edge(0)
        self.runtime.dealloc(root.address)
        self._set_root(child)

    # --- the nodes

    @property
    def _layout(self) -> Layout:
        return layout_of(self._pair_type)

    def _root(self) -> Node:
        return Node(self._layout, self.runtime, self._load(ROOT), self._load(HEIGHT))

    def _set_root(self, root: Node) -> None:
        root.leave_parent()
        self._store(ROOT, root.address)
        self._store(HEIGHT, root.height)

    def _new_node(self, height: int) -> Node:
        struct = self._layout.struct(height)
        address = self.runtime.alloc(struct.size, struct.align, self.type_name)
        return Node(self._layout, self.runtime, address, height).begin()

    def _release(self) -> None:
        if self._load(ROOT):
            self._free(self._root())

    def _free(self, node: Node) -> None:
        for index in range(node.length + 1):
            if node.height:
                self._free(node.edge(index))
            if index < node.length:
                node.drop_pair(index)
        self.runtime.dealloc(node.address)


def places(node: Node) -> Iterator[tuple[Node, int]]:
    """All pairs of a tree in order, each by its node and its index."""
    for index in range(node.length + 1):
        if node.height:
            yield from places(node.edge(index))
        if index < node.length:
            yield node, index


def last_leaf(node: Node) -> Node:
    while node.height:
        node = node.edge(node.length)
    return node


def full_nodes(leaf: Node, index: int) -> list[tuple[Node, int]]:
    """A leaf, its parent and so on, as long as they are full; each with the index at which something is to come in."""
    full = []
    place: tuple[Node, int] | None = (leaf, index)
    while place is not None and place[0].length == CAPACITY:
        full.append(place)
        place = place[0].parent
    return full


def order_of(key: Any) -> Any:
    """What is compared: a String is its text, and texts go by their code points, as their bytes in UTF-8 do."""
    return str(key) if isinstance(key, String) else key
