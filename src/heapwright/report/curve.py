"""Live bytes over time in a bounded number of bins, without knowing in advance when the last event happens."""

from __future__ import annotations

from dataclasses import dataclass

from heapwright.report.blocks import Changes
from heapwright.traces.arrays import I64, np

CAPACITY = 2048  # bins; between half of them and all are in use once there were that many moments


@dataclass(frozen=True)
class Points:
    """Live bytes in bins of equal width from `start` to `end`: the most, the fewest, and the last."""

    start: int
    end: int
    high: I64
    low: I64
    last: I64

    def __len__(self) -> int:
        return len(self.high)


class Curve:
    """The bins so far. When an event lies behind the last one, neighbours are joined and the width doubles."""

    def __init__(self) -> None:
        self.start = self.end = 0
        self._width = 1
        self._high: I64 = np.zeros(CAPACITY, np.int64)
        self._low: I64 = np.zeros(CAPACITY, np.int64)
        self._last: I64 = np.zeros(CAPACITY, np.int64)
        self._seen = np.zeros(CAPACITY, bool)

    def add(self, changes: Changes) -> None:
        if not len(changes):
            return
        if not self._seen.any():
            self.start = int(changes.x[0])
        self.end = int(changes.x[-1])
        while (self.end - self.start) // self._width >= CAPACITY:
            self._double()
        bins = (changes.x - self.start) // self._width
        first = np.flatnonzero(np.diff(bins, prepend=-1))
        self._put(bins[first], np.append(first[1:], len(changes)) - 1, first, changes.live_bytes)

    def _put(self, place: I64, final: I64, first: I64, live: I64) -> None:
        """Put the events from `first` to `final` of each bin into it."""
        seen = self._seen[place]
        high, low = np.maximum.reduceat(live, first), np.minimum.reduceat(live, first)
        self._high[place] = np.where(seen, np.maximum(self._high[place], high), high)
        self._low[place] = np.where(seen, np.minimum(self._low[place], low), low)
        self._last[place], self._seen[place] = live[final], True

    def _double(self) -> None:
        even, odd = self._seen[::2], self._seen[1::2]
        joined = []
        for column, choose in (
            (self._high, np.maximum(self._high[::2], self._high[1::2])),
            (self._low, np.minimum(self._low[::2], self._low[1::2])),
            (self._last, self._last[1::2]),
        ):
            both = np.where(even & odd, choose, np.where(odd, column[1::2], column[::2]))
            joined.append(np.concatenate([both, np.zeros_like(both)]))
        self._high, self._low, self._last = joined
        self._seen = np.concatenate([even | odd, np.zeros_like(even)])
        self._width *= 2

    def points(self) -> Points:
        """The bins until the last event. One in which nothing happened continues the one before."""
        count = (self.end - self.start) // self._width + 1 if self._seen.any() else 0
        seen = self._seen[:count]
        source = np.maximum.accumulate(np.where(seen, np.arange(count), 0))
        last = self._last[:count][source]
        before = np.concatenate([last[:0], last[:1], last[:-1]])[:count]
        high = np.where(seen, self._high[:count], before)
        low = np.where(seen, self._low[:count], before)
        return Points(self.start, max(self.end, self.start), high, low, last)
