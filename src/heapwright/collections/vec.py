"""Vec: elements side by side in one block that grows by doubling.

How it grows is the matter of `heapwright.collections.growing`.
"""

from __future__ import annotations

from typing import Any, Self

from heapwright.collections.growing import CAPACITY, LENGTH, POINTER_WORD
from heapwright.collections.sequence import Sequence
from heapwright.collections.types import Type


class Vec(Sequence):
    """`Vec()` takes its type from the first element, `Vec(u8)` is told."""

    __slots__ = ()

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
        self._append(value)

    def pop(self) -> Any:
        """Take the last element out; None if there is none."""
        return self._pop_last()
