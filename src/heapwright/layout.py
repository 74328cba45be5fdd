"""Structs in a heap's bytes: declare the fields once, then write `block.next.size = 0`.

A pointer is a memory and an address. Interpreted, it is an object of the struct's class, and each field access is one
checked load or store in its memory. Compiled, `heapwright.native` turns the same expressions into machine code. Nothing
here imports Numba.

    class Block(Struct):
        next: Block                  a pointer to a struct; to one of another module: `chunks.Chunk`
        size: Word                   a signed 64-bit number
        state: Byte                  an unsigned number of 8 bits; Word16 and Word32 have 16 and 32
        bins: Array[Word, 64]        64 words in place: `block.bins[i]`, `block.bins.address`
        anchor: Inline[Link]         a struct in place: `block.anchor` points into the block
        remote: Atomic[Block]        a cell for many threads: load, store, exchange, compare_exchange, add

`Block.SIZE` is the size of a struct in bytes, and `Block.size.offset` is the offset of a field in it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from heapwright.memory import Memory

NULL = 0
WORD = 8
Accessors = tuple[Callable[["Struct"], Any], Callable[["Struct", Any], None]]  # that read and write one field


class Scalar:
    """A number in `size` bytes."""

    def __init__(self, name: str, size: int):
        self.name, self.size, self.align = name, size, size

    def read(self, memory: Memory, address: int) -> Any:
        return memory.load(address, self.size)

    def write(self, memory: Memory, address: int, value: Any) -> None:
        memory.store(address, self.size, value)

    def accessors(self, offset: int) -> Accessors:
        size = self.size

        def read(pointer: Struct) -> Any:
            return pointer.memory.load(pointer.address + offset, size)

        def write(pointer: Struct, value: Any) -> None:
            pointer.memory.store(pointer.address + offset, size, value)

        return read, write

    def __repr__(self) -> str:
        return self.name


class Pointer:
    """A word with the address of a struct, which is looked up late so that structs may refer to each other."""

    size = align = WORD

    def __init__(self, name: str, find: Callable[[], StructMeta]):
        self.name, self._find = name, find

    @cached_property
    def struct(self) -> StructMeta:
        return self._find()

    def read(self, memory: Memory, address: int) -> Any:
        return self.struct(memory, memory.load(address, WORD))

    def write(self, memory: Memory, address: int, value: Any) -> None:
        memory.store(address, WORD, address_in(value))

    def accessors(self, offset: int) -> Accessors:
        def read(pointer: Struct) -> Any:
            memory = pointer.memory
            return self.struct(memory, memory.load(pointer.address + offset, WORD))

        def write(pointer: Struct, value: Any) -> None:
            pointer.memory.store(pointer.address + offset, WORD, address_in(value))

        return read, write

    def __repr__(self) -> str:
        return self.name


class InPlace:
    """A field that lies inside the struct and is never assigned as a whole."""

    size: int
    align: int

    def read(self, memory: Memory, address: int) -> Any:
        raise NotImplementedError

    def write(self, memory: Memory, address: int, value: Any) -> None:
        raise TypeError(f"{self!r} lies in place: assign to what is inside it")

    def accessors(self, offset: int) -> Accessors:
        at_address = self.read

        def read(pointer: Struct) -> Any:
            return at_address(pointer.memory, pointer.address + offset)

        def write(pointer: Struct, value: Any) -> None:
            self.write(pointer.memory, pointer.address + offset, value)

        return read, write


class InlineKind(InPlace):
    def __init__(self, pointer: Pointer):
        self.struct = pointer.struct  # must be complete, because its size is needed
        self.size, self.align = self.struct.SIZE, self.struct.ALIGN

    def read(self, memory: Memory, address: int) -> Any:
        return self.struct(memory, address)

    def __repr__(self) -> str:
        return f"Inline[{self.struct.__name__}]"


class ArrayKind(InPlace):
    def __init__(self, element: Any, count: int):
        self.element, self.count = element, count
        self.size, self.align = element.size * count, element.align

    def read(self, memory: Memory, address: int) -> Any:
        return ArrayPlace(memory, address, self)

    def __repr__(self) -> str:
        return f"Array[{self.element!r}, {self.count}]"


class AtomicKind(InPlace):
    size = align = WORD

    def __init__(self, cell: Any):
        if cell.size != WORD:
            raise TypeError(f"Atomic[{cell!r}]: an atomic cell is a Word or a pointer")
        self.cell = cell

    def read(self, memory: Memory, address: int) -> Any:
        return AtomicPlace(memory, address, self.cell)

    def __repr__(self) -> str:
        return f"Atomic[{self.cell!r}]"


class ArrayPlace:
    """The elements of an array field, with indexing, length and address."""

    __slots__ = "address", "kind", "memory"

    def __init__(self, memory: Memory, address: int, kind: ArrayKind):
        self.memory, self.address, self.kind = memory, address, kind

    def at(self, index: int) -> int:
        """The address of one element."""
        if not 0 <= index < self.kind.count:
            raise IndexError(f"element {index} of {self.kind!r}")
        return self.address + index * int(self.kind.element.size)

    def __getitem__(self, index: int) -> Any:
        return self.kind.element.read(self.memory, self.at(index))

    def __setitem__(self, index: int, value: Any) -> None:
        self.kind.element.write(self.memory, self.at(index), value)

    def __len__(self) -> int:
        return self.kind.count


class AtomicPlace:
    """A cell that several threads read and write: loads acquire, stores release, the other operations do both."""

    __slots__ = "address", "cell", "memory"

    def __init__(self, memory: Memory, address: int, cell: Any):
        self.memory, self.address, self.cell = memory, address, cell

    def _value(self, word: int) -> Any:
        return self.cell.struct(self.memory, word) if isinstance(self.cell, Pointer) else word

    def load(self) -> Any:
        return self._value(self.memory.load(self.address, WORD))

    def store(self, value: Any) -> None:
        self.memory.store(self.address, WORD, address_in(value))

    def exchange(self, value: Any) -> Any:
        return self._value(self.memory.exchange(self.address, address_in(value)))

    def compare_exchange(self, expected: Any, value: Any) -> bool:
        """Store `value` if the cell holds `expected`; return whether it did."""
        return self.memory.compare_exchange(self.address, address_in(expected), address_in(value))

    def add(self, value: int) -> int:
        return self.memory.add(self.address, value)


def address_in(value: Any) -> int:
    """The word to store for a number, an address or a pointer."""
    word: int = value.address if value.__class__ is not int and isinstance(value, Struct) else value
    return word


class Field(property):
    """One field of a struct: where it lies and what it holds. Python reads a property without a call of its own."""

    def __init__(self, name: str, offset: int, kind: Any):
        super().__init__(*kind.accessors(offset))
        self.name, self.offset, self.kind = name, offset, kind


class Names:
    """The names of a module, for its fields' annotations. A name that is still unknown is a struct defined later."""

    def __init__(self, module: str, place: str):
        self.module, self.place = sys.modules[module], place

    def __getitem__(self, name: str) -> Any:
        found = getattr(self.module, name, None)
        return Pointer(name, lambda: self.struct(name)) if found is None else found

    def struct(self, name: str) -> StructMeta:
        found = getattr(self.module, name, None)
        if isinstance(found, StructMeta):
            return found
        raise TypeError(f"{self.place}: no struct is named '{name}'; {FIELD_RULE}")


FIELD_RULE = "a field is a Word, Word32, Word16, Byte, Array, Inline, Atomic or a struct to point to"


def kind_of(annotation: Any, names: Names) -> Any:
    """The kind of field that an annotation, or a part of one, stands for."""
    if isinstance(annotation, str):
        annotation = eval(annotation, {}, cast("Mapping[str, object]", names))  # noqa: S307  source, not input
    if isinstance(annotation, StructMeta):
        return pointer_to(annotation)
    if not hasattr(annotation, "align"):
        raise TypeError(f"{names.place}: '{annotation}' is not a field: {FIELD_RULE}")
    return annotation


class StructMeta(type):
    """The type of structs. It lays out the fields in order, each aligned to its own size, as C does."""

    fields: dict[str, Field]
    SIZE: int
    ALIGN: int

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> StructMeta:
        namespace.setdefault("__slots__", ())  # a pointer has no attributes except its fields
        cls = super().__new__(mcls, name, bases, namespace)
        cls.fields = {}
        offset, cls.ALIGN = 0, 1
        for field, annotation in namespace.get("__annotations__", {}).items():
            kind = kind_of(annotation, Names(cls.__module__, f"{name}.{field}"))
            offset = -(-offset // kind.align) * kind.align
            cls.fields[field] = Field(field, offset, kind)
            setattr(cls, field, cls.fields[field])
            offset, cls.ALIGN = offset + kind.size, max(cls.ALIGN, kind.align)
        cls.SIZE = -(-offset // cls.ALIGN) * cls.ALIGN
        return cls

    def __setattr__(cls, name: str, value: Any) -> None:
        if "SIZE" in vars(cls):
            raise AttributeError(f"{cls.__name__}.{name} = ...: state lies in the fields of a heap, not in its types")
        super().__setattr__(name, value)

    def __iter__(cls) -> Iterator[Field]:
        return iter(cls.fields.values())


class Struct(metaclass=StructMeta):
    """A typed pointer. Falsy when null; compares by address; `at` keeps memory and type."""

    __slots__ = ("address", "memory")

    def __init__(self, memory: Memory, address: int):
        self.memory, self.address = memory, address

    def at(self, address: int) -> Any:
        return type(self)(self.memory, address)

    def __bool__(self) -> bool:
        return self.address != NULL

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Struct) and self.address == other.address

    __hash__ = None  # type: ignore[assignment]  # the struct at a pointer's address changes

    def __repr__(self) -> str:
        contents = getattr(self.memory, "contents", None)  # only in worlds that can be inspected
        return f"{type(self).__name__} at {self.address:#x}{contents(self) if contents and self else ''}"


class _Of:
    """A maker of fields, written `Name[...]` in an annotation. A struct in the brackets means a pointer to it."""

    def __init__(self, make: Callable[..., Any]):
        self.make = make

    def __getitem__(self, parts: Any) -> Any:
        whole = parts if isinstance(parts, tuple) else (parts,)
        return self.make(*(pointer_to(part) if isinstance(part, StructMeta) else part for part in whole))


def pointer_to(struct: StructMeta) -> Pointer:
    return Pointer(struct.__name__, lambda: struct)


if TYPE_CHECKING:
    Word = Word32 = Word16 = Byte = int
    Array = Inline = Atomic = Any
else:
    Word, Word32, Word16, Byte = Scalar("Word", 8), Scalar("Word32", 4), Scalar("Word16", 2), Scalar("Byte", 1)
    Array, Inline, Atomic = _Of(ArrayKind), _Of(InlineKind), _Of(AtomicKind)
