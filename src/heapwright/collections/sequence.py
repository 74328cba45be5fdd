"""Sequence: what Vec and VecDeque share, elements with an index. Where the one of an index lies, `_place` says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Self

from heapwright.collections.errors import OutOfBounds
from heapwright.collections.growing import LENGTH, POINTER_WORD, Growing
from heapwright.collections.types import Type, debug, type_of


class Sequence(Growing):
    """It takes its type from the first element, or is told. An index that is out of bounds is a panic."""

    __slots__ = ()

    @classmethod
    def with_capacity(cls, capacity: int, element: Type) -> Self:
        sequence = cls(element)
        sequence._set_capacity(capacity)
        return sequence

    @classmethod
    def of(cls, values: Iterable[Any], element: Type | None = None) -> Self:
        """Rust's `vec![1, 2, 3]`: room for these values and no more."""
        values = list(values)
        sequence = cls(element or (type_of(values[0]) if values else None))
        if values:
            sequence._set_capacity(len(values))
        sequence.extend(values)
        return sequence

    def extend(self, values: Iterable[Any]) -> None:
        for value in values:
            self._append(value)

    def truncate(self, length: int) -> None:
        """Drop all elements from the one of that index on; the capacity stays."""
        old = len(self)
        if length >= old:
            return
        self._store(LENGTH, length)
        self._drop_elements(length, old)

    def clear(self) -> None:
        self.truncate(0)

    def __getitem__(self, index: int) -> Any:
        return self.element.read(self.runtime, self._place_of(index), self)

    def __setitem__(self, index: int, value: Any) -> None:
        place = self._place_of(index)
        self.element.drop(self.runtime, place)
        self.element.write(self.runtime, place, value)

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def _append(self, value: Any) -> None:
        self._need_room(value)
        length = len(self)
        self.element.write(self.runtime, self._place(length), value)
        self._store(LENGTH, length + 1)

    def _need_room(self, value: Any) -> None:
        """Have room for one element more, and know what the elements are."""
        if self._element is None:
            self._element = type_of(value)
            self._store(POINTER_WORD, self._element.align)
        self.reserve(1)

    def _read_out(self, index: int) -> Any:
        """An element that is about to leave."""
        if self.element.needs_drop:
            raise TypeError(f"what a {self.type_name} owns is taken out by truncate, which drops it")
        return self[index]

    def _place_of(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise OutOfBounds(index, len(self))
        return self._place(index)

    def _drop_elements(self, first: int, end: int) -> None:
        if self.element.needs_drop:
            for index in range(first, end):
                self.element.drop(self.runtime, self._place(index))

    def _pop_last(self) -> Any:
        """Take the last element out; None if there is none."""
        length = len(self)
        if length == 0:
            return None
        value = self._read_out(length - 1)
        self._store(LENGTH, length - 1)
        return value

    def _release(self) -> None:
        if self._element is not None:
            self._drop_elements(0, len(self))
        super()._release()

    def __str__(self) -> str:
        return self._debug()

    def _debug(self) -> str:
        return f"[{', '.join(debug(value) for value in self)}]"
