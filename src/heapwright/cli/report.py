"""`heapwright report`: what a program asked for, who asked, and when."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from heapwright.cli.options import refuse_idle
from heapwright.cli.terminal import console, progress, tell_notes
from heapwright.files import check_output, written_whole

if TYPE_CHECKING:
    from heapwright.report.profile import Options, Profile
    from heapwright.report.source import Source

WIDTH = 100  # columns, if the terminal does not give a width
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
MOMENT = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h)?")


@click.command()
@click.argument("trace", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--process",
    metavar="PID|N|all",
    help="Report on this process, by PID or position. Default: the one with the highest peak of live memory.",
)
@click.option(
    "--at",
    default="peak",
    show_default=True,
    metavar="peak|end|TIME",
    help="The moment whose live blocks are shown: 1.5s, 200ms, or in a trace without times the number of an event.",
)
@click.option(
    "--top", default=10, show_default=True, type=click.IntRange(1, 1000), metavar="N", help="Rows of a table."
)
@click.option(
    "--temporary",
    default=1,
    show_default=True,
    type=click.IntRange(0),
    metavar="N",
    help="A block is temporary if its thread makes at most N other requests before it is freed.",
)
@click.option("--all-frames", is_flag=True, help="Show the functions of the Python interpreter in call stacks, too.")
@click.option(
    "--against",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="TRACE",
    help="Compare with an earlier recording: what grew.",
)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the report as one self-contained page, in which a range of time can be chosen.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(
    trace: Path,
    process: str | None,
    at: str,
    top: int,
    temporary: int,
    all_frames: bool,
    against: Path | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Report what the program recorded in TRACE asked its allocator for, who asked, and when.

    \b
    heapwright report demo.hwt
    heapwright report demo.hwt --at 2.5s --top 20
    heapwright report new.hwt --against old.hwt --html report.html

    The first lines say what is remarkable. Then come the curve of live bytes, the live blocks at the peak, what was
    never freed, all requests, temporary blocks, blocks that grew, the sizes and lifetimes, and the threads. Sizes are
    requested bytes.

    In a recording with call sites, each table names the function that asked: the innermost Python function, or else
    the innermost function that does not belong to a language's library. Other traces have tables by size.

    TRACE may be of any kind that `heapwright compare` reads. A `.hwt` file is read in pieces, so its length does not
    matter.
    """
    from heapwright.report.page import make_page
    from heapwright.report.source import chosen, open_source

    if against and process == "all":
        raise click.UsageError("--against compares one process: choose it with --process")
    if html:
        check_output(html)
        if not as_json:
            refuse_idle("with --html, whose page shows more", "at", "top")
    with open_source(trace) as source:
        numbers = chosen(source, process)
        options = {
            number: replace(options_of(source, number, at, temporary), all_frames=all_frames) for number in numbers
        }
        profiles = {number: profile_of(source, number, options[number]) for number in numbers}
        if process != "all":  # of several processes, some end early
            refuse_beyond(profiles[numbers[0]], at)
        comparison = compare(profiles[numbers[0]], against, with_tree=bool(html)) if against else None
        if html:
            write_page(html, make_page(trace.name, source, list(profiles.values()), comparison))
        if comparison:
            comparison.pop("tree", None)  # it is the page's
        reports = [report_of(profiles[number], top) for number in numbers]
        listed = process_rows(source, top)
    progress("")
    if as_json:
        whole = [each | ({"against": comparison} if comparison else {}) for each in reports]
        click.echo(json.dumps(whole if process == "all" else whole[0], indent=2))
    elif html:
        click.echo(f"{html}: {html.stat().st_size:,} bytes", err=True)
    else:
        show(reports, listed, comparison, top)


def profile_of(source: Source, number: int, options: Options) -> Profile:
    from heapwright.report.profile import profile

    progress(f"process {number + 1} of {len(source.processes)}")
    tell_notes(source.processes[number].notes)
    return profile(source, number, options)


def report_of(profile: Profile, top: int) -> dict[str, Any]:
    """The findings on one process, with their remarks."""
    from heapwright.report.findings import findings
    from heapwright.report.remarks import remarks

    found = findings(profile, top)
    return {"remarks": [each._asdict() for each in remarks(found)], **found}


def compare(now: Profile, path: Path, *, with_tree: bool) -> dict[str, Any]:
    """What grew since an earlier recording: its process with the highest peak is compared."""
    from heapwright.report.against import compared
    from heapwright.report.difference import difference
    from heapwright.report.profile import profile
    from heapwright.report.source import chosen, open_source

    with open_source(path) as source:
        before = profile(source, chosen(source, None)[0], now.options)
        tree = {"tree": difference(now, before)} if with_tree else {}
        return compared(now, before, path.name) | tree


def write_page(path: Path, page: str) -> None:
    with written_whole(path) as file:
        file.write(page.encode())


def options_of(source: Source, number: int, at: str, temporary: int) -> Options:
    """The options of a profile. Raises UsageError if `at` is no moment of the trace."""
    from heapwright.report.profile import EVENTS, Options, axis_of

    if at in ("peak", "end"):
        return Options(temporary, None if at == "peak" else (1 << 63) - 1)
    found = MOMENT.fullmatch(at)
    if not found:
        raise click.UsageError(f"--at '{at}' is no moment: write peak, end, 1.5s, 200ms or 3m")
    if axis_of(source, number) == EVENTS:
        if found[2] or "." in at:
            raise click.UsageError(f"--at '{at}': the trace has no times: give the number of an event")
        return Options(temporary, int(at) - 1)
    return Options(temporary, round(float(found[1]) * UNITS[found[2] or "s"] * 1e6))


def refuse_beyond(profile: Profile, at: str) -> None:
    """Raise UsageError for a moment after the process's last event."""
    if at not in ("peak", "end") and (profile.options.at or 0) > profile.end.x:
        raise click.UsageError(f"--at '{at}' is after the end at {profile.when(profile.end.x)}")


def process_rows(source: Source, top: int) -> list[dict[str, Any]]:
    """The processes with the highest peaks."""
    rows: list[dict[str, Any]] = [
        {
            "number": number,
            "pid": each.pid,
            "command": each.command,
            "events": each.summary.events,
            "peak": each.summary.peak_live_bytes,
        }
        for number, each in enumerate(source.processes, 1)
    ]
    return sorted(rows, key=lambda row: -row["peak"])[:top]


def show(
    reports: list[dict[str, Any]], processes: list[dict[str, Any]], comparison: dict[str, Any] | None, top: int
) -> None:
    from heapwright.cli import report_text

    out = console(WIDTH)
    for number, report in enumerate(reports):
        if number:
            out.print()
        said = [comparison["text"]] if comparison else []
        report_text.print_report(out, report, [*said, *(each["text"] for each in report["remarks"])])
    if comparison:
        report_text.against(out, comparison, top)
    if len(processes) > 1:
        report_text.processes(out, processes)
