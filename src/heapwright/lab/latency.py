"""How long single calls took: histograms of cycles from several passes, added up and read in nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Self

from heapwright.native.runtime.histogram import BUCKETS, highest_in

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
HIGHEST: tuple[int, ...] = tuple(map(highest_in, range(BUCKETS)))  # number of each bucket


@dataclass(frozen=True)
class Tally:
    """Numbers by bucket, and the largest of them: see `heapwright.native.runtime.histogram`."""

    counts: tuple[int, ...]
    most: int

    @classmethod
    def of(cls, histogram: Any) -> Self:
        return cls(tuple(histogram.counts[i] for i in range(BUCKETS)), histogram.most)

    def __add__(self, other: Tally) -> Tally:
        counts = (mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True))
        return Tally(tuple(counts), max(self.most, other.most))

    def __len__(self) -> int:
        return sum(self.counts)

    def quantile(self, part: float) -> int:
        """The least number that so large a part does not exceed, at most 6.25 % too high. ValueError if none came."""
        wanted = part * len(self)
        if not wanted:
            raise ValueError("there are no numbers")
        bucket = next(bucket for bucket, sum_ in enumerate(accumulate(self.counts)) if sum_ >= wanted)
        return min(HIGHEST[bucket], self.most)


@dataclass(frozen=True)
class Latencies:
    """The calls of some passes in cycles, what two reads of the clock cost, and what a cycle is."""

    gives: Tally  # malloc, calloc, memalign, realloc
    frees: Tally
    reads: Tally
    cycles: int
    nanoseconds: int

    def __add__(self, other: Latencies) -> Latencies:
        both = zip(vars(self).values(), vars(other).values(), strict=True)
        return Latencies(*(mine + theirs for mine, theirs in both))

    def as_json(self) -> dict[str, Any]:
        """Nanoseconds; `floor_ns` is the median of two reads of the clock, and in every figure."""
        floor = self.reads.quantile(0.5) * self.nanoseconds / self.cycles
        return {"floor_ns": floor, "malloc": self.figures(self.gives), "free": self.figures(self.frees)}

    def figures(self, tally: Tally) -> dict[str, float | None]:
        """The number of calls; their quantiles and the longest in nanoseconds, None if there were no calls."""
        calls = len(tally)
        found = {name: tally.quantile(part) if calls else None for name, part in QUANTILES.items()}
        found["max"] = tally.most if calls else None
        in_time = {f"{name}_ns": None if n is None else n * self.nanoseconds / self.cycles for name, n in found.items()}
        return {"calls": calls, **in_time}
