"""Times of single calls: histograms of cycles, added up over several passes and converted to nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Self

from heapwright.native.jobs.histogram import BUCKETS, highest_in

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
HIGHEST: tuple[int, ...] = tuple(map(highest_in, range(BUCKETS)))  # number of each bucket


@dataclass(frozen=True)
class LatencyCounts:
    """Counts by bucket, and the largest number counted: see `heapwright.native.jobs.histogram`."""

    counts: tuple[int, ...]
    maximum: int

    @classmethod
    def of(cls, histogram: Any) -> Self:
        return cls(tuple(histogram.counts[i] for i in range(BUCKETS)), histogram.maximum)

    def __add__(self, other: LatencyCounts) -> LatencyCounts:
        counts = (mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True))
        return LatencyCounts(tuple(counts), max(self.maximum, other.maximum))

    def __len__(self) -> int:
        return sum(self.counts)

    def quantile(self, part: float) -> int:
        """The quantile at `part` (0 to 1), at most 6.25 % too high. Raises ValueError if nothing was counted."""
        wanted = part * len(self)
        if not wanted:
            raise ValueError("there are no numbers")
        bucket = next(bucket for bucket, sum_ in enumerate(accumulate(self.counts)) if sum_ >= wanted)
        return min(HIGHEST[bucket], self.maximum)


@dataclass(frozen=True)
class Latencies:
    """The calls of some passes in cycles, the cost of two clock reads, and the length of a cycle."""

    gives: LatencyCounts  # malloc, calloc, memalign, realloc
    frees: LatencyCounts
    reads: LatencyCounts
    cycles: int
    nanoseconds: int

    def __add__(self, other: Latencies) -> Latencies:
        both = zip(vars(self).values(), vars(other).values(), strict=True)
        return Latencies(*(mine + theirs for mine, theirs in both))

    def as_json(self) -> dict[str, Any]:
        """The figures in nanoseconds. `floor_ns`, the median cost of two clock reads, is included in each of them."""
        floor = self.reads.quantile(0.5) * self.nanoseconds / self.cycles
        return {"floor_ns": floor, "malloc": self.figures(self.gives), "free": self.figures(self.frees)}

    def figures(self, tally: LatencyCounts) -> dict[str, float | None]:
        """The number of calls, and their quantiles and maximum in nanoseconds, None if there were no calls."""
        calls = len(tally)
        found = {name: tally.quantile(part) if calls else None for name, part in QUANTILES.items()}
        found["max"] = tally.maximum if calls else None
        in_time = {f"{name}_ns": None if n is None else n * self.nanoseconds / self.cycles for name, n in found.items()}
        return {"calls": calls, **in_time}
