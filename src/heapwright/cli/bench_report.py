"""The report of `heapwright bench`: what JSON files hold and the tables show."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from heapwright.errors import UserError
from heapwright.files import written_whole

if TYPE_CHECKING:
    from heapwright.cli.bench_chosen import Chosen
    from heapwright.lab.bench import Measured
    from heapwright.lab.contestant import Contestant

MAX_WARNINGS = 5
KEYS = {"allocators", "clock", "losses", "machine", "not_installed", "ours", "rows", "scaling"}  # of a report
OF_A_PART = ("command", "date", "machine", "interrupted")  # what a joined report keeps of each


def report_of(table: list[Measured], contestants: list[Contestant], clock: str, chosen: Chosen) -> dict[str, Any]:
    from datetime import UTC, datetime

    from heapwright.lab.bench_figures import failures, figures, means, scaling, unstable
    from heapwright.lab.contestant import caller_tuning
    from heapwright.lab.losses import losses
    from heapwright.lab.machine_facts import machine_facts

    rows = figures(table, clock)
    ours = [each.name for each in contestants if each.is_ours]
    return {
        "command": ["heapwright", *sys.argv[1:]],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine_facts(),
        "clock": clock,
        "environment": caller_tuning(),
        "allocators": {each.name: each.library.name if each.library else None for each in contestants},
        "ours": ours,
        "means": means(rows),
        "scaling": scaling(rows),
        "losses": losses(rows, ours),
        "not_installed": [each.name for each in chosen.missing],
        "failures": [*chosen.failures, *failures(rows)],
        "unstable": unstable(rows),
        "rows": rows,
    }


def compact(report: dict[str, Any]) -> str:
    """The report as JSON, with one line for each result."""
    rows = [{**row, "results": None} for row in report["rows"]]
    text = json.dumps({**report, "rows": None}, indent=1)
    bodies = []
    for row, full in zip(rows, report["rows"], strict=True):
        lines = ",\n".join(f"   {json.dumps(name)}: {json.dumps(cell)}" for name, cell in full["results"].items())
        bodies.append(json.dumps(row)[:-1].replace('"results": null', f'"results": {{\n{lines}\n  }}') + "}")
    joined = ",\n  ".join(bodies)
    return text.replace('"rows": null', f'"rows": [\n  {joined}\n ]') + "\n"


def write(output: Path, report: dict[str, Any]) -> str:
    """Write the report as JSON. Returns the error, or ""."""
    return written(output, compact(report))


def write_page(page: Path, report: dict[str, Any], raw: str) -> str:
    """Write the page of results, which names the file of raw figures. Returns the error, or ""."""
    from heapwright.cli.bench_page import page_of

    return written(page, page_of(report, raw))


def written(path: Path, text: str) -> str:
    """Write a file. Returns the error, or "": an hour of measuring must not be lost to an exception."""
    try:
        with written_whole(path) as file:
            file.write(text.encode())
    except UserError as error:
        return str(error)
    return ""


def read(paths: Sequence[Path]) -> dict[str, Any]:
    """The report of one file that `bench -o` wrote, or of several parts of a bench. Raises UserError."""
    reports = [read_one(path) for path in paths]
    return reports[0] if len(reports) == 1 else together(reports)


def read_one(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except ValueError:
        report = None
    if not isinstance(report, dict) or not set(report) >= KEYS:
        raise UserError(f"{path}: holds no results of `heapwright bench -o`, or those of an older release")
    return report


def together(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One report with the rows of several, which measured other rows on the same mallocs."""
    from heapwright.lab.bench_figures import means, scaling
    from heapwright.lab.losses import losses

    first = reports[0]
    rows = [row for each in reports for row in each["rows"]]
    if any((each["clock"], each["allocators"]) != (first["clock"], first["allocators"]) for each in reports):
        raise UserError("these files have other mallocs or another clock: only parts of one bench can be joined")
    titles = [row["title"] for row in rows]
    if len(set(titles)) < len(titles):
        doubled = next(title for title in titles if titles.count(title) > 1)
        raise UserError(f"{doubled} is in several of these files: only parts of one bench can be joined")
    lists = {
        name: [line for each in reports for line in each[name]] for name in ("failures", "unstable", "not_installed")
    }
    return {
        **first,
        **lists,
        "parts": [{name: each[name] for name in OF_A_PART} for each in reports],
        "means": means(rows),
        "scaling": scaling(rows),
        "losses": losses(rows, first["ours"]),
        "interrupted": any(each["interrupted"] for each in reports),
        "rows": rows,
    }


def show(report: dict[str, Any], as_json: bool, shown: Sequence[str]) -> None:
    from heapwright.cli.bench_tables import tables

    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        tables(report, shown)
    if report["interrupted"]:
        tell(["interrupted: these are the repeats that were finished"])
    tell(report["failures"])
    if report["unstable"]:
        shown_cells = ", ".join(report["unstable"][:MAX_WARNINGS])
        more = len(report["unstable"]) - MAX_WARNINGS
        tell([f"unstable, do not trust: {shown_cells}{f', and {more} more' if more > 0 else ''}"])


def tell(lines: Iterable[str]) -> None:
    """Print lines on standard error; empty ones are left out."""
    for line in filter(None, lines):
        click.echo(f"heapwright: {line}", err=True)
