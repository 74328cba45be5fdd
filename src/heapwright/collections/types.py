"""Values in memory: the types of Rust, each with its size, its alignment and its bytes.

    i8 … i64, u8 … u64, f32, f64, boolean    as large as their names say, aligned to their size
    text                                     &str, 16@8: the address and the number of bytes in the process image
    Array(i32, 5)                            [i32; 5], 20@4; its value is a list
    Bytes(5)                                 [u8; 5], 5@1; its value is a bytes object
    unit                                     (), 0@1

Structs are in `heapwright.collections.structs`. A container that is moved into another is a value, too: see
`heapwright.collections.owned.Handle`.
Every access goes through the program's view of memory, so it is checked.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from heapwright.collections.raw import read_bytes, write_bytes
from heapwright.collections.runtime import Container, Runtime

POINTER = 8  # bytes in an address


class Type:
    """One type: its name in Rust, and its size and alignment in bytes."""

    name: str
    size: int
    align: int
    needs_drop = False  # whether a value owns memory

    def read(self, runtime: Runtime, address: int, owner: object = None) -> Any:
        """The value at an address; a value that is a reference keeps `owner` alive."""
        raise NotImplementedError

    def write(self, runtime: Runtime, address: int, value: Any) -> None:
        """Write a value to memory that holds none."""
        raise NotImplementedError

    def require(self, value: Any) -> None:
        """Raise TypeError unless a value is of this type and `write` will succeed."""

    def replace(self, runtime: Runtime, address: int, value: Any) -> None:
        """Replace the value at an address and drop the old one; a value of a wrong type changes nothing."""
        self.require(value)
        self.drop(runtime, address)
        self.write(runtime, address, value)

    def drop(self, runtime: Runtime, address: int) -> None:
        """Free all that the value at an address owns."""

    def take(self, runtime: Runtime, address: int) -> Any:
        """Move the value at an address out of memory; the caller owns it."""
        return self.read(runtime, address)

    def clone(self, runtime: Runtime, address: int) -> Any:
        """A clone of the value at an address, not yet in memory (Rust's Clone)."""
        return self.read(runtime, address)

    def containers(self, runtime: Runtime, address: int) -> Iterator[Container]:
        """The containers in the value at an address, without those that they own in turn."""
        return iter(())

    def plain(self, value: Any) -> Any:
        """A Python value that compares as Rust compares this one (Eq and Ord)."""
        return value

    def hashed(self, value: Any) -> bytes:
        """The bytes that a value passes to a hasher (Rust's Hash)."""
        self.refuse(value)

    def refuse(self, value: Any) -> NoReturn:
        raise TypeError(f"{value!r} is not a key: a {self.name} has no hash")

    def __repr__(self) -> str:
        return f"{self.name} {self.size}@{self.align}"


class Integer(Type):
    def __init__(self, name: str):
        self.name, self.signed = name, name[0] == "i"
        self.size = self.align = int(name[1:]) // 8
        bits = self.size * 8
        self.minimum, self.maximum = (-(1 << bits - 1), (1 << bits - 1) - 1) if self.signed else (0, (1 << bits) - 1)

    def read(self, runtime: Runtime, address: int, owner: object = None) -> int:
        word = runtime.memory.load(address, self.size)
        return int.from_bytes(word.to_bytes(8, "little", signed=word < 0)[: self.size], "little", signed=self.signed)

    def write(self, runtime: Runtime, address: int, value: int) -> None:
        data = self.hashed(value)
        runtime.memory.store(address, self.size, int.from_bytes(data, "little", signed=self.size == 8))

    def require(self, value: Any) -> None:
        if not isinstance(value, int) or not self.minimum <= value <= self.maximum:
            raise TypeError(f"{value!r} is not an {self.name}")

    def hashed(self, value: int) -> bytes:
        self.require(value)
        return value.to_bytes(self.size, "little", signed=self.signed)


class Float(Type):
    def __init__(self, name: str):
        self.name, self.code = name, "f" if name == "f32" else "d"
        self.size = self.align = int(name[1:]) // 8

    def read(self, runtime: Runtime, address: int, owner: object = None) -> float:
        value: float = struct.unpack(f"<{self.code}", read_bytes(runtime.memory, address, self.size))[0]
        return value

    def require(self, value: Any) -> None:
        if not isinstance(value, int | float):
            raise TypeError(f"{value!r} is not an {self.name}")

    def write(self, runtime: Runtime, address: int, value: float) -> None:
        self.require(value)
        write_bytes(runtime.memory, address, struct.pack(f"<{self.code}", value))


class Boolean(Type):
    name, size, align = "bool", 1, 1

    def read(self, runtime: Runtime, address: int, owner: object = None) -> bool:
        return bool(runtime.memory.load(address, 1))

    def require(self, value: Any) -> None:
        if value not in {True, False}:
            raise TypeError(f"{value!r} is not a bool")

    def write(self, runtime: Runtime, address: int, value: bool) -> None:
        self.require(value)
        runtime.memory.store(address, 1, int(value))

    def hashed(self, value: bool) -> bytes:
        return bytes([value])


class Text(Type):
    name, size, align = "&str", 2 * POINTER, POINTER

    def read(self, runtime: Runtime, address: int, owner: object = None) -> str:
        start, length = (runtime.memory.load(address + offset, 8) for offset in (0, POINTER))
        return read_bytes(runtime.memory, start, length).decode()

    def require(self, value: Any) -> None:
        if not isinstance(value, str):
            raise TypeError(f"{value!r} is not a &str")

    def write(self, runtime: Runtime, address: int, value: str) -> None:
        self.require(value)
        data = value.encode()
        runtime.memory.store(address, 8, runtime.text(data))
        runtime.memory.store(address + POINTER, 8, len(data))

    def plain(self, value: Any) -> str:
        return str(value)

    def hashed(self, value: Any) -> bytes:
        return hashed_text(value)


class Unit(Type):
    name, size, align = "()", 0, 1

    def read(self, runtime: Runtime, address: int, owner: object = None) -> None:
        return None

    def require(self, value: Any) -> None:
        if value is not None:
            raise TypeError(f"{value!r} is not a ()")

    def write(self, runtime: Runtime, address: int, value: None) -> None:
        self.require(value)

    def plain(self, value: None) -> tuple[()]:
        return ()

    def hashed(self, value: None) -> bytes:
        return b""


class BytesType(Type):
    def __init__(self, size: int):
        self.name, self.size, self.align = f"[u8; {size}]", size, 1

    def read(self, runtime: Runtime, address: int, owner: object = None) -> bytes:
        return read_bytes(runtime.memory, address, self.size)

    def require(self, value: Any) -> None:
        if not isinstance(value, bytes) or len(value) != self.size:
            raise TypeError(f"{value!r} is not a {self.name}")

    def write(self, runtime: Runtime, address: int, value: bytes) -> None:
        self.require(value)
        write_bytes(runtime.memory, address, value)

    def hashed(self, value: bytes) -> bytes:
        return hashed_length(value) + value


class ArrayType(Type):
    def __init__(self, element: Type, count: int):
        self.element, self.count = element, count
        self.name, self.needs_drop = f"[{element.name}; {count}]", element.needs_drop
        self.size, self.align = element.size * count, element.align

    def places(self, address: int) -> Iterator[int]:
        return (address + i * self.element.size for i in range(self.count))

    def read(self, runtime: Runtime, address: int, owner: object = None) -> list[Any]:
        return [self.element.read(runtime, place, owner) for place in self.places(address)]

    def require(self, value: Any) -> None:
        if len(value) != self.count:
            raise TypeError(f"{len(value)} elements are not a {self.name}")
        for element in value:
            self.element.require(element)

    def write(self, runtime: Runtime, address: int, value: Sequence[Any]) -> None:
        self.require(value)
        for place, element in zip(self.places(address), value, strict=True):
            self.element.write(runtime, place, element)

    def drop(self, runtime: Runtime, address: int) -> None:
        if self.needs_drop:
            for place in self.places(address):
                self.element.drop(runtime, place)

    def take(self, runtime: Runtime, address: int) -> list[Any]:
        return [self.element.take(runtime, place) for place in self.places(address)]

    def clone(self, runtime: Runtime, address: int) -> list[Any]:
        return [self.element.clone(runtime, place) for place in self.places(address)]

    def containers(self, runtime: Runtime, address: int) -> Iterator[Container]:
        if self.needs_drop:
            for place in self.places(address):
                yield from self.element.containers(runtime, place)

    def plain(self, value: Sequence[Any]) -> list[Any]:
        return plain_elements(self.element, value)

    def hashed(self, value: Sequence[Any]) -> bytes:
        return hashed_elements(self.element, value)


# --- comparing and hashing


def plain_elements(element: Type | None, values: Any) -> list[Any]:
    """Elements as Python values that can be compared; none if the type is unknown."""
    return [element.plain(value) for value in values] if element else []


def hashed_elements(element: Type | None, values: Any) -> bytes:
    """The bytes that a slice passes to a hasher."""
    return hashed_length(values) + b"".join(element.hashed(value) for value in values if element)


def hashed_length(value: Any) -> bytes:
    """The bytes of a slice's length, which it hashes first."""
    return len(value).to_bytes(POINTER, "little")


def hashed_text(value: Any) -> bytes:
    """The bytes that a str passes to a hasher: its own, and one that no UTF-8 text contains."""
    return str(value).encode() + b"\xff"


# --- the types


i8, i16, i32, i64 = (Integer(f"i{bits}") for bits in (8, 16, 32, 64))
u8, u16, u32, u64 = (Integer(f"u{bits}") for bits in (8, 16, 32, 64))
f32, f64 = Float("f32"), Float("f64")
boolean, text, unit = Boolean(), Text(), Unit()

PLAIN: dict[type, Type] = {bool: boolean, int: i32, float: f64, str: text, type(None): unit}


def type_of(value: Any) -> Type:
    """The type that Rust would infer for a value without further information."""
    if type(value) in PLAIN:
        return PLAIN[type(value)]
    if isinstance(value, bytes):
        return BytesType(len(value))
    if isinstance(value, list | tuple):
        return ArrayType(type_of(value[0]) if value else unit, len(value))
    found = getattr(value, "rust_type", None)
    if not isinstance(found, Type):
        raise TypeError(f"the type of {value!r} is unknown: give it as an argument")
    return found
