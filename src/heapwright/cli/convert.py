"""`heapwright convert`: convert a trace to another format."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from heapwright.cli.terminal import progress, tell_notes
from heapwright.files import check_output
from heapwright.traces.exporters import FORMATS, ONE_PROCESS, format_of, write_as
from heapwright.traces.exporters.usage import MEASURES, PEAK_BYTES
from heapwright.wording import counted

if TYPE_CHECKING:
    from heapwright.traces.events import Trace


@click.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("output", metavar="OUT", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--to", type=click.Choice(FORMATS), help="The format of OUT, if its name does not say.")
@click.option("--balanced", is_flag=True, help="In a .rep file, free all live blocks at the end.")
@click.option("--measure", type=click.Choice(MEASURES), help="What a .folded file counts.", show_default=PEAK_BYTES)
def command(source: Path, output: Path, to: str | None, balanced: bool, measure: str | None) -> None:
    """Convert a trace between heapwright's format and those of other tools.

    \b
    heapwright convert git.hwt git.rep --balanced

    IN is a recording (.hwt) or a file of another tool: heaptrack, memray, ltrace, bpftrace, glibc's mtrace, Android's
    memory_replay, the malloc lab's .rep, a heap profile of jemalloc, a log of RMM, or a memory snapshot of PyTorch,
    plain or compressed. The format is detected from the content.

    The name of OUT says the format: .hwt; .pb.gz for pprof; .speedscope.json; .folded for flame graphs; .pftrace for
    Perfetto; .csv and .parquet for tables of events; .rep for the malloc lab; .txt or .zip for Android's memory_replay.
    Only .rep and memory_replay cannot hold several processes; they get the one with the highest peak of live memory.
    Standard error counts what was repaired in IN and what OUT leaves out. docs/formats.md lists all formats.
    """
    check_output(output)
    form = to or format_of(output)
    if balanced and form != "rep":
        raise click.UsageError("--balanced applies only to rep: add --to rep, or end OUT with .rep")
    if measure and form != "folded":
        raise click.UsageError("--measure applies only to folded stacks: add --to folded, or end OUT with .folded")
    from heapwright.traces.importers import open_trace

    progress(f"reading {source}")
    trace = open_trace(source)
    progress(f"writing {output}")
    left_out = write_as(form, output, trace, balanced=balanced, measure=measure or PEAK_BYTES)
    progress("")
    report(output, form, trace, trace.notes() + left_out)


def report(output: Path, form: str, trace: Trace, notes: Counter[str]) -> None:
    """Print one line about the trace that was written, and one line for each change that reading or writing made."""
    summary = trace.largest.summary() if form in ONE_PROCESS else trace.summary()
    click.echo(
        f"{output}: {counted(summary.events, 'events')}, peak live memory {summary.peak_live_bytes:,} bytes in "
        f"{counted(summary.live_blocks_at_peak, 'blocks')}; {output.stat().st_size:,} bytes of {form}",
        err=True,
    )
    tell_notes(notes)
