"""The answer as one self-contained HTML page: words, tables and two drawings, without scripts; it loads nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Any, NamedTuple

from heapwright.advise.figures import OBJECTIVES
from heapwright.advise.verdict import amount, changed
from heapwright.html.page import SHARED, read
from heapwright.wording import duration, share, size

OWN_STYLE = """
svg { width: 100%; height: auto; }
.today { fill: var(--faint); stroke: var(--faint); } .new { fill: var(--accent); stroke: var(--accent); }
.front { fill: var(--accent); } .point { fill: var(--line); stroke: var(--faint); }
.line { fill: none; stroke-width: 2; } pre { overflow: auto; margin: .3rem 0 1rem; } .chosen td { font-weight: 600; }
"""
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 900, 320, 80, 30, 12, 20
TICKS = 4
Report = dict[str, Any]
Course = Sequence[tuple[float, int]]


def make_page(report: Report) -> str:
    """The page about one answer."""
    sections = [
        section("Answer", answer_part(report)),
        section("Proof: resident memory over time", curves(report["courses"])),
        section("Fresh runs beside today's", judged_part(report)),
        section("To deploy it", deployment_part(report["deployment"])),
        section("The search", scatter(report) + searched_part(report)),
    ]
    title = escape(report["title"])
    style = read(SHARED / "style.css") + OWN_STYLE
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{style}</style></head><body>'
        f"<header><h1>{title}</h1></header><main>{''.join(sections)}</main>"
        "<footer>Made by <code>heapwright advise --html</code>. This page loads nothing.</footer></body></html>\n"
    )


def section(name: str, body: str) -> str:
    return f"<section><h2>{escape(name)}</h2>{body}</section>\n" if body else ""


# --- words and tables


def answer_part(report: Report) -> str:
    lines = [report["sentence"], *report["reasons"][1:], *(f"risk: {each}" for each in report["risks"])]
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in (*lines, *held(report)))}</ul>"


def held(report: Report) -> Iterator[str]:
    """Who has the live memory at the peak."""
    for caller in (report["holders"] or {"callers": ()})["callers"]:
        yield f"{share(caller['share'], 1)} of the live memory at the peak: {caller['name']}, {size(caller['bytes'])}"


def table(heads: Iterable[str], rows: Iterable[tuple[bool, Sequence[str]]]) -> str:
    """A table; a row is chosen or not, and has cells."""
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    body = "".join(f"<tr{' class=chosen' if is_chosen else ''}>{cells_of(row)}</tr>" for is_chosen, row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def cells_of(row: Sequence[str]) -> str:
    return "".join(f"<td>{escape(cell)}</td>" for cell in row)


def judged_part(report: Report) -> str:
    if not report["judged"]:
        return ""
    names = list(report["today"]["medians"])
    rows = [(False, ("today", *(amount(name, report["today"]["medians"][name]) for name in names)))]
    rows += [
        (row["malloc"] == report["recommended"], (row["malloc"], *(changed(row, name) for name in names)))
        for row in report["judged"]
    ]
    return table(("malloc", *(OBJECTIVES[name].head for name in names)), rows)


def searched_part(report: Report) -> str:
    names = list(report["search"][0]["medians"])
    rows = [
        (row["malloc"] == report["recommended"], (starred(row), *(figure(row, name) for name in names)))
        for row in report["search"]
    ]
    hint = '<p class="hint">* no other candidate is better in everything</p>'
    return hint + table(("malloc", *(OBJECTIVES[name].head for name in names)), rows)


def starred(row: Report) -> str:
    return f"{row['malloc']}{' *' if row['is_pareto'] else ''}{': ' + row['error'] if row['error'] else ''}"


def figure(row: Report, name: str) -> str:
    return amount(name, row["medians"][name]) if name in row["medians"] else "-"


def deployment_part(kinds: dict[str, list[str]]) -> str:
    blocks = (
        f"<h3>{escape(kind)}</h3><pre>{escape(chr(10).join(lines))}</pre>" for kind, lines in kinds.items() if lines
    )
    return "".join(blocks)


# --- drawings


class Scale(NamedTuple):
    """The highest values of both axes; x begins at `left`."""

    left: float
    right: float
    high: float

    def x(self, value: float) -> float:
        return LEFT + (value - self.left) / (self.right - self.left or 1) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - value / (self.high or 1) * (HEIGHT - BOTTOM - TOP)

    def axes(self, label: str) -> str:
        """Both axes with ticks: bytes upwards, seconds to the right."""
        parts = []
        for tick in range(TICKS + 1):
            value = self.high * tick / TICKS
            y, x = self.y(value), self.x(self.left + (self.right - self.left) * tick / TICKS)
            parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{size(round(value))}</text>')
            seconds = duration(self.left + (self.right - self.left) * tick / TICKS)
            parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 10}" text-anchor="middle">{seconds}</text>')
        return f'<g class="axis">{"".join(parts)}</g><title>{escape(label)}</title>'


def drawing(body: str) -> str:
    return f'<div class="drawing"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{body}</svg></div>'


def curves(courses: dict[str, Course]) -> str:
    """Resident memory over time, today and with the recommended malloc."""
    if len(courses) < 2:
        return ""
    every = [point for course in courses.values() for point in course]
    scale = Scale(0, max(seconds for seconds, _ in every), max(resident for _, resident in every))
    lines = "".join(
        f'<polyline class="line {style}" style="fill:none" points="{path(course, scale)}"/>'
        for style, course in (("today", courses["today"]), ("new", courses["recommended"]))
    )
    legend = '<p class="hint">grey: today; in colour: the recommended malloc</p>'
    return legend + drawing(scale.axes("resident memory over time") + lines)


def path(course: Course, scale: Scale) -> str:
    return " ".join(f"{scale.x(seconds):.1f},{scale.y(resident):.1f}" for seconds, resident in course)


def scatter(report: Report) -> str:
    """Time to the right, memory upwards; the Pareto set in colour."""
    names = report["search"][0]["medians"]
    memory = "retained" if "retained" in names else "peak"
    rows = [row for row in report["search"] if {"time", memory} <= set(row["medians"])]
    if len(rows) < 2:
        return ""
    times = [row["medians"]["time"] for row in rows]
    scale = Scale(min(times), max(times), max(row["medians"][memory] for row in rows))
    hint = (
        f'<p class="hint">time to the right, {memory} memory upwards; in colour: no other is better in everything</p>'
    )
    return hint + drawing(scale.axes(f"time and {memory} memory") + "".join(point(row, memory, scale) for row in rows))


def point(row: Report, memory: str, scale: Scale) -> str:
    x, y = scale.x(row["medians"]["time"]), scale.y(row["medians"][memory])
    style = "today" if row["malloc"] == "today" else "front" if row["is_pareto"] else "point"
    title = f"{row['malloc']}: {amount('time', row['medians']['time'])}, {amount(memory, row['medians'][memory])}"
    return f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="5"><title>{escape(title)}</title></circle>'
