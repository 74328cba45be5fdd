"""`heapwright run`: a real program on a compiled allocator."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import click

from heapwright.cli.launch import launch


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("-a", "--allocator", default="linked_list", help="Name, path or stack; 'system' for the C library's own.")
@click.option("--stats", is_flag=True, help="When the program ends, print what its heap held.")
@click.option("--json", "as_json", is_flag=True, help="With --stats: print them as JSON.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def command(allocator: str, stats: bool, as_json: bool, command: tuple[str, ...]) -> None:
    """Run COMMAND on a compiled allocator, as its malloc and that of all its children.

    The program's own exit status is returned; one that dies by signal N gives 128+N and a line.

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
        line = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in numbers.items() if name != "pid")
        click.echo(f"[heapwright {allocator}, process {numbers['pid']}] {line}", err=True)
