"""Sequence: the common base of Vec and VecDeque, elements with an index."""

from __future__ import annotations

from typing import Any, Self

from heapwright.collections.elements import Elements
from heapwright.collections.errors import OutOfBounds
from heapwright.collections.growing import LENGTH
from heapwright.collections.structs import by_value


class Sequence(Elements):
    """Elements with an index; an index out of bounds is a panic.

    insert, resize     reserve as `reserve` does
    split_off(i)       one request for exactly the elements from i on
    remove, truncate   no request, except the frees of dropped elements
    """

    __slots__ = ()

    def insert(self, index: int, value: Any) -> None:
        """Insert a value before the element at an index; `len` is a valid index, too."""
        length = len(self)
        if not 0 <= index <= length:
            raise OutOfBounds(index, length)
        value = by_value(value)
        self._need_room(value)
        self._slide(index, length, 1)
        try:
            self.element.write(self.runtime, self._place(index), value)
        except Exception:
            self._slide(index + 1, length + 1, -1)
            raise
        self._store(LENGTH, length + 1)

    def resize(self, length: int, value: Any) -> None:
        """Truncate to a length, or append clones of a value up to it; the last one is the value itself."""
        missing = length - len(self)
        if missing <= 0:
            self.truncate(length)
            return
        self._learn_type(value)
        self.reserve(missing)
        for _ in range(missing - 1):
            self._append(value.clone() if self.element.needs_drop else value)
        self._append(value)

    def remove(self, index: int) -> Any:
        """Remove and return the element at an index; those behind it move up."""
        self._place_of(index)
        return self._take_range(index, index + 1)[0]

    def split_off(self, index: int) -> Self:
        """Move the elements from an index on to a new container with room for exactly these."""
        length = len(self)
        if not 0 <= index <= length:
            raise OutOfBounds(index, length)
        other = type(self)(self._element)
        if index < length:
            other._set_capacity(length - index)
            for place in range(index, length):
                other._copy_in(place - index, self._place(place))
            other._store(LENGTH, length - index)
            self._store(LENGTH, index)
        return other

    def truncate(self, length: int) -> None:
        """Drop all elements from the index `length` on; the capacity stays."""
        self._cut_off(length)

    def __getitem__(self, index: int) -> Any:
        self._place_of(index)
        return self._read(index)

    def __setitem__(self, index: int, value: Any) -> None:
        place = self._place_of(index)
        self.element.replace(self.runtime, place, value)

    def _place_of(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise OutOfBounds(index, len(self))
        return self._place(index)
