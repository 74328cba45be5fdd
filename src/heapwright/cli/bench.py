"""`heapwright bench`: benchmark allocators against each other, the C library's malloc, and the installed peers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from heapwright.cli.bench_chosen import (
    check_names,
    check_share,
    check_threads,
    chosen_contestants,
    chosen_rows,
    install_line,
    list_workloads,
    threads_of,
)
from heapwright.cli.bench_report import compact, read, report_of, show, tell, write, write_page
from heapwright.cli.mallocs import EPILOG, HELP
from heapwright.cli.options import Real, refuse_idle
from heapwright.cli.terminal import progress
from heapwright.files import check_output
from heapwright.lab.vector import FIGURES, PLAIN

if TYPE_CHECKING:
    from heapwright.lab.bench import Measured
    from heapwright.lab.contestant import Contestant

FILE = click.Path(dir_okay=False, path_type=Path)
QUICK = 0.1  # of each workload's work
MAX_QUICK_REPEATS = 3
MEASURING = (
    *("allocators", "against", "peers", "workloads", "threads", "processes"),
    *("repeats", "clock", "quick", "scale", "share"),
)
SHOWING = ("shown", "as_json", "output", "page", "sources")


@click.command(epilog=EPILOG)
@click.option("-a", "--allocator", "allocators", multiple=True, help=f"{HELP} Default: all of heapwright's.")
@click.option("--against", multiple=True, help="A further malloc to include, in the same forms. May be repeated.")
@click.option("--peers/--no-peers", default=True, help="Include installed peers: jemalloc, mimalloc, tcmalloc.")
@click.option(
    "-w", "--workload", "workloads", multiple=True, help="Run only this workload, program or group. May be repeated."
)
@click.option("--threads", default="1,2", show_default=True, help="Thread counts for the threaded workloads.")
@click.option("--processes", is_flag=True, help="Also run one process per thread, to show what the machine allows.")
@click.option(
    "-n",
    "--repeats",
    default=7,
    show_default=True,
    type=click.IntRange(1, 100),
    metavar="N",
    help="Measure each result N times and show medians.",
)
@click.option(
    "--clock", default="wall", show_default=True, type=click.Choice(["wall", "cpu"]), help="The clock of the ratios."
)
@click.option("--quick", is_flag=True, help="Do a tenth of the work, with at most 3 repeats.")
@click.option(
    "--share", is_flag=True, help="Measure malloc's share of the programs' time, in a run of its own under perf."
)
@click.option(
    "--show",
    "shown",
    multiple=True,
    type=click.Choice(list(FIGURES)),
    default=PLAIN,
    show_default=True,
    help="A figure to show in the tables. May be repeated.",
)
@click.option("--scale", type=Real(0, 10, min_open=True), hidden=True, default=1.0)
@click.option("--list", "is_list", is_flag=True, help="List the workloads and exit.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option(
    "-o",
    "--output",
    type=FILE,
    help="Also write all raw figures to this file, as JSON.",
)
@click.option("--page", type=FILE, help="Also write the results as one page of Markdown, with what is lost.")
@click.option(
    "--from",
    "sources",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="Show what -o wrote to FILE, and measure nothing. May be repeated: the parts of a bench are joined.",
)
def command(
    allocators: tuple[str, ...],
    against: tuple[str, ...],
    peers: bool,
    workloads: tuple[str, ...],
    threads: str,
    processes: bool,
    repeats: int,
    clock: str,
    quick: bool,
    share: bool,
    shown: tuple[str, ...],
    scale: float,
    is_list: bool,
    as_json: bool,
    output: Path | None,
    page: Path | None,
    sources: tuple[Path, ...],
) -> None:
    """Benchmark allocators on workloads and real programs, next to the installed mallocs.

    \b
    heapwright bench -a hoard -a mine.py -w alone --quick

    Each run is a fresh process with the malloc preloaded. The mallocs take turns. Times are medians, and ratios are to
    `system`, the C library's malloc, which always runs. A warning names the results whose quartiles are more than 15 %
    of the median apart: do not trust those. The exit status is 1 if a run crashed, hung or gave a wrong result. After
    Ctrl-C it is 130, and the results so far are shown and written.

    \b
    heapwright bench -a ptmalloc -a 'system{MALLOC_ARENA_MAX=1}' -w threads
    heapwright bench --against glibc=/opt/glibc/lib/libc_malloc.so -o bench/results/today.json
    heapwright bench -w programs --share --clock cpu --page results.md -o results.json
    heapwright bench --from results.json --show after_5s --show share
    """
    from heapwright.lab.bench import empty_table

    if is_list:
        refuse_idle("with --list", *MEASURING, *SHOWING)
        return list_workloads()
    for each in filter(None, (output, page)):
        check_output(each)  # before an hour of work, not after
    if sources:
        refuse_idle("with --from", *MEASURING)
        raw = output or (sources[0] if len(sources) == 1 else None)
        raise click.exceptions.Exit(0 if publish(read(sources), output, page, raw, as_json, shown) else 2)
    check_names(workloads)
    counts = threads_of(threads)
    check_threads(workloads, counts, processes)
    if share:
        check_share(workloads)
    contestants = chosen_contestants(allocators, against, peers)
    with tempfile.TemporaryDirectory(prefix="heapwright-", ignore_cleanup_errors=True) as folder:
        chosen = chosen_rows(workloads, counts, processes, QUICK * scale if quick else scale, Path(folder))
        tell([install_line(chosen.missing)])
        table = empty_table(chosen.rows, contestants)
        was_interrupted = not fill(table, contestants, min(repeats, MAX_QUICK_REPEATS) if quick else repeats, share)
    report = report_of(table, contestants, clock, chosen) | {"interrupted": was_interrupted}
    is_lost = not publish(report, output, page, output, as_json, shown)
    raise click.exceptions.Exit(status(report, is_lost))


def publish(
    report: dict[str, Any],
    output: Path | None,
    page: Path | None,
    raw: Path | None,
    as_json: bool,
    shown: Sequence[str],
) -> bool:
    """Write and show the report; the page links to the raw figures.

    Returns whether all files were written. If not, the JSON is printed as well.
    """
    troubles = [write(output, report)] if output else []
    troubles += [write_page(page, report, raw_name(page, raw))] if page else []
    show(report, as_json, shown)
    if any(troubles):
        click.echo("" if as_json else compact(report), nl=False)
        tell(f"{trouble}; the JSON is on standard output" for trouble in troubles if trouble)
    return not any(troubles)


def raw_name(page: Path, raw: Path | None) -> str:
    """The path of the raw figures as a link from the page; "" if they are not kept."""
    return os.path.relpath(raw, page.parent) if raw else ""


def fill(table: list[Measured], contestants: list[Contestant], repeats: int, share: bool) -> bool:
    """Measure everything. Returns whether it ran to the end, without an interrupt."""
    from heapwright.lab.bench import bench, measure_shares

    try:
        if share:
            measure_shares(table, contestants, progress)
        bench(table, contestants, repeats, progress)
    except KeyboardInterrupt:
        return False
    finally:
        progress("")
    return True


def status(report: dict[str, Any], is_lost: bool) -> int:
    """The exit status: 130 if interrupted, 2 if the file was not written, 1 if a run failed, otherwise 0."""
    if report["interrupted"]:
        return 130
    return 2 if is_lost else int(bool(report["failures"]))
