"""Count the blocks of a heap that has been cut into spans: used, cached, free or the allocator's own."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from heapwright.live.extent import Extent, Numbers
from heapwright.live.findings import BlockList, Look
from heapwright.live.parts import Figures, figures_of
from heapwright.live.pins import CLASSES, ExtentBlocks, classes_of, size_classes
from heapwright.live.regions import holes_in, largest
from heapwright.spans import CACHED, FREE, OWN, UNUSED, USED

PARTS = ((USED, "live"), (CACHED, "cached"), (OWN, "own"))


class Spans(NamedTuple):
    """Ranges of one extent in the order of their addresses, and the kind of each as `heapwright.spans` has it."""

    starts: Numbers
    ends: Numbers
    kinds: Numbers

    def of(self, *kinds: int) -> tuple[Numbers, Numbers]:
        """Where the spans of these kinds start and end."""
        chosen = np.isin(self.kinds, kinds)
        return self.starts[chosen], self.ends[chosen]

    def held(self) -> tuple[Numbers, Numbers]:
        """Where the spans that are not free start and end."""
        return self.of(USED, CACHED, OWN)

    def free(self) -> Ranges:
        """The free memory, in one range where spans touch."""
        starts, ends = self.of(FREE, UNUSED)
        apart = np.flatnonzero(starts[1:] != ends[:-1])
        first, last = (np.append(0, apart + 1), np.append(apart, len(starts) - 1)) if len(starts) else (apart, apart)
        return Ranges(starts[first], ends[last])

    def total(self, *kinds: int) -> int:
        """The bytes of all spans of these kinds."""
        starts, ends = self.of(*kinds)
        return int((ends - starts).sum())


class Ranges(NamedTuple):
    """Ranges of addresses, from `starts` to `ends`."""

    starts: Numbers
    ends: Numbers


def tally_spans(look: Look, name: str, copy: Extent, spans: Spans, header: int, given: Ranges) -> None:
    """Count spans into parts, groups, pins, sizes and holes.

    A block's bytes begin `header` bytes into its span; `given` are the pages that the allocator would give back.
    """
    free = spans.free()
    tally_parts(look, name, copy, spans, free)
    tally_free(look, copy, free, given)
    starts, ends = spans.of(USED)
    groups = group_blocks(look, name, copy, starts, ends, header)
    look.tally.pin(ExtentBlocks(copy, starts, ends, groups), *spans.of(FREE))


def tally_parts(look: Look, name: str, copy: Extent, spans: Spans, free: Ranges) -> None:
    """Count what is not free, and note the largest holes."""
    for kind, part in PARTS:
        look.account.add_ranges(part, copy, *spans.of(kind))
    look.holes = largest(look.holes + holes_in(name, copy, *free))


def group_blocks(look: Look, name: str, copy: Extent, starts: Numbers, ends: Numbers, header: int) -> Numbers:
    """Group live blocks by what they are and by size; the number of each one's group."""
    sizes = ends - starts
    groups: Numbers = look.kinds.of(copy, starts + header & -8, sizes - header) * CLASSES + classes_of(sizes)
    look.tally.count(groups, sizes)
    look.other_blocks.append(BlockList(name, starts + header, ends))
    size_classes(look.sizes, sizes)
    return groups


def tally_free(look: Look, copy: Extent, free: Ranges, pages: Ranges) -> None:
    """Count free memory: the pages that the allocator would give back, other whole pages, and the rest."""
    everything, given = figures_of(copy, *free), figures_of(copy, *pages)
    whole = figures_of(copy, *whole_pages(free))
    kept = whole.minus(given) if copy.present is not None else Figures()
    rest = everything.minus(given).minus(kept)
    look.returnable = look.returnable.plus(given)
    for part, figures in (("free_pages", given), ("free_kept", kept), ("free_rest", rest)):
        look.account.add(part, figures, copy.start)


def whole_pages(free: Ranges) -> Ranges:
    first, last = (free.starts + 4095) & -4096, free.ends & -4096
    inside = last > first
    return Ranges(first[inside], last[inside])
