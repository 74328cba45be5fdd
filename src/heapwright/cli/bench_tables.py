"""The tables of `heapwright bench`: one for each group, with a row per workload and a column per malloc."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from heapwright.cli.mallocs import environment_line
from heapwright.cli.tables import print_table
from heapwright.cli.terminal import console, say
from heapwright.lab.bench_figures import BASE, NOT_RUN
from heapwright.wording import counted, duration

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 160  # columns, if the terminal does not give a width


def tables(report: dict[str, Any]) -> None:
    out = console(WIDTH)
    machine = report["machine"]
    say(
        out,
        f"{machine['cpu']}, {counted(machine['cores'], 'cores')}, Linux {machine['kernel']}, {machine['libc']}; "
        f"{report['clock']} time and peak resident memory as multiples of {BASE}'s",
    )
    if report["environment"]:
        say(out, environment_line(report["environment"]))
    names = list(report["allocators"])
    for group in dict.fromkeys(row["group"] for row in report["rows"]):
        rows = [row for row in report["rows"] if row["group"] == group]
        out.print()
        means = [report["means"][name][group] for name in names]
        lines = [*(cells(row, names) for row in rows), mean_cells(names, means)]
        print_table(out, (group, *names), lines, has_total=True)
    out.print()
    summary(out, report, names)


def cells(row: dict[str, Any], names: list[str]) -> list[str]:
    return [row["title"], *(cell(name, row["results"][name]) for name in names)]


def mean_cells(names: list[str], means: list[dict[str, Any]]) -> list[str]:
    """The last row of a table: the geometric means."""
    found = ("" if name == BASE else mean(each) for name, each in zip(names, means, strict=True))
    return ["geometric mean", *found]


def cell(name: str, result: dict[str, Any]) -> str:
    """Time and memory of one result: absolute (in MiB) for the base, multiples of the base for the others."""
    if "error" in result:
        return "-" if result["error"] == NOT_RUN else "failed"
    if name == BASE:
        return f"{duration(result['seconds'])} {result['peak_resident_bytes'] / (1 << 20):.1f} M"
    if not result.get("time_ratio"):
        return duration(result["seconds"])
    return f"{result['time_ratio']:.2f} {result['resident_ratio']:.2f}"


def mean(found: dict[str, Any]) -> str:
    if found["time"] is None:
        return "-"
    missing = f" ({found['rows']} of {found['of']})" if found["rows"] < found["of"] else ""
    return f"{found['time']:.2f} {found['resident']:.2f}{missing}"


def summary(out: Console, report: dict[str, Any], names: list[str]) -> None:
    """Print the means over all groups, and how throughput grows with threads."""
    rows = [mean_cells(names, [report["means"][name]["all"] for name in names])]
    titles = dict.fromkeys(title for found in report["scaling"].values() for title in found)
    for title in titles:
        ratios = [report["scaling"].get(name, {}).get(title) for name in names]
        rows.append([f"throughput of {title}", *(f"{ratio:.2f}" if ratio else "-" for ratio in ratios)])
    print_table(out, ("all", *names), rows)
