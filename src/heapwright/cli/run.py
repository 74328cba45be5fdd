"""`heapwright run`: run a real program on a compiled allocator."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import click

from heapwright.bits import MAX_WORD
from heapwright.cli.launch import launch
from heapwright.cli.mallocs import EPILOG, HELP
from heapwright.cli.terminal import console
from heapwright.lab.naming import contestant
from heapwright.preload import why_unserved

COLUMNS = ("live_blocks", "live_bytes", "requests")
SIZE_WIDTH = len("1,073,741,824")
WIDTH = 100  # columns, if the terminal does not give a width


@click.command(epilog=EPILOG, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("-a", "--allocator", default="wright", show_default=True, help=HELP)
@click.option("--stats", is_flag=True, help="Print the statistics of each process's heap at exit.")
@click.option("--json", "as_json", is_flag=True, help="Print the statistics as JSON; with --stats.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def command(allocator: str, stats: bool, as_json: bool, command: tuple[str, ...]) -> None:
    """Run COMMAND and its children on an allocator of your choice instead of the C library's malloc.

    \b
    heapwright run --stats -- git log --oneline

    Without -a, the program runs on `wright`. It needs less time than the C library's malloc, about as much memory at
    the peak, and returns to the kernel what the program has freed. The first run compiles the allocator, which takes
    some seconds.

    The exit status is the program's own, or 128+N if signal N ended the program.

    With --stats, each process prints its totals when it exits normally. Byte counts are usable sizes. `growths` and
    `shrinks` count the kernel calls that gave memory and took it back. `decommits` counts the calls that released the
    frames of pages that stay mapped. A table follows with a row for each size class: its live blocks, their bytes, and
    the requests it served. `-a system --stats` prints the figures that the C library's malloc reports, as a baseline.

    \b
    heapwright run -a mine.py -- ls -l
    heapwright run -a 'system{MALLOC_ARENA_MAX=1}' --stats -- git log --oneline
    """
    if as_json and not stats:
        raise click.UsageError("--json needs --stats: there are no other figures to print")
    chosen = contestant(allocator, counted=stats)
    with tempfile.TemporaryDirectory(prefix="heapwright-") as work:
        records = Path(work, "stats")
        extra = {"HEAPWRIGHT_STATS": str(records)} if stats else {}
        if chosen.library and (reason := why_unserved(command[0])):
            click.echo(f"heapwright: {chosen.name} does not serve {command[0]}: it {reason}", err=True)
        status = launch(command, chosen.library, chosen.environment | extra)
        if stats:
            show(records, chosen.name, as_json)
    raise click.exceptions.Exit(status)


def show(records: Path, allocator: str, as_json: bool) -> None:
    """Print the statistics of each process that exited normally, in the order of their exits."""
    from heapwright.native.records import read_records

    found = read_records(records)
    if as_json:
        click.echo(json.dumps({"allocator": allocator, "processes": found}, indent=2))
        return
    if not found:
        click.echo("heapwright: no process exited normally, so there are no statistics", err=True)
    for numbers in found:
        print_numbers(allocator, **numbers)


def print_numbers(allocator: str, pid: int, classes: list[dict[str, int]], **totals: int | None) -> None:
    """Print a process's totals, and a row for each size class that ever had a block."""
    from heapwright.cli.tables import print_table

    line = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in totals.items() if value is not None)
    click.echo(f"[heapwright {allocator}, process {pid}] {line}", err=True)
    rows = [(size_of(each), *(f"{each[name]:,}" for name in COLUMNS)) for each in classes]
    heads = (f"{'size up to':>{SIZE_WIDTH}}", *(name.replace("_", " ") for name in COLUMNS))
    print_table(console(WIDTH, sys.stderr), heads, rows)


def size_of(each: dict[str, int]) -> str:
    """The largest block size of a class, as text."""
    text = "more" if each["size"] == MAX_WORD else f"{each['size']:,}"
    return text.rjust(SIZE_WIDTH)
