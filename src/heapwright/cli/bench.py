"""`heapwright bench`: benchmark allocators against each other, the C library's malloc, and the installed peers."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from heapwright.cli.mallocs import EPILOG, HELP
from heapwright.cli.options import Real, refuse_idle
from heapwright.cli.terminal import progress
from heapwright.errors import UserError, suggestion
from heapwright.files import check_output, written_whole

if TYPE_CHECKING:
    from heapwright.lab.bench import Measured, Row
    from heapwright.lab.contestant import Contestant

QUICK = 0.1  # of each workload's work
MAX_QUICK_REPEATS = 3
MAX_WARNINGS = 5
OPTIONS = (
    *("allocators", "against", "peers", "workloads", "threads", "processes"),
    *("repeats", "clock", "quick", "scale", "as_json", "output"),
)


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
@click.option("--scale", type=Real(0, 10, min_open=True), hidden=True, default=1.0)
@click.option("--list", "is_list", is_flag=True, help="List the workloads and exit.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the figures to this file, as JSON.",
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
    scale: float,
    is_list: bool,
    as_json: bool,
    output: Path | None,
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
    """
    from heapwright.lab.bench import empty_table

    if is_list:
        refuse_idle("with --list", *OPTIONS)
        return list_workloads()
    if output:
        check_output(output)  # before an hour of work, not after
    check_names(workloads)
    counts = threads_of(threads)
    check_threads(workloads, counts, processes)
    contestants = chosen_contestants(allocators, against, peers)
    with tempfile.TemporaryDirectory(prefix="heapwright-", ignore_cleanup_errors=True) as folder:
        rows = chosen_rows(workloads, counts, processes, QUICK * scale if quick else scale, Path(folder))
        table = empty_table(rows, contestants)
        was_interrupted = not fill(table, contestants, min(repeats, MAX_QUICK_REPEATS) if quick else repeats)
    report = report_of(table, contestants, clock) | {"interrupted": was_interrupted}
    trouble = write(output, report) if output else ""
    show(report, as_json)
    if trouble:
        click.echo("" if as_json else compact(report), nl=False)
        click.echo(f"heapwright: {trouble}; the JSON is on standard output", err=True)
    raise click.exceptions.Exit(status(report, trouble))


def fill(table: list[Measured], contestants: list[Contestant], repeats: int) -> bool:
    """Measure everything. Returns whether it ran to the end, without an interrupt."""
    from heapwright.lab.bench import bench

    try:
        bench(table, contestants, repeats, progress)
    except KeyboardInterrupt:
        return False
    finally:
        progress("")
    return True


def status(report: dict[str, Any], trouble: str) -> int:
    """The exit status: 130 if interrupted, 2 if the file was not written, 1 if a run failed, otherwise 0."""
    if report["interrupted"]:
        return 130
    return 2 if trouble else int(bool(report["failures"]))


# --- what was asked for


def threads_of(text: str) -> tuple[int, ...]:
    from heapwright.native.jobs.bench_job import MAX_THREADS

    counts = [int(part) if part.strip().isdigit() else 0 for part in text.split(",")]
    if not all(1 <= n <= MAX_THREADS for n in counts):
        raise click.ClickException(f"--threads takes numbers from 1 to {MAX_THREADS}, such as 1,2; not '{text}'")
    return tuple(dict.fromkeys(counts))


def chosen_contestants(allocators: tuple[str, ...], against: tuple[str, ...], peers: bool) -> list[Contestant]:
    """`system`, then those of -a or all of heapwright's, then the installed peers, then those of --against."""
    from heapwright.allocators import ALLOCATORS
    from heapwright.lab.machine_facts import installed_peers
    from heapwright.lab.naming import SYSTEM, contestants

    return contestants((SYSTEM, *(allocators or ALLOCATORS), *(installed_peers() if peers else ()), *against))


def chosen_rows(
    wanted: tuple[str, ...], threads: tuple[int, ...], processes: bool, scale: float, folder: Path
) -> list[Row]:
    from heapwright.lab.programs import PROGRAMS, PreparedProgram
    from heapwright.lab.workloads import WORKLOADS, apart, expand

    native = expand(tuple(each for each in WORKLOADS if is_wanted(each, wanted)), threads, scale)
    programs = [each for each in PROGRAMS if is_wanted(each, wanted)]
    for each in programs:
        if not each.is_installed:
            click.echo(f"heapwright: {each.name} is left out: {' or '.join(each.needs)} is not installed", err=True)
    ready = [PreparedProgram(each, folder, scale) for each in programs if each.is_installed]
    return [*native, *(apart(native) if processes else []), *ready]


def check_threads(wanted: tuple[str, ...], threads: tuple[int, ...], processes: bool) -> None:
    """Refuse thread counts and --processes if no chosen workload can use them."""
    from heapwright.lab.programs import PROGRAMS
    from heapwright.lab.workloads import WORKLOADS, apart, expand

    workloads = tuple(each for each in WORKLOADS if is_wanted(each, wanted))
    if not any(each.is_threaded for each in workloads):
        refuse_idle("for workloads without threads", "threads", "processes")
    rows = expand(workloads, threads, 1.0)
    if processes and not apart(rows):
        refuse_idle("if no workload has several threads that are independent of each other", "processes")
    if not rows and not any(is_wanted(each, wanted) for each in PROGRAMS):
        raise click.ClickException(f"no chosen workload runs with --threads {', '.join(map(str, threads))}")


def check_names(wanted: tuple[str, ...]) -> None:
    known = names_known()
    for name in wanted:
        if name not in known:
            hint = suggestion(name, known, otherwise="`heapwright bench --list` names them all")
            raise click.ClickException(f"no workload is named '{name}': {hint}")


def names_known() -> list[str]:
    from heapwright.lab.programs import PROGRAMS
    from heapwright.lab.workloads import WORKLOADS

    return list(dict.fromkeys(name for each in (*WORKLOADS, *PROGRAMS) for name in (each.name, each.group)))


def is_wanted(each: Any, wanted: tuple[str, ...]) -> bool:
    return not wanted or each.name in wanted or each.group in wanted


def list_workloads() -> None:
    from heapwright.lab.programs import PROGRAMS
    from heapwright.lab.workloads import WORKLOADS

    for each in (*WORKLOADS, *PROGRAMS):
        click.echo(f"{each.group:9} {each.name}")


# --- the report


def report_of(table: list[Measured], contestants: list[Contestant], clock: str) -> dict[str, Any]:
    from datetime import UTC, datetime

    from heapwright.lab.bench_figures import failures, figures, means, scaling, unstable
    from heapwright.lab.contestant import caller_tuning
    from heapwright.lab.machine_facts import machine_facts

    rows = figures(table, clock)
    return {
        "command": ["heapwright", *sys.argv[1:]],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine_facts(),
        "clock": clock,
        "environment": caller_tuning(),
        "allocators": {each.name: each.library.name if each.library else None for each in contestants},
        "means": means(rows),
        "scaling": scaling(rows),
        "failures": failures(rows),
        "unstable": unstable(rows),
        "rows": rows,
    }


def compact(report: dict[str, Any]) -> str:
    """The report as JSON, with one line for each result."""
    rows = [{**row, "results": None} for row in report["rows"]]
    text = json.dumps({**report, "rows": None}, indent=1)
    bodies = []
    for row, full in zip(rows, report["rows"], strict=True):
        lines = ",\n".join(f"   {json.dumps(name)}: {json.dumps(cell)}" for name, cell in full["results"].items())
        bodies.append(json.dumps(row)[:-1].replace('"results": null', f'"results": {{\n{lines}\n  }}') + "}")
    joined = ",\n  ".join(bodies)
    return text.replace('"rows": null', f'"rows": [\n  {joined}\n ]') + "\n"


def write(output: Path, report: dict[str, Any]) -> str:
    """Write the report to a file. Returns the error, or "": an hour of measuring must not be lost to an exception."""
    try:
        with written_whole(output) as file:
            file.write(compact(report).encode())
    except UserError as error:
        return str(error)
    return ""


def show(report: dict[str, Any], as_json: bool) -> None:
    from heapwright.cli.bench_tables import tables

    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        tables(report)
    if report["interrupted"]:
        click.echo("heapwright: interrupted: these are the repeats that were finished", err=True)
    for line in report["failures"]:
        click.echo(f"heapwright: {line}", err=True)
    if report["unstable"]:
        shown = ", ".join(report["unstable"][:MAX_WARNINGS])
        more = len(report["unstable"]) - MAX_WARNINGS
        click.echo(f"heapwright: unstable, do not trust: {shown}{f', and {more} more' if more > 0 else ''}", err=True)
