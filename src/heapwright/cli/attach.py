"""`heapwright attach`: record every allocation of a program that runs already."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from heapwright.cli.inspect import Duration
from heapwright.cli.options import Size
from heapwright.cli.record import depth_option, output_option, sample_option
from heapwright.cli.recording import report, tools, work_folder
from heapwright.cli.terminal import progress
from heapwright.files import check_output, written_whole

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command()
@click.argument("target", metavar="PID|NAME")
@output_option
@depth_option
@click.option("--for", "seconds", type=Duration(), metavar="TIME", help="Stop after this time: 30, 30s, 10m or 1h.")
@click.option(
    "--budget", type=Size(), metavar="BYTES", help="Stop when the trace has this size: 500000, 512K, 100M, 2G."
)
@sample_option
def command(
    target: str, output: Path, depth: int | None, seconds: float | None, budget: int | None, sample: int | None
) -> None:
    """Record every allocation of a program that runs already, given its PID or its command's name.

    \b
    heapwright attach 1234 -o server.hwt --for 30s
    heapwright attach redis-server --call-sites -o redis.hwt
    heapwright attach server --sample --call-sites --for 10m -o server.hwt

    Recording ends after the time, at the size, when the program ends, or when you press Ctrl-C. The program then
    runs on at full speed. Blocks from before the start are unknown, and their frees are left out.

    The program must be yours, or you must be root. One of its threads is stopped for some milliseconds and loads the
    recorder. Programs that are static, or use another C library than glibc, cannot be recorded.
    """
    from heapwright.lab.attach import Attached, check
    from heapwright.lab.collector import Collector
    from heapwright.lab.inspect import source_of
    from heapwright.live.process import Process
    from heapwright.live.walls import owner_of
    from heapwright.preload import preloaded

    check_output(output)
    process = source_of(target)
    if not isinstance(process, Process):
        raise click.UsageError(f"{target} is a core file: name a process")
    check(process)
    library, ticks = tools(sample)
    by_all = owner_of(process.folder) != os.geteuid()
    with (
        ended_by_signals() as ending,
        written_whole(output) as trace,
        work_folder(output, by_all) as folder,
        preloaded(library, by_all_users=by_all) as place,
    ):
        with Collector(folder, trace, by_all, ticks, True, budget or 0, sample or 0, depth or 0) as collector:
            attached = Attached(process, Path(place), collector.path)
            collector.family.target = process.pid or 0
            try:
                attached.load(depth or 0, sample or 0)
                attached.lead()
                collector.resume()
                progress(f"recording process {process.pid} ({process.name}); press Ctrl-C to stop")
                attached.watch(seconds, lambda: ending.is_set() or collector.has_ended)
            finally:
                collector.pause()
                attached.restore()
                progress("")
        header = collector.complete()
        if not header["processes"] and not sample:
            raise click.ClickException(
                f"nothing was recorded: process {process.pid} ({process.name}) never called malloc"
            )
    report(output, header, {})


@contextmanager
def ended_by_signals() -> Iterator[threading.Event]:
    """An event that is set when the user wants an end. Nothing interrupts us: the program must be left whole."""
    ending = threading.Event()
    before = {number: signal.signal(number, lambda *_: ending.set()) for number in ENDING}
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
