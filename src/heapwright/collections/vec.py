"""Vec: elements side by side in one block that grows by doubling.

Its words are capacity, pointer and length, as in Rust's RawVec and Vec (library/alloc/src/raw_vec). An empty one
has no block. Growth is to max(2 * capacity, what is needed, MIN), where MIN is 8 elements of one byte, 4 of up to
1024 bytes, or 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Self

from heapwright.bits import MOST
from heapwright.collections.errors import OutOfBounds
from heapwright.collections.owned import Owned
from heapwright.collections.runtime import require_layout
from heapwright.collections.types import Type, debug, type_of

CAPACITY, POINTER_WORD, LENGTH = 0, 1, 2
ENDLESS = MOST  # elements of no bytes that fit: Rust says usize::MAX, and a word here has a sign


class Growing(Owned):
    """What Vec and String share: a block with room for more than there is."""

    WORDS = 3
    __slots__ = ()

    def __init__(self, element: Type | None = None):
        super().__init__(element, 0, element.align if element else 1, 0)

    def __len__(self) -> int:
        return self._load(LENGTH)

    @property
    def capacity(self) -> int:
        """How many elements fit without another block."""
        return ENDLESS if self._element and not self._element.size else self._load(CAPACITY)

    @property
    def address(self) -> int:
        """Where the first element lies."""
        return self._load(POINTER_WORD)

    def reserve(self, additional: int) -> None:
        """Have room for so many more; growing at least to the double."""
        if additional > self.capacity - len(self):
            self._set_capacity(max(2 * self.capacity, len(self) + additional, self._least_capacity()))

    def reserve_exact(self, additional: int) -> None:
        if additional > self.capacity - len(self):
            self._set_capacity(len(self) + additional)

    def shrink_to_fit(self) -> None:
        if self.capacity > len(self):
            self._set_capacity(len(self))

    def _least_capacity(self) -> int:
        size = self.element.size
        return 8 if size == 1 else 4 if size <= 1024 else 1

    def _bytes(self, count: int) -> int:
        size = self.element.size * count
        require_layout(size, self.element.align)
        return size

    def _set_capacity(self, capacity: int) -> None:
        """Move the elements into a block for exactly so many."""
        size, old = self._bytes(capacity), self._load(CAPACITY)
        if self.element.size == 0 or capacity == old:
            return
        if old == 0:
            address = self.runtime.alloc(size, self.element.align, self.type_name)
        elif capacity == 0:
            self.runtime.dealloc(self.address)
            address = self.element.align
        else:
            address = self.runtime.realloc(self.address, size)
        self._store(POINTER_WORD, address)
        self._store(CAPACITY, capacity)

    def _release(self) -> None:
        if self._load(CAPACITY):
            self.runtime.dealloc(self.address)


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

    def _place(self, index: int) -> int:
        return self.address + index * self.element.size

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
