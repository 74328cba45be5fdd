"""Facts about an executable file: its kind, its loader, and the dynamic symbols that it defines.

Source: System V Application Binary Interface, Object Files (ELF).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

T = TypeVar("T")

MAGIC = b"\x7fELF"
X86_64 = 62
LITTLE_ENDIAN = 1
LOADED, LOADER, DYNAMIC_SYMBOLS = 1, 3, 11  # PT_LOAD, PT_INTERP, SHT_DYNSYM
DEBUG_LINK = b".gnu_debuglink"
HEADER = struct.Struct("<16xHHIQQQIHHHHHH")
SEGMENT = struct.Struct("<IIQQQQQQ")
SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")
KIND_OF_SYMBOL, FUNCTIONS = 15, (2, 10)  # STT_FUNC, STT_GNU_IFUNC


class Program(NamedTuple):
    bits: int
    machine: int
    loader: str  # "" for a static program


class Symbol(NamedTuple):
    """A dynamic symbol that the file defines."""

    name: str
    address: int  # as the file gives it
    size: int  # bytes
    is_function: bool


def read(path: str) -> Program | None:
    """The facts of an executable; None if the file is damaged or not an executable."""
    return with_data(path, read_from, None)


def defines(path: str, name: bytes) -> bool:
    """Whether the file defines a dynamic symbol. False if it is damaged."""
    return with_data(path, lambda data: is_defined(data, name + b"\0"), False)


def first_address(path: str) -> int:
    """The lowest address that the file names for its own bytes; 0 if it is damaged."""
    return with_data(path, lambda data: min(address for kind, _, address, _ in segments(data) if kind == LOADED), 0)


def functions(path: str) -> list[Symbol]:
    """The functions that the file exports, by address; none if it is damaged."""
    none: list[Symbol] = []
    found = with_data(path, lambda data: [each for each in symbols_in(data) if each.is_function], none)
    return sorted(found, key=lambda each: each.address)


def debug_link(path: str) -> str:
    """The name of a file with separate debug information; "" if there is none."""
    return with_data(path, debug_link_in, "")


def with_data(path: str, function: Callable[[mmap.mmap], T], otherwise: T) -> T:
    """What a function finds in an ELF file; `otherwise` if the file is damaged, cannot be read, or is none."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return function(data) if data[:4] == MAGIC else otherwise
    except (OSError, ValueError, IndexError, struct.error):
        return otherwise


def read_from(data: mmap.mmap) -> Program:
    bits = 32 * data[4]
    machine = int.from_bytes(data[18:20], "little" if data[5] == LITTLE_ENDIAN else "big")
    if bits != 64 or machine != X86_64:
        return Program(bits, machine, "")
    return Program(bits, machine, loader_of(data))


def loader_of(data: mmap.mmap) -> str:
    """The path of the dynamic loader that starts the program."""
    found = (data[offset : offset + length] for kind, offset, _, length in segments(data) if kind == LOADER)
    return next(found, b"").rstrip(b"\0").decode()


def segments(data: mmap.mmap) -> Iterator[tuple[int, int, int, int]]:
    """Kind, offset, address and length of each segment."""
    _, _, _, _, first, _, _, _, size, count, *_ = HEADER.unpack_from(data)
    for i in range(count):
        kind, _, offset, address, _, length, *_ = SEGMENT.unpack_from(data, first + i * size)
        yield kind, offset, address, length


def debug_link_in(data: mmap.mmap) -> str:
    """The name in the section `.gnu_debuglink`."""
    *_, first, _, _, _, _, size, _, names = HEADER.unpack_from(data)
    _, _, _, _, texts, *_ = SECTION.unpack_from(data, first + names * size)
    for i, (_, _, offset, length) in enumerate(sections(data)):
        name = texts + SECTION.unpack_from(data, first + i * size)[0]
        if data[name : name + len(DEBUG_LINK) + 1] == DEBUG_LINK + b"\0":
            return data[offset : offset + length].split(b"\0")[0].decode()
    return ""


def is_defined(data: mmap.mmap, name: bytes) -> bool:
    """Whether there is a dynamic symbol of a name that ends with a zero byte. A program has thousands of others."""
    table = list(sections(data))
    for kind, link, offset, length in table:
        if kind == DYNAMIC_SYMBOLS:
            _, _, first, size = table[link]
            names, symbols = data[first : first + size], SYMBOL.iter_unpack(data[offset : offset + length])
            if any(section and names.startswith(name, at) for at, _, _, section, _, _ in symbols):
                return True
    return False


def symbols_in(data: mmap.mmap) -> Iterator[Symbol]:
    table = list(sections(data))
    for kind, link, offset, length in table:
        if kind == DYNAMIC_SYMBOLS:
            names = table[link][2]
            for place in range(offset, offset + length, SYMBOL.size):
                name, info, _, section, address, size = SYMBOL.unpack_from(data, place)
                if section != 0:
                    text = data[names + name : data.find(b"\0", names + name)].decode(errors="replace")
                    yield Symbol(text, address, size, info & KIND_OF_SYMBOL in FUNCTIONS)


def sections(data: mmap.mmap) -> Iterator[tuple[int, int, int, int]]:
    """Kind, link, offset and length of each section."""
    _, _, _, _, _, first, _, _, _, _, size, count, _ = HEADER.unpack_from(data)
    for i in range(count):
        _, kind, _, _, offset, length, link, *_ = SECTION.unpack_from(data, first + i * size)
        yield kind, link, offset, length
