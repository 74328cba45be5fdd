"""The figures that each result of the bench has, and their multiples of the C library's malloc's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from heapwright.wording import duration, share

Result = Mapping[str, Any]  # of a row on a malloc, as in the JSON
MIB = 1 << 20


def mebibytes(resident: float) -> str:
    return f"{resident / MIB:.1f} M"


@dataclass(frozen=True)
class Figure:
    """A figure: its words, its value in a result or None, and how it is written."""

    title: str
    value: Callable[[Result], float | None]
    text: Callable[[float], str]
    ratio: Callable[[Result, Result], float | None] | None = None  # if not the plain quotient of a malloc and the base
    is_absolute: bool = False  # shown as it is for every malloc

    def multiple(self, result: Result, base: Result) -> float | None:
        """The result's value as a multiple of the base's; None if one is missing or 0."""
        if self.ratio:
            return self.ratio(result, base)
        ours, its = self.value(result), self.value(base)
        return ours / its if ours and its else None


def after(moment: str) -> Callable[[Result], float | None]:
    return lambda result: result.get("resident_after", {}).get(moment)


FIGURES = {
    "time": Figure("time", lambda r: r["seconds"], duration, lambda r, base: r.get("time_ratio")),
    "wall": Figure("wall-clock time", lambda r: median(r["wall"]), duration),
    "cpu": Figure("processor time", lambda r: median(r["cpu"]), duration),
    "system": Figure("system time", lambda r: r.get("system_seconds"), duration),
    "faults": Figure("minor page faults", lambda r: r.get("minor_faults"), lambda count: f"{count:,.0f}"),
    "peak": Figure(
        "peak resident memory",
        lambda r: r["peak_resident_bytes"],
        mebibytes,
        lambda r, base: r.get("resident_ratio"),
    ),
    "after_1s": Figure("resident memory 1 s after a drain", after("1 s"), mebibytes),
    "after_5s": Figure("resident memory 5 s after a drain", after("5 s"), mebibytes),
    "end": Figure("resident memory at the end", after("end"), mebibytes),
    "share": Figure(
        "malloc's share of the processor time",
        lambda r: r.get("malloc_share"),
        lambda part: share(part, 1.0),
        is_absolute=True,
    ),
}
PLAIN = ("time", "peak")  # what every row has, and what is shown if nothing is chosen
