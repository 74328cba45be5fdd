"""The curves of one malloc on one trace: one list of numbers for each part, all of the same length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from heapwright.lab.curves.merit import Merit
from heapwright.lab.curves.parts import Parts

EVENTS, TIME = "events", "time"  # what equal steps between samples are steps of
AFTER = ("end", "freed", "idle", "called")


@dataclass(frozen=True)
class Point:
    """One sample: the number of events done, resident bytes beyond those before the first event, the parts, and the
    seconds from the first event to the last one that is done; None if the trace has no times.
    """

    event: int
    resident: int
    parts: Parts
    seconds: float | None = None

    def as_json(self) -> dict[str, Any]:
        known = {"event": self.event, "seconds": self.seconds, "resident_bytes": self.resident}
        return known | self.parts.as_json()


@dataclass(frozen=True)
class Curves:
    """Samples over the trace, the moments after it, and the figures of merit."""

    source: str  # who reported the parts
    points: Sequence[Point]
    after: dict[str, Point]  # AFTER: the trace's end, all blocks freed, a pause later, some calls later
    merit: Merit
    idle_seconds: int
    calls: int  # of malloc and free after the pause
    failures: int  # requests that were refused

    def columns(self) -> dict[str, list[Any]]:
        """The samples as lists: event, seconds, resident_bytes, held_bytes, requested_bytes and the other parts."""
        rows = [point.as_json() for point in self.points]
        return {name: [row[name] for row in rows] for name in rows[0]}

    def as_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "columns": self.columns(),
            "after": {name: point.as_json() for name, point in self.after.items()},
            "idle_seconds": self.idle_seconds,
            "calls": self.calls,
            "failures": self.failures,
            "merit": self.merit.as_json(),
        }
