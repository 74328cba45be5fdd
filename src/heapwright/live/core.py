"""A core file: the memory of a process that is no more.

Source: core(5); elf.h. A core has no page map: what was resident or swapped cannot be known. A segment that the kernel
left out (`p_filesz < p_memsz`) is absent, not zero; what lies in a mapped file is read from that file if it is still
the one that was mapped.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from heapwright.live.elf import ET_CORE, PT_LOAD, Elf, ElfError, Note, Segment
from heapwright.live.errors import InspectError, Unreadable
from heapwright.live.mappings import Mapping, MappingMap
from heapwright.live.pages import PAGE, Pages
from heapwright.live.registers import IN_STATUS, registers_in
from heapwright.live.source import Octets, Source

NT_PRSTATUS, NT_PRPSINFO, NT_FILE = 1, 3, 0x46494C45
PID_AT = 32
NAME_AT, NAME_SIZE = 40, 16
LEFT_OUT = 64 << 10  # bytes that are worth a note
PF_X, PF_W, PF_R = 1, 2, 4


class Core(Source):
    """A core file by its path. Raises InspectError, in one line, if it is none or is truncated."""

    knows_residency = False

    def __init__(self, path: Path):
        super().__init__()
        self.path, self.pid = path, None
        self.elf = open_core(path)
        self._mapped: list[tuple[int, int, int, str]] = []
        self.name = path.name
        for note in self.elf.notes():
            self._take(note)
        self._segments = [segment for segment in self.elf.segments if segment.kind == PT_LOAD]
        require_whole(path, self._segments)
        self._by_start = {segment.address: segment for segment in self._segments}
        mappings = [self._mapping(segment) for segment in self._segments]
        self.mappings = MappingMap([*mappings, *self._left_out(MappingMap(mappings))])

    def _take(self, note: Note) -> None:
        data = bytes(note.data)
        if note.name != "CORE":
            return
        if note.kind == NT_PRSTATUS and len(data) >= PID_AT + 4:
            thread = struct.unpack_from("<i", data, PID_AT)[0]
            self.pid = self.pid or thread
            self.registers[thread] = registers_in(data, IN_STATUS)
        elif note.kind == NT_PRPSINFO:
            self.name = data[NAME_AT : NAME_AT + NAME_SIZE].split(b"\0")[0].decode("utf-8", "replace")
        elif note.kind == NT_FILE:
            self._mapped = list(files_in(data))

    def _mapping(self, segment: Segment) -> Mapping:
        rights = "".join(
            letter if segment.flags & bit else "-" for letter, bit in zip("rwx", (PF_R, PF_W, PF_X), strict=True)
        )
        start, end = segment.address, segment.address + segment.size
        mapping = Mapping(start, end, rights + "p")
        for first, last, offset, path in self._mapped:
            if first <= start < last:
                mapping.path, mapping.inode, mapping.offset = path, inode_of(path), offset + start - first
        return mapping

    def _left_out(self, mappings: MappingMap) -> Iterator[Mapping]:
        """The mapped files that have no segment: gcore leaves out what can be read from the file."""
        for start, end, offset, path in self._mapped:
            if mappings.at(start) is None:
                yield Mapping(start, end, "r--p", offset, inode=inode_of(path), path=path)

    @property
    def left_out(self) -> str:
        """A sentence if the file lacks writable memory, in which a heap may be; gcore leaves out whole segments."""
        writable = [each for each in self._segments if each.flags & PF_W]
        missing, there = sum(each.size - each.file_size for each in writable), sum(each.file_size for each in writable)
        if there and missing < LEFT_OUT:
            return ""
        what = f"{missing:,} bytes of" if there else "all"
        remedy = "write 0x33 to /proc/PID/coredump_filter before it is dumped"
        return f"the core file leaves out {what} writable memory, and the heaps in it: {remedy}"

    # --- bytes

    def _segment_at(self, address: int) -> Segment | None:
        mapping = self.mappings.at(address)
        return self._by_start.get(mapping.start) if mapping else None

    def pages(self, start: int, end: int) -> Pages:
        present = np.zeros((end - start) // PAGE, bool)
        for segment in self._segments:
            first, last = max(start, segment.address), min(end, segment.address + segment.file_size)
            if first < last:
                present[(first - start) // PAGE : (last - start + PAGE - 1) // PAGE] = True
        return Pages(present, np.zeros(len(present), bool))

    def read(self, address: int, size: int) -> bytes:
        segment = self._segment_at(address)
        if segment is None or address + size > segment.address + segment.file_size:
            raise Unreadable(address, "the core file does not have it")
        start = segment.offset + address - segment.address
        return bytes(self.elf.data[start : start + size])

    def fill(self, target: Octets, start: int, present: Any) -> Any:
        got = np.zeros(len(present), bool)
        for index in np.flatnonzero(present).tolist():
            place = start + index * PAGE
            target[index * PAGE : (index + 1) * PAGE] = np.frombuffer(self.read(place, PAGE), np.uint8)
            got[index] = True
        return got

    def window(self, start: int, end: int) -> Octets | None:
        segment = self._segment_at(start)
        if segment is None or not self._is_in_a_row(segment, end):
            return None
        first = segment.offset + start - segment.address
        return np.frombuffer(self.elf.data, np.uint8, end - start, first)

    def _is_in_a_row(self, segment: Segment, end: int) -> bool:
        """Whether the file has all up to an address in the order of addresses, be it in several segments."""
        bias, stop = segment.offset - segment.address, segment.address + segment.file_size
        while stop < end:
            following = self._by_start.get(stop)
            if following is None or following.offset - following.address != bias or not following.file_size:
                return False
            stop += following.file_size
        return True

    def release(self, start: int, end: int) -> None:
        segment = self._segment_at(start)
        if segment is not None:
            first = segment.offset + start - segment.address
            whole = first & -PAGE  # gcore's segments begin anywhere in the file
            self.elf.data.madvise(mmap.MADV_DONTNEED, whole, first - whole + end - start)

    def file_of(self, mapping: Mapping) -> Elf | None:
        """The file that was mapped; None if another one is in its place now, as its build id says."""
        elf = super().file_of(mapping)
        return None if elf is None or self._is_other(elf, mapping.start - mapping.offset) else elf

    def _is_other(self, elf: Elf, start: int) -> bool:
        try:
            mapped = Elf(self.read(start, PAGE), elf.name)
        except (Unreadable, ElfError):
            return False
        return bool(mapped.build_id and elf.build_id and mapped.build_id != elf.build_id)

    def open_file(self, mapping: Mapping) -> Path | None:
        return Path(mapping.path) if os.path.isfile(mapping.path) else None


def open_core(path: Path) -> Elf:
    try:
        with path.open("rb") as file:
            elf = Elf(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), str(path))
    except ElfError as error:
        raise InspectError(f"{error}: give a process's number, or a core file") from error
    except (OSError, ValueError) as error:
        raise InspectError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is empty'}") from error
    if elf.kind != ET_CORE:
        raise InspectError(f"{path} is a program or library, not a core file: give a process's number, or a core file")
    return elf


def require_whole(path: Path, segments: list[Segment]) -> None:
    needed, there = max((each.offset + each.file_size for each in segments), default=0), path.stat().st_size
    if not segments:
        raise InspectError(f"{path} has no memory in it: the core file was cut short")
    if there < needed:
        what = f"it has {there:,} bytes of {needed:,}"
        raise InspectError(f"{path} is truncated: {what}; raise `ulimit -c`, or free disk space, and dump again")


def files_in(data: bytes) -> list[tuple[int, int, int, str]]:
    """The mapped files of an NT_FILE note: start, end, offset in bytes, path."""
    count, page = struct.unpack_from("<QQ", data)
    names = data[16 + 24 * count :].split(b"\0")
    ranges = struct.iter_unpack("<QQQ", data[16 : 16 + 24 * count])
    return [
        (start, end, offset * page, os.fsdecode(name))
        for (start, end, offset), name in zip(ranges, names, strict=False)
    ]


def inode_of(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 1  # a file that is not here any more is still a file
