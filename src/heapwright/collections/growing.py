"""The common base of Vec, String and the other growing containers: one block with spare room.

Its words are capacity, pointer and length, as in Rust's RawVec and Vec (library/alloc/src/raw_vec). An empty container
has no block. It grows to max(2 * capacity, the number needed, MIN), where MIN is 8 elements of one byte, 4 of up to
1024 bytes, or 1.
"""

from __future__ import annotations

from collections.abc import Iterator

from heapwright.bits import MAX_WORD
from heapwright.collections.owned import Owned
from heapwright.collections.runtime import Container, Holdings, require_layout
from heapwright.collections.types import Type

CAPACITY, POINTER_WORD, LENGTH = 0, 1, 2
ENDLESS = MAX_WORD  # capacity for elements without bytes: usize::MAX in Rust, but words are signed here


class Growing(Owned):
    """A block for `capacity` elements, the first `len` of which exist; `more` are words of its subclass.

    capacity           the number of elements that fit without another request
    reserve(n)         room for n more: alloc or realloc to max(2 * capacity, len + n, MIN)
    reserve_exact(n)   the same to len + n
    shrink_to_fit()    realloc to len, or dealloc if it is 0; shrink_to(n) leaves room for n
    """

    WORDS = 3
    __slots__ = ()

    def __init__(self, element: Type | None = None, *more: int):
        super().__init__(element, 0, element.align if element else 1, 0, *more)

    def __len__(self) -> int:
        return self._load(LENGTH)

    @property
    def capacity(self) -> int:
        """The number of elements that fit without another block."""
        return ENDLESS if self._element and not self._element.size else self._load(CAPACITY)

    @property
    def address(self) -> int:
        """The address of the first element."""
        return self._load(POINTER_WORD)

    def reserve(self, additional: int) -> None:
        """Make room for `additional` more elements. A block that is too small grows to at least twice its size."""
        if additional > self.capacity - len(self):
            self._set_capacity(max(2 * self.capacity, len(self) + additional, self._min_capacity()))

    def reserve_exact(self, additional: int) -> None:
        """Make room for `additional` more elements; if the block is too small, the new one has exactly that room."""
        if additional > self.capacity - len(self):
            self._set_capacity(len(self) + additional)

    def shrink_to_fit(self) -> None:
        """Give back all spare room: with a realloc, or a dealloc if there is no element."""
        if self.capacity > len(self):
            self._set_capacity(len(self))

    def shrink_to(self, min_capacity: int) -> None:
        """Give back spare room beyond `min_capacity` elements. As in Rust, a full block is reallocated to its size."""
        if self.capacity > min_capacity:
            self._set_capacity(max(len(self), min_capacity))

    def _min_capacity(self) -> int:
        size = self.element.size
        return 8 if size == 1 else 4 if size <= 1024 else 1

    def _bytes(self, count: int) -> int:
        size = self.element.size * count
        require_layout(size, self.element.align)
        return size

    def _set_capacity(self, capacity: int) -> None:
        """Move the elements into a block for exactly `capacity` elements."""
        size, old = self._bytes(capacity), self._load(CAPACITY)
        if self.element.size == 0 or capacity == old == 0:
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

    def _place(self, index: int) -> int:
        return self.address + index * self.element.size

    def holdings(self) -> Holdings:
        if self._load(CAPACITY):
            yield self.address, self._containers()

    def _containers(self) -> Iterator[Container]:
        """The containers among its elements."""
        if self.element.needs_drop:
            for index in range(len(self)):
                yield from self.element.containers(self.runtime, self._place(index))

    def _release(self) -> None:
        if self._load(CAPACITY):
            self.runtime.dealloc(self.address)
