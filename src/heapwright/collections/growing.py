"""What Vec, String and the other growing containers share: one block with room for more than there is.

Its words are capacity, pointer and length, as in Rust's RawVec and Vec (library/alloc/src/raw_vec). An empty one
has no block. Growth is to max(2 * capacity, what is needed, MIN), where MIN is 8 elements of one byte, 4 of up to
1024 bytes, or 1.
"""

from __future__ import annotations

from heapwright.bits import MOST
from heapwright.collections.owned import Owned
from heapwright.collections.runtime import require_layout
from heapwright.collections.types import Type

CAPACITY, POINTER_WORD, LENGTH = 0, 1, 2
ENDLESS = MOST  # elements of no bytes that fit: Rust says usize::MAX, and a word here has a sign


class Growing(Owned):
    """A block for `capacity` elements, of which the first `len` are there; `more` are words of its kind."""

    WORDS = 3
    __slots__ = ()

    def __init__(self, element: Type | None = None, *more: int):
        super().__init__(element, 0, element.align if element else 1, 0, *more)

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

    def _place(self, index: int) -> int:
        return self.address + index * self.element.size

    def _release(self) -> None:
        if self._load(CAPACITY):
            self.runtime.dealloc(self.address)
