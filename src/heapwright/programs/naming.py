"""The names of an allocator's words, from the structs that are known to lie in its memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from heapwright.layout import AtomicKind, Pointer, Struct, StructMeta
from heapwright.machine.names import named

LARGEST = 256  # bytes: a word is searched for in structs that begin this far below it
WORD = 8


class WordNames:
    """Names for addresses: those of the heap's own words, and of words in the structs by their start addresses."""

    def __init__(self, words: int, struct: type[Struct], structs: dict[int, type[Struct]]):
        self.words, self.struct, self.structs = words, struct, structs

    def is_own(self, address: int) -> bool:
        """Whether an address lies in the heap's own words."""
        return self.words <= address < self.words + self.struct.SIZE

    def base(self, address: int) -> int | None:
        """The start of the known struct that an address lies in."""
        for base in range(address, address - LARGEST, -1):
            if base in self.structs and address < base + self.structs[base].SIZE:
                return base
        return None

    def name(self, address: int) -> tuple[str, bool]:
        """The name of a word, and whether it is a pointer."""
        if self.is_own(address):
            found = named(self.struct, address - self.words)
            return found.path, is_pointer(found.kind)
        base = self.base(address)
        return (f"word at {address:#x}", False) if base is None else name_in(self.structs[base], base, address)

    def place_name(self, address: int) -> str:
        """An address as a reader knows it: by name for the heap's own words."""
        if self.is_own(address):
            path = named(self.struct, address - self.words).path
            return path.rpartition(".")[0] or path
        return f"{address:#x}" if address else "null"


def name_in(struct: StructMeta, base: int, address: int) -> tuple[str, bool]:
    """The name of a word in a struct that begins at `base`, and whether it is a pointer."""
    found = named(struct, address - base)
    return f"{struct.__name__}.{found.path} at {base:#x}", is_pointer(found.kind)


def is_pointer(kind: Any) -> bool:
    return isinstance(kind.cell if isinstance(kind, AtomicKind) else kind, Pointer)


def pointers_in(struct: StructMeta) -> Iterator[tuple[int, str]]:
    """The offset and the path of each pointer in a struct, in the order of their offsets."""
    for offset in range(0, struct.SIZE, WORD):
        found = named(struct, offset)
        if is_pointer(found.kind):
            yield offset, found.path
