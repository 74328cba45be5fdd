"""Mut: a place in memory that may be assigned to, as Rust's `&mut T`."""

from __future__ import annotations

from typing import Any

from heapwright.collections.raw import debug
from heapwright.collections.runtime import Runtime
from heapwright.collections.types import Type


class Mut:
    """Rust's &mut T: `place.value` reads; `place.value = x` drops the old value and moves `x` in.

    It is valid until the value's container changes. Rust's compiler enforces that; nothing does here.
    """

    __slots__ = ("_address", "_keeps", "_runtime", "_type")

    def __init__(self, type: Type, runtime: Runtime, address: int, keeps: object):
        self._type, self._runtime, self._address, self._keeps = type, runtime, address, keeps

    @property
    def value(self) -> Any:
        return self._type.read(self._runtime, self._address, self._keeps)

    @value.setter
    def value(self, value: Any) -> None:
        self._type.replace(self._runtime, self._address, value)

    def __repr__(self) -> str:
        return debug(self.value)
