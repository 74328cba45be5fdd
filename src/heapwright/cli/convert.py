"""`heapwright convert`: a trace of any kind, written as another kind."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from heapwright.cli.terminal import progress
from heapwright.traces.export import FORMATS, format_of, write_as

if TYPE_CHECKING:
    from heapwright.traces.events import Trace


@click.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("output", metavar="OUT", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--to", type=click.Choice(FORMATS), help="The format of OUT; else its name says it.")
@click.option("--balanced", is_flag=True, help="Of rep: free at the end what is still live.")
def command(source: Path, output: Path, to: str | None, balanced: bool) -> None:
    """Write the trace IN as OUT, for heapwright or for another tool.

    IN is a recording (.hwt), or an Android memory_replay, malloc-lab .rep or glibc mtrace file, known by its content.
    OUT is .hwt, .rep, or .txt and .zip for Android text. The texts hold one process, the largest, and less of it:
    what was repaired in IN, and what OUT leaves out, is counted on standard error.

    \b
    heapwright convert git.hwt git.rep --balanced
    heapwright convert surfaceflinger.zip surfaceflinger.hwt
    """
    form = to or format_of(output)
    if balanced and form != "rep":
        raise click.UsageError("--balanced is of rep: add --to rep, or end OUT with .rep")
    from heapwright.traces.importers import open_trace

    progress(f"reading {source}")
    trace = open_trace(source)
    progress(f"writing {output}")
    left_out = write_as(form, output, trace, balanced)
    progress("")
    report(output, form, trace, trace.notes() + left_out)


def report(output: Path, form: str, trace: Trace, notes: Counter[str]) -> None:
    """What was written, in a line, and what reading and writing it changed, a line each."""
    summary = trace.summary() if form == "hwt" else trace.largest.summary()
    click.echo(
        f"{output}: {summary.events:,} events, at most {summary.peak_live_bytes:,} bytes live in "
        f"{summary.peak_live_blocks:,} blocks; {output.stat().st_size:,} bytes of {form}",
        err=True,
    )
    for sentence, count in notes.items():
        click.echo(f"  {count:,} {sentence}", err=True)
