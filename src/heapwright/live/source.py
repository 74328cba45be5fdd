"""Where memory comes from: what `Process` and `Core` have in common, the files that are mapped."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from heapwright.bits import align_up
from heapwright.live.elf import PT_LOAD, Elf, ElfError
from heapwright.live.mappings import Mapping, MappingMap
from heapwright.live.pages import PAGE, Pages

Registers = tuple[int, ...]  # of one thread, as in struct user_regs_struct; none where they are not known
Octets = np.ndarray[Any, np.dtype[np.uint8]]


class Module(NamedTuple):
    """A mapped program or library: its file, where it is loaded, and its mappings in order.

    `bias` is what to add to an address of the file's own.
    """

    elf: Elf
    path: str
    bias: int
    mappings: tuple[Mapping, ...]

    @property
    def bss(self) -> tuple[int, int]:
        """The pages behind the file's own that belong to its data: other mappings may touch them."""
        last = max((mapping.end for mapping in self.mappings), default=0)
        ends = [each.address + each.size for each in self.elf.segments if each.kind == PT_LOAD]
        return last, max(last, self.bias + align_up(max(ends, default=0), PAGE))

    def address_of(self, symbol: str) -> int:
        """Where a symbol lies in memory, or 0."""
        found = self.elf.find(symbol)
        return self.bias + found.address if found else 0


class Source:
    """The memory to look at. What cannot be read raises `Unreadable`."""

    pid: int | None
    name: str
    mappings: MappingMap
    knows_residency: bool
    registers: dict[int, Registers]  # of each thread when it last stood still

    def __init__(self) -> None:
        self.registers = {}
        self._files: dict[tuple[str, int, str], Elf | None] = {}
        self._modules: list[Module] | None = None

    @property
    def left_out(self) -> str:
        """A sentence about memory that this source lacks; "" if it lacks none."""
        return ""

    def look_again(self) -> None:
        """Read the mappings anew, where they may have changed."""

    def remap(self) -> None:
        """Read the mappings again without their resident bytes: the quick way, under a pause."""

    def read(self, address: int, size: int) -> bytes:
        """The bytes of a range that lies in one mapping."""
        raise NotImplementedError

    def window(self, start: int, end: int) -> Octets | None:
        """The bytes of a range without a copy, where they lie in a file; else None."""
        return None

    def release(self, start: int, end: int) -> None:
        """Release the frames of a window; they are read from the file again when needed."""

    def fill(self, target: Octets, start: int, present: Any) -> Any:
        """Copy the pages of [start, ...) that `present` marks into `target`; mark those that were read."""
        raise NotImplementedError

    def pages(self, start: int, end: int) -> Pages:
        """The pages of a range; in a core, `present` marks those that the file has."""
        raise NotImplementedError

    def open_file(self, mapping: Mapping) -> Path | None:
        """A path under which the file of a mapping can be opened, as the program sees it."""
        raise NotImplementedError

    def file_of(self, mapping: Mapping) -> Elf | None:
        """The ELF file behind a mapping; None if it is none, or cannot be opened."""
        key = (mapping.device, mapping.inode, mapping.path)
        if key not in self._files:
            path = self.open_file(mapping)
            self._files[key] = mapped_elf(path, mapping.path) if path else None
        return self._files[key]

    def modules(self) -> list[Module]:
        """The program and its libraries, each once for each time it is loaded."""
        if self._modules is None:
            self._modules = list(self._find_modules())
        return self._modules

    def _find_modules(self) -> Iterator[Module]:
        for group in loads(self.mappings):
            elf = self.file_of(group[0])
            if elf is not None:
                yield Module(elf, group[0].path, group[0].start - elf.first_address, group)


def loads(mappings: MappingMap) -> list[tuple[Mapping, ...]]:
    """The mappings of each load of a file: one that begins with offset 0 and what follows it."""
    groups: list[list[Mapping]] = []
    for mapping in mappings:
        if not mapping.has_file or not mapping.path.startswith("/"):
            continue
        if mapping.offset == 0 and (not groups or not continues(groups[-1], mapping)):
            groups.append([mapping])
        elif groups and is_same_file(groups[-1][-1], mapping):
            groups[-1].append(mapping)
    return [tuple(group) for group in groups]


def continues(group: list[Mapping], mapping: Mapping) -> bool:
    """Whether a further mapping with offset 0 belongs to the same load: it has other rights and touches it."""
    return is_same_file(group[-1], mapping) and group[-1].end == mapping.start and group[-1].flags != mapping.flags


def is_same_file(one: Mapping, other: Mapping) -> bool:
    return (one.device, one.inode, one.path) == (other.device, other.inode, other.path)


def mapped_elf(path: Path, name: str) -> Elf | None:
    try:
        with path.open("rb") as file:
            return Elf(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), name)
    except (OSError, ValueError, ElfError):
        return None
