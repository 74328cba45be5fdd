"""Map: what HashMap and BTreeMap share. Where a key's pair lies, each says in its own way: a place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from heapwright.collections.errors import Panic
from heapwright.collections.owned import Owned
from heapwright.collections.types import Struct, Type, debug, type_of


class Map(Owned):
    """It takes its types from the first pair, or is told."""

    __slots__ = ()

    def __init__(self, key: Type | None, value: Type | None, *words: int):
        super().__init__(pair_of(key, value) if key and value else None, *words)

    def get(self, key: Any) -> Any:
        """The value of a key, or None."""
        place = self._find(key)
        return None if place is None else self._value(place)

    def __getitem__(self, key: Any) -> Any:
        place = self._find(key)
        if place is None:
            raise Panic(f"no entry found for key {debug(key)}")
        return self._value(place)

    def __contains__(self, key: Any) -> bool:
        return self._find(key) is not None

    def items(self) -> Iterator[tuple[Any, Any]]:
        """The pairs in the order of the map."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Any]:
        return (key for key, _ in self.items())

    def _find(self, key: Any) -> Any:
        """The place of a key, or None."""
        raise NotImplementedError

    def _value(self, place: Any) -> Any:
        raise NotImplementedError

    def _learn_types(self, key: Any, value: Any) -> None:
        if self._element is None:
            self._element = pair_of(type_of(key), type_of(value))

    @property
    def _pair_type(self) -> Struct:
        assert isinstance(self.element, Struct)
        return self.element

    def __str__(self) -> str:
        return self._debug()

    def _debug(self) -> str:
        return "{" + ", ".join(f"{debug(key)}: {debug(value)}" for key, value in self.items()) + "}"


def pair_of(key: Type, value: Type) -> Struct:
    return Struct(f"{key.name}, {value.name}", key=key, value=value)
