"""Vec: adjacent elements in one block that grows by doubling.

`heapwright.collections.growing` describes how it grows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

from heapwright.collections.errors import OutOfBounds
from heapwright.collections.growing import CAPACITY, LENGTH, POINTER_WORD
from heapwright.collections.owned import Owned
from heapwright.collections.raw import debug
from heapwright.collections.runtime import Holdings
from heapwright.collections.sequence import Sequence
from heapwright.collections.types import Type, hashed_elements, plain_elements


class Vec(Sequence):
    """Rust's Vec<T>. `Vec()` takes its type from the first element, `Vec(u8)` sets it; it has no block while empty.

    push(x)              doubles the capacity, from 8, 4 or 1 elements at first (see `Growing`)
    pop()                no request; the caller owns the element
    zeroed(n, T)         vec![0; n]: one alloc_zeroed
    into_boxed_slice()   shrink_to_fit, then a BoxedSlice of the same block
    dedup, swap_remove   no request, except the frees of dropped elements
    """

    __slots__ = ()

    @classmethod
    def zeroed(cls, length: int, element: Type) -> Self:
        """Rust's `vec![0; n]`, which requests zeroed memory; not for elements that own memory."""
        vec = cls(element)
        size = vec._bytes(length)
        if size:
            vec._store(POINTER_WORD, vec.runtime.alloc(size, element.align, vec.type_name, zeroed=True))
            vec._store(CAPACITY, length)
        vec._store(LENGTH, length)
        return vec

    def push(self, value: Any) -> None:
        """Append a value."""
        self._append(value)

    def pop(self) -> Any:
        """Remove and return the last element; None if there is none."""
        return self._pop_last()

    def swap_remove(self, index: int) -> Any:
        """Remove and return the element at an index; the last one takes its place."""
        place, last = self._place_of(index), len(self) - 1
        taken = self.element.take(self.runtime, place)
        if index < last:
            self._copy_in(index, self._place(last))
        self._store(LENGTH, last)
        return taken

    def dedup(self) -> None:
        """Drop each element that is equal to the one before it."""
        last: list[Any] = []

        def differs(value: Any) -> bool:
            plain = self.element.plain(value)
            repeats = last == [plain]
            last[:] = [plain]
            return not repeats

        self.retain(differs)

    def _slide(self, first: int, end: int, by: int) -> None:
        self.runtime.memory.copy(self._place(first + by), self._place(first), (end - first) * self.element.size)

    def into_boxed_slice(self) -> BoxedSlice:
        """The elements without spare room; the Vec is moved."""
        self.shrink_to_fit()
        slice = BoxedSlice._of_block(self.element, self.address, len(self))
        self._end("moved")
        return slice


class BoxedSlice(Owned):
    """Rust's Box<[T]>: a block of exactly its elements. `BoxedSlice([1, 2, 3])` is 12@4; its words are two.

    into_vec() makes no request, and clone() one.
    """

    WORDS = 2
    __slots__ = ()

    @classmethod
    def name_for(cls, element: Type | None) -> str:
        return f"Box<[{element.name if element else '_'}]>"

    def __init__(self, values: Any, element: Type | None = None):
        vec = Vec.of(values, element)
        super().__init__(vec.element, vec.address, len(vec))
        vec._end("moved")

    @classmethod
    def _of_block(cls, element: Type, address: int, length: int) -> Self:
        slice = cls.__new__(cls)
        Owned.__init__(slice, element, address, length)
        return slice

    @property
    def address(self) -> int:
        """The address of the first element."""
        return self._load(0)

    def __len__(self) -> int:
        return self._load(1)

    def into_vec(self) -> Vec:
        """A Vec of the same block; the slice is moved."""
        vec = Vec(self.element)
        vec._store(POINTER_WORD, self.address)
        vec._store(LENGTH, len(self))
        vec._store(CAPACITY, len(self) if self.element.size else 0)
        self._end("moved")
        return vec

    def clone(self) -> Self:
        """Another Box<[T]> with clones of the elements."""
        values = [self.element.clone(self.runtime, self._place(index)) for index in range(len(self))]
        return type(self)(values, self.element)

    def _place(self, index: int) -> int:
        return self.address + index * self.element.size

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise OutOfBounds(index, len(self))
        return self.element.read(self.runtime, self._place(index), self)

    def __setitem__(self, index: int, value: Any) -> None:
        if not 0 <= index < len(self):
            raise OutOfBounds(index, len(self))
        self.element.replace(self.runtime, self._place(index), value)

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    @classmethod
    def plain_of(cls, element: Type | None, value: Any) -> Any:
        return plain_elements(element, value)

    @classmethod
    def hash_of(cls, element: Type | None, value: Any) -> bytes:
        return hashed_elements(element, value)

    def holdings(self) -> Holdings:
        if self.element.size and len(self):
            places = map(self._place, range(len(self)))
            inside = (each for place in places for each in self.element.containers(self.runtime, place))
            yield self.address, inside

    def _release(self) -> None:
        for index in range(len(self)):
            self.element.drop(self.runtime, self._place(index))
        if self.element.size and len(self):
            self.runtime.dealloc(self.address)

    def __str__(self) -> str:
        return self._debug()

    def _debug(self) -> str:
        return f"[{', '.join(debug(value) for value in self)}]"
