"""HashMap and HashSet: pairs in a hash table that is laid out and grows as hashbrown's does (see `hash_table`)."""

from __future__ import annotations

from typing import Self

from heapwright.collections.hash_table import HashTable
from heapwright.collections.map import Map, Set, pair_of
from heapwright.collections.owned import Drain
from heapwright.collections.types import Type, unit


class HashMap(Map, HashTable):
    """Rust's HashMap<K, V>. `HashMap()` takes its types from the first pair, `HashMap(u32, u32)` sets them.

    It has no block before the first insertion. Its requests are those of `HashTable`.
    """

    __slots__ = ()

    def __init__(self, key: Type | None = None, value: Type | None = None):
        super().__init__(pair_of(key, value) if key and value else None)

    @classmethod
    def with_capacity(cls, capacity: int, key: Type, value: Type) -> Self:
        """An empty map with room for at least `capacity` pairs."""
        table = cls(key, value)
        table.reserve(capacity)
        return table

    def drain(self) -> Drain:
        """Move all pairs out; return an iterator of them; the block stays."""
        return Drain((pair.key, pair.value) for pair in self._drain())

    def clone(self) -> Self:
        """Another map with clones of all pairs, in a block of the same size."""
        return self._clone_into(type(self)())


class HashSet(Set, HashTable):
    """Rust's HashSet<T>, a HashMap<T, ()>. `HashSet()` takes its type from the first value, `HashSet(u8)` sets it."""

    __slots__ = ()

    def __init__(self, value: Type | None = None):
        super().__init__(pair_of(value, unit) if value else None)

    @classmethod
    def with_capacity(cls, capacity: int, value: Type) -> Self:
        """An empty set with room for at least `capacity` values."""
        table = cls(value)
        table.reserve(capacity)
        return table

    def drain(self) -> Drain:
        """Move all values out; return an iterator of them; the block stays."""
        return Drain(pair.key for pair in self._drain())

    def clone(self) -> Self:
        """Another set with clones of all values, in a block of the same size."""
        return self._clone_into(type(self)())
