"""Box: one value in its own block. A value without bytes needs no block."""

from __future__ import annotations

from typing import Any, Self

from heapwright.collections.owned import Owned, forget
from heapwright.collections.raw import debug, display
from heapwright.collections.runtime import Holdings, Owner, running
from heapwright.collections.types import Type, type_of


class Box(Owned):
    """Rust's Box<T>. `Box(42)` is a Box<i32>: 4@4. Its one word is the address; `x.value` is Rust's `*x`.

    Box(x)         one request of the value's size and alignment; none for a value without bytes
    clone()        the value's clone, then one request
    into_inner()   `*x`: the value moves out, and the block is freed
    leak()         the value lives for ever

    Rust's Box<[T]> is BoxedSlice here, and its Box<str> BoxedStr. Source: library/alloc/src/boxed.rs.
    """

    __slots__ = ()

    def __init__(self, value: Any, type: Type | None = None):
        element = type or type_of(value)
        element.require(value)
        runtime = running()
        owner = Owner(self.name_for(element), element)
        address = runtime.alloc(element.size, element.align, owner) if element.size else element.align
        element.write(runtime, address, value)
        super().__init__(element, address)

    @property
    def address(self) -> int:
        """The address of the value."""
        return self._load(0)

    @property
    def value(self) -> Any:
        return self.element.read(self.runtime, self.address, self)

    @value.setter
    def value(self, value: Any) -> None:
        self.element.replace(self.runtime, self.address, value)

    def clone(self) -> Self:
        """Another Box with a clone of the value."""
        return type(self)(self.element.clone(self.runtime, self.address), self.element)

    def into_inner(self) -> Any:
        """Move the value out and free the block."""
        address = self.address
        value = self.element.take(self.runtime, address)
        self._end("moved")
        self._free(address)
        return value

    def leak(self) -> int:
        """Let the value live for ever; return its address (Box::leak)."""
        address = self.address
        forget(self)
        return address

    @classmethod
    def plain_of(cls, element: Type | None, value: Any) -> Any:
        assert element is not None
        return element.plain(value.value if isinstance(value, Box) else value)

    @classmethod
    def hash_of(cls, element: Type | None, value: Any) -> bytes:
        assert element is not None
        return element.hashed(value.value if isinstance(value, Box) else value)

    def holdings(self) -> Holdings:
        if self.element.size:
            yield self.address, self.element.containers(self.runtime, self.address)

    def _free(self, address: int) -> None:
        if self.element.size:
            self.runtime.dealloc(address)

    def _release(self) -> None:
        self.element.drop(self.runtime, self.address)
        self._free(self.address)

    def __str__(self) -> str:
        return display(self.value)

    def _debug(self) -> str:
        return debug(self.value)
