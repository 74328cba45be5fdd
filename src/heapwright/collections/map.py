"""Maps and sets: the common interface of HashMap, BTreeMap, HashSet and BTreeSet.

A `Table` stores pairs of a key and a value in its own way, and gives the place of a key's pair. `Map` and `Set` are its
interfaces for programs; the values of a set have no bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from operator import length_hint
from typing import Any, Self

from heapwright.collections.errors import Panic
from heapwright.collections.owned import Owned, discard
from heapwright.collections.place import Mut
from heapwright.collections.raw import debug
from heapwright.collections.structs import Reference, StructType, StructValue
from heapwright.collections.types import Type, type_of, unit


class Pair(StructType):
    """Rust's (K, V)."""

    def __init__(self, key: Type, value: Type):
        super().__init__(f"{key.name}, {value.name}", key=key, value=value)
        self.key, self.value = key, value


@lru_cache
def pair_of(key: Type, value: Type) -> Pair:
    """The type of such pairs; always the same object for the same types."""
    return Pair(key, value)


class Table(Owned):
    """Pairs by their keys. The first pair or arguments give the types."""

    __slots__ = ()

    def __init__(self, pair: Pair | None, *words: int):
        super().__init__(pair, *words)

    @classmethod
    def element_of(cls, *types: Type) -> Type | None:
        return None if not types else types[0] if isinstance(types[0], Pair) else pair_of(*types)

    @property
    def _pair(self) -> Pair:
        assert isinstance(self.element, Pair)
        return self.element

    def _learn_types(self, key: Any, value: Any) -> None:
        if self._element is None:
            self._element = pair_of(type_of(key), type_of(value))

    def __contains__(self, key: Any) -> bool:
        return self._find(key) is not None

    def is_empty(self) -> bool:
        """Whether there is no pair."""
        return len(self) == 0

    def clear(self) -> None:
        """Drop all pairs."""
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    # --- what each subclass defines

    def _find(self, key: Any) -> Any:
        """The place of a key, or None."""
        raise NotImplementedError

    def _address(self, place: Any) -> int:
        """The address of the pair's value."""
        raise NotImplementedError

    def _pairs(self) -> Iterator[tuple[Any, Any]]:
        """The keys and values as references, in the order of the table."""
        raise NotImplementedError

    def _insert(self, key: Any, value: Any) -> tuple[Any, Any]:
        """Insert a pair; return its place, and None or the old value of the key in a list."""
        raise NotImplementedError

    def _take(self, key: Any) -> StructValue | None:
        """Move a pair out."""
        raise NotImplementedError

    def _retain(self, keeps: Callable[[Any, Any], bool]) -> None:
        """Drop the pairs for which `keeps` returns false."""
        raise NotImplementedError

    def _expect(self, count: int) -> None:
        """Prepare for the insertion of `count` pairs."""

    def _prepare_entry(self) -> None:
        """Prepare for an insertion through an entry."""

    def __str__(self) -> str:
        return self._debug()


class Map(Table):
    """The methods of maps.

    insert(k, v)     returns the old value, or None; of equal keys, the first stays and the other is dropped
    remove(k)        returns the value, or None; the key is dropped
    entry(k)         `.or_insert(v)`, `.or_insert_with(f)`, `.and_modify(f)`
    extend(pairs)    inserts the pairs of a dict or an iterable
    retain(f)        drops the pairs for which f(key, value) is false
    """

    __slots__ = ()

    @classmethod
    def name_for(cls, element: Type | None) -> str:
        return f"{cls.__name__}<{element.name if element else '_, _'}>"

    def insert(self, key: Any, value: Any) -> Any:
        """Add a pair, or replace the value of an existing key and return the old one."""
        self._learn_types(key, value)
        _, replaced = self._insert(key, value)
        return replaced[0] if replaced else None

    def remove(self, key: Any) -> Any:
        """Remove a pair; return its value, or None if there is none."""
        pair = self._take(key)
        if pair is None:
            return None
        discard(pair.key)
        return pair.value

    def get(self, key: Any) -> Any:
        """The value of a key, or None."""
        place = self._find(key)
        return None if place is None else self._mut(place).value

    def get_mut(self, key: Any) -> Mut | None:
        """The value of a key, which may be assigned to."""
        place = self._find(key)
        return None if place is None else self._mut(place)

    def __getitem__(self, key: Any) -> Any:
        place = self._find(key)
        if place is None:
            raise Panic(f"no entry found for key {debug(key)}")
        return self._mut(place).value

    def entry(self, key: Any) -> Entry:
        """The place of a key, whether it is there or not."""
        place = self._find(key)
        if place is None:
            self._prepare_entry()
        else:
            discard(key)
        return Entry(self, key, place)

    def extend(self, pairs: Any) -> None:
        """Insert the pairs of a map, a dict or an iterable."""
        pairs = pairs.items() if hasattr(pairs, "items") else pairs
        promised, rest = length_hint(pairs), iter(pairs)
        for key, value in rest:
            self._learn_types(key, value)
            self._expect(promised)
            self.insert(key, value)
            for more in rest:
                self.insert(*more)

    def retain(self, keeps: Callable[[Any, Any], bool]) -> None:
        """Drop the pairs for which `keeps(key, value)` returns false."""
        self._retain(keeps)

    def items(self) -> Iterator[tuple[Any, Any]]:
        """The pairs in the order of the map."""
        return self._pairs()

    def keys(self) -> Iterator[Any]:
        return (key for key, _ in self._pairs())

    def values(self) -> Iterator[Any]:
        return (value for _, value in self._pairs())

    def __iter__(self) -> Iterator[Any]:
        return self.keys()

    def _mut(self, place: Any) -> Mut:
        return Mut(self._pair.value, self.runtime, self._address(place), self)

    def _debug(self) -> str:
        return "{" + ", ".join(f"{debug(key)}: {debug(value)}" for key, value in self.items()) + "}"


class Entry:
    """A key's place in a map: `map.entry(k).or_insert(0).value += 1` counts."""

    def __init__(self, map: Map, key: Any, place: Any):
        self._map, self._key, self._place = map, key, place

    @property
    def is_occupied(self) -> bool:
        """Whether the key is in the map."""
        return self._place is not None

    def or_insert(self, value: Any) -> Mut:
        """The key's value, which may be assigned to; `value` if there was none."""
        if self._place is None:
            self._map._learn_types(self._key, value)
            self._place, _ = self._map._insert(self._key, value)
        else:
            discard(value)
        return self._map._mut(self._place)

    def or_insert_with(self, make: Callable[[], Any]) -> Mut:
        """The same as `or_insert`, but the value is made only if there was none."""
        return self._map._mut(self._place) if self.is_occupied else self.or_insert(make())

    def and_modify(self, change: Callable[[Mut], Any]) -> Self:
        """Change the key's value, if there is one."""
        if self._place is not None:
            change(self._map._mut(self._place))
        return self


class Set(Table):
    """The methods of sets; `insert` and `remove` return whether they changed the set. Their pairs have no values."""

    __slots__ = ()

    @classmethod
    def element_of(cls, *types: Type) -> Type | None:
        return None if not types else types[0] if isinstance(types[0], Pair) else pair_of(types[0], unit)

    @classmethod
    def name_for(cls, element: Type | None) -> str:
        return f"{cls.__name__}<{element.key.name if isinstance(element, Pair) else '_'}>"

    def insert(self, value: Any) -> bool:
        """Add a value; return False if it was there already."""
        self._learn_types(value, None)
        _, replaced = self._insert(value, None)
        return replaced is None

    def remove(self, value: Any) -> bool:
        """Drop a value; return whether it was there."""
        pair = self._take(value)
        if pair is None:
            return False
        discard(pair.key)
        return True

    def extend(self, values: Iterable[Any]) -> None:
        """Insert several values."""
        promised, rest = length_hint(values), iter(values)
        for value in rest:
            self._learn_types(value, None)
            self._expect(promised)
            self.insert(value)
            for more in rest:
                self.insert(more)

    def retain(self, keeps: Callable[[Any], bool]) -> None:
        """Drop the values for which the answer is no."""
        self._retain(lambda key, _: keeps(key))

    def __iter__(self) -> Iterator[Any]:
        return (key for key, _ in self._pairs())

    def _debug(self) -> str:
        return "{" + ", ".join(map(debug, self)) + "}"


def pair_at(pair: Pair, runtime: Any, address: int, keeps: object) -> tuple[Any, Any]:
    """The key and the value of a pair in memory."""
    found: Reference = pair.read(runtime, address, keeps)
    return found.key, found.value
