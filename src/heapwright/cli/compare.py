"""`heapwright compare`: replay one recording on several mallocs, side by side."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from heapwright.cli.mallocs import EPILOG, HELP
from heapwright.cli.options import refuse_idle
from heapwright.cli.terminal import progress, tell_notes
from heapwright.files import check_output
from heapwright.lab.contestant import caller_tuning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heapwright.lab.contestant import Contestant
    from heapwright.lab.processes import Chosen
    from heapwright.traces.events import Process, Trace
    from heapwright.traces.stacks import Stacks

DEFAULT = ("system", "ptmalloc", "hoard", "slab")  # the installed peers follow


@click.command(epilog=EPILOG)
@click.argument("trace", type=click.Path(dir_okay=False, path_type=Path))
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
    help="Look N times, at equal steps of events. With --curves or --html.",
)
@click.option("--map", "with_map", is_flag=True, help="Draw each malloc's heap as text: addresses and time.")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write each malloc's heap as a map of addresses and time, with its curves: one self-contained page.",
)
@click.option("--threads", "on_threads", is_flag=True, help="Replay on real threads, one for each recorded thread.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def command(trace: Path, allocators: tuple[str, ...], process: str | None, **wishes: Any) -> None:
    """Replay the recording TRACE on several mallocs and compare their time and memory.

    \b
    heapwright compare git.hwt -a system -a hoard -a mine.py --memory

    Without -a, it compares the C library's malloc (`system`) with ptmalloc, hoard and slab, and with those of jemalloc,
    mimalloc and tcmalloc that are installed. TRACE is a recording (.hwt), or an Android memory_replay, malloc-lab .rep
    or glibc mtrace file. If it has several processes, the one with the highest peak of live memory is replayed;
    `--process all` replays each separately, and the JSON is then a list. One thread replays the events of all threads
    in their recorded order. The mallocs take turns.

    Each repeat replays the trace in two fresh processes. `warm` is the time of a pass over pages that earlier passes
    touched: the allocator's own work. `cold` is the processor time of a first pass that writes every byte of every
    block; it includes page faults and kernel calls. Times are medians of the repeats. The spread is the distance
    between the quartiles, in percent of the median.

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
    into requested, internal, cached, free and own bytes, and the sum is checked: see docs/curves.md.

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
    wanted.check(process)
    compare_all(trace, allocators, process, wanted)


@dataclass(frozen=True)
class Wanted:
    """What a user wants to know: the options of the command."""

    repeats: int
    memory: bool
    latency: bool
    curves: bool
    samples: int
    with_map: bool
    html: Path | None
    on_threads: bool
    as_json: bool

    @property
    def looks(self) -> int:
        """The number of samples for curves; 0 for none."""
        return self.samples if self.curves or self.html else 0

    def check(self, process: str | None) -> None:
        """Refuse what has no effect, and what cannot be written, before the work begins."""
        from heapwright.lab.processes import ALL

        if self.as_json:
            refuse_idle("with --json, which always has these figures", "memory")
            refuse_idle("with --json, which has figures alone", "with_map")
        if self.on_threads:
            refuse_idle("with --threads", "latency", "curves", "samples", "with_map", "html")
        if not self.looks:
            refuse_idle("without --curves or --html", "samples")
        if (self.with_map or self.html) and process == ALL:
            raise click.UsageError("a map is of one process: choose it with --process")
        if self.html:
            check_output(self.html)


def compare_all(path: Path, allocators: tuple[str, ...], process: str | None, wanted: Wanted) -> None:
    """Replay the chosen processes of a trace, and show what was measured."""
    from heapwright.lab.naming import contestants
    from heapwright.lab.processes import ALL, choose
    from heapwright.traces.importers import open_trace

    trace = open_trace(path)
    chosen = choose(trace, process)
    mallocs = contestants(allocators or default_mallocs())
    reports = []
    for each in chosen:
        tell_notes(each.process.notes)
        found = on_threads if wanted.on_threads else measured
        known = {"trace": head(path, trace, each), "environment": caller_tuning()}
        reports.append(known | found(each.process, mallocs, wanted))
    progress("")
    show(reports, wanted.memory, wanted.as_json, is_list=process == ALL)
    if wanted.with_map or wanted.html:
        show_maps(reports[0], chosen[0].process, trace.stacks, mallocs, wanted)


def measured(process: Process, mallocs: Sequence[Contestant], wanted: Wanted) -> dict[str, Any]:
    """The part of a report with the figures of each malloc on a process's events."""
    from heapwright.lab.compare import compare

    summary = process.summary()
    figures = compare(process, mallocs, wanted.repeats, progress, times_calls=wanted.latency)
    results = [each.as_json(summary) for each in figures]
    if wanted.looks:
        add_curves(results, process, mallocs, wanted.looks)
    return {"results": results}


def on_threads(process: Process, mallocs: Sequence[Contestant], wanted: Wanted) -> dict[str, Any]:
    """The part of a report that a replay on threads finds."""
    from heapwright.cli.compare_threads import replayed_on_threads

    return replayed_on_threads(process, mallocs, wanted.repeats)


def add_curves(results: list[dict[str, Any]], process: Process, mallocs: Sequence[Contestant], samples: int) -> None:
    """Add the curves of each malloc to its figures."""
    from heapwright.lab.curves.measure import curves_of_each

    for result, found in zip(results, curves_of_each(process, mallocs, samples, progress), strict=True):
        result["curves"] = found.as_json()


def default_mallocs() -> tuple[str, ...]:
    """The mallocs that are compared unless others are named."""
    from heapwright.lab.machine_facts import installed_peers

    return (*DEFAULT, *installed_peers())


def head(path: Path, trace: Trace, chosen: Chosen) -> dict[str, Any]:
    process = chosen.process
    return {
        "file": str(path),
        "command": process.command or " ".join(trace.command),
        "processes": len(trace.processes),
        "process": chosen.number,
        "pid": process.pid,
        "is_default": chosen.is_default,
        **vars(process.summary()),
    }


def show(reports: list[dict[str, Any]], memory: bool, as_json: bool, is_list: bool) -> None:
    from heapwright.cli.compare_tables import print_tables
    from heapwright.cli.compare_threads import print_threads

    if as_json:
        click.echo(json.dumps(reports if is_list else reports[0], indent=2))
        return
    for number, report in enumerate(reports):
        if number:
            click.echo()
        (print_threads if "order" in report else print_tables)(report, memory)


def show_maps(
    report: dict[str, Any], process: Process, stacks: Stacks, mallocs: Sequence[Contestant], wanted: Wanted
) -> None:
    from heapwright.cli import compare_maps

    subject, maps = compare_maps.mapped(process, stacks, mallocs)
    if wanted.html:
        compare_maps.write_page(wanted.html, report, subject, maps)
    progress("")
    if wanted.with_map:
        compare_maps.print_maps(subject, maps)
    if wanted.html:
        click.echo(f"{wanted.html}: {wanted.html.stat().st_size:,} bytes", err=True)
