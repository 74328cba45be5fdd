"""The tables of `heapwright bench`: one for each group, with a row per workload and a column per malloc."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from heapwright.cli.mallocs import environment_line
from heapwright.cli.tables import print_table
from heapwright.cli.terminal import console, say
from heapwright.lab.bench_figures import BASE, NOT_RUN, geometric_mean
from heapwright.lab.vector import FIGURES, Figure, Result
from heapwright.wording import counted

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 160  # columns, if the terminal does not give a width
Rows = Sequence[dict[str, Any]]


def tables(report: dict[str, Any], shown: Sequence[str]) -> None:
    """Print the report with the named figures of `heapwright.lab.vector`."""
    out = console(WIDTH)
    figures = [FIGURES[each] for each in shown]
    say(out, head(report, figures))
    if report["environment"]:
        say(out, environment_line(report["environment"]))
    names = list(report["allocators"])
    for group in dict.fromkeys(row["group"] for row in report["rows"]):
        rows = [row for row in report["rows"] if row["group"] == group]
        out.print()
        lines = [*(cells(row, names, figures) for row in rows), mean_cells(rows, names, figures)]
        print_table(out, (group, *names), lines, has_total=True)
    out.print()
    summary(out, report, names, figures)


def head(report: dict[str, Any], figures: Iterable[Figure]) -> str:
    machine = report["machine"]
    titles = " and ".join(titled(each, report["clock"]) for each in figures)
    return (
        f"{machine['cpu']}, {counted(machine['cores'], 'cores')}, Linux {machine['kernel']}, {machine['libc']}; "
        f"{titles} as multiples of {BASE}'s"
    )


def titled(figure: Figure, clock: str) -> str:
    return f"{clock} time" if figure is FIGURES["time"] else figure.title


def cells(row: dict[str, Any], names: Sequence[str], figures: Sequence[Figure]) -> list[str]:
    return [row["title"], *(cell(name, row["results"], figures) for name in names)]


def cell(name: str, results: dict[str, Result], figures: Sequence[Figure]) -> str:
    """The figures of one result: absolute for the base, multiples of the base for the others."""
    result = results[name]
    if "error" in result:
        return "-" if result["error"] == NOT_RUN else "failed"
    base = results.get(BASE, {"error": NOT_RUN})
    return " ".join(figure_text(each, result, None if name == BASE or "error" in base else base) for each in figures)


def figure_text(figure: Figure, result: Result, base: Result | None) -> str:
    """A figure as a multiple of the base's; without a base, or if it has no multiple, as it is."""
    value = figure.value(result)
    if value is None:
        return "-"
    ratio = figure.multiple(result, base) if base and not figure.is_absolute else None
    return figure.text(value) if ratio is None else f"{ratio:.2f}"


def mean_cells(rows: Rows, names: Sequence[str], figures: Sequence[Figure]) -> list[str]:
    """The last row of a table: the geometric means of the multiples."""
    return ["geometric mean", *("" if name == BASE else mean(rows, name, figures) for name in names)]


def mean(rows: Rows, name: str, figures: Sequence[Figure]) -> str:
    good = [row for row in rows if "error" not in row["results"][name] and "error" not in row["results"][BASE]]
    if not good:
        return "-"
    missing = f" ({len(good)} of {len(rows)})" if len(good) < len(rows) else ""
    return " ".join(mean_text(good, name, each) for each in figures if not each.is_absolute) + missing


def mean_text(rows: Rows, name: str, figure: Figure) -> str:
    found = mean_of(rows, name, figure)
    return "-" if found is None else f"{found:.2f}"


def mean_of(rows: Rows, name: str, figure: Figure) -> float | None:
    """The geometric mean of a malloc's multiples over the rows that have them."""
    multiples = (multiple(row, name, figure) for row in rows)
    return geometric_mean(each for each in multiples if each)


def multiple(row: dict[str, Any], name: str, figure: Figure) -> float | None:
    result, base = row["results"][name], row["results"][BASE]
    return None if "error" in result or "error" in base else figure.multiple(result, base)


def summary(out: Console, report: dict[str, Any], names: list[str], figures: Sequence[Figure]) -> None:
    """Print the means over all groups, and how throughput grows with threads."""
    rows = [mean_cells(report["rows"], names, figures)]
    titles = dict.fromkeys(title for found in report["scaling"].values() for title in found)
    for title in titles:
        ratios = [report["scaling"].get(name, {}).get(title) for name in names]
        rows.append([f"throughput of {title}", *(f"{ratio:.2f}" if ratio else "-" for ratio in ratios)])
    print_table(out, ("all", *names), rows)
