"""The statistics of mimalloc: of 2.x, from the records at the start of its segments; `mimalloc3` has the later one's.

Source: D. Leijen, B. Zorn, L. de Moura, Mimalloc: Free List Sharding in Action, 2019; mimalloc
include/mimalloc/types.h. A segment of 32 MiB is cut into slices of 64 KiB, and a page has some of them. The records of
the slices are known by their shape: each page's count of slices leads to the next page, and the last one ends with the
segment. The records grew with 2.1.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from heapwright.live import mimalloc3
from heapwright.live.errors import Unreadable
from heapwright.live.findings import Look, Range
from heapwright.live.mappings import Mapping
from heapwright.live.memory import Image
from heapwright.live.mimalloc3 import chain_length
from heapwright.live.source import Module
from heapwright.live.statistics import Statistics

NAME = "mimalloc"
SEGMENT, SLICE = 32 << 20, 64 << 10
HEAD_WORDS = 64  # at most, before the slices' records
RECORDS = 40  # bytes between the segment's count of slices and their records
MAX_SLICES = 1 << 20
COUNT, CAPACITY, RESERVED, USED, SIZE, FREED = range(6)  # of a page: slices, blocks, and the list that others freed


class Form(NamedTuple):
    """How long a slice's record is, in words, and where it has a page's blocks in use, their size and a list."""

    words: int
    used: int
    used_mask: int
    size: int
    size_shift: int
    freed: int


FORMS = (Form(10, 3, 0xFFFFFFFF, 3, 32, 5), Form(12, 4, 0xFFFF, 5, 0, 7))


def tally_mimalloc(look: Look, module: Module) -> list[Range]:
    """Add the figures of mimalloc's records. Its blocks are not read."""
    look.statistics.append(read_figures(look.image, module))
    return []


def read_figures(image: Image, module: Module) -> Statistics:
    """The figures of any version; none but its name if its records are of an unknown form."""
    return mimalloc3.read_figures(image, module) or of_segments(image)


def of_segments(image: Image) -> Statistics:
    """The figures of mimalloc 2; none but its name if it has no segments of a known form."""
    figures = Statistics(NAME, mapped_bytes=0, live_bytes=0, cached_bytes=0, free_bytes=0, kept_bytes=0, own_bytes=0)
    for mapping in image.source.mappings.joined:
        for segment in segments_in(mapping):
            pages = pages_of(image, segment, mapping.end)
            if pages is None:
                continue
            count_pages(image, figures, pages)
    return figures if figures.mapped_bytes else Statistics(NAME)


def segments_in(mapping: Mapping) -> Iterator[int]:
    """The addresses in a mapping at which a segment may begin."""
    if mapping.is_private_data and mapping.resident != 0:
        yield from range(mapping.start + SEGMENT - 1 & -SEGMENT, mapping.end, SEGMENT)


def pages_of(image: Image, segment: int, limit: int) -> Any:
    """The pages of a segment; the first belongs to the segment itself. None if there is no segment."""
    try:
        head = words_at(image, segment, HEAD_WORDS)
        for index in range(8, HEAD_WORDS - RECORDS // 8):
            entries = int(head[index + 3])
            fits = 0 < head[index + 1] < entries == head[index] <= MAX_SLICES and head[index + 2] <= 1
            if fits and segment + entries * SLICE <= limit:
                tables = (table_at(image, segment + 8 * index + RECORDS, entries, form) for form in FORMS)
                return next((pages for table in tables if (pages := chained(table)) is not None), None)
    except Unreadable:
        return None
    return None


def words_at(image: Image, place: int, count: int) -> Any:
    return np.frombuffer(image.bytes_at(place, 8 * count), "<u8")


def table_at(image: Image, place: int, entries: int, form: Form) -> Any:
    """The records of a segment's slices, in columns that are the same for each form."""
    return columns_of(words_at(image, place, entries * form.words).reshape(entries, form.words), form)


def columns_of(slices: Any, form: Form) -> Any:
    """COUNT, CAPACITY and so on of each slice."""
    counts = slices[:, 1]
    columns = (
        slices[:, 0],
        counts >> 16 & 0xFFFF,
        counts >> 32 & 0xFFFF,
        slices[:, form.used] & form.used_mask,
        slices[:, form.size] >> form.size_shift,
        slices[:, form.freed] & ~np.uint64(3),
    )
    return np.stack(columns, axis=1).astype(np.int64)


def chained(table: Any) -> Any:
    """The rows of a chain, if their counts end with the segment and each one makes sense; None otherwise."""
    found, index = [], 0
    while index < len(table):
        row = table[index]
        if not 0 < row[COUNT] <= len(table) - index or not is_sound(row):
            return None
        found.append(row)
        index += int(row[COUNT])
    return np.array(found)


def is_sound(row: Any) -> bool:
    """Whether the blocks of a page fit into it, and not more are in use than exist."""
    _, capacity, reserved, used, size, _ = row.tolist()
    fits = used == 0 or reserved == 1 or reserved * size <= row[COUNT] * SLICE
    return bool(used <= capacity <= reserved and fits and (used == 0 or size > 0))


# --- figures


def count_pages(image: Image, figures: Statistics, pages: Any) -> None:
    room = pages[:, COUNT] * SLICE
    blocks = np.minimum(pages[:, SIZE] * pages[:, USED], room)
    in_use = blocks > 0
    in_use[0] = False  # the segment's own
    waiting = sum(chain_length(image, *row) * size for *row, size in pages[in_use][:, (FREED, USED, SIZE)].tolist())
    add(figures, "mapped_bytes", int(room.sum()))
    add(figures, "own_bytes", int(room[0]))
    add(figures, "live_bytes", int(blocks[in_use].sum()) - waiting)
    add(figures, "cached_bytes", waiting)
    add(figures, "free_bytes", int((room - blocks)[in_use].sum()))
    add(figures, "kept_bytes", int(room[1:][~in_use[1:]].sum()))


def add(figures: Statistics, name: str, size: int) -> None:
    setattr(figures, name, getattr(figures, name) + size)
