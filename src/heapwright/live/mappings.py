"""The mappings of a process, as /proc/PID/maps and /proc/PID/smaps list them.

Source: Linux, Documentation/filesystems/proc.rst. Rss counts resident bytes, without swapped ones (Swap). Neither
includes hugetlb pages.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) (\S+) (\d+) *(.*)")
KIB = 1024
SHARED = ("Shared_Clean", "Shared_Dirty")


@dataclass
class Mapping:
    """One mapping: its range of addresses, its permissions, and the file behind it, if any.

    `resident` and `swapped` are bytes; None if they are unknown, as in a core file. `shared` are the resident bytes
    that other processes have too; in private data, since a fork.
    """

    start: int
    end: int
    flags: str = "rw-p"
    offset: int = 0
    device: str = "00:00"
    inode: int = 0
    path: str = ""
    resident: int | None = None
    swapped: int | None = None
    shared: int = 0
    vm_flags: frozenset[str] = field(default=frozenset())

    @property
    def size(self) -> int:
        return self.end - self.start

    @property
    def is_readable(self) -> bool:
        return self.flags[0] == "r"

    @property
    def is_writable(self) -> bool:
        return self.flags[1] == "w"

    @property
    def is_executable(self) -> bool:
        return self.flags[2] == "x"

    @property
    def has_file(self) -> bool:
        return self.inode != 0

    @property
    def is_private_data(self) -> bool:
        """Whether a heap may lie here: the mapping is writable, private, and has no file."""
        return self.flags.startswith("rw") and self.flags[3] == "p" and not self.has_file

    @property
    def is_locked(self) -> bool:
        """Whether the pages are locked, so that madvise refuses to release them."""
        return "lo" in self.vm_flags

    def __contains__(self, address: int) -> bool:
        return self.start <= address < self.end

    def __str__(self) -> str:
        return f"{self.start:#x}-{self.end:#x} {self.flags} {self.path}".rstrip()


def parse_maps(lines: Iterable[str]) -> list[Mapping]:
    return [mapping for line in lines if (mapping := parse_line(line))]


def parse_line(line: str) -> Mapping | None:
    found = LINE.match(line)
    if not found:
        return None
    start, end, flags, offset, device, inode, path = found.groups()
    return Mapping(int(start, 16), int(end, 16), flags, int(offset, 16), device, int(inode), unescaped(path))


def unescaped(path: str) -> str:
    """A path from the kernel, with its octal escapes (for newlines) decoded."""
    return path.rstrip("\n").replace("\\012", "\n")


def parse_smaps(lines: Iterable[str]) -> list[Mapping]:
    """The mappings with their resident and swapped bytes and their flags."""
    mappings: list[Mapping] = []
    for line in lines:
        mapping = parse_line(line)
        if mapping:
            mapping.resident = mapping.swapped = 0
            mappings.append(mapping)
        elif mappings:
            note_detail(mappings[-1], line)
    return mappings


def note_detail(mapping: Mapping, line: str) -> None:
    name, _, value = line.partition(":")
    if name == "Rss":
        mapping.resident = kib(value)
    elif name in SHARED:
        mapping.shared += kib(value)
    elif name == "Swap":
        mapping.swapped = kib(value)
    elif name == "VmFlags":
        mapping.vm_flags = frozenset(value.split())


def kib(value: str) -> int:
    """Bytes of a value such as `  132 kB`."""
    return int(value.split(maxsplit=1)[0]) * KIB


def joined(mappings: Iterable[Mapping]) -> list[Mapping]:
    """Mappings in order. Adjacent mappings of private data with the same name become one."""
    found: list[Mapping] = []
    for mapping in mappings:
        if found and belongs_to(found[-1], mapping):
            found[-1] = with_next(found[-1], mapping)
        else:
            found.append(mapping)
    return found


def belongs_to(before: Mapping, mapping: Mapping) -> bool:
    both = before.is_private_data and mapping.is_private_data
    return both and before.end == mapping.start and before.path == mapping.path


def with_next(before: Mapping, mapping: Mapping) -> Mapping:
    """Both mappings as one, which is locked only if both are."""
    resident, swapped = added(before.resident, mapping.resident), added(before.swapped, mapping.swapped)
    flags = before.vm_flags & mapping.vm_flags
    shared = before.shared + mapping.shared
    return replace(before, end=mapping.end, resident=resident, swapped=swapped, shared=shared, vm_flags=flags)


def added(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


class MappingMap:
    """Mappings in the order of their addresses, found by address."""

    def __init__(self, mappings: Iterable[Mapping]):
        self.mappings = sorted(mappings, key=lambda mapping: mapping.start)
        self._starts = [mapping.start for mapping in self.mappings]
        self._joined: MappingMap | None = None

    def at(self, address: int) -> Mapping | None:
        index = bisect_right(self._starts, address) - 1
        if index >= 0 and address < self.mappings[index].end:
            return self.mappings[index]
        return None

    @property
    def joined(self) -> MappingMap:
        """The same map, where adjacent mappings of private data with the same name are one.

        madvise and mlock split mappings, so one heap may span several.
        """
        if self._joined is None:
            self._joined = MappingMap(joined(self.mappings))
        return self._joined

    def after(self, mapping: Mapping) -> Mapping | None:
        """The mapping that begins where this one ends."""
        return self.at(mapping.end)

    def named(self, name: str) -> Mapping | None:
        return next((mapping for mapping in self.mappings if mapping.path == name), None)

    def __iter__(self) -> Iterator[Mapping]:
        return iter(self.mappings)

    def __len__(self) -> int:
        return len(self.mappings)
