"""`heapwright compare`: replay recordings on several mallocs, side by side."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from heapwright.cli.mallocs import EPILOG, HELP
from heapwright.cli.options import refuse_idle
from heapwright.cli.terminal import bar, progress, tell_notes
from heapwright.files import check_output
from heapwright.lab.contestant import caller_tuning

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from heapwright.cli.compare_subjects import Subject
    from heapwright.lab.cells import Cell, Place
    from heapwright.lab.contestant import Contestant
    from heapwright.traces.events import Process

DEFAULT = ("system", "wright", "ptmalloc", "hoard", "slab")  # the installed peers follow


@click.command(epilog=EPILOG)
@click.argument("traces", nargs=-1, required=True, metavar="TRACE...", type=click.Path(dir_okay=False, path_type=Path))
@click.option("-a", "--allocator", "allocators", multiple=True, help=f"{HELP} May be repeated.")
@click.option(
    "-n",
    "--repeats",
    default=5,
    show_default=True,
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Measure each malloc N times and show medians.",
)
@click.option(
    "--process",
    metavar="PID|N|all",
    help="Replay this process, by PID or position. Default: the one with the highest peak of live memory.",
)
@click.option("--memory", is_flag=True, help="Show the memory in use at the peak, at the worst moment and at the end.")
@click.option("--latency", is_flag=True, help="Time single calls and show percentiles.")
@click.option("--curves", is_flag=True, help="Follow the parts of the memory over the trace; show figures of merit.")
@click.option(
    "--samples",
    default=200,
    show_default=True,
    type=click.IntRange(2, 1000),
    metavar="N",
    help="Look N times, at equal steps. With --curves or --html.",
)
@click.option(
    "--steps",
    default="events",
    show_default=True,
    type=click.Choice(["events", "time"]),
    help="What the steps between samples are equal in. With --curves or --html.",
)
@click.option("--map", "with_map", is_flag=True, help="Draw each malloc's heap as text: addresses and time.")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write each malloc's heap as a map of addresses and time, with its curves: one self-contained page.",
)
@click.option("--threads", "on_threads", is_flag=True, help="Replay on real threads, one for each recorded thread.")
@click.option(
    "--jobs",
    default=1,
    show_default=True,
    type=click.IntRange(1, 256),
    metavar="N",
    help="Run N replays side by side. They share the machine, so compare ratios of times.",
)
@click.option("--on", metavar="dask://HOST:PORT", help="Run the replays on the workers of a Dask cluster.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def command(traces: tuple[Path, ...], allocators: tuple[str, ...], process: str | None, **wishes: Any) -> None:
    """Replay each recording TRACE on several mallocs and compare their time and memory.

    \b
    heapwright compare git.hwt -a system -a hoard -a mine.py --memory

    Without -a, it compares the C library's malloc (`system`) with wright, ptmalloc, hoard and slab, and with those of
    jemalloc, mimalloc and tcmalloc that are installed. TRACE is a recording (.hwt), or an Android memory_replay,
    malloc-lab .rep or glibc mtrace file. If it has several processes, the one with the highest peak of live memory is
    replayed; `--process all` replays each separately. With `--process all` or several traces, the JSON is a list. One
    thread replays the events of all threads in their recorded order. The mallocs take turns.

    Each repeat replays the trace in two fresh processes. `warm` is the time of a pass over pages that earlier passes
    touched: the allocator's own work. `cold` is the processor time of a first pass that writes every byte of every
    block; it includes page faults and kernel calls. Times are medians of the repeats. The spread is the distance
    between the quartiles, in percent of the median.

    --jobs runs several replays at a time, each in processes of its own. Memory figures do not depend on that. Times do:
    the replays share the processor's caches and the memory. So the table shows ratios to `system`, each between two
    replays of the same trace in the same repeat. --on does the same on the workers of a Dask cluster: see
    docs/many-traces.md. A replay that crashes costs one row; the exit status is then 1.

    --memory shows two tables. The first is the kernel's view: the growth of resident memory at four moments. `peak` is
    when the most bytes are live, `worst` when the most resident bytes hold nothing live, `end` the trace's end, and
    `freed` after all blocks are freed. The second table is what the malloc itself reports. Held memory is the sum of
    what blocks requested, what they may use beyond that (internal), and the rest (external): free memory, headers,
    records. Free memory is counted as in mallinfo2, without thread caches and the inside of mapped memory. A dash means
    that the malloc does not report the figure; other libraries report only usable sizes. The JSON has all figures.

    --latency adds a last pass over the same warm pages, which reads the processor's clock around each call. `malloc`
    includes calloc, realloc and memalign. Percentiles cover all repeats together and are at most 6.25 % too high. The
    cost of reading the clock is shown and not subtracted.

    --curves replays the trace once more on each malloc and stops at N samples. The bytes held from the kernel are split
    into requested, internal, cached, free and own bytes, and the sum is checked: see docs/curves.md. `--steps time`
    spaces the samples by the recorded time, so that a quiet hour of a server is as wide as a busy one.

    --map and --html show where each block lies over the trace, what of the free pages is resident, and the largest
    hole: see docs/heap-map.md.

    --threads replays each recorded thread on a thread of its own, in causal order: a thread waits only where a block
    comes from another thread, where a thread starts or ended, and so that live memory never exceeds the recorded curve
    by more than 1 %. `warm` is then the time on the wall, `processor` that of all threads. `idle` is a pass with the
    same threads and waits without any call, and `waited` adds up all threads' waits.

    \b
    heapwright compare demo.hwt -a jemalloc -a 'jemalloc{MALLOC_CONF=dirty_decay_ms:0}'
    """
    wanted = Wanted(**wishes)
    wanted.check(traces, process)
    raise click.exceptions.Exit(compare_all(traces, allocators, process, wanted))


@dataclass(frozen=True)
class Wanted:
    """What a user wants to know: the options of the command."""

    repeats: int
    memory: bool
    latency: bool
    curves: bool
    samples: int
    steps: str
    with_map: bool
    html: Path | None
    on_threads: bool
    jobs: int
    on: str | None
    as_json: bool

    @property
    def looks(self) -> int:
        """The number of samples for curves; 0 for none."""
        return self.samples if self.curves or self.html else 0

    @property
    def has_map(self) -> bool:
        return self.with_map or bool(self.html)

    @property
    def needs_memory(self) -> bool:
        """Whether all events must be in memory."""
        return bool(self.looks) or self.has_map or self.on_threads

    def check(self, traces: Sequence[Path], process: str | None) -> None:
        """Refuse what has no effect, and what cannot be written, before the work begins."""
        from heapwright.lab.processes import ALL

        if self.as_json:
            refuse_idle("with --json, which always has these figures", "memory")
            refuse_idle("with --json, which has figures alone", "with_map")
        if self.on_threads:
            refuse_idle("with --threads", "latency", "curves", "samples", "steps", "with_map", "html", "jobs", "on")
        if not self.looks:
            refuse_idle("without --curves or --html", "samples", "steps")
        if self.on:
            refuse_idle("with --on: the cluster's workers decide how many replays run at a time", "jobs")
            require_address(self.on)
        if self.has_map and process == ALL:
            raise click.UsageError("a map is of one process: choose it with --process")
        if self.has_map and len(traces) > 1:
            raise click.UsageError("a map is of one process: give one trace")
        if self.html:
            check_output(self.html)


def require_address(text: str) -> None:
    """Refuse a place that is not a Dask scheduler's."""
    if not re.fullmatch(r"dask://(\[[^\]]+\]|[^:/]+):\d+", text):
        raise click.UsageError(f"--on takes dask://HOST:PORT, the address of a Dask scheduler; not '{text}'")


def compare_all(paths: Sequence[Path], allocators: tuple[str, ...], process: str | None, wanted: Wanted) -> int:
    """Replay the chosen processes of the traces, and show what was measured. Returns the exit status."""
    from heapwright.cli.compare_subjects import subjects_of
    from heapwright.lab.naming import contestants
    from heapwright.lab.processes import ALL

    with ExitStack() as stack:
        subjects = [each for path in paths for each in subjects_of(path, process, stack)]
        for each in subjects if wanted.needs_memory else ():
            each.check_memory()
        for each in subjects if wanted.looks and wanted.steps == "time" else ():
            each.check_times()
        mallocs = contestants(allocators or default_mallocs())
        for each in subjects:
            tell_notes(each.described.notes)
        found = on_threads if wanted.on_threads else measured
        heads = [{"trace": each.about(), "environment": caller_tuning()} for each in subjects]
        reports = [known | more for known, more in zip(heads, found(subjects, mallocs, wanted), strict=True)]
        progress("")
        show(reports, wanted, is_list=process == ALL or len(paths) > 1)
        if wanted.has_map and not reports[0]["interrupted"]:
            show_maps(reports[0], subjects[0], mallocs, wanted)
    return status_of(reports)


def status_of(reports: Sequence[dict[str, Any]]) -> int:
    """The exit status: 130 if interrupted, 1 if a replay failed, otherwise 0."""
    if any(each.get("interrupted") for each in reports):
        return 130
    results = [result for each in reports for result in each["results"]]
    return int(any(result.get("error") or result.get("no_curves") for result in results))


def measured(subjects: Sequence[Subject], mallocs: Sequence[Contestant], wanted: Wanted) -> list[dict[str, Any]]:
    """The part of each report with the figures of each malloc on a process's events."""
    from heapwright.lab.cells import Table
    from heapwright.lab.compare import compare

    def tell(cell: Cell) -> None:
        name, trace = mallocs[cell.malloc].name, subjects[cell.trace].path.name
        advance(f"{name} on {trace}, repeat {cell.repeat + 1} of {wanted.repeats}")

    with ExitStack() as stack:
        flats = [stack.enter_context(each.flat(progress)) for each in subjects]
        progress("")
        place = stack.enter_context(place_of(wanted))
        advance = stack.enter_context(bar(len(subjects) * len(mallocs) * wanted.repeats))
        found = compare(Table(flats, mallocs, wanted.repeats, wanted.latency), place, tell)
    results = [found.results(i, each.described.summary) for i, each in enumerate(subjects)]
    if wanted.looks and not found.was_interrupted:
        for each, subject in zip(results, subjects, strict=True):
            add_curves(each, subject.process, mallocs, wanted)
    known = {"jobs": wanted.jobs, "on": wanted.on, "interrupted": found.was_interrupted, "steps": wanted.steps}
    return [known | {"results": each} for each in results]


def place_of(wanted: Wanted) -> AbstractContextManager[Place]:
    """Where the replays run."""
    from heapwright.lab.cells import on_this_machine
    from heapwright.lab.cluster import on_cluster

    return on_cluster(wanted.on) if wanted.on else on_this_machine(wanted.jobs)


def on_threads(subjects: Sequence[Subject], mallocs: Sequence[Contestant], wanted: Wanted) -> list[dict[str, Any]]:
    """The part of each report that a replay on threads finds."""
    from heapwright.cli.compare_threads import replayed_on_threads

    return [replayed_on_threads(each.process, mallocs, wanted.repeats) for each in subjects]


def add_curves(results: list[dict[str, Any]], process: Process, mallocs: Sequence[Contestant], wanted: Wanted) -> None:
    """Add the curves of each malloc that was measured to its figures, or the reason why there are none."""
    from heapwright.lab.compare import CompareError
    from heapwright.lab.curves.measure import Plan, curves_of_each

    plan = Plan(wanted.looks, wanted.steps)
    for result, malloc in zip(results, mallocs, strict=True):
        if not result["error"]:
            try:
                [found] = curves_of_each(process, [malloc], plan, progress)
                result["curves"] = found.as_json()
            except CompareError as error:
                result["no_curves"] = str(error)


def default_mallocs() -> tuple[str, ...]:
    """The mallocs that are compared unless others are named."""
    from heapwright.lab.machine_facts import installed_peers

    return (*DEFAULT, *installed_peers())


def show(reports: list[dict[str, Any]], wanted: Wanted, is_list: bool) -> None:
    from heapwright.cli.compare_tables import print_means, print_tables
    from heapwright.cli.compare_threads import print_threads

    if wanted.as_json:
        click.echo(json.dumps(reports if is_list else reports[0], indent=2))
    for number, report in enumerate([] if wanted.as_json else reports):
        if number:
            click.echo()
        (print_threads if "order" in report else print_tables)(report, wanted.memory)
    if len(reports) > 1 and not (wanted.as_json or wanted.on_threads):
        print_means(reports)
    if reports[0].get("interrupted"):
        click.echo("heapwright: interrupted: these are the repeats that were finished", err=True)


def show_maps(report: dict[str, Any], subject: Subject, mallocs: Sequence[Contestant], wanted: Wanted) -> None:
    from heapwright.cli import compare_maps

    drawn, maps = compare_maps.mapped(subject.process, subject.source.stacks, mallocs)
    if wanted.html:
        compare_maps.write_page(wanted.html, report, drawn, maps)
    progress("")
    if wanted.with_map:
        compare_maps.print_maps(drawn, maps)
    if wanted.html:
        click.echo(f"{wanted.html}: {wanted.html.stat().st_size:,} bytes", err=True)
