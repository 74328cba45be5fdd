"""The statistics of mimalloc 3, from the records of its pages.

Source: mimalloc 3.0.3 to 3.4, src/page-map.c, include/mimalloc/types.h and internal.h. A map of two levels leads from
each 64 KiB of addresses to the record of the page that has them, wherever the record lies. The first table of the
second level follows the first level's own, which tells the map from other data.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from heapwright.live.errors import Unreadable
from heapwright.live.extent import copy_of
from heapwright.live.glibc.find import data_of
from heapwright.live.memory import Image
from heapwright.live.source import Module
from heapwright.live.statistics import Statistics

NAME = "mimalloc"
SLICE, SUB_ENTRIES = 64 << 10, 1 << 13
MAP_SIZES = (2 << 20, 4 << 20)  # bytes of the first level, for 47 and 48 bits of an address
RECORD_WORDS = 6  # thread, free list, counts, two lists of freed blocks, size of a block
COUNTS, FREED_ELSEWHERE, BLOCK_SIZE = 2, 4, 5
OWNED = 1  # the bit of a list that says that its page has an owner


def read_figures(image: Image, module: Module) -> Statistics | None:
    """The figures of the mimalloc 3 in a module; None if there is none."""
    pages = next((found for place, size in maps_in(image, module) if (found := pages_of(image, place, size))), None)
    if pages is None:
        return None
    figures = Statistics(NAME, mapped_bytes=0, live_bytes=0, cached_bytes=0, free_bytes=0)
    for place, slices in pages.items():
        count_page(image, figures, place, slices)
    return figures


def maps_in(image: Image, module: Module) -> Iterator[tuple[int, int]]:
    """The page map that a word of a module's data leads to: its address and the bytes of its first level."""
    for start, end in data_of(module):
        for place in np.unique(copy_of(image.source, start, end).words).tolist():
            if place and place % 4096 == 0:
                yield from ((place, size) for size in MAP_SIZES if leads_to(image, place, place + size))


def leads_to(image: Image, place: int, target: int) -> bool:
    try:
        return image.word(place) == target
    except Unreadable:
        return False


def pages_of(image: Image, place: int, size: int) -> dict[int, int]:
    """The records that a page map leads to, and how many slices each page has."""
    tables = entries_of(image, place, size)
    entries = np.concatenate([entries_of(image, int(each), 8 * SUB_ENTRIES) for each in tables])
    records, counts = np.unique(entries, return_counts=True)
    return dict(zip(records.tolist(), counts.tolist(), strict=True))


def entries_of(image: Image, place: int, size: int) -> Any:
    """The addresses in a table; most of it never had a frame."""
    first, end = place & -4096, place + size + 4095 & -4096
    words = copy_of(image.source, first, end).words[(place - first) // 8 :][: size // 8]
    return words[words != 0]


def count_page(image: Image, figures: Statistics, place: int, slices: int) -> None:
    """Add a page's blocks, if its record makes sense: the map changes while the program runs."""
    try:
        record = np.frombuffer(image.bytes_at(place, 8 * RECORD_WORDS), "<u8").tolist()
    except Unreadable:
        return
    used, capacity, reserved = (record[COUNTS] >> shift & 0xFFFF for shift in (0, 16, 32))
    size = record[BLOCK_SIZE]
    if not size or not used <= capacity <= reserved:
        return
    waiting = size * chain_length(image, record[FREED_ELSEWHERE] & ~OWNED, used)
    for name, count in (
        ("mapped_bytes", max(slices * SLICE, reserved * size)),
        ("live_bytes", size * used - waiting),
        ("cached_bytes", waiting),
        ("free_bytes", size * (reserved - used)),
    ):
        setattr(figures, name, getattr(figures, name) + count)


def chain_length(image: Image, link: int, maximum: int) -> int:
    """The number of a page's blocks that other threads freed and that count as used until the owner collects them."""
    count = 0
    try:
        while link and count < maximum:
            link, count = image.word(link), count + 1
    except Unreadable:
        pass
    return count
