"""How values lie in memory: the types of Rust, each with its size, its alignment and its bytes.

    i8 … i64, u8 … u64, f32, f64, boolean    as large as they say, aligned to their size
    text                                     &str, 16@8: the address of bytes in the process image, and how many
    Array(i32, 5)                            [i32; 5], 20@4; its value is a list
    Bytes(5)                                 [u8; 5], 5@1; its value is a bytes object
    Struct("Point", x=i32, y=i32)            8@4; fields in the order that leaves the fewest gaps, as rustc has them
    unit                                     (), 0@1

Containers are values, too, when they are moved into another: see `heapwright.collections.owned.Handle`.
Every access goes through the program's view of memory, so it is a checked one.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from heapwright.collections.runtime import Runtime
from heapwright.machine.memory import View

POINTER = 8  # bytes in an address


class Type:
    """One type: its name in Rust, and size and alignment in bytes."""

    name: str
    size: int
    align: int
    needs_drop = False  # whether a value owns memory

    def read(self, runtime: Runtime, address: int, owner: object = None) -> Any:
        """The value at an address; a value that is a reference keeps `owner` alive."""
        raise NotImplementedError

    def write(self, runtime: Runtime, address: int, value: Any) -> None:
        """Put a value into memory that holds none."""
        raise NotImplementedError

    def drop(self, runtime: Runtime, address: int) -> None:
        """Release what the value at an address owns."""

    def __repr__(self) -> str:
        return f"{self.name} {self.size}@{self.align}"


class Integer(Type):
    def __init__(self, name: str):
        self.name, self.signed = name, name[0] == "i"
        self.size = self.align = int(name[1:]) // 8
        bits = self.size * 8
        self.least, self.most = (-(1 << bits - 1), (1 << bits - 1) - 1) if self.signed else (0, (1 << bits) - 1)

    def read(self, runtime: Runtime, address: int, owner: object = None) -> int:
        word = runtime.memory.load(address, self.size)
        return int.from_bytes(word.to_bytes(8, "little", signed=word < 0)[: self.size], "little", signed=self.signed)

    def write(self, runtime: Runtime, address: int, value: int) -> None:
        if not isinstance(value, int) or not self.least <= value <= self.most:
            raise TypeError(f"{value!r} is not an {self.name}")
        data = value.to_bytes(self.size, "little", signed=self.signed)
        runtime.memory.store(address, self.size, int.from_bytes(data, "little", signed=self.size == 8))


class Float(Type):
    def __init__(self, name: str):
        self.name, self.code = name, "f" if name == "f32" else "d"
        self.size = self.align = int(name[1:]) // 8

    def read(self, runtime: Runtime, address: int, owner: object = None) -> float:
        value: float = struct.unpack(f"<{self.code}", read_bytes(runtime.memory, address, self.size))[0]
        return value

    def write(self, runtime: Runtime, address: int, value: float) -> None:
        write_bytes(runtime.memory, address, struct.pack(f"<{self.code}", value))


class Boolean(Type):
    name, size, align = "bool", 1, 1

    def read(self, runtime: Runtime, address: int, owner: object = None) -> bool:
        return bool(runtime.memory.load(address, 1))

    def write(self, runtime: Runtime, address: int, value: bool) -> None:
        runtime.memory.store(address, 1, int(value))


class Text(Type):
    name, size, align = "&str", 2 * POINTER, POINTER

    def read(self, runtime: Runtime, address: int, owner: object = None) -> str:
        start, length = (runtime.memory.load(address + offset, 8) for offset in (0, POINTER))
        return read_bytes(runtime.memory, start, length).decode()

    def write(self, runtime: Runtime, address: int, value: str) -> None:
        data = value.encode()
        runtime.memory.store(address, 8, runtime.text(data))
        runtime.memory.store(address + POINTER, 8, len(data))


class Unit(Type):
    name, size, align = "()", 0, 1

    def read(self, runtime: Runtime, address: int, owner: object = None) -> None:
        return None

    def write(self, runtime: Runtime, address: int, value: None) -> None:
        if value is not None:
            raise TypeError(f"{value!r} is not a ()")


class Bytes(Type):
    def __init__(self, size: int):
        self.name, self.size, self.align = f"[u8; {size}]", size, 1

    def read(self, runtime: Runtime, address: int, owner: object = None) -> bytes:
        return read_bytes(runtime.memory, address, self.size)

    def write(self, runtime: Runtime, address: int, value: bytes) -> None:
        if len(value) != self.size:
            raise TypeError(f"{len(value)} bytes are not a {self.name}")
        write_bytes(runtime.memory, address, value)


class Array(Type):
    def __init__(self, element: Type, count: int):
        self.element, self.count = element, count
        self.name, self.needs_drop = f"[{element.name}; {count}]", element.needs_drop
        self.size, self.align = element.size * count, element.align

    def places(self, address: int) -> Iterator[int]:
        return (address + i * self.element.size for i in range(self.count))

    def read(self, runtime: Runtime, address: int, owner: object = None) -> list[Any]:
        return [self.element.read(runtime, place, owner) for place in self.places(address)]

    def write(self, runtime: Runtime, address: int, value: Sequence[Any]) -> None:
        if len(value) != self.count:
            raise TypeError(f"{len(value)} elements are not a {self.name}")
        for place, element in zip(self.places(address), value, strict=True):
            self.element.write(runtime, place, element)

    def drop(self, runtime: Runtime, address: int) -> None:
        if self.needs_drop:
            for place in self.places(address):
                self.element.drop(runtime, place)


class Struct(Type):
    """`NODE = Struct("Node", value=i32)`; `NODE(value=1)` is a value, not yet in memory."""

    def __init__(self, name: str, **fields: Type):
        self.name, self.fields = name, fields
        self.needs_drop = any(kind.needs_drop for kind in fields.values())
        self.offsets: dict[str, int] = {}
        end = 0
        for field in sorted(fields, key=lambda field: -fields[field].align):
            self.offsets[field] = end  # no gaps: a size is a multiple of its alignment
            end += fields[field].size
        self.align = max((kind.align for kind in fields.values()), default=1)
        self.size = round_up(end, self.align)

    def __call__(self, **values: Any) -> StructValue:
        if values.keys() != self.fields.keys():
            raise TypeError(f"{self.name} has the fields {', '.join(self.fields)}")
        return StructValue(self, values)

    def read(self, runtime: Runtime, address: int, owner: object = None) -> Reference:
        return Reference(self, runtime, address, owner)

    def write(self, runtime: Runtime, address: int, value: StructValue) -> None:
        if not isinstance(value, StructValue) or value.rust_type is not self:
            raise TypeError(f"{value!r} is not a {self.name}")
        for field, kind in self.fields.items():
            kind.write(runtime, address + self.offsets[field], value.values[field])

    def drop(self, runtime: Runtime, address: int) -> None:
        for field, kind in self.fields.items():
            kind.drop(runtime, address + self.offsets[field])


class StructValue:
    """A struct on the stack, on its way into memory."""

    def __init__(self, type: Struct, values: dict[str, Any]):
        self.rust_type, self.values = type, values


class Reference:
    """A struct in memory: its fields are attributes, and an assignment drops what was there."""

    __slots__ = ("_address", "_owner", "_runtime", "_type")
    _type: Struct
    _runtime: Runtime
    _address: int

    def __init__(self, type: Struct, runtime: Runtime, address: int, owner: object):
        for slot, given in zip(self.__slots__, (address, owner, runtime, type), strict=True):
            object.__setattr__(self, slot, given)

    def _field(self, name: str) -> tuple[Type, int]:
        if name not in self._type.fields:
            raise AttributeError(f"{self._type.name} has no field {name}")
        return self._type.fields[name], self._address + self._type.offsets[name]

    def __getattr__(self, name: str) -> Any:
        kind, address = self._field(name)
        return kind.read(self._runtime, address, self)

    def __setattr__(self, name: str, value: Any) -> None:
        kind, address = self._field(name)
        kind.drop(self._runtime, address)
        kind.write(self._runtime, address, value)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}: {debug(getattr(self, name))}" for name in self._type.fields)
        return f"{self._type.name} {{ {fields} }}"


i8, i16, i32, i64 = (Integer(f"i{bits}") for bits in (8, 16, 32, 64))
u8, u16, u32, u64 = (Integer(f"u{bits}") for bits in (8, 16, 32, 64))
f32, f64 = Float("f32"), Float("f64")
boolean, text, unit = Boolean(), Text(), Unit()

PLAIN: dict[type, Type] = {bool: boolean, int: i32, float: f64, str: text, type(None): unit}


def type_of(value: Any) -> Type:
    """The type that Rust would give to a value of which nothing else is known."""
    if type(value) in PLAIN:
        return PLAIN[type(value)]
    if isinstance(value, bytes):
        return Bytes(len(value))
    if isinstance(value, list | tuple):
        return Array(type_of(value[0]) if value else unit, len(value))
    found = getattr(value, "rust_type", None)
    if not isinstance(found, Type):
        raise TypeError(f"{value!r} has no type here: say which")
    return found


# --- bytes


def round_up(size: int, align: int) -> int:
    return -(-size // align) * align


def pieces(address: int, size: int) -> Iterator[tuple[int, int]]:
    """The aligned words, and around them the single bytes, that make up a range: (address, size)."""
    end = address + size
    while address < end:
        step = 8 if address % 8 == 0 and address + 8 <= end else 1
        yield address, step
        address += step


def read_bytes(memory: View, address: int, size: int) -> bytes:
    words = ((memory.load(place, step), step) for place, step in pieces(address, size))
    return b"".join(word.to_bytes(step, "little", signed=step == 8) for word, step in words)


def write_bytes(memory: View, address: int, data: bytes) -> None:
    for place, step in pieces(address, len(data)):
        part = data[place - address : place - address + step]
        memory.store(place, step, int.from_bytes(part, "little", signed=step == 8))


# --- showing values


def display(value: Any) -> str:
    """As Rust's `{}` shows it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def debug(value: Any) -> str:
    """As Rust's `{:?}` shows it."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple | bytes):
        return f"[{', '.join(map(debug, value))}]"
    return display(value) if isinstance(value, bool) else repr(value)
