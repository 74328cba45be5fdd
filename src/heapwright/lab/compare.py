"""Several mallocs on one trace: interleaved repeats, medians and their spread, time and memory side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from heapwright.errors import Mendable
from heapwright.lab.latency import Latencies
from heapwright.lab.memory import Usage
from heapwright.lab.replay import Contestant, Replayed, replay
from heapwright.lab.sample import RunError, spread
from heapwright.native.library import library_of
from heapwright.traces.events import Process, Summary
from heapwright.traces.flat import flatten

MOST_ROUNDS = 50  # short traces are timed so often in one repeat


class CompareError(Mendable):
    """A malloc that is not there, or that a replay did not end on: one line that says which and how."""


@dataclass
class Figures:
    """What one malloc did with the trace, over all repeats."""

    allocator: str
    repeats: list[float] = field(default_factory=list)  # seconds of a round, the median of each repeat
    heap: list[int] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)
    failures: int = 0
    usage: Usage | None = None
    latencies: Latencies | None = None  # of all repeats

    def add(self, replayed: Replayed) -> None:
        """Take in what one repeat measured."""
        self.repeats.append(median(replayed.seconds))
        self.heap.append(replayed.heap_bytes)
        self.resident.append(replayed.resident_bytes)
        self.failures, self.usage = replayed.failures, replayed.usage
        if replayed.latencies:
            self.latencies = self.latencies + replayed.latencies if self.latencies else replayed.latencies

    @property
    def seconds(self) -> float:
        return median(self.repeats)

    @property
    def spread(self) -> float | None:
        """How far apart the repeats lie: see `heapwright.lab.sample.spread`."""
        return spread(self.repeats)

    def as_json(self, summary: Summary) -> dict[str, Any]:
        heap = max(self.heap)
        is_utilized = heap and not self.failures  # of what was refused nothing is live
        return {
            "allocator": self.allocator,
            "seconds": self.seconds,
            "spread": self.spread,
            "events_per_second": summary.events / self.seconds,
            "peak_heap_bytes": heap or None,
            "peak_resident_bytes": int(median(self.resident)),
            "utilization": summary.peak_live_bytes / heap if is_utilized else None,
            "failures": self.failures,
            "memory": self.usage.as_json() if self.usage else None,
            "latency": self.latencies.as_json() if self.latencies else None,
        }


def contestant(name: str) -> Contestant:
    """`kr`, `mine.py`, `locked(kr)`, `system`, or another library as `name=/path/to/libother.so`."""
    if name == "system":
        return Contestant(name, None)
    short, separator, path = name.partition("=")
    if separator:
        if not Path(path).is_file():
            raise CompareError(f"there is no library {path}")
        return Contestant(short, Path(path).resolve())
    return Contestant(name, library_of(name))


def compare(
    process: Process,
    contestants: Iterable[Contestant],
    repeats: int,
    progress: Callable[[str], None],
    *,
    times_calls: bool = False,
) -> list[Figures]:
    """Replay one process's events on each malloc in turn, `repeats` times; `progress` is told what runs.

    If `times_calls`, each repeat ends with a pass in which each call is timed by itself.

    Raises CompareError when a replay dies or hangs.
    """
    flat = flatten(process.events)
    found = {each: Figures(each.name) for each in contestants}
    for repeat in range(repeats):
        for each, figures in found.items():
            progress(f"{each.name}, repeat {repeat + 1} of {repeats}")
            try:
                figures.add(replay(flat, each, MOST_ROUNDS, times_calls=times_calls))
            except RunError as error:
                raise CompareError(f"{each.name}: the replay {error}") from error
    return list(found.values())
