"""`heapwright record`: record every allocation of a real program in a trace."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

from heapwright.cli.launch import launch
from heapwright.cli.options import Size
from heapwright.cli.terminal import tell_notes
from heapwright.files import check_output, written_whole
from heapwright.options import MAX_SAMPLE_BYTES as MAX_RATE
from heapwright.options import SAMPLE_VARIABLE
from heapwright.options import USUAL_SAMPLE_BYTES as USUAL_RATE
from heapwright.preload import is_reachable_by_all, why_unserved
from heapwright.traces.raw_stacks import MAX_DEPTH, USUAL_DEPTH, VARIABLE
from heapwright.wording import about, counted, when_recorded

MEMORY, MEMORY_ROOM = Path("/dev/shm"), 1 << 28  # noqa: S108  a folder of ours lies in it
CONVERSION = "heapwright.traces.conversion.passes"  # what the collector calls; not imported here: that takes a while
PLACES = Path("/var/tmp"), Path("/tmp")  # for the ring of root's recordings, if other users cannot reach the others


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
    from heapwright.lab.collector import Collector
    from heapwright.lab.control import check_control, control_file

    check_output(output)
    if control:
        check_control(control)
    library, ticks = tools(sample)
    is_root = os.geteuid() == 0  # its program may become another user, who must find the ring after an exec
    with written_whole(output) as trace, work_folder(output, is_root) as folder, ExitStack() as stack:
        with Collector(folder, trace, is_root, ticks, bool(control), budget or 0, sample or 0, depth or 0) as collector:
            if control:
                stack.enter_context(control_file(control, collector.path))
            status = launch(command, library, {"HEAPWRIGHT_RECORD": str(collector.path)} | settings(depth, sample))
            running = still_running(collector.path)
        header, reason = collector.complete(), why_unserved(command[0])
        if not header["processes"] and (reason or not sample):
            raise click.ClickException(f"nothing was recorded: {command[0]} {reason or why_nothing(header)}")
    tell(output, header, running)
    if reason:
        click.echo(f"  {command[0]} itself is not recorded: it {reason}", err=True)
    raise click.exceptions.Exit(status)


def tools(sample: int | None) -> tuple[Path, Callable[[], int] | None]:
    """The library to preload, and the processor's clock if it may be used.

    The library of the conversion is compiled here, too, if it is not there: a program would not wait so long for it.
    """
    from heapwright.lab.collector import is_clock_common
    from heapwright.native.clock import processor_clock
    from heapwright.native.library import functions_library_at, recorder_library, sampler_library
    from heapwright.native.own_sources import PACKAGE

    functions_library_at(CONVERSION, PACKAGE.joinpath(*CONVERSION.split(".")[1:]).with_suffix(".py"))
    library = sampler_library() if sample else recorder_library()
    return library, processor_clock() if is_clock_common() else None


def settings(depth: int | None, sample: int | None) -> dict[str, str]:
    """The recorder's settings, for the program's environment."""
    chosen = {VARIABLE: depth, SAMPLE_VARIABLE: sample}
    return {name: str(value) for name, value in chosen.items() if value}


@contextmanager
def work_folder(output: Path, by_all_users: bool) -> Iterator[Path]:
    """A folder for the ring, which all processes of the run can reach."""
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=place_for(output, by_all_users)) as folder:
        Path(folder).chmod(0o711 if by_all_users else 0o700)
        yield Path(folder)


def place_for(output: Path, by_all_users: bool) -> Path:
    """The folder for the ring: in memory if there is room, because a program that allocates must not wait for a disk.

    Otherwise it is the trace's, unless root's program might not reach that as another user.
    """
    beside = output.absolute().parent
    choices = (MEMORY, beside, *PLACES) if is_roomy(MEMORY) else (beside, *PLACES)
    usable = (each for each in choices if os.access(each, os.W_OK))
    return next((each for each in usable if not by_all_users or is_reachable_by_all(each)), beside)


def is_roomy(folder: Path) -> bool:
    """Whether there is room for a large ring."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize > MEMORY_ROOM


def why_nothing(header: dict[str, Any]) -> str:
    """Why there are no calls of a program that could be recorded."""
    if "recorded" not in header:
        return "never called malloc"
    starts = header["recorded"]["starts"]
    return "never called malloc while recording was on" if starts else "ran to its end before recording was started"


def tell(output: Path, header: dict[str, Any], running: Mapping[str, int]) -> None:
    """Print what was recorded, and what was repaired or lost."""
    summary, processes = header["summary"], header["processes"]
    of = f"{counted(len(processes), 'processes')} ({counted(summary['threads'], 'threads')})"
    size = f"file size {output.stat().st_size:,} bytes"
    if not processes:
        peak = "no request is in the sample: a smaller --sample records more"
    elif any(process["sample"] for process in processes):
        peak = f"{asked_for(output)} were asked for"
    else:
        peak = f"peak live memory {summary['peak_live_bytes']:,} bytes"
    click.echo(f"{output}: {counted(summary['events'], 'events')} from {of}; {peak}; {size}", err=True)
    if "recorded" in header:
        click.echo(f"  {when_recorded(header['recorded'])}", err=True)
    tell_notes(sum((Counter(each["notes"]) for each in processes), Counter(running)))


def asked_for(output: Path) -> str:
    """The bytes that a sample stands for."""
    from heapwright.traces.format import TraceFile
    from heapwright.traces.sampling import requested

    with TraceFile(output) as file:
        estimate = requested(file)
    return about(estimate.value, estimate.error)


def still_running(ring: Path) -> Counter[str]:
    """The number of processes that still map the ring, whether or not they have made a call."""
    from heapwright.lab.recorded import users

    return +Counter({"processes still running, whose further calls are not recorded": len(users(ring))})
