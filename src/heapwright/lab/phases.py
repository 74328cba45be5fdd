"""The phases of a recording: when calls were recorded, as far as its collector sees it, and how to change that.

The word lies in the ring's header, which all processes of the run map. `heapwright.traces.raw` says what it means.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from heapwright.traces import raw

MICROSECOND = 1000
MAX_PARTS = 1000  # further ones are joined to the last


def first_phase() -> int:
    """An odd number from which no other recording counts: a process may still have chunks of an earlier one."""
    return 2 * int.from_bytes(os.urandom(5), "little") + 1


def is_recording(header: Any) -> bool:
    """Whether calls are recorded now."""
    return bool(header.phase.load() & 1)


def resume(header: Any) -> bool:
    """Record from now on. Returns False if calls are recorded already."""
    return change(header, True)


def pause(header: Any) -> bool:
    """Record no calls from now on. Returns False if none are recorded already."""
    return change(header, False)


def change(header: Any, wanted: bool) -> bool:
    if is_recording(header) == wanted:
        return False
    header.phase.store(header.phase.load() + 1)
    return True


class Clock:
    """The stamps of a run: the processor's clock, or numbers that the run's header counts."""

    def __init__(self, ticks: Callable[[], int] | None):
        self.ticks = ticks
        self.began = ticks() if ticks else 0
        self._began = time.monotonic_ns()

    def elapsed(self) -> int:
        """Nanoseconds since the start."""
        return max(1, time.monotonic_ns() - self._began)

    def now(self, header: Any) -> tuple[int, int]:
        """A stamp above those of all records that are written, and the nanoseconds since the start; 0 if unknown."""
        if self.ticks:
            return self.ticks(), self.elapsed()
        return header.numbers.load() + 1, 0


class Phases:
    """The parts of a run in which calls were recorded. Two parts between two looks are seen as one."""

    def __init__(self, header: Any, elapsed: Callable[[], int]):
        self.header, self.elapsed = header, elapsed
        self.first = self.last = int(header.phase.load())
        self.is_controlled, self.is_spent = bool(header.is_controlled), False
        self.parts: list[list[int]] = []  # beginnings and ends, in microseconds since the start
        if is_recording(header):
            self.parts.append([0, 0])

    def look(self) -> None:
        """Note what has changed."""
        now, phase = self.elapsed() // MICROSECOND, int(self.header.phase.load())
        if self.last & 1:
            self.parts[-1][1] = now
        if phase != self.last and (phase & 1 or not self.last & 1) and len(self.parts) < MAX_PARTS:
            self.parts.append([now, now])
        self.last = phase
        self.is_spent = self.header.stopped.load() == raw.SPENT

    @property
    def starts(self) -> int:
        """How often recording was started."""
        return (self.last + 1) // 2 - self.first // 2

    def facts(self, budget: int) -> dict[str, Any]:
        """What the trace's header says about parts: nothing if all was to be recorded, and was."""
        if self.is_spent:
            return {"recorded": {"starts": self.starts, "parts": self.parts, "budget": budget}}
        return {"recorded": {"starts": self.starts, "parts": self.parts}} if self.is_controlled else {}
