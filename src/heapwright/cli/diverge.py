"""`heapwright diverge`: the first request of a recording that two mallocs serve at different places."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from heapwright.cli.mallocs import EPILOG, HELP
from heapwright.cli.one_process import AS_JSON, PROCESS, TRACE, opened, show_report
from heapwright.cli.terminal import progress

if TYPE_CHECKING:
    from rich.console import Console

    from heapwright.lab.diverge import Divergence
    from heapwright.traces.events import Events

WIDTH = 100  # columns, if the terminal does not give a width
PAIR = 2


@click.command(epilog=EPILOG)
@TRACE
@click.option("-a", "--allocator", "allocators", multiple=True, help=f"{HELP} Give two.")
@PROCESS
@AS_JSON
def command(trace: Path, allocators: tuple[str, ...], process: str | None, as_json: bool) -> None:
    """Find the first request of the recording TRACE that two mallocs serve at different places.

    \b
    heapwright diverge demo.hwt -a system -a ptmalloc

    Places are relative to the start of the heap, or for mapped memory to the page of the first mapped block. For both
    mallocs, the live blocks around the new one are listed. Variants of one allocator show the effect of a constant:

    \b
    heapwright diverge demo.hwt -a 'hoard[K=4]' -a hoard
    """
    from heapwright.lab.diverge import diverge
    from heapwright.lab.naming import contestants
    from heapwright.lab.sample import RunError
    from heapwright.traces.flat import flatten

    if len(allocators) != PAIR:
        raise click.UsageError("two mallocs diverge: give -a twice")
    subject = opened(trace, process)
    one, other = contestants(allocators)
    try:
        found = diverge(flatten(subject.events), (one, other), progress)
    except RunError as error:
        raise click.ClickException(f"a replay {error}") from error
    progress("")
    report = {**subject.head(), **as_dict(found, subject.events)}
    show_report(report, as_json, partial(show, names=[one.name, other.name]))


def as_dict(found: Divergence, events: Events) -> dict[str, Any]:
    """The findings; events have their numbers in the recording."""
    from heapwright.lab.requests import replayed, request_of

    indices = replayed(events)
    sides = [asdict(each) for each in found.sides]
    for neighbour in (each for side in sides for each in side["neighbours"]):
        neighbour["event"] = int(indices[neighbour["event"]]) + 1
    return {
        "first": None if found.event is None else request_of(events, int(indices[found.event])),
        "requests": found.requests,
        "different": found.different,
        "sides": sides,
    }


# --- the text


def show(report: dict[str, Any], names: list[str]) -> None:
    from heapwright.cli.compare_tables import title
    from heapwright.cli.terminal import console, say
    from heapwright.wording import counted, share

    out = console(WIDTH)
    title(out, report["trace"], report["environment"])
    first = report["first"]
    if first is None:
        say(out, f"{names[0]} and {names[1]} serve {counted(report['requests'], 'requests')} at the same places")
        return
    different = f"{share(report['different'], report['requests'])} of {counted(report['requests'], 'requests')}"
    asked = f"{first['call']} of {counted(first['bytes'], 'bytes')}"
    say(out, f"they differ first at event {first['event']:,}, {asked}; in all, {different} have different places")
    for each in report["sides"]:
        picture(out, each, first)


def picture(out: Console, side: dict[str, Any], first: dict[str, Any]) -> None:
    """The blocks around the new one, in the order of their addresses."""
    from heapwright.cli.tables import print_table

    out.print(f"\n{side['allocator']}", style="bold", markup=False)
    if side["relative"] is None:
        out.print("returns null", markup=False)
        return
    place = "a mapping" if side["is_mapped"] else "the heap"
    new = {"event": first["event"], "relative": side["relative"], "size": first["bytes"]}
    rows = sorted([*side["neighbours"], new], key=lambda each: each["relative"])
    cells = [[marked(each, new), f"{each['relative']:#x}", f"{each['size']:,}"] for each in rows]
    print_table(out, ("block of event", f"place in {place}", "bytes"), cells)


def marked(row: dict[str, Any], new: dict[str, Any]) -> str:
    return f"{row['event']:,}{'  <- new' if row is new else ''}"
