"""A heap's memory by address: the state of each page, and the largest holes."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from heapwright.live.extent import Extent, Numbers
from heapwright.live.pages import PAGE

ABSENT, FULL, PARTLY, FREE, SWAPPED = range(5)
STATES = ("released", "in use", "partly in use", "free", "swapped")
MAX_HOLES = 10


@dataclass
class Region:
    """One extent of a heap, page by page."""

    name: str
    start: int
    states: Any

    @property
    def end(self) -> int:
        return self.start + len(self.states) * PAGE


class Hole(NamedTuple):
    """Free memory in one section."""

    size: int
    resident: int
    start: int
    heap: str


def region_of(name: str, copy: Extent, starts: Numbers, ends: Numbers) -> Region:
    """The pages of an extent in which the ordered ranges [start, end) are in use."""
    used = np.zeros(copy.size // PAGE)
    add_used(used, copy, starts, ends)
    return region_with(name, copy, used)


def region_with(name: str, copy: Extent, used: Any) -> Region:
    """The pages of an extent, given the bytes in use on each."""
    states = np.where(used == 0, FREE, np.where(used >= PAGE, FULL, PARTLY)).astype(np.uint8)
    if copy.present is not None:
        states[~copy.present] = ABSENT
        states[copy.swapped] = SWAPPED
    return Region(name, copy.start, states)


def add_used(used: Any, copy: Extent, starts: Numbers, ends: Numbers) -> None:
    """Add the bytes of ordered ranges to those of each page. The sum below an address grows by 1 within a range."""
    if not len(starts):
        return
    edges = np.stack((starts, ends), axis=1).ravel() - copy.start
    below = np.stack((np.zeros(len(starts)), ends - starts), axis=1).ravel().cumsum()
    first, last = int(edges[0]) // PAGE, -(-int(edges[-1]) // PAGE)
    used[first:last] += np.diff(np.interp(np.arange(first, last + 1) * PAGE, edges, below))


def holes_in(name: str, copy: Extent, starts: Numbers, ends: Numbers) -> list[Hole]:
    """The largest of some free ranges."""
    largest = np.argsort(starts - ends, kind="stable")[:MAX_HOLES]
    resident = copy.resident_in(starts[largest], ends[largest])
    rows = zip((ends - starts)[largest].tolist(), resident.tolist(), starts[largest].tolist(), strict=True)
    return [Hole(size, pages, start, name) for size, pages, start in rows]


def largest(holes: Iterable[Hole]) -> list[Hole]:
    return heapq.nlargest(MAX_HOLES, holes)
