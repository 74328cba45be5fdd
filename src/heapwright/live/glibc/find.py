"""Find glibc's heaps in a program without symbols: a main arena is known by its shape.

An arena has 127 bins, circular lists through itself; an empty one points to itself. Many of these together also look
right a few bins further on, so the ring of arenas decides: `next` leads back to the arena, at once or through arenas in
segments that name them as theirs. Each C library of a process (`dlmopen` loads a second one) has a main arena.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from heapwright.live.errors import Unreadable
from heapwright.live.extent import Extent, copy_of
from heapwright.live.glibc.structs import BINS, LAYOUTS, Layout, layout_of
from heapwright.live.glibc.version import refined
from heapwright.live.memory import Image
from heapwright.live.source import Module

BANNER = re.compile(rb"GNU C Library [^\0]*?release version 2\.(\d+)")
MIN_CIRCLES = 64  # of 127: lists that are damaged, or change while they are read, do not hide the heap
MAX_ARENAS = 100_000
LARGEST_DATA = 64 << 20
MIN_SEGMENT = 8 << 20


class Found(NamedTuple):
    """A main arena, what its library's records look like, and where they lie."""

    main: int
    layout: Layout
    library: str
    parameters: int  # 0 if they were not found


def find_heaps(image: Image) -> list[Found]:
    """The main arena of each C library in the process that has one in use."""
    found: list[Found] = []
    for module, data in places(image):
        if not any(mains_in(image, data, layout) for layout in LAYOUTS):
            continue
        version = version_of(module) if module else 0
        layouts = [layout_of(version)] if version else list(LAYOUTS)
        here = [each for layout in layouts for each in heaps_in(image, module.path if module else "", data, layout)]
        sure = [each for each in here if each.parameters] or here
        found += {each.main: each for each in reversed(sure)}.values()  # of several layouts, the first that fits
    return [each if version_is_known(image, each) else shaped(image, each) for each in found]


def heaps_in(image: Image, library: str, data: Extent, layout: Layout) -> list[Found]:
    mains = mains_in(image, data, layout)
    return [Found(main, layout, library, find_parameters(image, layout, data, main)) for main in mains]


def mains_in(image: Image, data: Extent, layout: Layout) -> list[int]:
    return [main for main in candidates(data, layout) if is_main(image, layout, main)]


def version_is_known(image: Image, found: Found) -> bool:
    return any(module.path == found.library and version_of(module) for module in image.source.modules())


def shaped(image: Image, found: Found) -> Found:
    return found._replace(layout=refined(image, found.layout, found.parameters))


# --- where to look


def places(image: Image) -> Iterator[tuple[Module | None, Extent]]:
    """The writable data of each program and library."""
    modules = image.source.modules()
    wanted: list[Module | None] = [*modules] or [None]
    for module in wanted:
        mappings = data_of(module) if module else unnamed_data(image)
        for start, end in mappings:
            yield module, copy_of(image.source, start, end)


def data_of(module: Module) -> list[tuple[int, int]]:
    """A module's writable mappings, the .bss joined to the one that it follows."""
    bss, bss_end = module.bss
    return [
        (mapping.start, bss_end if mapping.end == bss else mapping.end)
        for mapping in module.mappings
        if mapping.is_writable
    ]


def unnamed_data(image: Image) -> list[tuple[int, int]]:
    """Where a core does not say which files were mapped: every writable mapping that is not too large."""
    return [
        (mapping.start, mapping.end)
        for mapping in image.source.mappings
        if mapping.is_writable and mapping.size <= LARGEST_DATA
    ]


def version_of(module: Module) -> int:
    """The minor version of the glibc that a file contains; 0 if it has none, or does not say."""
    name = module.path.rpartition("/")[2]
    data = module.elf.data
    at = data.find(b"GNU C Library ")
    while at >= 0:
        found = BANNER.match(bytes(data[at : at + 200]))
        if found:
            return int(found[1])
        at = data.find(b"GNU C Library ", at + 1)
    numbered = re.match(r"libc-2\.(\d+)\.so", name)
    return int(numbered[1]) if numbered else 0


# --- arenas


def candidates(data: Extent, layout: Layout) -> list[int]:
    """Addresses whose word at `next` may close a ring: it is the address itself, or an arena's in a segment."""
    words, distance = data.words, layout.arena.fields["next"].offset // 8
    count = len(words) - layout.arena.SIZE // 8
    if count <= 0:
        return []
    following = words[distance : distance + count]
    own = data.start + 8 * np.arange(count, dtype=np.uint64)
    in_segment = (following % MIN_SEGMENT == layout.segment.SIZE) & (following > MIN_SEGMENT)
    return [data.start + 8 * index for index in np.flatnonzero((following == own) | in_segment).tolist()]


def is_main(image: Image, layout: Layout, address: int) -> bool:
    arena = layout.arena_at(image, address)
    try:
        if arena.mutex > 2 or arena.flags > 3 or arena.system_bytes <= 0 or not arena.top:
            return False
        return circles(arena) >= MIN_CIRCLES and closes(image, layout, address)
    except Unreadable:
        return False


def circles(arena: Any) -> int:
    """How many of the bins are lists that lead back to the arena."""
    return sum(is_circle(arena, index) for index in range(1, BINS))


def is_circle(arena: Any, index: int) -> bool:
    forward, back = arena.bins[2 * index - 2], arena.bins[2 * index - 1]
    anchor = anchor_of(arena, index)
    if anchor in (forward, back):
        return bool(forward == back)
    try:
        return bool(arena.memory.load(forward + 24, 8) == anchor and arena.memory.load(back + 16, 8) == anchor)
    except Unreadable:
        return 0 < forward < 1 << 47 and 0 < back < 1 << 47  # swapped out, most likely


def anchor_of(arena: Any, index: int) -> int:
    """The chunk that a bin's two words would be part of."""
    return int(arena.bins.at(2 * index - 2)) - 16


def closes(image: Image, layout: Layout, main: int) -> bool:
    try:
        return ring(image, layout, main) is not None
    except Unreadable:
        return False


def ring(image: Image, layout: Layout, main: int) -> list[int] | None:
    """The arenas from the main one on; None if the ring does not close or one of them is none."""
    found = [main]
    following = layout.arena_at(image, main).next
    while following != main:
        if len(found) > MAX_ARENAS or following in found or not is_in_segment(image, layout, following):
            return None
        found.append(following)
        following = layout.arena_at(image, following).next
    return found


def is_in_segment(image: Image, layout: Layout, arena: int) -> bool:
    segment = layout.segment_at(image, arena - layout.segment.SIZE)
    return segment.address % min(layout.segment_sizes) == 0 and segment.arena == arena


# --- parameters


def find_parameters(image: Image, layout: Layout, data: Extent, main: int) -> int:
    """malloc_par in the same data: its sbrk_base is where the break's memory starts, or its settings are the usual."""
    heap = image.source.mappings.named("[heap]") or image.source.mappings.at(layout.arena_at(image, main).top)
    words, base = data.words, layout.parameters.fields["sbrk_base"].offset // 8
    marks: Any = np.flatnonzero((words >= heap.start) & (words < heap.end)) - base if heap else []
    usual = np.flatnonzero((words[:-2] == 0x20000) & (words[2:] == 8)) - 1
    return first_good(image, layout, (data.start + 8 * index for index in [*usual, *marks]))


def first_good(image: Image, layout: Layout, addresses: Iterable[int]) -> int:
    for address in addresses:
        try:
            if is_sound(layout.parameters_at(image, int(address))):
                return int(address)
        except Unreadable:
            continue
    return 0


def is_sound(found: Any) -> bool:
    """Whether the counts of mapped chunks agree with each other."""
    counts = 0 <= found.n_mmaps <= found.max_n_mmaps and found.n_mmaps <= found.n_mmaps_max <= 1 << 30
    maximum = 0 <= found.mmapped_mem <= found.max_mmapped_mem and found.mmapped_mem % 16 == 0
    return counts and maximum and found.top_pad >= 0 and 0 < found.tcache_count <= 65535 and found.mmap_threshold > 0
