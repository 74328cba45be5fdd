"""Vec: elements side by side in one block that grows by doubling.

How it grows is the matter of `heapwright.collections.growing`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Self

from heapwright.collections.errors import OutOfBounds
from heapwright.collections.growing import CAPACITY, LENGTH, POINTER_WORD, Growing
from heapwright.collections.types import Type, debug, type_of


class Vec(Growing):
    """`Vec()` takes its type from the first element, `Vec(u8)` is told."""

    __slots__ = ()

    @classmethod
    def with_capacity(cls, capacity: int, element: Type) -> Self:
        vec = cls(element)
        vec._set_capacity(capacity)
        return vec

    @classmethod
    def of(cls, values: Iterable[Any], element: Type | None = None) -> Self:
        """Rust's `vec![1, 2, 3]`: room for these values and no more."""
        values = list(values)
        vec = cls(element or (type_of(values[0]) if values else None))
        if values:
            vec._set_capacity(len(values))
        vec.extend(values)
        return vec

    @classmethod
    def zeroed(cls, length: int, element: Type) -> Self:
        """Rust's `vec![0; n]`, which asks for memory full of zeros; not for elements that own any."""
        vec = cls(element)
        size = vec._bytes(length)
        if size:
            vec._store(POINTER_WORD, vec.runtime.alloc(size, element.align, vec.type_name, zeroed=True))
            vec._store(CAPACITY, length)
        vec._store(LENGTH, length)
        return vec

    def push(self, value: Any) -> None:
        if self._element is None:
            self._element = type_of(value)
            self._store(POINTER_WORD, self._element.align)
        self.reserve(1)
        length = len(self)
        self.element.write(self.runtime, self._place(length), value)
        self._store(LENGTH, length + 1)

    def extend(self, values: Iterable[Any]) -> None:
        for value in values:
            self.push(value)

    def pop(self) -> Any:
        """Take the last element out; None if there is none."""
        length = len(self)
        if length == 0:
            return None
        if self.element.needs_drop:
            raise TypeError(f"what a {self.type_name} owns is taken out by truncate, which drops it")
        self._store(LENGTH, length - 1)
        return self.element.read(self.runtime, self._place(length - 1), self)

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

    def _place_of(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise OutOfBounds(index, len(self))
        return self._place(index)

    def _drop_elements(self, first: int, end: int) -> None:
        if self.element.needs_drop:
            for index in range(first, end):
                self.element.drop(self.runtime, self._place(index))

    def _release(self) -> None:
        if self._element is not None:
            self._drop_elements(0, len(self))
        super()._release()

    def __str__(self) -> str:
        return self._debug()

    def _debug(self) -> str:
        return f"[{', '.join(debug(value) for value in self)}]"
