"""Several mallocs on one trace. Repeats are interleaved; times are medians with their spread."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from heapwright.errors import UserError
from heapwright.lab.contestant import Contestant
from heapwright.lab.latency import Latencies
from heapwright.lab.memory import Memory
from heapwright.lab.replay import Cold, Replayed, replay
from heapwright.lab.sample import RunError, spread
from heapwright.traces.events import Process, Summary
from heapwright.traces.flat import flatten

MAX_ROUNDS = 50  # of a short trace, in one repeat


class CompareError(UserError):
    """A replay that crashed or hung. Its text is one line with the malloc and the reason."""


@dataclass
class Figures:
    """The figures of one malloc on the trace, over all repeats."""

    allocator: str
    repeats: list[float] = field(default_factory=list)  # seconds of a warm round, the median of each repeat
    cold: list[Cold] = field(default_factory=list)
    heap: list[int] = field(default_factory=list)
    resident: list[int] = field(default_factory=list)
    failures: int = 0
    memory: Memory | None = None  # of the last repeat
    latencies: Latencies | None = None  # of all repeats

    def add(self, replayed: Replayed) -> None:
        """Add the figures of one repeat."""
        self.repeats.append(median(replayed.seconds))
        self.cold.append(replayed.cold)
        self.heap.append(replayed.heap_bytes)
        self.resident.append(replayed.resident_bytes)
        self.failures, self.memory = replayed.failures, replayed.memory
        if replayed.latencies:
            self.latencies = self.latencies + replayed.latencies if self.latencies else replayed.latencies

    @property
    def seconds(self) -> float:
        return median(self.repeats)

    @property
    def spread(self) -> float | None:
        """The spread of the repeats: see `heapwright.lab.sample.spread`."""
        return spread(self.repeats)

    def cold_as_json(self) -> dict[str, float | None]:
        seconds = [each.seconds for each in self.cold]
        faults = median(each.page_faults for each in self.cold)
        return {"seconds": median(seconds), "spread": spread(seconds), "page_faults": int(faults)}

    def as_json(self, summary: Summary) -> dict[str, Any]:
        heap = max(self.heap)
        is_utilized = heap and not self.failures  # refused blocks are never live
        return {
            "allocator": self.allocator,
            "seconds": self.seconds,
            "spread": self.spread,
            "cold": self.cold_as_json(),
            "events_per_second": summary.events / self.seconds,
            "peak_heap_bytes": heap or None,
            "peak_resident_bytes": int(median(self.resident)),
            "utilization": summary.peak_live_bytes / heap if is_utilized else None,
            "failures": self.failures,
            "memory": self.memory.as_json() if self.memory else None,
            "latency": self.latencies.as_json() if self.latencies else None,
        }


def compare(
    process: Process,
    contestants: Iterable[Contestant],
    repeats: int,
    progress: Callable[[str], None],
    *,
    times_calls: bool = False,
) -> list[Figures]:
    """Replay one process's events on each malloc in turn, `repeats` times. `progress` gets a line about each replay.

    If `times_calls`, each repeat ends with a pass that times each call separately.

    Raises CompareError if a replay crashes or hangs.
    """
    flat = flatten(process.events)
    found = {each: Figures(each.name) for each in contestants}
    for repeat in range(repeats):
        for each, figures in found.items():
            progress(f"{each.name}, repeat {repeat + 1} of {repeats}")
            try:
                figures.add(replay(flat, each, MAX_ROUNDS, times_calls=times_calls))
            except RunError as error:
                raise CompareError(f"{each.name}: the replay {error}") from error
    return list(found.values())
