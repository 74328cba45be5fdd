"""Several mallocs on one recording, on threads. Repeats are interleaved; times are medians with their spread."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from heapwright.lab.causal.plan import Plan
from heapwright.lab.causal.replay import Replayed, replay
from heapwright.lab.cells import MAX_ROUNDS
from heapwright.lab.compare import CompareError
from heapwright.lab.contestant import Contestant
from heapwright.lab.sample import RunError, spread
from heapwright.traces.events import Summary


@dataclass
class Figures:
    """The figures of one malloc, over all repeats."""

    allocator: str
    replays: list[Replayed] = field(default_factory=list)

    def times(self, name: str) -> list[float]:
        """Seconds of one kind of a pass: for each repeat the median of its passes."""
        return [median(getattr(each, name) for each in replayed.passes) for replayed in self.replays]

    def of_pass(self, name: str) -> dict[str, float | None]:
        return {"seconds": median(self.times(name)), "spread": spread(self.times(name))}

    def waited(self, name: str) -> dict[str, float]:
        """The waits of one kind in one pass: how many were not over at once, and the seconds of all threads."""
        waits = [getattr(each, name) for each in self.replays]
        return {"times": median(each.times for each in waits), "seconds": median(each.seconds for each in waits)}

    def as_json(self, summary: Summary) -> dict[str, Any]:
        heap, last = max(each.heap_bytes for each in self.replays), self.replays[-1]
        is_utilized = heap and not last.failures  # refused blocks are never live
        wall = self.of_pass("wall")
        return {
            "allocator": self.allocator,
            **wall,
            "processor": self.of_pass("cpu"),
            "idle": self.of_pass("idle_wall"),
            "idle_processor": self.of_pass("idle_cpu"),
            "waited_for_blocks": self.waited("for_blocks"),
            "waited_for_sections": self.waited("for_sections"),
            "events_per_second": summary.events / (wall["seconds"] or 1),
            "peak_heap_bytes": heap or None,
            "peak_resident_bytes": int(median(each.resident_bytes for each in self.replays)),
            "utilization": summary.peak_live_bytes / heap if is_utilized else None,
            "failures": last.failures,
            "most_live_bytes": max(each.most_live for each in self.replays),
            "beyond_curve": max(each.beyond for each in self.replays),
            "memory": last.memory.as_json(),
        }


def compare_on_threads(
    plan: Plan, contestants: Iterable[Contestant], repeats: int, progress: Callable[[str], None]
) -> list[Figures]:
    """Replay a plan on each malloc in turn, `repeats` times. `progress` gets a line about each replay.

    Raises CompareError if a replay crashes or hangs.
    """
    found = {each: Figures(each.name) for each in contestants}
    for repeat in range(repeats):
        for each, figures in found.items():
            progress(f"{each.name} on {plan.order.threads} threads, repeat {repeat + 1} of {repeats}")
            try:
                figures.replays.append(replay(plan, each, MAX_ROUNDS))
            except RunError as error:
                raise CompareError(f"{each.name}: the replay on threads {error}") from error
    return list(found.values())
