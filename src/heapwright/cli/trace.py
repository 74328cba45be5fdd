"""`heapwright trace`: what a trace holds; a part of it; several in one file."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from heapwright.cli.terminal import console, progress, say, tell_notes
from heapwright.files import check_output
from heapwright.wording import about, counted, duration, size, when_recorded

if TYPE_CHECKING:
    from heapwright.traces.events import Summary
    from heapwright.traces.sources import Source

UNITS = {"us": 1, "µs": 1, "ms": 1000, "s": 1_000_000, "": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}
TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(us|µs|ms|s|m|h|)")
RANGE = re.compile(r"(\d*):(\d*)")
OUTPUT = click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The trace to write, a .hwt file.",
)
TRACE = click.Path(path_type=Path)


@click.group(no_args_is_help=False)
def command() -> None:
    """Show what a trace holds, cut a part out of it, or merge several.

    \b
    heapwright trace info service.hwt
    heapwright trace cut service.hwt --from 10s --to 20s -o part.hwt
    heapwright trace merge front.hwt back.hwt -o both.hwt

    All three take traces of any format that heapwright reads. A .hwt file is read chunk by chunk, so it may be larger
    than memory.
    """


class Moment(click.ParamType[int]):
    """A time since the recording began, with a unit; in microseconds."""

    name = "time"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        match = TIME.fullmatch(str(value))
        if not match:
            self.fail(f"{value!r} is no time such as 10s, 1.5s, 200ms or 2m", parameter, context)
        return round(float(match[1]) * UNITS[match[2]])


class EventRange(click.ParamType[tuple[int, int]]):
    """Two event numbers around a colon, of which each may be left out."""

    name = "range"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> tuple[int, int]:
        from heapwright.traces.cut import END

        match = RANGE.fullmatch(str(value))
        if not match:
            self.fail(f"{value!r} is no range such as 1000:2000, :2000 or 1000:", parameter, context)
        first, end = int(match[1] or 0), int(match[2] or END)
        if first >= end:
            self.fail(f"{value!r} is empty", parameter, context)
        return first, end


# --- info


@command.command()
@click.argument("trace", type=TRACE)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(trace: Path, as_json: bool) -> None:
    """Show what TRACE holds: the run, its processes and threads, times, call stacks, and what was repaired.

    \b
    heapwright trace info service.hwt

    Bytes are requested bytes. A peak is the moment when the most of them are live in a process.
    """
    from heapwright.traces.sources import opened

    with opened(trace) as source:
        facts = facts_of(trace, source)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        show(facts)


def facts_of(path: Path, source: Source) -> dict[str, Any]:
    """The header without the places of its parts, and what the rest of the file says."""
    from heapwright.traces.sources import duration as microseconds

    kept = {name: value for name, value in source.header.items() if name not in ("index", "stacks")}
    stacks = source.stacks
    kept["processes"] = [with_estimates(source, place) for place in range(len(kept["processes"]))]
    return {
        "file": str(path),
        "file_bytes": path.stat().st_size,
        **kept,
        "duration_us": microseconds(source),
        "call_stacks": len(stacks) - 1,
        "frames": len(stacks.frames),
        "requested": requested_of(source),
    }


def with_estimates(source: Source, place: int) -> dict[str, Any]:
    """The facts about a process. For a sample, live memory is estimated."""
    from heapwright.traces.events import Events
    from heapwright.traces.sampling import live_figures

    facts: dict[str, Any] = source.header["processes"][place]
    if not facts["sample"]:
        return facts
    events = Events.join(list(source.chunks(place)))
    return facts | {"estimates": live_figures(events, facts["sample"])}


def requested_of(source: Source) -> dict[str, float] | None:
    """The bytes that a sample stands for, with their standard error; None if all requests are recorded."""
    from heapwright.traces.sampling import requested

    if not any(process["sample"] for process in source.header["processes"]):
        return None
    estimate = requested(source)
    return {"bytes": round(estimate.value), "error": round(estimate.error)}


def show(facts: dict[str, Any]) -> None:
    from heapwright.cli.tables import print_table

    out = console(120)
    summary, processes = facts["summary"], facts["processes"]
    per_event = f" ({facts['file_bytes'] / summary['events']:.2f} for each event)" if summary["events"] else ""
    head = {
        "program": " ".join(facts["command"]) or facts["program"],
        "source": facts["source"],
        "date": facts["date"],
        "file": f"{facts['file_bytes']:,} bytes{per_event}",
        "times": f"up to {duration(facts['duration_us'] / 1e6)}" if facts["duration_us"] else "none",
        "call stacks": f"{facts['call_stacks']:,}, made of {counted(facts['frames'], 'frames')}"
        if facts["frames"]
        else "none",
        "recorded": when_recorded(facts["recorded"]) if "recorded" in facts else "",
        "sample": sample_text(facts),
    }
    say(out, f"{facts['file']}: {counted(summary['events'], 'events')} of {counted(len(processes), 'processes')}")
    for name, value in head.items():
        if value:
            say(out, f"  {name:<12} {value}")
    out.print()
    print_table(out, HEADS, [row_of(number, process) for number, process in enumerate(processes, 1)], words=2)
    for number, process in enumerate(processes, 1):
        show_details(number, process)


def sample_text(facts: dict[str, Any]) -> str:
    """What a sample is, in words; nothing if all requests are recorded."""
    if not facts["requested"]:
        return ""
    rates = sorted({process["sample"] for process in facts["processes"] if process["sample"]})
    every = " or ".join(size(rate) for rate in rates)
    asked = about(facts["requested"]["bytes"], facts["requested"]["error"])
    return f"a request in every {every} on average; {asked} were asked for; bytes and blocks below are estimates"


HEADS = (
    "process",
    "command",
    "PID",
    "threads",
    "events",
    "requests",
    "frees",
    "failed",
    "peak bytes",
    "blocks",
    "end bytes",
    "blocks",
)


def row_of(number: int, process: dict[str, Any]) -> list[str]:
    summary = process["summary"] | process.get("estimates", {})
    requests = summary["allocs"] + summary["zeroed_allocs"] + summary["reallocs"]
    figures = [
        summary[name] for name in ("peak_live_bytes", "live_blocks_at_peak", "live_bytes_at_end", "live_blocks_at_end")
    ]
    counts = [summary["threads"], summary["events"], requests, summary["deallocs"], summary["failed"], *figures]
    return [str(number), process["command"] or "?", str(process["pid"] or "-"), *(f"{count:,}" for count in counts)]


def show_details(number: int, process: dict[str, Any]) -> None:
    """Print the names of a process's threads, and what reading it repaired."""
    if any(process["threads"]):
        names = (f"{place} {name}" for place, name in enumerate(process["threads"]) if name)
        click.echo(f"  process {number}, threads: {', '.join(names)}")
    if process["notes"]:
        click.echo(f"  process {number}:", err=True)
        tell_notes(process["notes"])


# --- cut


@command.command()
@click.argument("trace", type=TRACE)
@OUTPUT
@click.option("--from", "first", type=Moment(), help="Leave out what happened before: 10s, 1.5s, 200ms, 2m.")
@click.option("--to", "end", type=Moment(), help="Leave out what happened from then on.")
@click.option(
    "--events", type=EventRange(), metavar="A:B", help="Keep events A to B - 1 of each process, counted from 0."
)
@click.option("--threads", metavar="T,T…", help="Keep the blocks that these threads started, by number or name.")
@click.option(
    "--process",
    "wanted",
    multiple=True,
    metavar="PID|N",
    help="Keep this process, by PID or position. May be repeated.",
)
def cut(
    trace: Path,
    output: Path,
    first: int | None,
    end: int | None,
    events: tuple[int, int] | None,
    threads: str | None,
    wanted: tuple[str, ...],
) -> None:
    """Cut a part out of TRACE. All conditions apply together.

    \b
    heapwright trace cut service.hwt --from 10s --to 20s -o part.hwt
    heapwright trace cut service.hwt --threads 0,worker --process 4711 -o worker.hwt

    Blocks that are live where the part begins become allocations at its start. A thread's blocks stay until they are
    freed, by whichever thread. Times stay those of the whole recording.
    """
    from heapwright.traces.cut import END, Part
    from heapwright.traces.cut import cut as cut_out
    from heapwright.traces.sources import opened

    if first is None and end is None and not (events or threads or wanted):
        raise click.UsageError("say what to keep: --from, --to, --events, --threads or --process")
    if end is not None and end <= (first or 0):
        raise click.UsageError("--to must be later than --from")
    check_written(output)
    with opened(trace) as source:
        names = frozenset(name.strip() for name in (threads or "").split(",") if name.strip())
        part = Part(first or 0, END if end is None else end, *(events or (0, END)), names, places(source, wanted))
        progress(f"cutting {trace}")
        summary = cut_out(source, output, part)
    tell(output, summary)


def places(source: Source, wanted: tuple[str, ...]) -> frozenset[int]:
    """The places of the wanted processes, from 0."""
    from heapwright.report import source as reported

    described = reported.Source(source)
    return frozenset(place for which in wanted for place in reported.chosen(described, which))


# --- merge


@command.command()
@click.argument("traces", metavar="TRACE…", nargs=-1, required=True, type=TRACE)
@OUTPUT
def merge(traces: tuple[Path, ...], output: Path) -> None:
    """Put the processes of several traces into one.

    \b
    heapwright trace merge front.hwt back.hwt -o both.hwt

    If all traces have dates and times, times count from the beginning of the earliest one.
    """
    from heapwright.traces.merge import merge as merge_all
    from heapwright.traces.sources import opened

    check_written(output)
    with ExitStack() as files:
        sources = [files.enter_context(opened(trace)) for trace in traces]
        progress(f"merging {counted(len(traces), 'traces')}")
        summary = merge_all(sources, output)
    tell(output, summary)


def check_written(output: Path) -> None:
    """Raise an error unless a trace can be written there."""
    from heapwright.traces.format import SUFFIX

    if output.suffix != SUFFIX:
        raise click.UsageError(f"the output is a .hwt file, not {output.name}; convert that to other formats")
    check_output(output)


def tell(output: Path, summary: Summary) -> None:
    progress("")
    size = output.stat().st_size
    click.echo(
        f"{output}: {counted(summary.events, 'events')}, peak live memory {summary.peak_live_bytes:,} bytes in "
        f"{counted(summary.live_blocks_at_peak, 'blocks')}; {size:,} bytes",
        err=True,
    )
