"""Blame: which groups of live blocks hold back pages and holes of a heap, and what it gains if a group is released.

Everything is counted from the addresses of the live blocks, so it holds for any malloc. A byte outside all blocks is
free memory, a header or the malloc's own record. A page is free if no block has a byte of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from heapwright.lab.held import Range
from heapwright.native.runtime.linux import PAGE
from heapwright.traces.arrays import I64, np

MAX_HOLES = 3


@dataclass(frozen=True)
class Blocks:
    """The live blocks in the order of their addresses: where they start and end, and each one's group."""

    starts: I64
    ends: I64
    groups: I64

    @classmethod
    def of(cls, starts: I64, sizes: I64, groups: I64) -> Blocks:
        """Blocks in any order. One of no bytes has its address to itself."""
        order = np.argsort(starts, kind="stable")
        return cls(starts[order], (starts + np.maximum(sizes, 1))[order], groups[order])

    def __len__(self) -> int:
        return len(self.starts)

    def without(self, group: int) -> Blocks:
        kept = self.groups != group
        return Blocks(self.starts[kept], self.ends[kept], self.groups[kept])


@dataclass(frozen=True)
class Pages:
    """The pages that blocks have a part of: for each part its page, its bytes, and its block's group.

    A block's inner pages are its own and are only counted.
    """

    parts: I64
    weights: I64
    groups: I64
    inner: I64  # whole pages inside of each block
    owners: I64  # the group of each block

    @classmethod
    def of(cls, blocks: Blocks) -> Pages:
        first, last = blocks.starts // PAGE, (blocks.ends - 1) // PAGE
        on_first = np.minimum(blocks.ends, (first + 1) * PAGE) - blocks.starts
        further = last > first
        parts = np.concatenate((first, last[further]))
        weights = np.concatenate((on_first, (blocks.ends - last * PAGE)[further]))
        groups = np.concatenate((blocks.groups, blocks.groups[further]))
        return cls(parts, weights, groups, np.maximum(last - first - 1, 0), blocks.groups)

    def census(self) -> tuple[int, int]:
        """The number of pages that are full of blocks, and of those that are partly."""
        _, places = np.unique(self.parts, return_inverse=True)
        used = np.bincount(places, self.weights)
        full = int((used >= PAGE).sum())
        return full + int(self.inner.sum()), len(used) - full

    def held_back(self, count: int) -> I64:
        """For each group, its part of the free bytes on its pages: blocks share them by their bytes on the page."""
        _, places = np.unique(self.parts, return_inverse=True)
        used = np.bincount(places, self.weights)
        shares = (PAGE - used)[places] * self.weights / used[places]
        return np.bincount(self.groups, shares, count).round().astype(np.int64)

    def released(self, count: int) -> I64:
        """For each group, the bytes of the pages on which no other group has a block."""
        pages, places = np.unique(self.parts, return_inverse=True)
        low, high = np.full(len(pages), count), np.full(len(pages), -1)
        np.minimum.at(low, places, self.groups)
        np.maximum.at(high, places, self.groups)
        alone = np.bincount(low[low == high], minlength=count)
        inner = np.bincount(self.owners, self.inner, count).astype(np.int64)
        return (alone[:count] + inner) * PAGE


# --- holes


@dataclass(frozen=True)
class Hole:
    """The bytes between two blocks, or between a block and an end of the heap's memory."""

    start: int
    end: int
    below: int | None  # the place of the block that ends here
    above: int | None

    @property
    def size(self) -> int:
        return self.end - self.start


def holes(blocks: Blocks, ranges: Sequence[Range], most: int = MAX_HOLES) -> list[Hole]:
    """The largest holes of a heap, the largest first."""
    found = [hole for each in ranges for hole in holes_in(blocks, each, most)]
    return sorted(found, key=lambda hole: (-hole.size, hole.start))[:most]


def holes_in(blocks: Blocks, extent: Range, most: int) -> list[Hole]:
    """The largest holes of one range of memory."""
    first, last = np.searchsorted(blocks.starts, extent)
    starts = np.concatenate(([extent[0]], np.maximum.accumulate(blocks.ends[first:last])))
    ends = np.concatenate((blocks.starts[first:last], [extent[1]]))
    largest = np.argsort(starts - ends, kind="stable")[:most]
    return [
        Hole(
            int(starts[place]),
            int(ends[place]),
            int(first + place - 1) if place else None,
            int(first + place) if place < last - first else None,
        )
        for place in largest.tolist()
        if ends[place] > starts[place]
    ]


def largest_hole(blocks: Blocks, ranges: Sequence[Range]) -> int:
    return max((hole.size for hole in holes(blocks, ranges, 1)), default=0)


# --- groups


def group_rows(
    blocks: Blocks, requested: I64, ranges: Sequence[Range], names: Sequence[str], top: int
) -> list[dict[str, Any]]:
    """A row for each group that holds back the most, with what it holds back and what its release would gain.

    `requested` are the bytes that each group asked for.
    """
    pages, count = Pages.of(blocks), len(names)
    number = np.bincount(blocks.groups, minlength=count)
    held_back, released = pages.held_back(count), pages.released(count)
    order = np.lexsort((-requested, -held_back))[:top]
    return [
        {
            "group": int(each),
            "name": names[each],
            "blocks": int(number[each]),
            "bytes": int(requested[each]),
            "holds_back_bytes": int(held_back[each]),
            "releases_bytes": int(released[each]),
            "largest_hole_bytes": largest_hole(blocks.without(int(each)), ranges),
        }
        for each in order.tolist()
    ]


def numbered(keys: I64, name: Callable[[int], str]) -> tuple[I64, list[str]]:
    """A number for each key, and the names of the numbers."""
    found, numbers = np.unique(keys, return_inverse=True)
    return numbers.astype(np.int64), [name(each) for each in found.tolist()]
