"""The measurements of one run, or the way it failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import comb
from signal import Signals
from statistics import median, quantiles

CONFIDENCE = 0.95


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
    system_seconds: float | None = None  # the kernel's part of the processor time; None for a workload
    faults: int | None = None  # page faults that read nothing from a disk; None for a workload
    after: Mapping[str, int] = field(default_factory=dict)  # resident bytes by moment, if this run was watched


def spread(times: Sequence[float]) -> float | None:
    """The distance between the quartiles, as a fraction of the median: the range of the middle half of the repeats.

    None for a single repeat. A few disturbed repeats change neither the spread nor the median.
    """
    middle = median(times)
    if len(times) < 2 or not middle:
        return None
    lower, _, upper = quantiles(times, n=4, method="inclusive")
    return (upper - lower) / middle


def interval(values: Sequence[float]) -> list[float] | None:
    """The lowest and the highest value that are left when as many outliers as possible are dropped from both ends, so
    that the range still covers the true median with a probability of 95 %; None for fewer than two values.

    This needs no assumption about the distribution. Six values are the fewest that reach 95 %: the range of five covers
    it with 94 %, of four with 88 %, of three with 75 %.
    """
    count, dropped = len(values), 0
    if count < 2:
        return None
    while coverage(count, dropped + 1) >= CONFIDENCE:
        dropped += 1
    ordered = sorted(values)
    return [ordered[dropped], ordered[-1 - dropped]]


def coverage(count: int, dropped: int) -> float:
    """The probability that the median lies within `count` values without the `dropped` lowest and highest ones."""
    return 1 - 2 * sum(comb(count, i) for i in range(dropped + 1)) / float(2**count)


def too_long(timeout: float) -> str:
    return f"did not end within {timeout:.0f} s"


def ending(status: int, errors: bytes) -> str:
    """The way a process ended, and the last line that it printed."""
    how = f"ended by {Signals(-status).name}" if status < 0 else f"ended with status {status}"
    said = errors.decode(errors="replace").strip().splitlines()
    return f"{how}: {said[-1]}" if said else how
