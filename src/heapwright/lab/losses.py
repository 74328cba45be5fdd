"""Where a malloc loses to the C library's: the rows above fixed limits, with the intervals of their ratios."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

LIMITS = {"time": 1.02, "resident": 1.15}  # multiples of the C library's
ENOUGH = 5  # repeats: their range covers the median with 94 %
WORDS = {"time": "time", "resident": "peak memory"}


def losses(rows: Sequence[dict[str, Any]], names: Iterable[str]) -> list[dict[str, Any]]:
    """The losses of the named mallocs, in their order and the largest ratio first."""
    found = [loss for name in names for row in rows for loss in losses_of(row, name)]
    places = {name: place for place, name in enumerate(dict.fromkeys(each["allocator"] for each in found))}
    return sorted(found, key=lambda each: (places[each["allocator"]], each["figure"] != "time", -each["ratio"]))


def losses_of(row: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    """A loss is certain if its whole interval lies above the limit and is of enough repeats."""
    result = row["results"].get(name, {})
    for figure, limit in LIMITS.items():
        ratio, interval = result.get(f"{figure}_ratio"), result.get(f"{figure}_interval")
        if ratio and ratio > limit:
            is_certain = interval is not None and interval[0] > limit and len(result["wall"]) >= ENOUGH
            yield {
                "allocator": name,
                "row": row["title"],
                "figure": figure,
                "ratio": ratio,
                "interval": interval,
                "is_certain": is_certain,
            }


def undecided(rows: Sequence[dict[str, Any]], name: str) -> dict[str, int]:
    """For each figure, how many rows are within the limit although their interval reaches above it."""
    return {figure: sum(is_undecided(row["results"].get(name, {}), figure) for row in rows) for figure in LIMITS}


def is_undecided(result: dict[str, Any], figure: str) -> bool:
    ratio, interval = result.get(f"{figure}_ratio"), result.get(f"{figure}_interval")
    return bool(ratio and interval and ratio <= LIMITS[figure] < interval[1])
