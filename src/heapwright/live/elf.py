"""ELF files of 64-bit x86: headers, segments, notes and symbols, as far as `live` needs them.

Source: System V ABI, chapters 4 and 5; elf.h. Every offset of a file is checked against its length: what is truncated
or made up gives nothing, or an ElfError, never a wrong answer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from heapwright.errors import UserError

MAGIC, CLASS_64, LITTLE = b"\x7fELF", 2, 1
EM_X86_64 = 62
MACHINES = {3: "32-bit x86", 40: "32-bit Arm", 183: "AArch64", 243: "RISC-V", 21: "PowerPC", 22: "S/390"}
ET_EXEC, ET_DYN, ET_CORE = 2, 3, 4
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE = 1, 2, 3, 4
SHT_SYMTAB, SHT_RELA, SHT_DYNSYM = 2, 4, 11
R_X86_64_TPOFF64 = 18
NT_BUILD_ID = 3
TABLE = "_ZTV"  # how the mangled name of a virtual table begins
EXTENDED_COUNT = 0xFFFF  # the count of segments does not fit its field: the first section's sh_info has it

HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SEGMENT = struct.Struct("<IIQQQQQQ")
SECTION = struct.Struct("<IIQQQQIIQQ")
NOTE = struct.Struct("<III")
SYMBOL = struct.Struct("<IBBHQQ")
RELOCATION = struct.Struct("<QQq")


class ElfError(UserError):
    """A file that is no ELF file of this machine."""


class Segment(NamedTuple):
    kind: int
    flags: int
    offset: int
    address: int
    physical: int
    file_size: int
    size: int
    align: int


class Section(NamedTuple):
    name: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry_size: int


class Symbol(NamedTuple):
    name: str
    address: int
    size: int


class ThreadSlot(NamedTuple):
    """A word in which the loader puts how far from a thread's base some of its own data lie, plus the addend."""

    address: int
    addend: int


@dataclass
class Note:
    name: str
    kind: int
    data: Any


class Elf:
    """An ELF file over the bytes of a file, or a mapping of one."""

    def __init__(self, data: Any, name: str):
        self.data, self.name = data, name
        self._symbols: dict[int, dict[str, Symbol]] = {}
        self._strings: dict[int, bytes] = {}
        if len(data) < HEADER.size or bytes(data[:4]) != MAGIC:
            raise ElfError(f"{name} is not an ELF file")
        (ident, self.kind, self.machine, _, self.entry, self._segments_at, self._sections_at, _, _, _, self._segments,
         _, self._sections, self._names) = HEADER.unpack_from(data)  # fmt: skip
        if ident[4] != CLASS_64 or ident[5] != LITTLE or self.machine != EM_X86_64:
            what = MACHINES.get(self.machine, f"machine {self.machine}")
            raise ElfError(f"{name} is of {what}; heapwright reads 64-bit x86 only")

    @cached_property
    def segments(self) -> list[Segment]:
        count = self._segments
        if count == EXTENDED_COUNT and self.sections:
            count = self.sections[0].info
        return [Segment(*fields) for fields in self._table(SEGMENT, self._segments_at, count)]

    @cached_property
    def sections(self) -> list[Section]:
        count = self._sections
        if count == 0 and self._sections_at:  # more of them than fit
            count = 1
        return [Section(*fields) for fields in self._table(SECTION, self._sections_at, count)]

    def _table(self, form: struct.Struct, start: int, count: int) -> Iterator[tuple[Any, ...]]:
        for index in range(count):
            offset = start + index * form.size
            if offset + form.size <= len(self.data):
                yield form.unpack_from(self.data, offset)

    # --- notes

    def notes(self) -> Iterator[Note]:
        for segment in self.segments:
            if segment.kind == PT_NOTE:
                yield from notes_in(self.data[segment.offset : segment.offset + segment.file_size])

    @cached_property
    def build_id(self) -> str:
        return next((bytes(n.data).hex() for n in self.notes() if n.name == "GNU" and n.kind == NT_BUILD_ID), "")

    # --- symbols

    @cached_property
    def symbols(self) -> dict[str, Symbol]:
        """All defined symbols by name; the last of a name counts. A large program has a million: see `find`."""
        return {name: symbol for number in self._tables for name, symbol in self._table_of(number).items()}

    def find(self, name: str) -> Symbol | None:
        """One defined symbol. A table is read only if its strings have the name, if only as the end of another."""
        for number in self._tables:
            if name.encode() + b"\0" in self._strings_of(number):
                found = self._table_of(number).get(name)
                if found:
                    return found
        return None

    @cached_property
    def _tables(self) -> list[int]:
        """The numbers of the sections that hold symbols, the dynamic linker's first."""
        kinds = (SHT_DYNSYM, SHT_SYMTAB)
        found = [n for n, each in enumerate(self.sections) if each.kind in kinds and each.link < len(self.sections)]
        return sorted(found, key=lambda number: kinds.index(self.sections[number].kind))

    @cached_property
    def virtual_tables(self) -> dict[int, str]:
        """The symbols of C++'s virtual tables, by address."""
        return {symbol.address: name for name, symbol in self.symbols.items() if name.startswith(TABLE)}

    def _table_of(self, number: int) -> dict[str, Symbol]:
        if number not in self._symbols:
            self._symbols[number] = {symbol.name: symbol for symbol in self._symbols_of(self.sections[number])}
        return self._symbols[number]

    def _strings_of(self, number: int) -> bytes:
        strings = self.sections[self.sections[number].link]
        if number not in self._strings:
            self._strings[number] = bytes(self.data[strings.offset : strings.offset + strings.size])
        return self._strings[number]

    def _symbols_of(self, section: Section) -> Iterator[Symbol]:
        strings = self.sections[section.link]
        names = bytes(self.data[strings.offset : strings.offset + strings.size])
        table = self.data[section.offset : section.offset + section.size]
        for name, _, _, index, address, size in SYMBOL.iter_unpack(table[: len(table) // SYMBOL.size * SYMBOL.size]):
            if index != 0:
                yield Symbol(text_at(names, name), address, size)

    def thread_slots(self) -> Iterator[ThreadSlot]:
        """The words that lead to thread-local data, in code that is loaded with the program."""
        for section in self.sections:
            if section.kind == SHT_RELA:
                data = self.data[section.offset : section.offset + section.size]
                for address, info, addend in RELOCATION.iter_unpack(
                    data[: len(data) // RELOCATION.size * RELOCATION.size]
                ):
                    if info & 0xFFFFFFFF == R_X86_64_TPOFF64:
                        yield ThreadSlot(address, addend)

    # --- places

    def bytes_at(self, address: int, size: int) -> bytes:
        """What the file holds for addresses of its own, or fewer bytes."""
        for segment in self.segments:
            if segment.kind == PT_LOAD and segment.address <= address < segment.address + segment.file_size:
                start = segment.offset + address - segment.address
                return bytes(self.data[start : min(start + size, segment.offset + segment.file_size)])
        return b""

    @property
    def has_interpreter(self) -> bool:
        return any(segment.kind == PT_INTERP for segment in self.segments)

    @property
    def first_address(self) -> int:
        """The lowest address of the file's own, of which a page begins."""
        starts = [segment.address & -4096 for segment in self.segments if segment.kind == PT_LOAD]
        return min(starts, default=0)


def notes_in(data: Any) -> Iterator[Note]:
    """The notes of a segment's bytes; one that is cut short ends them."""
    place = 0
    while place + NOTE.size <= len(data):
        name_size, size, kind = NOTE.unpack_from(data, place)
        start = place + NOTE.size + (name_size + 3 & -4)
        if start + size > len(data):
            return
        name = bytes(data[place + NOTE.size : place + NOTE.size + name_size]).rstrip(b"\0").decode("latin-1")
        yield Note(name, kind, data[start : start + size])
        place = start + (size + 3 & -4)


def text_at(strings: bytes, offset: int) -> str:
    end = strings.find(b"\0", offset)
    return strings[offset : end if end >= 0 else offset].decode("utf-8", "replace")
