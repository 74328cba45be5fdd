"""The measurements of one run, or the way it failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from signal import Signals
from statistics import median, quantiles


class RunError(Exception):
    """A failed run. Its text is a few words, such as `ended by SIGSEGV`."""


@dataclass(frozen=True)
class Sample:
    """One run in a process of its own."""

    seconds: float  # wall-clock time
    cpu_seconds: float  # user and system time of all threads, and of a program's children
    resident_bytes: int  # the peak; for a workload, its growth
    operations: int = 0  # calls of malloc, realloc and free, if they are counted
    throughput: float = 0.0  # the sum of the threads' own operations per second


def spread(times: Sequence[float]) -> float | None:
    """The distance between the quartiles, as a fraction of the median: the range of the middle half of the repeats.

    None for a single repeat. A few disturbed repeats change neither the spread nor the median.
    """
    middle = median(times)
    if len(times) < 2 or not middle:
        return None
    lower, _, upper = quantiles(times, n=4, method="inclusive")
    return (upper - lower) / middle


def too_long(timeout: float) -> str:
    return f"did not end within {timeout:.0f} s"


def ending(status: int, errors: bytes) -> str:
    """The way a process ended, and the last line that it printed."""
    how = f"ended by {Signals(-status).name}" if status < 0 else f"ended with status {status}"
    said = errors.decode(errors="replace").strip().splitlines()
    return f"{how}: {said[-1]}" if said else how
