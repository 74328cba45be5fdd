"""Structs in a heap's bytes: declare the fields once, then write `block.next.size = 0`.

A pointer is a memory and an address. Interpreted, it is an object of the struct's class, and each
field access is one checked load or store of its memory. Compiled, `heapwright.native` gives the same
expressions their machine meaning. Nothing here imports Numba.

    class Block(Struct):
        next: Block                  a pointer to a struct; to one of another module: `chunks.Chunk`
        size: Word                   a signed 64-bit number
        state: Byte                  an unsigned number of 8 bits; Word16 and Word32 have 16 and 32
        bins: Array[Word, 64]        64 words in place: `block.bins[i]`, `block.bins.address`
        anchor: Inline[Link]         a struct in place: `block.anchor` points into the block
        remote: Atomic[Block]        a cell for many threads: load, store, exchange, compare_exchange, add

`Block.SIZE` is the size of a struct in bytes, `Block.size.offset` where a field lies in it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, cast

NULL = 0
WORD = 8


class Memory(Protocol):
    """What a world gives an allocator: checked loads and stores, the kernel, and the thread it runs on.

    Addresses and sizes are in bytes. A kernel call that fails returns -1 and changes nothing.
    """

    PAGE: int

    def load(self, address: int, size: int) -> int:
        """The number in `size` bytes: signed for 8, unsigned for 1, 2 and 4."""

    def store(self, address: int, size: int, value: int) -> None: ...

    def exchange(self, address: int, value: int) -> int:
        """Atomically store a word; return the old one."""

    def compare_exchange(self, address: int, expected: int, value: int) -> bool: ...

    def add(self, address: int, value: int) -> int:
        """Atomically add to a word; return the old one."""

    def fill(self, address: int, size: int, byte: int) -> None: ...

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy bytes between ranges that may overlap."""

    def sbrk(self, n: int) -> int:
        """Move the break by `n` bytes; return the start of the new memory (the old break), or -1."""

    def mmap(self, size: int) -> int:
        """Map zeroed pages; return their address, or -1."""

    def munmap(self, address: int, size: int) -> int: ...

    def mremap(self, address: int, old_size: int, new_size: int, may_move: int) -> int: ...

    def decommit(self, address: int, size: int) -> int:
        """Give whole pages back to the kernel; they stay mapped and read as zero."""

    def local(self, slot: int) -> int:
        """One of the calling thread's eight words; zero in a new thread."""

    def set_local(self, slot: int, value: int) -> None: ...

    def thread_id(self) -> int:
        """A number that no other living thread has; never zero."""

    def single_threaded(self) -> int:
        """Whether this process never had a second thread."""

    def wait(self, address: int, value: int) -> None:
        """Sleep while the 32-bit word at `address` holds `value`, until a wake."""

    def wake(self, address: int) -> None: ...

    def relax(self) -> None:
        """Say that the thread spins."""

    def random(self) -> int: ...

    def set_errno(self, number: int) -> None: ...

    def held(self) -> int:
        """Bytes that the kernel gave and has not got back."""

    def most_held(self) -> int: ...

    def growths(self) -> int:
        """How often the kernel gave memory."""

    def shrinks(self) -> int:
        """How often it got memory back: the break lowered, a mapping cut or unmapped."""

    def decommits(self) -> int:
        """How often it got back the frames of pages that stay mapped."""

    def stretch_start(self) -> int:
        """Where the memory that sbrk gave begins; if the program moved the break too, some of it lies in between."""

    def piece_start(self) -> int:
        """Where the last piece of it begins, in which there is nobody else's."""

    def stretch_end(self) -> int: ...

    def record(self, operation: int, log2_align: int, address: int, old: int, size: int) -> None:
        """Keep a record of a call, as the `traced` layer makes them."""

    def record_anew(self) -> None:
        """In a forked child: keep its records apart from its parent's."""

    def fault(self, what: str, address: int) -> None:
        """Report a misuse of the heap; never returns."""


class Bytes:
    """The bytes of a buffer as the memory that structs lie in, from address 0 on: loads and stores alone."""

    def __init__(self, data: Any):
        self.data = data

    def load(self, address: int, size: int) -> int:
        return int.from_bytes(self.data[address : address + size], "little", signed=size == 8)

    def store(self, address: int, size: int, value: int) -> None:
        self.data[address : address + size] = value.to_bytes(size, "little", signed=size == 8)


class Scalar:
    """A number in `size` bytes."""

    def __init__(self, name: str, size: int):
        self.name, self.size, self.align = name, size, size

    def read(self, memory: Memory, address: int) -> Any:
        return memory.load(address, self.size)

    def write(self, memory: Memory, address: int, value: Any) -> None:
        memory.store(address, self.size, value)

    def __repr__(self) -> str:
        return self.name


class Pointer:
    """A word that holds the address of a struct, found late so that structs may name each other."""

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

    def __repr__(self) -> str:
        return self.name


class InPlace:
    """A field whose value is a place inside the struct, never overwritten as a whole."""

    size: int
    align: int

    def write(self, memory: Memory, address: int, value: Any) -> None:
        raise TypeError(f"{self!r} lies in place: assign to what is inside it")


class InlineKind(InPlace):
    def __init__(self, pointer: Pointer):
        self.struct = pointer.struct  # complete by now, or there is no knowing its size
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
    """The elements of an array field: indexed, counted, and with an address."""

    def __init__(self, memory: Memory, address: int, kind: ArrayKind):
        self.memory, self.address, self.kind = memory, address, kind

    def at(self, index: int) -> int:
        """The address of one element."""
        if not 0 <= index < self.kind.count:
            raise IndexError(f"element {index} of {self.kind!r}")
        size: int = self.kind.element.size
        return self.address + index * size

    def __getitem__(self, index: int) -> Any:
        return self.kind.element.read(self.memory, self.at(index))

    def __setitem__(self, index: int, value: Any) -> None:
        self.kind.element.write(self.memory, self.at(index), value)

    def __len__(self) -> int:
        return self.kind.count


class AtomicPlace:
    """A cell that several threads read and write: loads acquire, stores release, the rest do both."""

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
        """Store `value` if the cell holds `expected`; say whether it did."""
        return self.memory.compare_exchange(self.address, address_in(expected), address_in(value))

    def add(self, value: int) -> int:
        return self.memory.add(self.address, value)


def address_in(value: Any) -> int:
    """The word to store for a number, an address or a pointer."""
    word: int = value.address if isinstance(value, Struct) else value
    return word


class Field:
    """One field of a struct: where it lies and what it holds."""

    def __init__(self, name: str, offset: int, kind: Any):
        self.name, self.offset, self.kind = name, offset, kind

    def __get__(self, pointer: Struct | None, owner: type[Struct]) -> Any:
        if pointer is None:
            return self
        return self.kind.read(pointer.memory, pointer.address + self.offset)

    def __set__(self, pointer: Struct, value: Any) -> None:
        self.kind.write(pointer.memory, pointer.address + self.offset, value)


class Names:
    """The names that a field's annotation may use: its module's; one still unknown is a struct to come."""

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
    """The kind of field that an annotation, or a part of one, means."""
    if isinstance(annotation, str):
        annotation = eval(annotation, {}, cast("Mapping[str, object]", names))  # noqa: S307  source, not input
    if isinstance(annotation, StructMeta):
        return pointer_to(annotation)
    if not hasattr(annotation, "align"):
        raise TypeError(f"{names.place}: '{annotation}' is not a field: {FIELD_RULE}")
    return annotation


class StructMeta(type):
    """Lays out a struct's fields in their order, each aligned to its own size, as C does."""

    fields: dict[str, Field]
    SIZE: int
    ALIGN: int

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> StructMeta:
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

    __hash__ = None  # type: ignore[assignment]  # a pointer is a place, and what lies there changes

    def __repr__(self) -> str:
        return f"{type(self).__name__} at {self.address:#x}"


class _Of:
    """`Name[...]` in an annotation makes a kind of field; a struct in the brackets is a pointer to it."""

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
