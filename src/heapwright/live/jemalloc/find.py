"""Find jemalloc's radix tree without symbols, and through it the record of each extent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from heapwright.live.errors import Unreadable
from heapwright.live.extent import Extent, copy_of, joined
from heapwright.live.glibc.find import data_of
from heapwright.live.jemalloc.structs import LAYOUTS, LEAF_BITS, LEAF_BYTES, RECORD_BYTES, RECORD_MASK, Edata, Layout
from heapwright.live.mappings import Mapping, MappingMap
from heapwright.live.memory import Image
from heapwright.live.pages import PAGE
from heapwright.live.source import Module, Source

BANNER = re.compile(rb"(\d+)\.(\d+)\.(\d+)-\d+-g[0-9a-f]{40}")
LARGEST_TRIED = 16  # mappings that may be jemalloc's, the largest first
MIN_ALIGNMENT = 64
COVERED = 1 << LEAF_BITS  # pages


@dataclass
class Found:
    """The tree of a process, and the version of its jemalloc."""

    version: str
    layout: Layout
    root: int


def version_of(module: Module) -> str:
    """The version that a file's text names, such as 5.3.0; "" if it names none."""
    found = BANNER.search(module.elf.data)
    return b".".join(found.groups()).decode() if found else ""


def find_tree(image: Image, module: Module) -> Found | None:
    """The radix tree in a module's data; None if this version has another layout, or nothing has its shape."""
    version = version_of(module)
    layout = LAYOUTS.get(version.rpartition(".")[0])
    if layout is None:
        return None
    mappings = sorted(heap_mappings(image.source.mappings), key=lambda mapping: -(mapping.resident or mapping.size))[
        :LARGEST_TRIED
    ]
    for start, end in data_of(module):
        data = copy_of(image.source, start, end)
        for mapping in mappings:
            for root in roots_in(image, data, mapping):
                return Found(version, layout, root)
    return None


def heap_mappings(mappings: MappingMap) -> Iterator[Mapping]:
    return (
        each for each in mappings.joined if each.is_private_data and each.path[:6] != "[stack" and each.resident != 0
    )


def roots_in(image: Image, data: Extent, mapping: Mapping) -> Iterator[int]:
    """Where the tree's root would begin, if a pointer in the data leads to the leaf of a mapping's first GiB."""
    place = 8 * (mapping.start // PAGE >> LEAF_BITS)
    words = data.words
    for index in np.flatnonzero((words > PAGE) & (words < 1 << 47) & (words % MIN_ALIGNMENT == 0)).tolist():
        root = data.start + 8 * index - place
        if data.start <= root <= data.end - LEAF_BYTES and is_leaf(image, int(words[index]), mapping):
            yield root


def is_leaf(image: Image, leaf: int, mapping: Mapping) -> bool:
    """Whether an entry of a leaf for a page of this mapping leads to a record that names the page."""
    inside = image.source.mappings.joined.at(leaf)
    if inside is None or not inside.is_private_data or leaf + LEAF_BYTES > inside.end:
        return False
    entries = entries_for(image.source, leaf, mapping)
    records = entries & np.uint64(RECORD_MASK)
    for index in np.flatnonzero(records)[:4].tolist():
        try:
            record: Any = Edata(image, int(records[index]))
            if record.base & -PAGE == mapping.start + index * PAGE and record.size_and_serial >= PAGE:
                return True
        except Unreadable:
            continue
    return False


def entries_for(source: Source, leaf: int, mapping: Mapping) -> Any:
    """The entries of a leaf for the pages of a mapping from its start on, as far as the leaf covers them."""
    first = mapping.start // PAGE % COVERED
    count = min(mapping.size // PAGE, COVERED - first)
    start, end = leaf + 8 * first, leaf + 8 * (first + count)
    copy = copy_of(source, start & -PAGE, end + PAGE - 1 & -PAGE)
    return copy.words[(start - copy.start) // 8 :][:count]


# --- all extents


def records_of(image: Image, found: Found) -> Any:
    """The records of all extents, a row of 16 words each; one that was changing meanwhile may be senseless."""
    image.forget()
    parts: list[Any] = [np.zeros(0, np.uint64)]
    for mapping in heap_mappings(image.source.mappings):
        for part in by_leaf(mapping):
            leaf = leaf_at(image, found.root, part.start)
            if leaf:
                entries = entries_for(image.source, leaf, part) & np.uint64(RECORD_MASK)
                parts.append(np.unique(entries[entries != 0]))
    return rows_at(image.source, np.unique(joined(parts)))


def by_leaf(mapping: Mapping) -> Iterator[Mapping]:
    """A mapping cut where another leaf begins."""
    start, step = mapping.start, PAGE * COVERED
    while start < mapping.end:
        end = min((start // step + 1) * step, mapping.end)
        yield Mapping(start, end)
        start = end


def leaf_at(image: Image, root: int, address: int) -> int:
    try:
        return image.word(root + 8 * (address // PAGE >> LEAF_BITS))
    except Unreadable:
        return 0


def rows_at(source: Source, places: Any) -> Any:
    """The words of the records at these places, in order; each lies in pages that are read together."""
    rows = np.zeros((len(places), RECORD_BYTES // 8), np.uint64)
    numbers = places // np.uint64(PAGE)
    for first, last in runs(numbers):
        start = int(numbers[first]) * PAGE
        end = (int(places[last - 1]) + RECORD_BYTES + PAGE - 1) & -PAGE
        copy = copy_of(source, start, end)
        offsets = (places[first:last].astype(np.int64) - start) // 8
        rows[first:last] = copy.words[offsets[:, None] + np.arange(RECORD_BYTES // 8)]
    return rows


def runs(numbers: Any) -> Iterator[tuple[int, int]]:
    """Ranges of indices of ascending numbers that follow each other closely."""
    if not len(numbers):
        return
    edges = np.flatnonzero(np.diff(numbers.astype(np.int64)) > 1) + 1
    bounds = [0, *edges.tolist(), len(numbers)]
    yield from zip(bounds, bounds[1:], strict=False)
