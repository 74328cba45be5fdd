"""Pins: groups of live blocks, and the resident free memory on their pages that they hold back.

A page with a single live block on it cannot go back to the kernel. The free bytes of a page are divided among its
blocks in proportion to their sizes, so the shares of all groups add up to the pinned memory. A group alone would
release the pages that hold only its blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from heapwright.allocators.parts.size_classes import size_of_class
from heapwright.live.extent import Extent, Numbers
from heapwright.live.pages import PAGE

CLASSES = 256  # more than there are size classes
NO_GROUP = (1 << 31) - 1


@dataclass
class Group:
    """Live blocks of one kind and class of sizes."""

    kind: str
    size_class: int
    blocks: int = 0
    bytes: int = 0
    pinned_bytes: int = 0
    releases_bytes: int = 0

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass
class ExtentBlocks:
    """Blocks of one extent: their starts and ends, and the number of each block's group."""

    copy: Extent
    starts: Numbers
    ends: Numbers
    groups: Numbers


@dataclass
class GroupSums:
    """Sums by the number of a group."""

    blocks: dict[int, float] = field(default_factory=dict)
    bytes: dict[int, float] = field(default_factory=dict)
    pinned: dict[int, float] = field(default_factory=dict)
    whole: dict[int, float] = field(default_factory=dict)  # resident bytes of units that one group has for itself
    bounds: dict[int, tuple[Any, Any]] = field(default_factory=dict)  # by extent: each page's lowest and highest group

    def count(self, groups: Numbers, sizes: Numbers) -> None:
        """Count blocks and their bytes."""
        add(self.blocks, groups, np.ones(len(groups), np.int64))
        add(self.bytes, groups, sizes)

    def pin(self, sections: ExtentBlocks, free_starts: Numbers, free_ends: Numbers) -> None:
        """Divide the free bytes of each resident page among the blocks on it."""
        if sections.copy.present is None or not len(sections.starts):
            return
        first, count = pages_of(sections, free_starts, free_ends)
        free = np.bincount(*edges(sections.copy, free_starts, free_ends, first)[:2], count)
        pages, weights, groups = edges_of(sections, first)
        keep = sections.copy.present[first + pages] & (weights > 0)
        pages, weights, groups = pages[keep], weights[keep], groups[keep]
        total = np.bincount(pages, weights, count)
        add(self.pinned, groups, free[pages] * weights / total[pages])
        self._note_bounds(sections.copy, first + pages, groups)

    def share(self, units: Numbers, groups: Numbers, sizes: Numbers, held: Any, resident: Any) -> None:
        """Divide the free bytes of each unit, which goes back only as a whole, among its blocks by their sizes.

        `units` has the unit of each block; `held` the free bytes of each unit, and `resident` all its bytes.
        """
        total = np.bincount(units, sizes, len(held))
        add(self.pinned, groups, held[units] * sizes / total[units])
        low, high = np.full(len(held), NO_GROUP, np.int64), np.full(len(held), -1, np.int64)
        np.minimum.at(low, units, groups)
        np.maximum.at(high, units, groups)
        single = low == high
        add(self.whole, low[single], np.asarray(resident)[single])

    def _note_bounds(self, copy: Extent, pages: Numbers, groups: Numbers) -> None:
        """Note the groups on each page, whose blocks may come in several calls."""
        if copy.start not in self.bounds:
            count = copy.size // PAGE
            self.bounds[copy.start] = np.full(count, NO_GROUP, np.int32), np.full(count, -1, np.int32)
        low, high = self.bounds[copy.start]
        np.minimum.at(low, pages, groups.astype(np.int32))
        np.maximum.at(high, pages, groups.astype(np.int32))

    def releases(self) -> dict[int, float]:
        """The bytes of the pages and units whose blocks are all of one group, and which would go back with it."""
        found = dict(self.whole)
        for low, high in self.bounds.values():
            single = low[low == high]
            add(found, single, np.full(len(single), PAGE, np.int64))
        return found

    def groups(self, names: list[str]) -> list[Group]:
        """All groups, starting with those that hold back the most."""
        releases = self.releases()
        found = [
            Group(names[number // CLASSES], size_of_class(number % CLASSES), round(count), round(self.bytes[number]),
                  round(self.pinned.get(number, 0)), round(releases.get(number, 0)))
            for number, count in self.blocks.items()
        ]  # fmt: skip
        return sorted(found, key=lambda group: (-group.pinned_bytes, -group.bytes))


def add(sums: dict[int, float], numbers: Numbers, values: Any) -> None:
    """Add each value to the sum of its number."""
    totals = np.bincount(numbers, values) if len(numbers) else np.zeros(0)
    for number in np.flatnonzero(totals).tolist():
        sums[number] = sums.get(number, 0) + float(totals[number])


def pages_of(sections: ExtentBlocks, free_starts: Numbers, free_ends: Numbers) -> tuple[int, int]:
    """The first page of an extent with these blocks and free ranges, and the number of pages up to the last."""
    lowest = min(sections.starts.min(), free_starts.min(initial=sections.copy.end))
    highest = max(sections.ends.max(), free_ends.max(initial=0))
    first = int(lowest - sections.copy.start) // PAGE
    return first, int(highest - 1 - sections.copy.start) // PAGE + 1 - first


def edges_of(sections: ExtentBlocks, base: int) -> tuple[Numbers, Numbers, Numbers]:
    pages, weights, owners = edges(sections.copy, sections.starts, sections.ends, base)
    return pages, weights, sections.groups[owners]


def edges(copy: Extent, starts: Numbers, ends: Numbers, base: int) -> tuple[Numbers, Numbers, Numbers]:
    """For the first and the last page of each range: the page less `base`, the bytes on it, and the range's index."""
    first, last = (starts - copy.start) // PAGE, (ends - 1 - copy.start) // PAGE
    on_first = np.minimum(ends, copy.start + (first + 1) * PAGE) - starts
    on_last = np.where(last > first, ends - (copy.start + last * PAGE), 0)
    index = np.arange(len(starts))
    is_partial = np.concatenate((on_first % PAGE != 0, (on_last % PAGE != 0)))
    pages, weights = np.concatenate((first, last)) - base, np.concatenate((on_first, on_last))
    return pages[is_partial], weights[is_partial], np.concatenate((index, index))[is_partial]


# --- classes of sizes


def classes_of(sizes: Any) -> Any:
    """The class of each size, as `heapwright.allocators.parts.size_classes` has it for one."""
    units = np.maximum(sizes - 1, 0) >> 4
    doubling = np.maximum(np.frexp((units | 4).astype(np.float64))[1] - 3, 0)
    return 4 * doubling + (units >> doubling)


def size_classes(sums: dict[int, tuple[int, int]], sizes: Numbers) -> None:
    """Add blocks to the counts and bytes of their classes."""
    classes = classes_of(sizes)
    counts, totals = np.bincount(classes), np.bincount(classes, sizes)
    for number in np.flatnonzero(counts).tolist():
        count, total = sums.get(number, (0, 0))
        sums[number] = count + int(counts[number]), total + int(totals[number])
