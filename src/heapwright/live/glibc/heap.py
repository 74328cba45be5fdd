"""One C library's heap, copied arena by arena while the program stands still.

An arena's copy is taken under a pause and looked at afterwards. Where the arena's mutex is held, its lists may be
half-written: the program runs on for a moment, and the copy is taken again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from heapwright.bits import align_down, align_up
from heapwright.live.errors import Unreadable
from heapwright.live.extent import Extent, copy_of
from heapwright.live.glibc.chunks import UNIT
from heapwright.live.glibc.find import Found, ring
from heapwright.live.glibc.structs import BINS, FAST_BINS, NONCONTIGUOUS, Layout
from heapwright.live.mappings import Mapping
from heapwright.live.memory import Image
from heapwright.live.pages import PAGE
from heapwright.live.pause import Pauses

ATTEMPTS, BREATH = 20, 0.005  # how often a held arena is tried again, and seconds between


@dataclass
class Section:
    """A range of an arena's memory: its copy, where its first chunk is (0: to be found), and where its chunks end."""

    copy: Extent
    first: int
    end: int


@dataclass
class ArenaCopy:
    """One arena as it was in one moment."""

    number: int
    address: int
    is_main: bool
    top: int
    system_bytes: int
    was_held: bool
    sections: list[Section] = field(default_factory=list)
    lost: int = 0  # a segment that another one names, but that is not there
    free_heads: list[int] = field(default_factory=list)  # chunks that its bins and fast bins begin with

    @property
    def name(self) -> str:
        return "main arena" if self.is_main else f"arena {self.number}"


class Heap:
    """What `find` found, over an image. Structs of the right version by `arena(address)` and so on."""

    def __init__(self, image: Image, found: Found):
        self.image, self.found = image, found
        self.layout: Layout = found.layout
        self.library = found.library

    def arena(self, address: int) -> Any:
        return self.layout.arena_at(self.image, address)

    @property
    def main(self) -> Any:
        return self.arena(self.found.main)

    @property
    def parameters(self) -> Any:
        """malloc_par, or None."""
        return self.layout.parameters_at(self.image, self.found.parameters) if self.found.parameters else None

    @property
    def has_break(self) -> bool:
        """Whether its main arena began on the break."""
        mapping = self.image.source.mappings.at(self.parameters.sbrk_base) if self.parameters else None
        return mapping is not None and mapping.path == "[heap]"

    def arenas(self) -> list[int]:
        """The arenas in the order of their ring."""
        return ring(self.image, self.layout, self.found.main) or [self.found.main]


# --- copies


def copy_arenas(heap: Heap, pauses: Pauses | None) -> Iterator[ArenaCopy]:
    """Each arena, copied while the program stands still."""
    for number, address in enumerate(heap.arenas()):
        yield copy_arena(heap, pauses, number, address)


def copy_arena(heap: Heap, pauses: Pauses | None, number: int, address: int) -> ArenaCopy:
    """A copy that nobody was changing; after many attempts, one that somebody was."""
    for attempt in range(ATTEMPTS):
        with pauses.paused() if pauses else nullcontext():
            forget(heap)
            if not is_held(heap.arena(address)) or attempt == ATTEMPTS - 1:
                return take_copy(heap, number, address)
        time.sleep(BREATH)
    raise AssertionError


def forget(heap: Heap) -> None:
    """What was read before the pause is old; so are the mappings, if the break or a segment has grown."""
    heap.image.forget()
    heap.image.source.remap()


def is_held(arena: Any) -> bool:
    return bool(arena.mutex != 0)


def take_copy(heap: Heap, number: int, address: int) -> ArenaCopy:
    arena = heap.arena(address)
    is_main = address == heap.found.main
    copy = ArenaCopy(number, address, is_main, arena.top, arena.system_bytes, is_held(arena))
    copy.free_heads = list(listed(heap, arena))
    copy.sections = main_sections(heap, copy) if is_main else segment_sections(heap, copy)
    if is_main:
        keep_records(heap, address)
    for section in copy.sections:
        heap.image.adopt(section.copy)
    return copy


def keep_records(heap: Heap, address: int) -> None:
    """The main arena's own words, as they were in this moment."""
    start, end = align_down(address, PAGE), align_up(address + heap.layout.arena.SIZE, PAGE)
    heap.image.adopt(copy_of(heap.image.source, start, end))


def listed(heap: Heap, arena: Any) -> Iterator[int]:
    """The chunks at both ends of each bin, and the first of each fast bin."""
    own = range(arena.address, arena.address + heap.layout.arena.SIZE)
    for index in range(2 * BINS - 2):
        if arena.bins[index] not in own and arena.bins[index]:
            yield arena.bins[index]
    for index in range(FAST_BINS if heap.layout.has_fast_bins else 0):
        if arena.fast_bins[index]:
            yield arena.fast_bins[index]


# --- where an arena's memory is


def segment_sections(heap: Heap, copy: ArenaCopy) -> list[Section]:
    """The segments of a thread's arena, the newest first: it has the top."""
    sections: list[Section] = []
    size = segment_size(heap, copy)
    start = align_down(copy.top, size)
    while start and len(sections) <= copy.system_bytes // PAGE:
        segment = heap.layout.segment_at(heap.image, start)
        try:
            sections.append(segment_section(heap, copy, segment, size))
            start = segment.previous
        except Unreadable:
            copy.lost = start
            break
    return sections


def segment_section(heap: Heap, copy: ArenaCopy, segment: Any, size: int) -> Section:
    start, record = segment.address, heap.layout.segment.SIZE
    is_first = start == copy.address - record
    first = start + record + (heap.layout.arena.SIZE if is_first else 0)
    end = min(align_up(segment.readable_bytes, PAGE), size)
    section = copy_of(heap.image.source, start, start + max(end, PAGE))
    return Section(section, align_up(first, UNIT), start + min(segment.size, end))


def segment_size(heap: Heap, copy: ArenaCopy) -> int:
    """The alignment of the arena's segments: the one at which the top's segment names the arena."""
    for size in heap.layout.segment_sizes:
        segment = heap.layout.segment_at(heap.image, align_down(copy.top, size))
        try:
            if segment.arena == copy.address:
                return size
        except Unreadable:
            continue
    return heap.layout.segment_sizes[0]


def main_sections(heap: Heap, copy: ArenaCopy) -> list[Section]:
    """The break's memory, and mappings that stand in for it where it could not grow: known by what the bins hold."""
    base = heap.parameters.sbrk_base if heap.parameters else 0
    is_torn = heap.arena(copy.address).flags & NONCONTIGUOUS != 0
    mappings = {
        mapping.start: mapping for place in [base, copy.top, *copy.free_heads] if (mapping := main_mapping(heap, place))
    }
    return [
        main_section(heap, mapping, base, is_torn and copy.top in mapping) for _, mapping in sorted(mappings.items())
    ]


def main_mapping(heap: Heap, place: int) -> Mapping | None:
    mapping = heap.image.source.mappings.joined.at(place) if place > 0 else None
    return mapping if mapping and mapping.is_private_data and not mapping.path.startswith("[stack") else None


def main_section(heap: Heap, mapping: Mapping, base: int, is_torn: bool) -> Section:
    """A mapping of the main arena. The break's chunks begin at its base; mappings in its place lie in any order."""
    begins = base in mapping and (mapping.path == "[heap]" or not is_torn)
    copy = copy_of(heap.image.source, mapping.start, mapping.end, heap.image.with_swapped)
    return Section(copy, align_up(base, UNIT) if begins else 0, mapping.end)
