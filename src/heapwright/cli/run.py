"""`heapwright run`: a real program on a compiled allocator."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from heapwright.bits import MOST
from heapwright.cli.launch import launch

ROW = "{:>15} {:>12} {:>16} {:>12}"


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("-a", "--allocator", default="linked_list", help="Name, path or stack; 'system' for the C library's own.")
@click.option("--stats", is_flag=True, help="When the program ends, print what its heap held.")
@click.option("--json", "as_json", is_flag=True, help="With --stats: print them as JSON.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def command(allocator: str, stats: bool, as_json: bool, command: tuple[str, ...]) -> None:
    """Run COMMAND on a compiled allocator, as its malloc and that of all its children.

    The program's own exit status is returned; one that dies by signal N gives 128+N and a line. With --stats every
    process that ends normally prints its totals: bytes are what blocks can hold, growths and shrinks are the calls of
    the kernel that gave memory and that took it back, decommits those that took the frames of pages that stay mapped.
    Then a row for each class of sizes: its live blocks, their bytes, and how many requests it served.

    \b
    heapwright run -a kr -- python3 -c 'print(42)'
    heapwright run -a mine.py -- ls -l
    heapwright run -a linked_list --stats -- git log --oneline
    """
    with tempfile.TemporaryDirectory(prefix="heapwright-") as work:
        records = Path(work, "stats")
        extra = {"HEAPWRIGHT_STATS": str(records)} if stats else {}
        status = launch(command, library(allocator, stats), extra)
        if stats:
            show(records, allocator, as_json)
    raise click.exceptions.Exit(status)


def library(allocator: str, counted: bool) -> Path | None:
    if allocator == "system":
        if counted:
            raise click.UsageError("--stats needs one of heapwright's allocators; 'system' has its own malloc_stats")
        return None
    from heapwright.native.library import library_of

    return library_of(allocator, counted)


def show(records: Path, allocator: str, as_json: bool) -> None:
    """Print the numbers of each process that ended normally, the last to end last."""
    from heapwright.native.records import read_records

    found = read_records(records)
    if as_json:
        click.echo(json.dumps({"allocator": allocator, "processes": found}, indent=2))
        return
    if not found:
        click.echo("heapwright: no process ended normally, so none left its numbers", err=True)
    for numbers in found:
        for line in lines(allocator, **numbers):
            click.echo(line, err=True)


def lines(allocator: str, pid: int, classes: list[dict[str, int]], **totals: int) -> Iterator[str]:
    """A process's totals, and a row for each class of sizes that ever had a block."""
    line = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in totals.items())
    yield f"[heapwright {allocator}, process {pid}] {line}"
    yield ROW.format("size up to", "live blocks", "live bytes", "requests")
    for each in classes:
        size = "more" if each["size"] == MOST else f"{each['size']:,}"
        yield ROW.format(size, *(f"{each[name]:,}" for name in ("live_blocks", "live_bytes", "requests")))
