"""Elements: the common base of Vec, VecDeque and BinaryHeap. `_place` gives the address of the element at an index.

Source: library/alloc/src/vec/mod.rs and library/alloc/src/collections/vec_deque/mod.rs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from operator import length_hint
from typing import Any, Self

from heapwright.collections.errors import OutOfBounds
from heapwright.collections.growing import LENGTH, POINTER_WORD, Growing
from heapwright.collections.owned import Drain
from heapwright.collections.raw import debug, read_bytes, write_bytes
from heapwright.collections.runtime import Holdings
from heapwright.collections.structs import by_value
from heapwright.collections.types import Type, hashed_elements, plain_elements, type_of


class Elements(Growing):
    """Elements of one type, which the first element or an argument gives.

    with_capacity(n, T)   one request for exactly n elements
    of([...])             Rust's vec![...]: one request for exactly these
    extend(values)        reserves once for the number that `len` or `__length_hint__` gives (Rust: size_hint); pushes
    append(other)         reserves once; `other` keeps its block and is empty
    clone()               one request for exactly `len` elements, and those of the elements' own clones
    drain, retain, clear  no request, except the frees of dropped elements
    """

    __slots__ = ()

    @classmethod
    def with_capacity(cls, capacity: int, element: Type) -> Self:
        """An empty container with room for exactly `capacity` elements."""
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

    # --- adding

    def extend(self, values: Iterable[Any]) -> None:
        """Append values; an iterable that gives its length needs at most one request."""
        rest, promised = iter(values), length_hint(values)
        for first in rest:
            self._learn_type(first)
            self.reserve(promised)
            for value in chain((first,), rest):
                self._append(value)

    def append(self, other: Self) -> None:
        """Move all elements of another container to the end of this one."""
        count, length = len(other), len(self)
        if count == 0:
            return
        self._learn(other.element)
        self.reserve(count)
        for index in range(count):
            self._copy_in(length + index, other._place(index))
        other._store(LENGTH, 0)
        self._store(LENGTH, length + count)

    # --- removing

    def drain(self, first: int = 0, end: int | None = None) -> Drain:
        """Move the elements of a range out; return an iterator of them."""
        length = len(self)
        end = length if end is None else end
        if not 0 <= first <= end <= length:
            raise OutOfBounds(end, length)
        return Drain(self._take_range(first, end))

    def retain(self, keeps: Callable[[Any], bool]) -> None:
        """Drop the elements for which the answer is no."""
        kept, asked, length = 0, 0, len(self)
        try:
            while asked < length:
                if keeps(self._read(asked)):
                    self._copy_in(kept, self._place(asked))
                    kept += 1
                else:
                    self.element.drop(self.runtime, self._place(asked))
                asked += 1
        finally:  # if `keeps` panicked, the elements that it did not see stay
            self._slide(asked, length, kept - asked)
            self._store(LENGTH, kept + length - asked)

    def clear(self) -> None:
        """Drop all elements; the capacity stays."""
        self._cut_off(0)

    # --- the elements

    def clone(self) -> Self:
        """Another container with clones of the elements, and no spare room."""
        twin = type(self)(self._element)
        if len(self):
            twin._set_capacity(len(self))
        for index in range(len(self)):
            twin._append(self.element.clone(self.runtime, self._place(index)))
        return twin

    def __iter__(self) -> Iterator[Any]:
        return (self._read(index) for index in range(len(self)))

    @classmethod
    def plain_of(cls, element: Type | None, value: Any) -> Any:
        return plain_elements(element, value)

    @classmethod
    def hash_of(cls, element: Type | None, value: Any) -> bytes:
        return hashed_elements(element, value)

    # --- building blocks of its subclasses

    def _append(self, value: Any) -> None:
        value = by_value(value)
        self._need_room(value)
        length = len(self)
        self.element.write(self.runtime, self._place(length), value)
        self._store(LENGTH, length + 1)

    def _need_room(self, value: Any) -> None:
        """Make room for one more element, and set the type of the elements."""
        self._learn_type(value)
        self.reserve(1)

    def _learn_type(self, value: Any) -> None:
        if self._element is None:
            self._learn(type_of(value))

    def _learn(self, element: Type) -> None:
        if self._element is None:
            self._element = element
            self._store(POINTER_WORD, element.align)

    def _read(self, index: int) -> Any:
        return self.element.read(self.runtime, self._place(index), self)

    def _cut_off(self, length: int) -> None:
        old = len(self)
        if length < old:
            self._store(LENGTH, length)
            self._drop_elements(length, old)

    def _copy_in(self, index: int, source: int) -> None:
        """Copy the bytes of an element from an address to the place of an index."""
        self.runtime.memory.copy(self._place(index), source, self.element.size)

    def _slide(self, first: int, end: int, by: int) -> None:
        """Move a range of elements by a number of indices."""
        indices = range(first, end) if by < 0 else range(end - 1, first - 1, -1)
        for index in indices:
            self._copy_in(index + by, self._place(index))

    def _swap(self, a: int, b: int) -> None:
        """Exchange two elements."""
        memory, size, (first, second) = self.runtime.memory, self.element.size, (self._place(a), self._place(b))
        if first != second:
            kept = read_bytes(memory, first, size)
            memory.copy(first, second, size)
            write_bytes(memory, second, kept)

    def _drop_elements(self, first: int, end: int) -> None:
        if self.element.needs_drop:
            for index in range(first, end):
                self.element.drop(self.runtime, self._place(index))

    def _pop_last(self) -> Any:
        """Remove and return the last element; None if there is none."""
        length = len(self)
        return self._take_range(length - 1, length)[0] if length else None

    def _take_range(self, first: int, end: int) -> list[Any]:
        """Move the elements of a range out; those behind it move up."""
        length = len(self)
        taken = [self.element.take(self.runtime, self._place(index)) for index in range(first, end)]
        self._slide(end, length, first - end)
        self._store(LENGTH, length - len(taken))
        return taken

    def _release(self) -> None:
        if self._element is not None:
            self._drop_elements(0, len(self))
        super()._release()

    def holdings(self) -> Holdings:
        return super().holdings() if self._element is not None else iter(())

    def __str__(self) -> str:
        return self._debug()

    def _debug(self) -> str:
        return f"[{', '.join(debug(value) for value in self)}]"
