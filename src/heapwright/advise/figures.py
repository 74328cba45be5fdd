"""The runs of a candidate: what is measured, and what of it matters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from heapwright.advise.candidates import Candidate

MIB = 1 << 20


class Objective(NamedTuple):
    """A figure that a change should lower.

    A gain counts from the share `least` of today's figure on, and from `least_amount` of its unit. `floor` is added to
    both figures of a ratio: below it, differences do not matter. `allowance` widens the loss that the user permits.
    """

    head: str
    unit: str  # "s" or "B"
    least: float
    least_amount: float
    floor: float
    allowance: float = 1.0


OBJECTIVES = {
    "time": Objective("time", "s", 0.05, 1e-4, 1e-4),
    "cpu": Objective("CPU", "s", 0.05, 1e-4, 1e-4),
    "peak": Objective("peak", "B", 0.10, 4 * MIB, MIB),
    "retained": Objective("retained", "B", 0.10, 4 * MIB, MIB),
    "p99": Objective("p99", "s", 0.20, 20e-9, 20e-9, allowance=5.0),
}
GOALS = {
    "balance": {"time": 1.0, "cpu": 1.0, "peak": 1.0, "retained": 1.0, "p99": 0.25},
    "memory": {"peak": 1.0, "retained": 1.0, "time": 0.1, "cpu": 0.1},
    "time": {"time": 1.0, "cpu": 0.5, "p99": 0.25, "peak": 0.1, "retained": 0.1},
}


class Point(NamedTuple):
    """Resident memory at a moment of a run."""

    seconds: float
    resident: int


@dataclass(frozen=True)
class Run:
    """One measurement: the objectives that it has, and resident memory over time if it was watched."""

    values: dict[str, float]
    course: tuple[Point, ...] = ()


@dataclass
class Row:
    """A candidate and its runs, or the error that ended them."""

    candidate: Candidate
    runs: list[Run] = field(default_factory=list)
    error: str = ""

    @property
    def names(self) -> list[str]:
        """The objectives that every run has, in their usual order."""
        return [name for name in OBJECTIVES if self.runs and all(name in run.values for run in self.runs)]

    def series(self, name: str) -> list[float]:
        return [run.values[name] for run in self.runs]

    def median(self, name: str) -> float:
        return median(self.series(name))

    def medians(self) -> dict[str, float]:
        return {name: self.median(name) for name in self.names}

    def as_json(self) -> dict[str, Any]:
        return {
            "malloc": self.candidate.text,
            "family": self.candidate.family,
            "settings": self.candidate.options,
            "error": self.error or None,
            "medians": self.medians(),
            "runs": [run.values for run in self.runs],
        }


def shared_names(rows: Iterable[Row]) -> list[str]:
    """The objectives that all rows have."""
    sets = [set(row.names) for row in rows]
    return [name for name in OBJECTIVES if sets and all(name in each for each in sets)]
