"""Figures of the bench's samples: medians, spreads, ratios to the C library's malloc, geometric means."""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, log
from statistics import median
from typing import Any

from heapwright.lab.bench import Cell, Measured
from heapwright.lab.sample import Sample, interval, spread

BASE = "system"  # the C library's malloc: ratios are to it
UNSTABLE = 0.15  # a spread above it deserves a warning
NOT_RUN = "not run"  # the bench was interrupted first
MIN_RESIDENT = 1 << 20  # bytes: a smaller peak counts as this, because its ratio would mean nothing


def figures(table: list[Measured], clock: str) -> list[dict[str, Any]]:
    """Each row as JSON. `clock` is `wall` or `cpu`: the times that ratios and spreads use."""
    return [row_figures(measured, clock) for measured in table]


def row_figures(measured: Measured, clock: str) -> dict[str, Any]:
    row = measured.row
    results = {name: cell_figures(cell, clock) for name, cell in measured.cells.items()}
    add_ratios(results, clock)
    return {
        "name": row.name,
        "title": row.title,
        "group": row.group,
        "threads": row.threads or 1,
        "parameters": row.parameters(),
        "results": results,
    }


def cell_figures(cell: Cell, clock: str) -> dict[str, Any]:
    """The raw figures of every repeat, and their medians."""
    if cell.error or not cell.samples:
        return {"error": cell.error or NOT_RUN}
    times = [time_of(sample, clock) for sample in cell.samples]
    return program_figures(cell) | {
        "wall": [round(sample.seconds, 6) for sample in cell.samples],
        "cpu": [round(sample.cpu_seconds, 6) for sample in cell.samples],
        "resident": [sample.resident_bytes for sample in cell.samples],
        "seconds": median(times),
        "spread": spread(times),
        "peak_resident_bytes": int(median(sample.resident_bytes for sample in cell.samples)),
        "operations": cell.samples[0].operations,
        "operations_per_second": median(sample.throughput for sample in cell.samples) or None,
    }


def program_figures(cell: Cell) -> dict[str, Any]:
    """What only programs have: the kernel's work, the memory after a drain or at the end, and malloc's share."""
    kernel = [each.system_seconds for each in cell.samples if each.system_seconds is not None]
    faults = [each.faults for each in cell.samples if each.faults is not None]
    if not kernel:
        return {}
    found: dict[str, Any] = {
        "system": [round(each, 6) for each in kernel],
        "faults": faults,
        "system_seconds": median(kernel),
        "minor_faults": median(faults),
        "resident_after": dict(next((each.after for each in cell.samples if each.after), {})),
    }
    if cell.share:
        found |= {"malloc_share": cell.share.part, "share_samples": cell.share.samples}
    if cell.share_error:
        found["share_error"] = cell.share_error
    return found


def time_of(sample: Sample, clock: str) -> float:
    return sample.cpu_seconds if clock == "cpu" else sample.seconds


def add_ratios(results: dict[str, dict[str, Any]], clock: str) -> None:
    """Add the ratios of time and memory to those of the C library's malloc, and the intervals of these ratios.

    An interval is of the ratios of each repeat, whose runs were close in time.
    """
    base = results.get(BASE, {"error": NOT_RUN})
    for each in results.values():
        if "error" not in each and "error" not in base:
            each["time_ratio"] = each["seconds"] / base["seconds"] if base["seconds"] else None
            each["resident_ratio"] = floored(each["peak_resident_bytes"]) / floored(base["peak_resident_bytes"])
            each["time_interval"] = interval([a / b for a, b in zip(each[clock], base[clock], strict=False) if b])
            peaks = zip(each["resident"], base["resident"], strict=False)
            each["resident_interval"] = interval([floored(a) / floored(b) for a, b in peaks])


def floored(resident: float) -> float:
    return max(resident, MIN_RESIDENT)


# --- all rows together


def means(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """For each malloc, the geometric means of its ratios over the rows of each group and over all rows."""
    groups = list(dict.fromkeys(row["group"] for row in rows))
    names = list(dict.fromkeys(name for row in rows for name in row["results"]))
    return {
        name: {group: mean_of(rows, name, group) for group in groups} | {"all": mean_of(rows, name, None)}
        for name in names
    }


def mean_of(rows: list[dict[str, Any]], name: str, group: str | None) -> dict[str, Any]:
    chosen = [row["results"][name] for row in rows if group is None or row["group"] == group]
    good = [each for each in chosen if each.get("time_ratio")]
    return {
        "time": geometric_mean(each["time_ratio"] for each in good),
        "resident": geometric_mean(each["resident_ratio"] for each in good),
        "rows": len(good),
        "of": len(chosen),
    }


def geometric_mean(ratios: Iterable[float]) -> float | None:
    logs = [log(each) for each in ratios]
    return exp(sum(logs) / len(logs)) if logs else None


def scaling(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """For each malloc and each row with several threads or processes, its throughput as a multiple of one thread's."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        alone = next((each for each in rows if each["name"] == row["name"] and each["threads"] == 1), None)
        if row["threads"] == 1 or alone is None:
            continue
        for name, result in row["results"].items():
            before = alone["results"][name].get("operations_per_second")
            if before and result.get("operations_per_second"):
                found.setdefault(name, {})[row["title"]] = result["operations_per_second"] / before
    return found


# --- warnings


def failures(rows: list[dict[str, Any]]) -> list[str]:
    cells = [(row["title"], name, result) for row in rows for name, result in row["results"].items()]
    runs = [f"{title} on {name}: {r['error']}" for title, name, r in cells if r.get("error", NOT_RUN) != NOT_RUN]
    shares = [
        f"malloc's share of {title} on {name}: {r['share_error']}" for title, name, r in cells if "share_error" in r
    ]
    return [*runs, *shares]


def unstable(rows: list[dict[str, Any]]) -> list[str]:
    """The cells whose quartiles are far apart, the worst first."""
    found = [
        (result["spread"], f"{row['title']} on {name}")
        for row in rows
        for name, result in row["results"].items()
        if (result.get("spread") or 0) > UNSTABLE
    ]
    return [f"{title} ({spread:.0%})" for spread, title in sorted(found, reverse=True)]
