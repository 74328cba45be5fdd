"""Box: one value in a block of its own. A value without bytes needs none."""

from __future__ import annotations

from typing import Any

from heapwright.collections.owned import Owned, forget
from heapwright.collections.runtime import running
from heapwright.collections.types import Type, debug, display, type_of


class Box(Owned):
    """`Box(42)` is a Box<i32>: 4@4. Its one word is the address; `x.value` is Rust's `*x`."""

    __slots__ = ()

    def __init__(self, value: Any, type: Type | None = None):
        element = type or type_of(value)
        runtime = running()
        name = f"Box<{element.name}>"
        address = runtime.alloc(element.size, element.align, name) if element.size else element.align
        element.write(runtime, address, value)
        super().__init__(element, address)

    @property
    def address(self) -> int:
        """Where the value lies."""
        return self._load(0)

    @property
    def value(self) -> Any:
        return self.element.read(self.runtime, self.address, self)

    @value.setter
    def value(self, value: Any) -> None:
        self.element.drop(self.runtime, self.address)
        self.element.write(self.runtime, self.address, value)

    def leak(self) -> int:
        """Let the value live for ever; return its address (Box::leak)."""
        address = self.address
        forget(self)
        return address

    def _release(self) -> None:
        self.element.drop(self.runtime, self.address)
        if self.element.size:
            self.runtime.dealloc(self.address)

    def __str__(self) -> str:
        return display(self.value)

    def _debug(self) -> str:
        return debug(self.value)
