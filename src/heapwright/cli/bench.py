"""`heapwright bench`: allocators against each other, the C library's, and those installed."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from heapwright.cli.terminal import progress
from heapwright.errors import Mendable, suggestion
from heapwright.files import written_whole

if TYPE_CHECKING:
    from heapwright.lab.bench import Measured, Row
    from heapwright.lab.replay import Contestant

QUICK = 0.1  # of each workload
MOST_QUICK_REPEATS = 3
MOST_WARNINGS = 5


@click.command()
@click.option("-a", "--allocator", "allocators", multiple=True, help="Name, path or stack; all of ours if not given.")
@click.option("--against", multiple=True, metavar="NAME=LIB.so", help="Another malloc to measure, such as an original.")
@click.option("--peers/--no-peers", default=True, help="Measure jemalloc, mimalloc and tcmalloc if installed.")
@click.option("-w", "--workload", "workloads", multiple=True, help="A workload, program or group; all if not given.")
@click.option("--threads", default="1,2", show_default=True, help="Numbers of threads of the threaded workloads.")
@click.option("--processes", is_flag=True, help="Also a process for each thread: what the machine itself gives.")
@click.option("-n", "--repeats", default=7, show_default=True, type=click.IntRange(1, 100))
@click.option("--clock", default="wall", show_default=True, type=click.Choice(["wall", "cpu"]), help="For ratios.")
@click.option("--quick", is_flag=True, help="A tenth of the work, and at most 3 repeats.")
@click.option("--scale", type=click.FloatRange(0, 10, min_open=True), hidden=True, default=1.0)
@click.option("--list", "is_list", is_flag=True, help="List the workloads and end.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the JSON to a file too.")
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
    """Measure allocators on workloads and on real programs.

    Every run is a fresh process whose malloc is the allocator's; the repeats of all allocators take turns. Times are
    medians, ratios are to `system`, the C library's own malloc. Where the quartiles of the repeats lie more than 15 %
    of the median apart, a line says so. Exit status 1 if anything died, hung or went wrong; after Ctrl-C 130, and what
    was measured until then is shown and written.

    \b
    heapwright bench -a kr -a hoard -w threads --threads 1,2
    heapwright bench --against glibc=/opt/glibc/lib/libc_malloc.so -o bench/results/today.json
    """
    from heapwright.lab.bench import empty_table

    if is_list:
        return list_workloads()
    check_output(output)
    check_names(workloads)
    counts = threads_of(threads)
    contestants = chosen_contestants(allocators, against, peers)
    with tempfile.TemporaryDirectory(prefix="heapwright-", ignore_cleanup_errors=True) as folder:
        rows = chosen_rows(workloads, counts, processes, QUICK * scale if quick else scale, Path(folder))
        table = empty_table(rows, contestants)
        was_interrupted = not fill(table, contestants, min(repeats, MOST_QUICK_REPEATS) if quick else repeats)
    report = report_of(table, contestants, clock) | {"interrupted": was_interrupted}
    trouble = write(output, report) if output else ""
    show(report, as_json)
    if trouble:
        click.echo("" if as_json else compact(report), nl=False)
        click.echo(f"heapwright: {trouble}; the JSON is on standard output", err=True)
    raise click.exceptions.Exit(status(report, trouble))


def fill(table: list[Measured], contestants: list[Contestant], repeats: int) -> bool:
    """Measure; whether nobody interrupted it."""
    from heapwright.lab.bench import bench

    try:
        bench(table, contestants, repeats, progress)
    except KeyboardInterrupt:
        return False
    finally:
        progress("")
    return True


def status(report: dict[str, Any], trouble: str) -> int:
    """The exit status: interrupted, the file not written, something failed, or all well."""
    if report["interrupted"]:
        return 130
    return 2 if trouble else int(bool(report["failures"]))


# --- what was asked for


def check_output(output: Path | None) -> None:
    """Before an hour of work, not after it."""
    if output and not output.parent.is_dir():
        raise click.ClickException(f"there is no folder {output.parent} to write {output.name} to")


def threads_of(text: str) -> tuple[int, ...]:
    from heapwright.native.runtime.bench_job import MOST_THREADS

    counts = [int(part) if part.strip().isdigit() else 0 for part in text.split(",")]
    if not all(1 <= n <= MOST_THREADS for n in counts):
        raise click.ClickException(f"--threads takes numbers from 1 to {MOST_THREADS}, such as 1,2; not '{text}'")
    return tuple(dict.fromkeys(counts))


def chosen_contestants(allocators: tuple[str, ...], against: tuple[str, ...], peers: bool) -> list[Contestant]:
    """`system` first, then ours, then the installed, then those given by their library; ours are compiled last."""
    from heapwright.allocator import load
    from heapwright.allocators import ALLOCATORS
    from heapwright.lab.compare import contestant
    from heapwright.lab.machine_facts import installed_peers

    installed = tuple(f"{name}={path}" for name, path in installed_peers().items()) if peers else ()
    specs = list(dict.fromkeys(("system", *(allocators or ALLOCATORS), *installed, *against)))
    check_mallocs(specs, against)
    libraries = {spec: contestant(spec) for spec in specs if "=" in spec}
    for spec in allocators:
        if spec != "system" and spec not in libraries:
            load(spec)
    return [libraries.get(spec) or contestant(spec) for spec in specs]


def check_mallocs(specs: list[str], against: tuple[str, ...]) -> None:
    for each in against:
        if "=" not in each:
            raise click.ClickException(f"--against takes NAME=LIB.so, not '{each}'")
    names = [spec.partition("=")[0] for spec in specs]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled:
        raise click.ClickException(f"two mallocs are named '{doubled}': give one of them another name")


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


# --- what came of it


def report_of(table: list[Measured], contestants: list[Contestant], clock: str) -> dict[str, Any]:
    from datetime import UTC, datetime

    from heapwright.lab.bench_figures import failures, figures, means, scaling, unstable
    from heapwright.lab.machine_facts import machine_facts

    rows = figures(table, clock)
    return {
        "command": ["heapwright", *sys.argv[1:]],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine_facts(),
        "clock": clock,
        "allocators": {each.name: each.library.name if each.library else None for each in contestants},
        "means": means(rows),
        "scaling": scaling(rows),
        "failures": failures(rows),
        "unstable": unstable(rows),
        "rows": rows,
    }


def compact(report: dict[str, Any]) -> str:
    """JSON with one line for each result."""
    rows = [{**row, "results": None} for row in report["rows"]]
    text = json.dumps({**report, "rows": None}, indent=1)
    bodies = []
    for row, full in zip(rows, report["rows"], strict=True):
        lines = ",\n".join(f"   {json.dumps(name)}: {json.dumps(cell)}" for name, cell in full["results"].items())
        bodies.append(json.dumps(row)[:-1].replace('"results": null', f'"results": {{\n{lines}\n  }}') + "}")
    joined = ",\n  ".join(bodies)
    return text.replace('"rows": null', f'"rows": [\n  {joined}\n ]') + "\n"


def write(output: Path, report: dict[str, Any]) -> str:
    """Write the report to a file; what is wrong if that cannot be done, for an hour's work must not be lost."""
    try:
        with written_whole(output) as file:
            file.write(compact(report).encode())
    except Mendable as error:
        return str(error)
    return ""


def show(report: dict[str, Any], as_json: bool) -> None:
    from heapwright.cli.bench_tables import tables

    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        tables(report)
    if report["interrupted"]:
        click.echo("heapwright: interrupted: these are the repeats that were done until then", err=True)
    for line in report["failures"]:
        click.echo(f"heapwright: {line}", err=True)
    if report["unstable"]:
        shown = ", ".join(report["unstable"][:MOST_WARNINGS])
        more = len(report["unstable"]) - MOST_WARNINGS
        click.echo(f"heapwright: unstable, do not trust: {shown}{f', and {more} more' if more > 0 else ''}", err=True)
