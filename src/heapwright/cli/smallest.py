"""`heapwright smallest`: the smallest heap in which a recording runs, for each malloc."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from heapwright.cli.mallocs import EPILOG, HELP
from heapwright.cli.one_process import AS_JSON, PROCESS, TRACE, opened, show_report
from heapwright.cli.terminal import progress

if TYPE_CHECKING:
    from heapwright.lab.smallest import Smallest
    from heapwright.traces.events import Events

WIDTH = 120  # columns, if the terminal does not give a width


@click.command(epilog=EPILOG)
@TRACE
@click.option("-a", "--allocator", "allocators", multiple=True, help=f"{HELP} May be repeated.")
@PROCESS
@AS_JSON
def command(trace: Path, allocators: tuple[str, ...], process: str | None, as_json: bool) -> None:
    """Find the smallest heap in which each malloc serves all requests of the recording TRACE.

    \b
    heapwright smallest demo.hwt -a system -a kr -a mine.py

    The kernel limits what it gives to the malloc, in pages: its private writable memory, by the break and by mappings
    (RLIMIT_DATA). The limit is the same for all mallocs, whether they touch the memory or only reserve it. mimalloc,
    for example, reserves 32 MiB at a time. What a malloc took when it was loaded counts, too. The smallest heap is
    found by bisection. It is run again, and so is the limit one page below, which fails. Then up to 100 lower limits
    are tried, because a malloc may fail with more memory and succeed with less. Limits that do so are listed.

    Without -a, the mallocs are those of `heapwright compare`. One thread replays the events of all threads in their
    recorded order. `heapwright blame --limit BYTES` shows why a smaller heap fails.

    \b
    heapwright smallest demo.hwt -a kr -a dlmalloc --json
    """
    from heapwright.cli.compare import default_mallocs
    from heapwright.lab.naming import contestants
    from heapwright.lab.smallest import smallest
    from heapwright.traces.flat import flatten

    subject = opened(trace, process)
    mallocs = contestants(allocators or default_mallocs())
    flat = flatten(subject.events)
    found = [smallest(flat, each, progress) for each in mallocs]
    progress("")
    show_report({**subject.head(), "results": [as_dict(each, subject.events) for each in found]}, as_json, show)


def as_dict(found: Smallest, events: Events) -> dict[str, Any]:
    """What was found for one malloc, with the request that one page less refuses."""
    if found.error:
        return {"allocator": found.allocator, "error": found.error}
    return {
        "allocator": found.allocator,
        "error": None,
        "smallest_bytes": found.bytes_at(found.pages),
        "before_bytes": found.before,
        "safe_bytes": found.bytes_at(found.safe),
        "fails_below": refusal(found, events),
        "tried_below_bytes": [found.bytes_at(each) for each in found.below],
        "failed_above_bytes": [found.bytes_at(each) for each in found.above],
        "tries": found.tries,
    }


def refusal(found: Smallest, events: Events) -> dict[str, Any] | None:
    """The first request that the malloc does not serve with one page less; None if there is no page less."""
    from heapwright.lab.requests import replayed, request_of

    if found.fails is None:
        return None
    return {**request_of(events, int(replayed(events)[found.fails.done])), "crash": found.fails.crash}


# --- the table


def show(report: dict[str, Any]) -> None:
    from heapwright.cli.compare_tables import title
    from heapwright.cli.tables import print_table
    from heapwright.cli.terminal import console, say

    out = console(WIDTH)
    title(out, report["trace"], report["environment"])
    peak = report["trace"]["peak_live_bytes"]
    rows = [row(each, peak) for each in report["results"] if not each["error"]]
    if rows:
        heads = ("allocator", "smallest heap", "× live", "of it before", "limits below", "one page less fails at")
        print_table(out, heads, rows)
    for each in report["results"]:
        for line in remarks(each):
            say(out, line)


def row(result: dict[str, Any], peak: int) -> tuple[str, ...]:
    size = result["smallest_bytes"]
    return (
        result["allocator"],
        f"{size:,}",
        f"{size / peak:.2f}" if peak else "-",
        f"{result['before_bytes']:,}",
        f"{len(result['tried_below_bytes']):,} fail",
        refused(result["fails_below"]),
    )


def refused(request: dict[str, Any] | None) -> str:
    if request is None:
        return "-"
    how = f": {request['crash']}" if request["crash"] else ""
    return f"event {request['event']:,}, {request['call']} of {request['bytes']:,}{how}"


def remarks(result: dict[str, Any]) -> list[str]:
    """A line if the malloc could not be measured, or if its success is not monotonic."""
    from heapwright.wording import counted

    if result["error"]:
        return [f"{result['allocator']} is not measured: it {result['error']}"]
    above = result["failed_above_bytes"]
    if not above:
        return []
    few = ", ".join(f"{each:,}" for each in above[:5]) + (" ..." if len(above) > 5 else "")
    what = f"{counted(len(above), 'larger heaps')} that {'were' if len(above) > 1 else 'was'} tried"
    return [f"{result['allocator']} fails in {what}: {few}; from {result['safe_bytes']:,} bytes on, all ran"]
