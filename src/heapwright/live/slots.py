"""Where the modules of a process keep the addresses of functions that they call, and how to lead the calls elsewhere.

The dynamic linker writes the address of an imported function into a word of each module that imports it. A call goes
through this word, so whoever changes the word changes what is called. A word is changed by one aligned store, while the
program runs: at any time it has the address of a function that does the same.

A word is changed only if it has the address that is expected there. A word for calls may also have an address in its
own module: then the linker has not been asked yet, and would look the function up at the first call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from heapwright.live.elf import SHT_RELA, SYMBOL, Elf, text_at
from heapwright.live.errors import Unreadable
from heapwright.live.process import Process
from heapwright.live.source import Module

ADDRESS, DATA, CALL = 1, 6, 7  # R_X86_64_64, R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT
RELOCATION = np.dtype([("address", "<u8"), ("info", "<u8"), ("addend", "<i8")])
WORD = 8


class Slot(NamedTuple):
    """A word of a module, by its address in the file, in which the linker puts the address of a function."""

    address: int
    name: str
    is_call: bool


class Exchange(NamedTuple):
    """Two functions that do the same: the words that lead to one are to lead to the other."""

    old: int
    new: int


class Slots:
    """The words of a process's modules for some functions, by name."""

    def __init__(self, names: frozenset[str]):
        self.names = names
        self._known: dict[int, list[Slot]] = {}  # by the identity of the file

    def of(self, module: Module) -> list[Slot]:
        """The words of a module. A file is read once."""
        key = id(module.elf)
        if key not in self._known:
            self._known[key] = list(slots_in(module.elf, self.names))
        return self._known[key]

    def exchange(self, process: Process, module: Module, functions: Mapping[str, Exchange]) -> int:
        """Lead the words of one module to other functions. Returns how many have changed."""
        wanted = (slot for slot in self.of(module) if slot.name in functions)
        return sum(change(process, module, slot, functions[slot.name]) for slot in wanted)


def slots_in(elf: Elf, names: frozenset[str]) -> Iterator[Slot]:
    """The words of an ELF file for functions of these names."""
    for section in elf.sections:
        if section.kind != SHT_RELA or section.link >= len(elf.sections):
            continue
        data = bytes(elf.data[section.offset : section.offset + section.size])
        found = np.frombuffer(data, RELOCATION, len(data) // RELOCATION.itemsize)
        kinds = found["info"] & 0xFFFFFFFF
        for each in found[np.isin(kinds, (ADDRESS, DATA, CALL)) & (found["info"] >> 32 != 0) & (found["addend"] == 0)]:
            name = symbol_name(elf, section.link, int(each["info"]) >> 32)
            if name in names:
                yield Slot(int(each["address"]), name, int(each["info"]) & 0xFFFFFFFF == CALL)


def symbol_name(elf: Elf, table: int, index: int) -> str:
    """The name of a symbol of a section; "" if the file is damaged."""
    symbols = elf.sections[table]
    place = symbols.offset + index * SYMBOL.size
    if symbols.link >= len(elf.sections) or place + SYMBOL.size > len(elf.data):
        return ""
    strings = elf.sections[symbols.link]
    start = strings.offset + SYMBOL.unpack_from(elf.data, place)[0]
    return text_at(bytes(elf.data[start : start + 64]), 0)


def change(process: Process, module: Module, slot: Slot, functions: Exchange) -> bool:
    """Lead one word to another function. Returns False if it has another value, or is gone."""
    place = module.bias + slot.address
    try:
        value = int.from_bytes(process.read(place, WORD), "little")
        is_unasked = slot.is_call and any(value in mapping for mapping in module.mappings)
        if value == functions.new or not (value == functions.old or is_unasked):
            return False
        process.write(place, functions.new.to_bytes(WORD, "little"))
    except Unreadable:
        return False
    return True
