"""String: bytes in UTF-8 that grow as a Vec<u8> does. Lengths and capacities are in bytes."""

from __future__ import annotations

from typing import Self

from heapwright.collections.growing import LENGTH, Growing
from heapwright.collections.owned import Handle
from heapwright.collections.types import debug, read_bytes, u8, write_bytes


class String(Growing):
    """`String("Hello")` is String::from: a block of 5@1. `String()` has none."""

    __slots__ = ()

    def __init__(self, text: str = ""):
        super().__init__(u8)
        self.reserve_exact(len(text.encode()))
        self.push_str(text)

    @classmethod
    def with_capacity(cls, capacity: int) -> Self:
        string = cls()
        string.reserve_exact(capacity)
        return string

    def push_str(self, text: str) -> None:
        data, length = text.encode(), len(self)
        self.reserve(len(data))
        write_bytes(self.runtime.memory, self.address + length, data)
        self._store(LENGTH, length + len(data))

    def push(self, character: str) -> None:
        self.push_str(character)

    @property
    def rust_type(self) -> Handle:
        return Handle(String, u8)

    @property
    def type_name(self) -> str:
        return "String"

    def __str__(self) -> str:
        return read_bytes(self.runtime.memory, self.address, len(self)).decode()

    def _debug(self) -> str:
        return debug(str(self))
