"""The nodes of a BTreeMap, laid out as in Rust, and moves of pairs and children between them.

      leaf -> +------------+                     internal node -> +----------+
            0 | parent     |  an internal node, or 0            0 | a leaf   |
              | 11 keys    |                                      +----------+
              | 11 values  |  the first `length` of each          | 12 edges |  children: one more than it has pairs
              | index      |  which of the parent's children      +----------+
              | length     |
              +------------+  keys, values and the two of 16 bits in the order that leaves the fewest gaps

Source: library/alloc/src/collections/btree/node.rs, with B = 6. A node does not store its kind. Its height gives it,
which is 0 for a leaf; the map stores the height of the root.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from heapwright.collections.runtime import Container, Runtime
from heapwright.collections.structs import StructType
from heapwright.collections.types import ArrayType, u16, u64

B = 6
CAPACITY = 2 * B - 1  # pairs in a node
MIN_PAIRS = B - 1  # pairs in a node that is not the root


class NodeLayout:
    """The two structs of the nodes of one type of map, and the offsets of their fields."""

    def __init__(self, pair: StructType):
        self.key, self.value = pair.fields["key"], pair.fields["value"]
        keys, values = ArrayType(self.key, CAPACITY), ArrayType(self.value, CAPACITY)
        self.leaf = StructType("LeafNode", parent=u64, keys=keys, values=values, index=u16, length=u16)
        self.internal = StructType("InternalNode", leaf=self.leaf, edges=ArrayType(u64, CAPACITY + 1))

    def struct(self, height: int) -> StructType:
        return self.internal if height else self.leaf


@lru_cache
def layout_of(pair: StructType) -> NodeLayout:
    return NodeLayout(pair)


class Node:
    """One node in memory. It has `length` pairs, and one edge more than pairs; indices start at 0."""

    def __init__(self, layout: NodeLayout, runtime: Runtime, address: int, height: int):
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
        """Make new memory an empty node without a parent."""
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

    def take_pair(self, index: int) -> dict[str, Any]:
        """Move a pair out."""
        return {
            "key": self.layout.key.take(self.runtime, self.key_place(index)),
            "value": self.layout.value.take(self.runtime, self.value_place(index)),
        }

    def clone_pair(self, index: int) -> tuple[Any, Any]:
        """Clones of the key and the value of a pair."""
        key = self.layout.key.clone(self.runtime, self.key_place(index))
        return key, self.layout.value.clone(self.runtime, self.value_place(index))

    def containers(self) -> Iterator[Container]:
        """The containers among the keys and values."""
        for index in range(self.length):
            yield from self.layout.key.containers(self.runtime, self.key_place(index))
            yield from self.layout.value.containers(self.runtime, self.value_place(index))

    def write_pair(self, index: int, key: Any, value: Any) -> None:
        self.layout.key.write(self.runtime, self.key_place(index), key)
        self.layout.value.write(self.runtime, self.value_place(index), value)

    def copy_pairs(self, at: int, source: Node, first: int, count: int = 1) -> None:
        """Copy pairs of a node, possibly this one, to the places from `at` on."""
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
        """Copy edges in the same way, and make this node the parent of their children; leaves have none."""
        if self.height:
            for index, child in enumerate([source.edge(first + step) for step in range(count)], at):
                self.set_edge(index, child)

    def push(self, key: Any, value: Any, child: Node | None = None) -> None:
        """Append a pair and, unless the node is a leaf, the child behind it."""
        length = self.length
        self.write_pair(length, key, value)
        if child is not None:
            self.set_edge(length + 1, child)
        self.length = length + 1

    # --- steps of insertion and removal

    def open(self, index: int, edge: int) -> None:
        """Make room for a pair and for an edge."""
        length = self.length
        self.copy_pairs(index + 1, self, index, length - index)
        self.copy_edges(edge + 1, self, edge, length + 1 - edge)
        self.length = length + 1

    def close(self, index: int, edge: int) -> None:
        """Move the pairs behind one up to its place, and the edges behind one."""
        length = self.length
        self.copy_pairs(index, self, index + 1, length - index - 1)
        self.copy_edges(edge, self, edge + 1, length - edge)
        self.length = length - 1

    def split(self, middle: int, right: Node) -> None:
        """Move all that is behind a pair to a new node, and the pair to the parent, which has room."""
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
        """Move the pair of an index and all of its right child to its left child; return the right child, empty."""
        left, right = self.edge(at), self.edge(at + 1)
        before, count = left.length, right.length
        left.copy_pairs(before, self, at)
        left.copy_pairs(before + 1, right, 0, count)
        left.copy_edges(before + 1, right, 0, count + 1)
        left.length = before + 1 + count
        self.close(at, at + 1)
        return right

    def steal_left(self, at: int) -> None:
        """Move the last pair of the left child up to an index, and the pair there to the right child."""
        left, right = self.edge(at), self.edge(at + 1)
        last = left.length - 1
        right.open(0, 0)
        right.copy_pairs(0, self, at)
        self.copy_pairs(at, left, last)
        right.copy_edges(0, left, last + 1)
        left.length = last

    def steal_right(self, at: int) -> None:
        """Move the first pair of the right child up to an index, and the pair there to the left child."""
        left, right = self.edge(at), self.edge(at + 1)
        before = left.length
        left.copy_pairs(before, self, at)
        self.copy_pairs(at, right, 0)
        left.copy_edges(before + 1, right, 0)
        left.length = before + 1
        right.close(0, 0)


def middle_for(index: int) -> int:
    """The pair of a full node to move up before an insertion at an index; both halves then have at least MIN_PAIRS."""
    if index < MIN_PAIRS:
        return MIN_PAIRS - 1
    return MIN_PAIRS if index <= B else B
