"""BTree: pairs in the order of their keys, in nodes of 5 to 11 pairs, which split and merge as Rust's do.

Its words are the address and the height of the root, and the number of pairs. It has no block before the first
insertion; the first leaf stays until the map is dropped or cleared. Source: library/alloc/src/collections/btree
(search.rs, node.rs, fix.rs, remove.rs). Unlike in Rust, the full parents of a full node are split before it, from the
top down, after a new node was allocated for each: without memory, the map is unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

from heapwright.collections.btree_node import CAPACITY, MIN_PAIRS, Node, NodeLayout, layout_of, middle_for
from heapwright.collections.errors import OutOfMemory
from heapwright.collections.map import Pair, Table
from heapwright.collections.owned import discard
from heapwright.collections.runtime import Holdings
from heapwright.collections.structs import StructValue, by_value

ROOT, HEIGHT, ITEMS = 0, 1, 2


class BTree(Table):
    """The common base of BTreeMap and BTreeSet. Python's order of the keys must be Rust's.

    insert, entry, extend   a leaf at first; later a node for each full node, and one more if the root is full
    remove, pop, retain     frees each node that merges into its neighbour; the last leaf stays
    clear()                 frees all nodes
    clone()                 one request for each node; an empty map has none
    append(other)           new nodes, and a free for each old one of both
    split_off(k)            an empty tree of the same height, and a free for each node that merges
    """

    WORDS = 3
    __slots__ = ()

    def __init__(self, pair: Pair | None):
        super().__init__(pair, 0, 0, 0)

    def __len__(self) -> int:
        return self._load(ITEMS)

    def clear(self) -> None:
        """Drop all pairs and free all nodes."""
        self._release()
        self._store_tree(0, 0, 0)

    def _clone_into(self, twin: Self) -> Self:
        """Fill a new tree with clones of all pairs."""
        twin._element = self._element
        if len(self):
            root = twin._clone_node(self._root())
            twin._store_tree(root.address, root.height, len(self))
        return twin

    def holdings(self) -> Holdings:
        if self._load(ROOT):
            for node in nodes_below(self._root()):
                yield node.address, node.containers()

    def _pairs(self) -> Iterator[tuple[Any, Any]]:
        if self._load(ROOT):
            for node, index in places(self._root()):
                yield node.key(index, self), node.value(index, self)

    def _insert(self, key: Any, value: Any) -> tuple[tuple[Node, int], list[Any] | None]:
        key, value = by_value(key), by_value(value)
        if not self._load(ROOT):
            self._set_root(self._new_node(0))
        node, index, is_there = self._search(self._pair.key.plain(key))
        if not is_there:
            node, index = self._make_room(node, index)
            self._insert_at(node, index, key, value)
            return (node, index), None
        self._pair.value.require(value)
        discard(key)
        place = node.value_place(index)
        old = self._pair.value.take(self.runtime, place)
        self._pair.value.write(self.runtime, place, value)
        return (node, index), [old]

    def _take(self, key: Any) -> StructValue | None:
        place = self._find(key)
        return None if place is None else self._take_at(*place)

    def _take_at(self, node: Node, index: int) -> StructValue:
        """Move a pair out; in a node above the leaves, the last pair before it in a leaf takes its place."""
        taken = StructValue(self._pair, node.take_pair(index))
        if node.height:
            leaf = last_leaf(node.edge(index))
            node.copy_pairs(index, leaf, leaf.length - 1)
            node, index = leaf, leaf.length - 1
        node.close(index, index)
        self._refill(node)
        self._store(ITEMS, len(self) - 1)
        return taken

    def _retain(self, keeps: Callable[[Any, Any], bool]) -> None:
        kind = self._element and self._pair.key
        for wanted in [kind.plain(key) for key, _ in self._pairs()] if kind else ():
            node, index, _ = self._search(wanted)
            if not keeps(node.key(index, self), node.value(index, self)):
                taken = self._take_at(node, index)
                discard([taken.key, taken.value])

    # --- finding

    def _find(self, key: Any) -> tuple[Node, int] | None:
        if not self._load(ROOT):
            return None
        node, index, is_there = self._search(self._pair.key.plain(key))
        return (node, index) if is_there else None

    def _address(self, place: tuple[Node, int]) -> int:
        node, index = place
        return node.value_place(index)

    def _search(self, wanted: Any) -> tuple[Node, int, bool]:
        """The place of a key and True; or the place in a leaf where it would be and False."""
        node, plain = self._root(), self._pair.key.plain
        while True:
            index, length = 0, node.length
            while index < length and plain(node.key(index, self)) < wanted:
                index += 1
            if index < length and plain(node.key(index, self)) == wanted:
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

    def _make_room(self, leaf: Node, index: int) -> tuple[Node, int]:
        """The place to insert a pair that belongs at an index of a leaf; a full leaf is split first."""
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
        """A new node for each node to split, and a new root if the root is one of them."""
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
        """Refill a node that has too few pairs: steal one from a sibling, or merge with it and go on to the parent."""
        while node.length < MIN_PAIRS and node.parent is not None:
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
        """Replace a root without pairs by its only child."""
        child = root.edge(0)
        self.runtime.dealloc(root.address)
        self._set_root(child)

    # --- the nodes

    @property
    def _layout(self) -> NodeLayout:
        return layout_of(self._pair)

    def _root(self) -> Node:
        return Node(self._layout, self.runtime, self._load(ROOT), self._load(HEIGHT))

    def _set_root(self, root: Node) -> None:
        root.leave_parent()
        self._store(ROOT, root.address)
        self._store(HEIGHT, root.height)

    def _store_tree(self, root: int, height: int, items: int) -> None:
        for index, word in enumerate((root, height, items)):
            self._store(index, word)

    def _store_items(self, items: int) -> None:
        self._store(ITEMS, items)

    def _swap_with(self, other: Self) -> None:
        mine, its = ([tree._load(index) for index in range(self.WORDS)] for tree in (self, other))
        self._store_tree(*its)
        other._store_tree(*mine)
        self._element, other._element = other._element, self._element

    def _new_pillar(self, height: int) -> Node:
        """An empty leaf and `height` nodes without pairs above it, each with the one below as its only child."""
        node = self._new_node(0)
        for level in range(1, height + 1):
            parent = self._new_node(level)
            parent.set_edge(0, node)
            node = parent
        return node

    def _drop_empty_roots(self) -> None:
        """Replace roots without pairs by their only child; a leaf stays."""
        while self._load(HEIGHT) and self._root().length == 0:
            self._shrink_root(self._root())

    def _new_node(self, height: int) -> Node:
        struct = self._layout.struct(height)
        address = self.runtime.alloc(struct.size, struct.align, self.type_name)
        return Node(self._layout, self.runtime, address, height).begin()

    def _clone_node(self, node: Node) -> Node:
        """Clone a node of another tree and all nodes below: the first child, then the node, then pairs and children."""
        first = self._clone_node(node.edge(0)) if node.height else None
        twin = self._new_node(node.height)
        if first:
            twin.set_edge(0, first)
        for index in range(node.length):
            pair = node.clone_pair(index)
            if node.height:
                twin.set_edge(index + 1, self._clone_node(node.edge(index + 1)))
            twin.write_pair(index, *pair)
            twin.length = index + 1
        return twin

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
    """All pairs of a tree in order, each as its node and index."""
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
    """A leaf, its parent and so on, as long as they are full; each with the index for the insertion."""
    full = []
    place: tuple[Node, int] | None = (leaf, index)
    while place is not None and place[0].length == CAPACITY:
        full.append(place)
        place = place[0].parent
    return full


def nodes_below(node: Node) -> Iterator[Node]:
    """A node and all nodes below it."""
    yield node
    if node.height:
        for index in range(node.length + 1):
            yield from nodes_below(node.edge(index))
