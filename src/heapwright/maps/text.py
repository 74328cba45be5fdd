"""A heap's map as characters: addresses from bottom to top, time from left to right.

    █ ▓ ▒ ░   in use: more than three quarters of the cell, half, a quarter, anything
    :         free, and mostly resident
    .         free, and mostly given back to the kernel
              not used yet

A cell shows what most of it is, so the map is legible without colour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from heapwright.live.pages import PAGE
from heapwright.maps.raster import COVER
from heapwright.traces.arrays import np

if TYPE_CHECKING:
    from heapwright.maps.follow import HeapMap

USED = "░▒▓█"
RESIDENT, GIVEN_BACK, UNUSED = ":", ".", " "
STYLES = {**dict.fromkeys(USED, "blue"), RESIDENT: "yellow", GIVEN_BACK: "dim"}
LEGEND = "█▓▒░ in use, wholly to a little   : free, resident   . free, given back   blank: not used yet"
MIN_RESIDENT = 0.5  # share of a free cell, for RESIDENT


class Line(NamedTuple):
    """One row of characters, and the lowest address in it."""

    address: int
    text: str


def drawn(each: HeapMap, width: int, height: int) -> list[Line]:
    """The map in at most `width` columns and `height` rows, the highest addresses first."""
    raster = each.raster
    if not len(raster):
        return []
    rows, columns = edges(len(raster), height), edges(raster.columns, width)
    cover = means(raster.channel(COVER), rows, columns)
    resident = resident_shares(each, rows, columns)
    used = raster.first[:, None] <= np.arange(raster.columns)
    ever = means(used, rows, columns)
    text = [
        Line(int(raster.chunks[row]) << raster.shift, "".join(map(letter, *cells)))
        for row, cells in zip(rows[:-1], zip(cover, resident, ever, strict=True), strict=True)
    ]
    return text[::-1]


def edges(count: int, most: int) -> Any:
    """The first of each of at most `most` groups of nearly equal length, and the end of the last."""
    groups = max(1, min(count, most))
    return np.arange(groups + 1) * count // groups


def means(matrix: Any, rows: Any, columns: Any) -> Any:
    """The mean of each group of cells."""
    down = np.add.reduceat(matrix.astype(float), rows[:-1], axis=0)
    whole = np.add.reduceat(down, columns[:-1], axis=1)
    return whole / np.outer(np.diff(rows), np.diff(columns))


def resident_shares(each: HeapMap, rows: Any, columns: Any) -> Any:
    """The resident share of each cell, at the stop that its middle comes to."""
    raster = each.raster
    shares = np.add.reduceat(each.resident, rows[:-1], axis=0) / (np.diff(rows)[:, None] << raster.shift)
    middles = (columns[:-1] + columns[1:]) / 2 * raster.width
    stops = np.minimum(np.searchsorted(each.stops, middles), len(each.stops) - 1)
    return shares[:, stops]


def letter(cover: float, resident: float, ever: float) -> str:
    """The character of a cell: what it is mostly, but anything in use shows."""
    if cover > 0.02:
        return USED[min(3, int(cover * 4))]
    if ever < 0.5:
        return UNUSED
    return RESIDENT if resident >= MIN_RESIDENT else GIVEN_BACK


def seams(each: HeapMap) -> int:
    """How many gaps of addresses that were never used the map leaves out."""
    return int((np.diff(each.raster.chunks) != 1).sum())


def runs(text: str) -> Iterator[tuple[str, str]]:
    """The parts of a line that have one style."""
    start = 0
    for place in range(1, len(text) + 1):
        if place == len(text) or STYLES.get(text[place]) != STYLES.get(text[start]):
            yield text[start:place], STYLES.get(text[start], "")
            start = place


def size_of_row(each: HeapMap, lines: Sequence[Line]) -> int:
    """About how many bytes a row of characters has."""
    return max(PAGE, (len(each.raster) << each.raster.shift) // max(1, len(lines)))
