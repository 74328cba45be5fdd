"""The page of results of `heapwright bench`: Markdown, made from the report alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from heapwright.cli.bench_tables import Rows, cells, mean_of, mean_text
from heapwright.cli.mallocs import environment_line
from heapwright.lab.bench_figures import BASE
from heapwright.lab.losses import ENOUGH, LIMITS, WORDS, undecided
from heapwright.lab.sample import coverage
from heapwright.lab.vector import FIGURES, PLAIN, Figure
from heapwright.wording import counted

BENCH = "../bench/README.md"
CLOCKS = {"cpu": "the processor time of all threads and children", "wall": "wall-clock time"}
REPEATED = {"cpu": FIGURES["cpu"], "wall": FIGURES["wall"]}  # by clock, what `time` is already
MADE = "<!-- Made by `heapwright bench --page FILE`: run that again. -->"


def page_of(report: dict[str, Any], raw: str) -> str:
    """The page. `raw` is the path of the raw figures as a link, or ""."""
    parts = [MADE, "# Results of the bench", about(report, raw), *means(report), *groups(report)]
    return "\n\n".join([*parts, *lost(report), *remarks(report)]) + "\n"


def about(report: dict[str, Any], raw: str) -> str:
    machine = report["machine"]
    repeats = max(
        (len(found.get("wall", [])) for row in report["rows"] for found in row["results"].values()), default=0
    )
    facts = f"{machine['cpu']} with {counted(machine['cores'], 'cores')}, Linux {machine['kernel']}, {machine['libc']}"
    lines = [
        f"Measured on {report['date'][:10]}, {counted(repeats, 'repeats')}, on {facts}. "
        f"The load at the end was {machine['load']}. [The bench]({BENCH}) says how each figure is measured.",
        "\n".join(f"    {' '.join(part['command'])}" for part in report.get("parts", [report])),
        f"The columns are mallocs. The column `{BASE}` is the C library's malloc and has absolute figures. Every other "
        f"column has multiples of them: less than 1 is better. Time is {CLOCKS[report['clock']]}. Figures are medians.",
    ]
    if raw:
        lines.append(f"All repeats of all figures: [{raw.rpartition('/')[2]}]({raw}).")
    if report["environment"]:
        lines.append(f"{environment_line(report['environment']).capitalize()}.")
    return "\n\n".join(lines)


def means(report: dict[str, Any]) -> Iterator[str]:
    """Geometric means for each group, in time and memory."""
    yield "## Means"
    names = [name for name in report["allocators"] if name != BASE]
    rows = report["rows"]
    lines = []
    for group in groups_of(rows):
        chosen = [row for row in rows if row["group"] == group]
        lines += [[f"{group}, {FIGURES[key].title}", *mean_texts(chosen, names, FIGURES[key])] for key in PLAIN]
    yield table(["geometric mean", *names], lines)


def groups(report: dict[str, Any]) -> Iterator[str]:
    """A section for each group with a table for each figure that its rows have."""
    for group in groups_of(report["rows"]):
        rows = [row for row in report["rows"] if row["group"] == group]
        yield f"## {group.capitalize()}"
        for figure in FIGURES.values():
            if figure is REPEATED[report["clock"]]:
                continue
            having = [row for row in rows if has(row, figure)]
            if having:
                yield f"**{figure.title[0].upper()}{figure.title[1:]}**"
                yield figure_table(having, list(report["allocators"]), figure)


def has(row: dict[str, Any], figure: Figure) -> bool:
    return any("error" not in found and figure.value(found) is not None for found in row["results"].values())


def figure_table(rows: Rows, names: Sequence[str], figure: Figure) -> str:
    lines = [[f"`{row['title']}`", *cells(row, names, [figure])[1:]] for row in rows]
    if not figure.is_absolute:
        others = [name for name in names if name != BASE]
        lines.append(["geometric mean", "", *mean_texts(rows, others, figure)])
    return table(["", *names], lines)


def mean_texts(rows: Rows, names: Iterable[str], figure: Figure) -> list[str]:
    """Means, and how many rows they are of if not of all."""
    return [f"{mean_text(rows, name, figure)}{few(rows, name, figure)}" for name in names]


def few(rows: Rows, name: str, figure: Figure) -> str:
    count = sum(mean_of([row], name, figure) is not None for row in rows)
    return f" ({count} of {len(rows)})" if count < len(rows) else ""


# --- what is lost


def lost(report: dict[str, Any]) -> Iterator[str]:
    if not report["ours"]:
        return
    yield "## Where we lose"
    limits = " or ".join(f"{limit} times the C library's {WORDS[figure]}" for figure, limit in LIMITS.items())
    yield (
        f"Rows above {limits}, for each malloc of heapwright's in this run. The interval is of the ratios of single "
        f"repeats, whose runs were close in time; {covers(report)} A loss is certain if its whole interval of "
        f"{ENOUGH} or more repeats is above the limit."
    )
    lines = [
        [f"`{each['allocator']}`", f"`{each['row']}`", WORDS[each["figure"]], f"{each['ratio']:.2f}", *between(each)]
        for each in report["losses"]
    ]
    yield table(["malloc", "row", "figure", "ratio", "interval", ""], lines)
    yield "\n".join(f"* {undecided_line(report, name)}" for name in report["ours"])


def between(loss: dict[str, Any]) -> list[str]:
    low_high = loss["interval"]
    text = f"{low_high[0]:.2f} to {low_high[1]:.2f}" if low_high else "unknown: one repeat"
    return [text, "certain" if loss["is_certain"] else ""]


def covers(report: dict[str, Any]) -> str:
    """What the interval of the fewest repeats covers."""
    counts = [len(found["wall"]) for row in report["rows"] for found in row["results"].values() if "wall" in found]
    fewest = min(counts, default=0)
    if fewest < 2:
        return "one repeat has none."
    least = min(coverage(fewest, 0), 0.95)
    return f"it covers the true median with a probability of {100 * least:.0f} % or more."


def undecided_line(report: dict[str, Any], name: str) -> str:
    counts = undecided(report["rows"], name)
    parts = [f"{counts[figure]} in {WORDS[figure]}" for figure in LIMITS]
    return f"`{name}` is within the limit, with an interval that reaches above it, in {' and '.join(parts)}."


def remarks(report: dict[str, Any]) -> Iterator[str]:
    """Failures, and what was not measured."""
    yield "## What went wrong"
    lines = [f"* {each}" for each in report["failures"]]
    if report["not_installed"]:
        lines.append(f"* Not installed, so not measured: {', '.join(report['not_installed'])}.")
    if report["unstable"]:
        count = sum(len(row["results"]) for row in report["rows"])
        unstable = len(report["unstable"])
        lines.append(f"* {unstable} of {count} cells of time have quartiles more than 15 % of the median apart.")
    if report["interrupted"]:
        lines.append("* The run was interrupted: some cells have a repeat less.")
    yield "\n".join(lines or ["Nothing failed."])


# --- Markdown


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def groups_of(rows: Rows) -> list[str]:
    return list(dict.fromkeys(row["group"] for row in rows))
