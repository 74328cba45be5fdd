"""Structs: their fields in memory, on the stack, and by reference.

Struct("Point", x=i32, y=i32)    8@4; fields in the order that leaves the fewest gaps, as rustc sorts them
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from heapwright.collections.raw import debug, round_up
from heapwright.collections.runtime import Container, Runtime
from heapwright.collections.types import Type


class StructType(Type):
    """`NODE = Struct("Node", value=i32)`; `NODE(value=1)` is a value, not yet in memory."""

    def __init__(self, name: str, /, **fields: Type):
        self.name, self.fields = name, fields
        self.needs_drop = any(kind.needs_drop for kind in fields.values())
        self.offsets: dict[str, int] = {}
        end = 0
        for field in sorted(fields, key=lambda field: -fields[field].align):
            self.offsets[field] = end  # no gaps: a size is a multiple of its alignment
            end += fields[field].size
        self.align = max((kind.align for kind in fields.values()), default=1)
        self.size = round_up(end, self.align)

    def __call__(self, /, **values: Any) -> StructValue:
        if values.keys() != self.fields.keys():
            raise TypeError(f"{self.name} has the fields {', '.join(self.fields)}")
        return StructValue(self, values)

    def read(self, runtime: Runtime, address: int, owner: object = None) -> Reference:
        return Reference(self, runtime, address, owner)

    def places(self, address: int) -> Iterator[tuple[str, Type, int]]:
        """Each field of a value at an address: its name, type and address."""
        return ((field, kind, address + self.offsets[field]) for field, kind in self.fields.items())

    def require(self, value: Any) -> None:
        if not isinstance(value, StructValue | Reference) or value._type is not self:
            raise TypeError(f"{value!r} is not a {self.name}")
        for field, kind in self.fields.items():
            kind.require(getattr(value, field))

    def write(self, runtime: Runtime, address: int, value: StructValue | Reference) -> None:
        """Write a value; a reference is copied field by field, as by Rust's Copy, which moves no container."""
        self.require(value)
        for field, kind, place in self.places(address):
            kind.write(runtime, place, getattr(value, field))

    def drop(self, runtime: Runtime, address: int) -> None:
        for _, kind, place in self.places(address):
            kind.drop(runtime, place)

    def take(self, runtime: Runtime, address: int) -> StructValue:
        return StructValue(self, {field: kind.take(runtime, place) for field, kind, place in self.places(address)})

    def clone(self, runtime: Runtime, address: int) -> StructValue:
        return StructValue(self, {field: kind.clone(runtime, place) for field, kind, place in self.places(address)})

    def containers(self, runtime: Runtime, address: int) -> Iterator[Container]:
        for _, kind, place in self.places(address):
            yield from kind.containers(runtime, place)

    def plain(self, value: Any) -> tuple[Any, ...]:
        return tuple(kind.plain(getattr(value, field)) for field, kind in self.fields.items())

    def hashed(self, value: Any) -> bytes:
        return b"".join(kind.hashed(getattr(value, field)) for field, kind in self.fields.items())


class StructValue:
    """A struct on the stack: not yet in memory, or moved out of it. Its fields are attributes."""

    __slots__ = ("_type", "_values")
    _type: StructType
    _values: dict[str, Any]

    def __init__(self, type: StructType, values: dict[str, Any]):
        object.__setattr__(self, "_type", type)
        object.__setattr__(self, "_values", values)

    @property
    def rust_type(self) -> StructType:
        return self._type

    def __getattr__(self, name: str) -> Any:
        require_field(self._type, name)
        return self._values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        require_field(self._type, name)
        self._values[name] = value

    def __repr__(self) -> str:
        return debug_struct(self)


class Reference:
    """A struct in memory: its fields are attributes, and an assignment drops the old value."""

    __slots__ = ("_address", "_owner", "_runtime", "_type")
    _type: StructType
    _runtime: Runtime
    _address: int

    def __init__(self, type: StructType, runtime: Runtime, address: int, owner: object):
        for slot, given in zip(self.__slots__, (address, owner, runtime, type), strict=True):
            object.__setattr__(self, slot, given)

    def _field(self, name: str) -> tuple[Type, int]:
        require_field(self._type, name)
        return self._type.fields[name], self._address + self._type.offsets[name]

    def __getattr__(self, name: str) -> Any:
        kind, address = self._field(name)
        return kind.read(self._runtime, address, self)

    def __setattr__(self, name: str, value: Any) -> None:
        kind, address = self._field(name)
        kind.replace(self._runtime, address, value)

    def __repr__(self) -> str:
        return debug_struct(self)


def require_field(type: StructType, name: str) -> None:
    if name not in type.fields:
        raise AttributeError(f"{type.name} has no field {name}")


def debug_struct(value: StructValue | Reference) -> str:
    fields = ", ".join(f"{name}: {debug(getattr(value, name))}" for name in value._type.fields)
    return f"{value._type.name} {{ {fields} }}"


def by_value(value: Any) -> Any:
    """Copy a struct that owns nothing before it is moved, because the referenced memory may change meanwhile."""
    if isinstance(value, Reference) and not value._type.needs_drop:
        return value._type.take(value._runtime, value._address)
    return value
