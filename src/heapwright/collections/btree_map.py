"""BTreeMap and BTreeSet: pairs in the order of their keys, in the nodes of Rust's B tree (see `btree`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

from heapwright.collections.btree import BTree, last_leaf
from heapwright.collections.btree_bulk import append, split_off
from heapwright.collections.map import Map, Set, pair_of
from heapwright.collections.structs import StructValue
from heapwright.collections.types import Type, unit


class BTreeMap(Map, BTree):
    """Rust's BTreeMap<K, V>. `BTreeMap()` takes its types from the first pair, `BTreeMap(u32, u32)` sets them.

    Its requests are those of `BTree`.
    """

    __slots__ = ()

    def __init__(self, key: Type | None = None, value: Type | None = None):
        super().__init__(pair_of(key, value) if key and value else None)

    def append(self, other: Self) -> None:
        """Move all pairs of another map here, into new nodes; the old nodes of both are freed."""
        append(self, other)

    def split_off(self, key: Any) -> Self:
        """Move the pairs from a key on to a new map."""
        other = type(self)()
        split_off(self, other, key)
        return other

    def clone(self) -> Self:
        """Another map with clones of all pairs, in its own nodes."""
        return self._clone_into(type(self)())

    def pop_first(self) -> tuple[Any, Any] | None:
        """Remove and return the pair with the least key; None if there is none."""
        return as_tuple(take_first(self))

    def pop_last(self) -> tuple[Any, Any] | None:
        """Remove and return the pair with the greatest key; None if there is none."""
        return as_tuple(take_last(self))

    def range(self, first: Any, end: Any) -> Iterator[tuple[Any, Any]]:
        """The pairs whose keys are at least `first` and less than `end`."""
        plain = self._pair.key.plain
        low, high = plain(first), plain(end)
        return ((key, value) for key, value in self._pairs() if low <= plain(key) < high)


class BTreeSet(Set, BTree):
    """Rust's BTreeSet<T>, a BTreeMap<T, ()>. The first value gives its type, or an argument: `BTreeSet(u8)`."""

    __slots__ = ()

    def __init__(self, value: Type | None = None):
        super().__init__(pair_of(value, unit) if value else None)

    def append(self, other: Self) -> None:
        """Move all values of another set here, into new nodes; the old nodes of both are freed."""
        append(self, other)

    def split_off(self, key: Any) -> Self:
        """Move the values from a key on to a new set."""
        other = type(self)()
        split_off(self, other, key)
        return other

    def clone(self) -> Self:
        """Another set with clones of all values, in its own nodes."""
        return self._clone_into(type(self)())

    def pop_first(self) -> Any:
        """Remove and return the least value; None if there is none."""
        taken = take_first(self)
        return taken and taken.key

    def pop_last(self) -> Any:
        """Remove and return the greatest value; None if there is none."""
        taken = take_last(self)
        return taken and taken.key


def take_first(tree: BTree) -> StructValue | None:
    if len(tree) == 0:
        return None
    node = tree._root()
    while node.height:
        node = node.edge(0)
    return tree._take_at(node, 0)


def take_last(tree: BTree) -> StructValue | None:
    if len(tree) == 0:
        return None
    node = last_leaf(tree._root())
    return tree._take_at(node, node.length - 1)


def as_tuple(pair: StructValue | None) -> tuple[Any, Any] | None:
    return None if pair is None else (pair.key, pair.value)
