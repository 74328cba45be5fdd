"""The names of addresses in a program: the binary or library that each lies in, and the offset there."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath

from heapwright.traces.stacks import Frame


@dataclass(frozen=True, order=True)
class Mapping:
    """A range of addresses in which a file is mapped. `base` is the address of its first byte, mapped or not."""

    start: int
    end: int
    base: int
    path: str


@dataclass
class Modules:
    """The mapped files of a process."""

    mappings: list[Mapping] = field(default_factory=list)

    @cached_property
    def in_order(self) -> list[Mapping]:
        return sorted(self.mappings)

    @cached_property
    def starts(self) -> list[int]:
        return [mapping.start for mapping in self.in_order]

    def frame(self, address: int) -> Frame:
        """The frame of a call that returns to an address; without symbols its function is `libfoo.so+0x1234`."""
        place = bisect_right(self.starts, address - 1) - 1
        if place < 0 or self.in_order[place].end < address:
            return Frame(f"{address:#x}")
        mapping = self.in_order[place]
        return Frame(f"{PurePosixPath(mapping.path).name}+{address - mapping.base:#x}", module=mapping.path)
