"""`heapwright record`: record every allocation of a real program in a trace."""

from __future__ import annotations

from pathlib import Path

import click

from heapwright.cli.options import Size
from heapwright.cli.recording import record
from heapwright.options import MAX_SAMPLE_BYTES as MAX_RATE
from heapwright.options import USUAL_SAMPLE_BYTES as USUAL_RATE
from heapwright.traces.raw_stacks import MAX_DEPTH, USUAL_DEPTH

output_option = click.option(
    "-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The trace to write."
)
depth_option = click.option(
    "--call-sites",
    "depth",
    is_flag=False,
    flag_value=str(USUAL_DEPTH),
    type=click.IntRange(1, MAX_DEPTH),
    metavar="[DEPTH]",
    help=f"Record who asked, too: the innermost DEPTH functions of each request's call stack ({USUAL_DEPTH}).",
)
sample_option = click.option(
    "--sample",
    is_flag=False,
    flag_value=f"{USUAL_RATE >> 10}K",
    type=Size(MAX_RATE),
    metavar="[BYTES]",
    help=f"Record only a sample: on average a request in every BYTES asked for ({USUAL_RATE >> 10}K). For production.",
)


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@output_option
@depth_option
@click.option(
    "--control",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Begin with a pause; `heapwright control start FILE` starts recording.",
)
@click.option(
    "--budget",
    type=Size(),
    metavar="BYTES",
    help="Stop recording when the trace has this size: 500000, 512K, 100M, 2G.",
)
@sample_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def command(
    output: Path,
    depth: int | None,
    control: Path | None,
    budget: int | None,
    sample: int | None,
    command: tuple[str, ...],
) -> None:
    """Run COMMAND and record every allocation of all its threads and children in a trace.

    \b
    heapwright record -o git.hwt -- git log

    The exit status is the program's own. A recording is complete even if the program crashes or is killed, becomes
    another user, changes its root, uses up its file descriptors, or filters its system calls. If the disk fills up,
    the program runs on unrecorded, and the number of lost calls is reported.

    Python manages small blocks itself. Set PYTHONMALLOC=malloc to record each of them:

    \b
    PYTHONMALLOC=malloc heapwright record -o json.hwt -- python3 -m json.tool big.json

    With --call-sites, the trace also says who asked: functions of C, C++, Rust and Python, with files and lines.

    \b
    heapwright record --call-sites -o server.hwt -- ./server

    With --control, recording begins when you start it, or when the program does (docs/control.md):

    \b
    heapwright record --control /tmp/server -o server.hwt -- ./server &
    heapwright control start /tmp/server
    heapwright control stop /tmp/server

    With --sample, the program runs at nearly its own speed, and totals have standard errors (docs/sampling.md):

    \b
    heapwright record --sample 512K --call-sites -o server.hwt -- ./server
    """
    raise click.exceptions.Exit(record(output, command, depth, control, budget, sample))
