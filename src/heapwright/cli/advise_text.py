"""What `heapwright advise` prints: the answer first, then what the search and the judging runs measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from heapwright.advise.figures import OBJECTIVES
from heapwright.advise.verdict import amount, changed
from heapwright.cli.mallocs import environment_line
from heapwright.cli.report_text import hanging, heading
from heapwright.cli.tables import print_table
from heapwright.cli.terminal import console, say
from heapwright.wording import counted, duration, share, size

if TYPE_CHECKING:
    from rich.console import Console

Report = dict[str, Any]
WIDTH = 110  # columns, if the terminal does not give a width
SHOWN = 12  # rows of the search besides the Pareto set
HEIGHT, LABEL = 10, 10  # rows of a picture, and columns before it
MAX_PICTURE, MIN_PICTURE = 90, 16  # columns
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
ONLY_TODAY, ONLY_NEW, BOTH, NEITHER = "░", "▓", "█", " "


def print_answer(report: Report) -> None:
    out = console(WIDTH)
    say(out, report["title"])
    if report["environment"]:
        say(out, environment_line(report["environment"]))
    say(out, hanging(report["sentence"], out.width))
    for kind, name in (("reasons", "why"), ("effects", "how"), ("risks", "risk")):
        for line in report[kind][1 if kind == "reasons" else 0 :]:
            say(out, hanging(f"  {name}: {line}", out.width))
    holders(out, report)
    judged(out, report)
    curves(out, report["courses"])
    searched(out, report)
    deployment(out, report["deployment"])


def holders(out: Console, report: Report) -> None:
    """Who has the live memory at the peak."""
    found = report["holders"]
    if not found:
        return
    of = f"{size(found['live_bytes'])} of live blocks at the peak"
    say(out, f"  {of}: {share(report['live_share'] or 0, 1)} of what is resident then")
    for caller in found["callers"]:
        whose = "of" if found["has_call_sites"] else "in blocks of"
        say(out, f"  {share(caller['share'], 1)} {whose} {caller['name']}: {size(caller['bytes'])}")


# --- tables


def judged(out: Console, report: Report) -> None:
    """The fresh runs: what each finalist gains over today's malloc, and the noise beside it."""
    if not report["judged"]:
        return
    today = report["today"]
    names = list(today["medians"])
    heading(out, f"judged by {counted(len(today['runs']), 'fresh runs')} each; ± is the noise of the paired ratios")
    rows = [("today", *(amount(name, today["medians"][name]) for name in names))]
    rows += [(each["malloc"], *(changed(each, name) for name in names)) for each in report["judged"]]
    print_table(out, ("malloc", *(OBJECTIVES[name].head for name in names)), rows)


def searched(out: Console, report: Report) -> None:
    """What the search measured: today's malloc, the Pareto set, and some others."""
    today, *others = report["search"]
    measured = [row for row in others if row["runs"]]
    shown = [row for row in measured if row["is_pareto"]]
    shown += [row for row in measured if not row["is_pareto"]][: max(0, SHOWN - len(shown))]
    names = list(today["medians"])
    heading(out, f"the search: {counted(len(measured), 'candidates')}; * no other is better in everything")
    scatter(out, [today, *shown], names)
    rows = [
        (f"{letter} {row['malloc']}{' *' if row['is_pareto'] else ''}", *cells(row, names))
        for letter, row in zip(LETTERS, [today, *shown], strict=False)
    ]
    print_table(out, ("malloc", *(OBJECTIVES[name].head for name in names)), rows)
    if len(measured) > len(shown):
        say(out, f"and {counted(len(measured) - len(shown), 'others')}: see --json")
    for row in others:
        if row["error"]:
            say(out, f"{row['malloc']} failed: {row['error']}")


def cells(row: Report, names: Sequence[str]) -> list[str]:
    medians = row["medians"]
    return [amount(name, medians[name]) if name in medians else "-" for name in names]


# --- pictures


def width_of(out: Console) -> int:
    return max(MIN_PICTURE, min(MAX_PICTURE, out.width - LABEL - 3))


def scatter(out: Console, rows: Sequence[Report], names: Sequence[str]) -> None:
    """Time to the right and memory upwards: what lies left of and below today's `a` is better."""
    memory = "retained" if "retained" in names else "peak"
    points = [
        (row["medians"]["time"], row["medians"][memory], letter)
        for letter, row in zip(LETTERS, rows, strict=False)
        if {"time", memory} <= set(row["medians"])
    ]
    if len(points) < 2:
        return
    width = width_of(out)
    left, right, high = min(x for x, _, _ in points), max(x for x, _, _ in points), max(y for _, y, _ in points)
    for row, line in enumerate(plotted(points, width)):
        label = {0: size(round(high)), HEIGHT - 1: "0"}.get(row, "")
        out.print(f"{label:>{LABEL}} ┤{line}", markup=False, soft_wrap=True)
    out.print(f"{memory:>{LABEL}} ┼{'─' * width}", soft_wrap=True)
    first, last = duration(left), f"{duration(right)} time"
    out.print(f"{'':>{LABEL}}  {first}{last:>{width - len(first)}}", markup=False, soft_wrap=True)


def plotted(points: Sequence[tuple[float, float, str]], width: int) -> list[str]:
    """The rows of a scatter, the top first. Of two in one place, the first is shown."""
    left, right = min(x for x, _, _ in points), max(x for x, _, _ in points)
    high = max(y for _, y, _ in points) or 1
    grid = [[" "] * width for _ in range(HEIGHT)]
    for x, y, letter in reversed(points):
        column = round((x - left) / (right - left or 1) * (width - 1))
        grid[HEIGHT - 1 - round(y / high * (HEIGHT - 1))][column] = letter
    return ["".join(row).rstrip() for row in grid]


def curves(out: Console, courses: dict[str, list[tuple[float, int]]]) -> None:
    """The proof: resident memory over time, today and with the recommended malloc."""
    if len(courses) < 2:
        return
    width = width_of(out)
    today, new = courses["today"], courses["recommended"]
    end, high = max(today[-1][0], new[-1][0]), max(resident for course in (today, new) for _, resident in course)
    heading(out, f"resident memory over time: {ONLY_TODAY} today only, {BOTH} both, {ONLY_NEW} recommended only")
    columns = zip(levels(today, width, end, high), levels(new, width, end, high), strict=True)
    for row, line in enumerate(overlaid(list(columns))):
        label = {0: size(high), HEIGHT // 2: size(high / 2)}.get(row, "")
        out.print(f"{label:>{LABEL}} ┤{line}", markup=False, soft_wrap=True)
    out.print(f"{'0':>{LABEL}} ┼{'─' * width}", soft_wrap=True)
    out.print(f"{'':>{LABEL}}  0 s{duration(end):>{width - 3}}", markup=False, soft_wrap=True)


def levels(course: Sequence[tuple[float, int]], width: int, end: float, high: int) -> list[int]:
    """The rows that a curve fills in each column: the highest of its samples there, or else the one before."""
    found, place, last = [], 0, 0
    for column in range(width):
        until, most = (column + 1) / width * end, -1
        while place < len(course) and course[place][0] <= until:
            most, last, place = max(most, course[place][1]), course[place][1], place + 1
        is_over = place == len(course) and most < 0
        found.append(0 if is_over else round((last if most < 0 else most) / max(high, 1) * HEIGHT))
    return found


def overlaid(columns: Sequence[tuple[int, int]]) -> Iterator[str]:
    """The rows of two curves, the top first."""
    for row in range(HEIGHT, 0, -1):
        yield "".join(shade(today >= row, new >= row) for today, new in columns).rstrip()


def shade(is_today: bool, is_new: bool) -> str:
    return (BOTH if is_new else ONLY_TODAY) if is_today else ONLY_NEW if is_new else NEITHER


# --- deployment


def deployment(out: Console, kinds: dict[str, list[str]]) -> None:
    """The lines to copy."""
    for kind, lines in kinds.items():
        if lines:
            heading(out, f"to deploy it: {kind}")
        for line in lines:
            out.print(line, markup=False, soft_wrap=True)
