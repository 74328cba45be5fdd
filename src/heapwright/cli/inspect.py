"""`heapwright inspect`: explain where the memory of a running program is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from heapwright.cli.terminal import console, progress

if TYPE_CHECKING:
    from heapwright.live.findings import Look

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType[float]):
    """A time in seconds, or a number followed by s, m, h or d."""

    name = "time"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", str(value))
        if not found or not float(found[1]):
            self.fail(f"'{value}' is not a time: write 30, 30s, 10m or 1h", parameter, context)
        return float(found[1]) * UNITS[found[2]]


@click.command()
@click.argument("target", metavar="PID|CORE|NAME|REPORT.json")
@click.option(
    "--every", type=Duration(), metavar="TIME", help="Look again each time this has passed, and give a verdict."
)
@click.option("--for", "span", type=Duration(), metavar="TIME", help="Stop after this time; with --every.")
@click.option(
    "--since", type=click.Path(exists=True, dir_okay=False), metavar="FILE", help="Compare with an earlier --json."
)
@click.option(
    "--leaks", is_flag=True, help="Find live blocks that nothing points to. The pause is longer: all data is copied."
)
@click.option("--show", metavar="ADDRESS", help="Explain one address: its block, its bytes, what points to it.")
@click.option("--map", "with_map", is_flag=True, help="Draw the heap by address.")
@click.option("--no-pause", is_flag=True, help="Never pause the program; read its memory while it changes.")
@click.option("--swapped", is_flag=True, help="Also read swapped pages, which brings them back into memory.")
@click.option("--json", "as_json", is_flag=True, help="Print all figures as JSON, in bytes.")
def command(
    target: str,
    every: float | None,
    span: float | None,
    since: str | None,
    leaks: bool,
    show: str | None,
    with_map: bool,
    no_pause: bool,
    swapped: bool,
    as_json: bool,
) -> None:
    """Explain where the memory of a running program is, given its PID, its command's name, or a core file.

    \b
    heapwright inspect 1234
    heapwright inspect redis-server --every 60 --for 1h

    The program runs unmodified. It is paused only while an arena is copied, and nothing in it changes. `inspect` reads
    glibc's heap, jemalloc's, the heaps of heapwright's allocators and CPython's arenas. It shows what is live, what
    malloc_trim would give back, and which blocks pin the rest. A report that --json printed is shown again.

    Exit status: 0 success, 1 the heap is damaged, 2 wrong usage.
    """
    if span and not every:
        raise click.UsageError("--for needs --every, which says how often to look")
    earlier = [saved_report(since)] if since else []
    look: Look | None
    if is_report(target):
        if every or show is not None or leaks or with_map:
            raise click.UsageError(f"{target} is a report: --every, --show, --leaks and --map need the program itself")
        look, report = None, compared(saved_report(target), earlier)
    else:
        options = options_of(no_pause, swapped, leaks or show is not None)
        look, report = watch(target, options, every or 0.0, span, earlier, leaks)
        if show is not None:
            report = explained(look, show)
    if as_json:
        click.echo(json.dumps(report, indent=2))
    elif show is not None:
        print_explanation(report)
    else:
        print_report(look, report, with_map)
    raise click.exceptions.Exit(1 if report.get("damage") else 0)


def explained(look: Look, text: str) -> dict[str, Any]:
    from heapwright.live.show import explain

    try:
        address = int(text, 0)
    except ValueError as error:
        raise click.UsageError(f"'{text}' is not an address: write it as 0x7f0012345678") from error
    return explain(look, look.data, address)


def print_explanation(facts: dict[str, Any]) -> None:
    from heapwright.pictures import memory

    for line in memory.explanation(facts):
        click.echo(line)


def options_of(no_pause: bool, swapped: bool, data: bool) -> Any:
    from heapwright.live.findings import Options

    return Options(pause=not no_pause, swapped=swapped, data=data)


def is_report(target: str) -> bool:
    return target.endswith(".json") and Path(target).is_file()


def saved_report(path: str) -> dict[str, Any]:
    """The report of an earlier look, which it printed with --json."""
    try:
        report: dict[str, Any] = json.loads(Path(path).read_text())
        report["table"], report["pins"], report["diagnosis"], report["name"], report["foreign"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise click.UsageError(f"{path} was not written by `heapwright inspect --json`") from error
    return report


def compared(report: dict[str, Any], earlier: list[dict[str, Any]]) -> dict[str, Any]:
    from heapwright.lab.inspect import judged

    return judged([*earlier, report])


def watch(
    target: str, options: Any, every: float, span: float | None, earlier: list[dict[str, Any]], leaks: bool
) -> tuple[Look, dict[str, Any]]:
    """The last look, and the report on all of them; after Ctrl-C, on those until then."""
    from heapwright.lab.inspect import reports, source_of
    from heapwright.pictures.memory import progress_line

    last = None
    looks = reports(source_of(target), options, every, span or every, earlier, leaks)
    try:
        for last in looks:
            progress(progress_line(last[1]) if every else "")
    except KeyboardInterrupt:
        if last is None:
            raise
    progress("")
    assert last is not None
    return last


def print_report(look: Look | None, report: dict[str, Any], with_map: bool) -> None:
    from heapwright.pictures import memory

    screen = console(110)
    for line in memory.answer(report):
        screen.print(line, markup=False, soft_wrap=True)
    tables = (memory.parts_table, memory.groups_table, memory.arenas_table, memory.holes_table)
    for table in filter(None, (make(report) for make in tables)):
        screen.print()
        screen.print(table)
    for drawing in (
        memory.histogram(report),
        memory.memory_map(look.regions, screen.width) if look and with_map else [],
    ):
        if drawing:
            screen.print()
        for row in drawing:
            screen.print(row)
