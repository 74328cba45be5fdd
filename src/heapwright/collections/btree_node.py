"""The nodes of a BTreeMap, laid out as in Rust, and what moves pairs and children between them.

      leaf -> +------------+                     internal node -> +----------+
            0 | parent     |  an internal node, or 0            0 | a leaf   |
              | 11 keys    |                                      +----------+
              | 11 values  |  the first `length` of each          | 12 edges |  children: one more than it has pairs
              | index      |  which of the parent's children      +----------+
              | length     |
              +------------+  keys, values and the two of 16 bits in the order that leaves the fewest gaps

Source: library/alloc/src/collections/btree/node.rs, with B = 6. A node does not say of which kind it is: its height
does, which is 0 for a leaf, and which the map knows of its root.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from heapwright.collections.runtime import Runtime
from heapwright.collections.types import Array, Struct, u16, u64

B = 6
CAPACITY = 2 * B - 1  # pairs in a node
LEAST = B - 1  # pairs in a node that is not the root


class Layout:
    """The two structs of the nodes of one type of map, and where the fields are."""

    def __init__(self, pair: Struct):
        self.key, self.value = pair.fields["key"], pair.fields["value"]
        keys, values = Array(self.key, CAPACITY), Array(self.value, CAPACITY)
        self.leaf = Struct("LeafNode", parent=u64, keys=keys, values=values, index=u16, length=u16)
        self.internal = Struct("InternalNode", leaf=self.leaf, edges=Array(u64, CAPACITY + 1))

    def struct(self, height: int) -> Struct:
        return self.internal if height else self.leaf


@lru_cache
def layout_of(pair: Struct) -> Layout:
    return Layout(pair)


class Node:
    """One node in memory. Indices of pairs are from 0 to `length`, those of edges one more."""

    def __init__(self, layout: Layout, runtime: Runtime, address: int, height: int):
        self.layout, self.runtime, self.address, self.height = layout, runtime, address, height

    def _field(self, name: str) -> int:
        return self.address + self.layout.leaf.offsets[name]

    @property
    def length(self) -> int:
        return self.runtime.memory.load(self._field("length"), 2)

    @length.setter
    def length(self, length: int) -> None:
        self.runtime.memory.store(self._field("length"), 2, length)

    def begin(self) -> Node:
        """Make a node of new memory: empty, and nobody's child."""
        self.leave_parent()
        self.length = 0
        return self

    # --- pairs

    def key_place(self, index: int) -> int:
        return self._field("keys") + index * self.layout.key.size

    def value_place(self, index: int) -> int:
        return self._field("values") + index * self.layout.value.size

    def key(self, index: int, owner: object) -> Any:
        return self.layout.key.read(self.runtime, self.key_place(index), owner)

    def value(self, index: int, owner: object) -> Any:
        return self.layout.value.read(self.runtime, self.value_place(index), owner)

    def drop_pair(self, index: int) -> None:
        self.layout.key.drop(self.runtime, self.key_place(index))
        self.layout.value.drop(self.runtime, self.value_place(index))

    def write_pair(self, index: int, key: Any, value: Any) -> None:
        self.layout.key.write(self.runtime, self.key_place(index), key)
        self.layout.value.write(self.runtime, self.value_place(index), value)

    def copy_pairs(self, at: int, source: Node, first: int, count: int = 1) -> None:
        """Copy pairs of a node, perhaps this one, to the places from `at` on."""
        copy = self.runtime.memory.copy
        copy(self.key_place(at), source.key_place(first), count * self.layout.key.size)
        copy(self.value_place(at), source.value_place(first), count * self.layout.value.size)

    # --- children and parent

    @property
    def parent(self) -> tuple[Node, int] | None:
        """The parent and the index of the edge to this node; None for the root."""
        memory = self.runtime.memory
        address = memory.load(self._field("parent"), 8)
        if address == 0:
            return None
        return Node(self.layout, self.runtime, address, self.height + 1), memory.load(self._field("index"), 2)

    def leave_parent(self) -> None:
        self.runtime.memory.store(self._field("parent"), 8, 0)

    def _edge_place(self, index: int) -> int:
        return self.address + self.layout.internal.offsets["edges"] + index * u64.size

    def edge(self, index: int) -> Node:
        address = self.runtime.memory.load(self._edge_place(index), 8)
        return Node(self.layout, self.runtime, address, self.height - 1)

    def set_edge(self, index: int, child: Node) -> None:
        memory = self.runtime.memory
        memory.store(self._edge_place(index), 8, child.address)
        memory.store(child._field("parent"), 8, self.address)
        memory.store(child._field("index"), 2, index)

    def copy_edges(self, at: int, source: Node, first: int, count: int = 1) -> None:
        """The same for edges, whose children get this node for a parent; leaves have none."""
        if self.height:
            for index, child in enumerate([source.edge(first + step) for step in range(count)], at):
                self.set_edge(index, child)

    # --- steps of insertion and removal

    def open(self, index: int, edge: int) -> None:
        """Make room for a pair, and for an edge."""
        length = self.length
        self.copy_pairs(index + 1, self, index, length - index)
        self.copy_edges(edge + 1, self, edge, length + 1 - edge)
        self.length = length + 1

    def close(self, index: int, edge: int) -> None:
        """Let the pairs behind one move up to its place, and the edges behind one."""
        length = self.length
        self.copy_pairs(index, self, index + 1, length - index - 1)
        self.copy_edges(edge, self, edge + 1, length - edge)
        self.length = length - 1

    def split(self, middle: int, right: Node) -> None:
        """Move what is behind a pair to a new node, and the pair to the parent, which has room."""
        assert self.parent is not None
        (parent, at), count = self.parent, self.length - middle - 1
        right.copy_pairs(0, self, middle + 1, count)
        right.copy_edges(0, self, middle + 1, count + 1)
        right.length = count
        parent.open(at, at + 1)
        parent.copy_pairs(at, self, middle)
        parent.set_edge(at + 1, right)
        self.length = middle

    def merge(self, at: int) -> Node:
        """Move the pair of an index, and all that its right child has, to its left one; return the right one, empty."""
        left, right = self.edge(at), self.edge(at + 1)
        before, count = left.length, right.length
        left.copy_pairs(before, self, at)
        left.copy_pairs(before + 1, right, 0, count)
        left.copy_edges(before + 1, right, 0, count + 1)
        left.length = before + 1 + count
        self.close(at, at + 1)
        return right

    def steal_left(self, at: int) -> None:
        """Move the last pair of a left child up to an index, and the pair there to the right one."""
        left, right = self.edge(at), self.edge(at + 1)
        last = left.length - 1
        right.open(0, 0)
        right.copy_pairs(0, self, at)
        self.copy_pairs(at, left, last)
        right.copy_edges(0, left, last + 1)
        left.length = last

    def steal_right(self, at: int) -> None:
        """The same the other way."""
        left, right = self.edge(at), self.edge(at + 1)
        before = left.length
        left.copy_pairs(before, self, at)
        self.copy_pairs(at, right, 0)
        left.copy_edges(before + 1, right, 0)
        left.length = before + 1
        right.close(0, 0)


def middle_for(index: int) -> int:
    """Which pair of a full node goes up if another is to come to an index: both halves have LEAST then, at least."""
    if index < LEAST:
        return LEAST - 1
    return LEAST if index <= B else B
