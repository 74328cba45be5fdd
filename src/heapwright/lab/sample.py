"""What one run of anything measured, or how it ended instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from signal import Signals
from statistics import median, quantiles


class RunError(Exception):
    """A run that did not end well: a few words that say how."""


@dataclass(frozen=True)
class Sample:
    """One run in a process of its own."""

    seconds: float  # by the clock on the wall
    cpu_seconds: float  # of all its threads, and for a program of its children; user and system
    resident_bytes: int  # the most; for a workload, how much it grew
    operations: int = 0  # calls of malloc, realloc and free, where they are counted
    throughput: float = 0.0  # the sum of the threads' own operations per second


def spread(times: Sequence[float]) -> float | None:
    """The distance between the quartiles, as a part of the median: how far apart the middle half of the repeats lies.

    None of a single repeat, which says nothing of others. A few disturbed repeats do not move it, as they do not
    move the median.
    """
    middle = median(times)
    if len(times) < 2 or not middle:
        return None
    lower, _, upper = quantiles(times, n=4, method="inclusive")
    return (upper - lower) / middle


def too_long(timeout: float) -> str:
    return f"did not end within {timeout:.0f} s"


def ending(status: int, errors: bytes) -> str:
    """How a process ended, and the last line that it printed."""
    how = f"ended by {Signals(-status).name}" if status < 0 else f"ended with status {status}"
    said = errors.decode(errors="replace").strip().splitlines()
    return f"{how}: {said[-1]}" if said else how
