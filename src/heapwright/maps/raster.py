"""Placements added up in cells of a map: rows of addresses, columns of time.

A row is a chunk of addresses in which some block lay; addresses that were never used have none. Chunks begin as pages
and double whenever there would be too many rows. So a map has a bounded size, however long and large the heap is.
"""

from __future__ import annotations

from typing import Any

from heapwright.maps.placements import Placements
from heapwright.traces.arrays import I64, np

MAX_ROWS, MAX_COLUMNS = 2048, 1024
PAGE_SHIFT = 12
COVER, SIZE, LIFE = range(3)  # of a cell: the covered share; and times it, the logarithms of sizes and lifetimes
CHANNELS = 3


class Raster:
    """The cells. A column has `width` events, a row 2**`shift` addresses."""

    def __init__(self, events: int, shift: int = PAGE_SHIFT):
        self.width = max(1, -(-events // MAX_COLUMNS))
        self.columns = max(1, -(-events // self.width))
        self.shift = shift
        self.chunks: I64 = np.zeros(0, np.int64)  # ascending
        self._places: I64 = np.zeros(0, np.int64)  # of each chunk, in the arrays below
        self._steps = np.zeros((64, CHANNELS, self.columns + 2))
        self._first: I64 = np.full(64, self.columns, np.int64)

    def __len__(self) -> int:
        return len(self.chunks)

    def add(self, placements: Placements) -> None:
        """Add some placements, which have ended."""
        if len(placements):
            self.use(placements)
            weights = np.log2(np.maximum(placements.size, 1)), np.log2(placements.end - placements.start)
            self._put(placements, *weights)

    def use(self, placements: Placements) -> None:
        """Make rows for the addresses of some placements, which may not have ended."""
        if not len(placements):
            return
        while int(placements.size.max()) >> self.shift >= MAX_ROWS:
            self._double()
        self._make_rows(self._pieces(placements)[1])
        owner, chunk, _ = self._pieces(placements)  # chunks may have doubled
        np.minimum.at(self._first, self._place_of(chunk), placements.start[owner] // self.width)

    def _pieces(self, placements: Placements) -> tuple[I64, I64, Any]:
        """The parts of placements in each chunk: which placement, which chunk, and the covered share of it."""
        start, end = placements.address, placements.address + np.maximum(placements.size, 1)
        first = start >> self.shift
        counts = ((end - 1) >> self.shift) - first + 1
        owner = np.repeat(np.arange(len(placements)), counts)
        chunk = first[owner] + np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        low, high = chunk << self.shift, (chunk + 1) << self.shift
        covered = np.minimum(end[owner], high) - np.maximum(start[owner], low)
        return owner, chunk, covered / (1 << self.shift)

    def _put(self, placements: Placements, size: Any, life: Any) -> None:
        owner, chunk, share = self._pieces(placements)
        place = self._place_of(chunk)
        for moment, sign in ((placements.start, share), (placements.end, -share)):
            column, into = np.divmod(moment[owner], self.width)
            later = into / self.width
            for channel, weight in ((COVER, sign), (SIZE, sign * size[owner]), (LIFE, sign * life[owner])):
                self._add(place, channel, column, weight * (1 - later))
                self._add(place, channel, column + 1, weight * later)

    def _add(self, place: I64, channel: int, column: I64, weight: Any) -> None:
        cells: Any = (place, channel, column)
        np.add.at(self._steps, cells, weight)

    # --- rows

    def row_of(self, chunk: I64) -> I64:
        """The row of each chunk, from the lowest address up. The chunks must have rows."""
        return np.searchsorted(self.chunks, chunk)

    def _place_of(self, chunk: I64) -> I64:
        return self._places[self.row_of(chunk)]

    def _make_rows(self, chunk: I64) -> None:
        chunk = np.unique(chunk)
        while len(union := np.union1d(self.chunks, chunk)) > MAX_ROWS:
            self._double()
            chunk = np.unique(chunk >> 1)
        fresh = np.setdiff1d(chunk, self.chunks, assume_unique=True)
        count = len(self.chunks)
        places = np.concatenate([self._places, count + np.arange(len(fresh))])
        order = np.argsort(np.concatenate([self.chunks, fresh]))
        self.chunks, self._places = union, places[order]
        self._grow(len(union))

    def _grow(self, rows: int) -> None:
        room = len(self._steps)
        if rows > room:
            more = max(rows, min(2 * room, MAX_ROWS)) - room
            self._steps = np.concatenate([self._steps, np.zeros((more, *self._steps.shape[1:]))])
            self._first = np.concatenate([self._first, np.full(more, self.columns, np.int64)])

    def _double(self) -> None:
        """Join neighbours to chunks of twice the size."""
        halves = self.chunks >> 1
        chunks, row = np.unique(halves, return_inverse=True)
        steps = np.zeros((max(len(chunks), 64), *self._steps.shape[1:]))
        np.add.at(steps, row, self._steps[self._places] / 2)
        first = np.full(len(steps), self.columns, np.int64)
        np.minimum.at(first, row, self._first[self._places])
        self.shift += 1
        self.chunks, self._places, self._steps, self._first = chunks, np.arange(len(chunks)), steps, first

    def adopt_rows(self, other: Raster) -> None:
        """Have the rows of another raster."""
        self._make_rows(other.chunks)

    # --- results

    def channel(self, which: int) -> Any:
        """One channel of all cells: a matrix with a row for each chunk."""
        return np.cumsum(self._steps[self._places, which, : self.columns], axis=1)

    @property
    def first(self) -> I64:
        """For each row the column in which it is first used."""
        return self._first[self._places]
