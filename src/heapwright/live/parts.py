"""Where the memory is: each part in bytes that are resident, swapped, and addresses alone.

Every byte of every mapping is in one part. Within a heap the parts are cut at chunks. The rest of a mapping goes
to the part for its kind of mapping. So each column sums to what smaps says. Where the page map and smaps disagree, the
difference is a part of its own, "unexplained".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from heapwright.live.extent import Extent
from heapwright.live.mappings import Mapping, MappingMap
from heapwright.live.source import Source

PARTS = {
    "live": "live blocks",
    "mapped": "live blocks with a mapping of their own",
    "python_used": "Python objects in small-object arenas",
    "cached": "cached by threads",
    "free_pages": "free whole pages: trim returns them",
    "free_kept": "free whole pages that malloc keeps",
    "free_rest": "free, in partly used pages: pinned",
    "python_free": "free in Python's arenas",
    "free": "free: a core file does not tell whether it is resident",
    "released": "free, already released to the kernel",
    "overhead": "block headers",
    "own": "the allocator's own records",
    "unread": "heap that could not be read",
    "foreign_heap": "memory of another allocator",
    "stacks": "thread stacks",
    "program": "program and libraries",
    "files": "mapped files and shared memory",
    "other": "other mappings",
    "unexplained": "unexplained",
}
HEAP_PARTS = (
    "live",
    "mapped",
    "python_used",
    "cached",
    "free_pages",
    "free_kept",
    "free_rest",
    "python_free",
    "free",
    "overhead",
    "own",
    "unread",
)
GONE = ("free_pages", "free_kept", "free_rest", "python_free")  # what of them has no page is `released`


class Figures(NamedTuple):
    """Bytes of a part."""

    resident: int = 0
    swapped: int = 0
    virtual: int = 0

    def plus(self, other: Figures) -> Figures:
        return Figures(*(mine + its for mine, its in zip(self, other, strict=True)))

    def minus(self, other: Figures) -> Figures:
        return Figures(*(mine - its for mine, its in zip(self, other, strict=True)))


@dataclass
class Account:
    """The parts so far, and how much of each mapping they explain; mappings of one heap count as one."""

    mappings: MappingMap
    program: frozenset[int] = frozenset()  # mappings of programs and libraries, by their start
    parts: dict[str, Figures] = field(default_factory=lambda: dict.fromkeys(PARTS, Figures()))
    explained: dict[int, Figures] = field(default_factory=dict)
    whole: set[int] = field(default_factory=set)  # mappings of which nothing should remain

    def __post_init__(self) -> None:
        self.mappings = self.mappings.joined

    def add(self, part: str, figures: Figures, place: int) -> None:
        """Count bytes of the mapping at `place` as a part; free memory without pages is `released`."""
        mapping = self.mappings.at(place)
        start = mapping.start if mapping else -1
        self.explained[start] = self.explained.get(start, Figures()).plus(figures)
        if part in GONE and mapping is not None and mapping.resident is None:
            part = "free"
        if part in GONE:
            gone = figures.virtual - figures.resident - figures.swapped
            figures = figures._replace(virtual=figures.resident + figures.swapped)
            self.parts["released"] = self.parts["released"].plus(Figures(virtual=gone))
        self.parts[part] = self.parts[part].plus(figures)

    def add_ranges(self, part: str, copy: Extent, starts: Any, ends: Any) -> Figures:
        """Count ranges of a copied extent, which lies in one mapping."""
        figures = figures_of(copy, starts, ends)
        self.add(part, figures, copy.start)
        return figures

    def close(self, has_foreign: bool = False) -> None:
        """Give what remains of each mapping to the part of its kind; of data, to another allocator if there is one."""
        for mapping in self.mappings:
            whole = Figures(mapping.resident or 0, mapping.swapped or 0, mapping.size)
            rest = whole.minus(self.explained.get(mapping.start, Figures()))
            part = "program" if mapping.start in self.program else kind_of(mapping, has_foreign)
            if mapping.start in self.whole or min(rest) < 0:
                part = "unexplained"
            self.parts[part] = self.parts[part].plus(rest)

    def total(self) -> Figures:
        return summed(self.parts.values())


def figures_of(copy: Extent, starts: Any, ends: Any) -> Figures:
    """The bytes of ranges of one extent."""
    starts, ends = np.asarray(starts, np.int64), np.asarray(ends, np.int64)
    resident, swapped = copy.resident_in(starts, ends).sum(), copy.swapped_in(starts, ends).sum()
    return Figures(int(resident), int(swapped), int((ends - starts).sum()))


def figures_in(source: Source, start: int, end: int) -> Figures:
    """The bytes of whole pages."""
    if not source.knows_residency:
        return Figures(0, 0, end - start)
    pages = source.pages(start, end)
    return Figures(int(pages.present.sum()) * 4096, int(pages.swapped.sum()) * 4096, end - start)


def summed(figures: Iterable[Figures]) -> Figures:
    total = Figures()
    for each in figures:
        total = total.plus(each)
    return total


def kind_of(mapping: Mapping, has_foreign: bool) -> str:
    """The part that a mapping belongs to when nothing more is known of it."""
    if mapping.path.startswith("[stack"):
        return "stacks"
    if mapping.path.startswith(("[v", "[uprobes")):
        return "program"
    if mapping.has_file or mapping.flags[3] == "s":
        return "files"
    return "foreign_heap" if has_foreign and mapping.is_writable else "other"
