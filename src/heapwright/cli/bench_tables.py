"""The bench's tables on a terminal: one for each group, a row for each workload, a column for each malloc."""

from __future__ import annotations

from typing import Any

from heapwright.cli.terminal import console
from heapwright.lab.bench_figures import BASE, NOT_RUN

WIDTH = 160  # columns, where nobody says how many there are


def tables(report: dict[str, Any]) -> None:
    out = console(WIDTH)
    machine = report["machine"]
    out.print(
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, {machine['libc']}; "
        f"{report['clock']} time and peak resident memory as multiples of {BASE}'s",
        soft_wrap=True,
    )
    names = list(report["allocators"])
    for group in dict.fromkeys(row["group"] for row in report["rows"]):
        rows = [row for row in report["rows"] if row["group"] == group]
        out.print()
        out.print(grid(group, rows, names, {name: report["means"][name][group] for name in names}))
    out.print()
    out.print(summary(report, names))


def grid(group: str, rows: list[dict[str, Any]], names: list[str], means: dict[str, dict[str, Any]]) -> Any:
    table = table_of(group, names)
    for row in rows:
        table.add_row(row["title"], *(cell(name, row["results"][name]) for name in names))
    table.add_row("geometric mean", *("" if name == BASE else mean(means[name]) for name in names), style="bold")
    return table


def table_of(first: str, names: list[str]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first)
    for name in names:
        table.add_column(name, justify="right")
    return table


def cell(name: str, result: dict[str, Any]) -> str:
    """The base in seconds and MiB, the others as multiples: time, then memory."""
    if "error" in result:
        return "-" if result["error"] == NOT_RUN else "failed"
    if name == BASE:
        return f"{result['seconds']:.3f} s {result['peak_resident_bytes'] / (1 << 20):.1f} M"
    if not result.get("time_ratio"):
        return f"{result['seconds']:.3f} s"
    return f"{result['time_ratio']:.2f} {result['resident_ratio']:.2f}"


def mean(found: dict[str, Any]) -> str:
    if found["time"] is None:
        return "-"
    missing = f" ({found['rows']} of {found['of']})" if found["rows"] < found["of"] else ""
    return f"{found['time']:.2f} {found['resident']:.2f}{missing}"


def summary(report: dict[str, Any], names: list[str]) -> Any:
    """All groups together, and how throughput grows with threads."""
    table = table_of("all", names)
    table.add_row("geometric mean", *("" if name == BASE else mean(report["means"][name]["all"]) for name in names))
    titles = dict.fromkeys(title for found in report["scaling"].values() for title in found)
    for title in titles:
        ratios = [report["scaling"].get(name, {}).get(title) for name in names]
        table.add_row(f"throughput of {title}", *(f"{ratio:.2f}" if ratio else "-" for ratio in ratios))
    return table
