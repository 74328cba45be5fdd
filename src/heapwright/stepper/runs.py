"""Repeated events summarised: a loop that initialises 128 bins is one line, not 384.

>>> runs(["test", "load", "store", "load", "store", "load", "store", "done"])
[Run(first=0, period=1, times=1), Run(first=1, period=2, times=3), Run(first=7, period=1, times=1)]
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

MAX_PERIOD = 16  # events in one turn of a loop
MIN_TIMES = 3  # turns that are summarised


class Run(NamedTuple):
    """`times` turns of `period` events each, from `first` on."""

    first: int
    period: int
    times: int

    @property
    def end(self) -> int:
        return self.first + self.period * self.times


def runs(keys: Sequence[Hashable]) -> list[Run]:
    """Events that are alike have equal keys; each place takes the run that covers the most events."""
    found, at = [], 0
    while at < len(keys):
        run = max((repeats(keys, at, period) for period in range(1, MAX_PERIOD + 1)), key=covered)
        found.append(run if run.times >= MIN_TIMES else Run(at, 1, 1))
        at = found[-1].end
    return found


def covered(run: Run) -> tuple[int, int]:
    """How many events a run covers if it is long enough; of equal ones, the shorter period is better."""
    return (run.period * run.times if run.times >= MIN_TIMES else 0), -run.period


def repeats(keys: Sequence[Hashable], first: int, period: int) -> Run:
    """How often the next `period` events repeat."""
    at = first + period
    while at < len(keys) and keys[at] == keys[at - period]:
        at += 1
    return Run(first, period, (at - first) // period)
