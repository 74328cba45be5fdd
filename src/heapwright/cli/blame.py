"""`heapwright blame`: which live blocks hold back the memory of a heap, at a moment or where a request fails."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from heapwright.cli.mallocs import EPILOG, HELP
from heapwright.cli.one_process import AS_JSON, PROCESS, TRACE, opened, show_report
from heapwright.cli.options import Size, refuse_idle
from heapwright.cli.terminal import progress
from heapwright.wording import duration

if TYPE_CHECKING:
    from heapwright.lab.contestant import Contestant
    from heapwright.report.blame_trace import Replay

MAX_ROWS = 64
PERCENT = re.compile(r"(100|\d{1,2}(?:\.\d+)?)%")


@click.command(epilog=EPILOG)
@TRACE
@click.option(
    "-a", "--allocator", "allocators", multiple=True, default=("system",), show_default=True, help=f"{HELP} Repeatable."
)
@click.option(
    "--at",
    default="peak",
    show_default=True,
    metavar="peak|end|TIME|EVENT|N%",
    help="The moment to look at: 1.5s, 200ms, 50% of the events, or in a trace without times the number of an event.",
)
@click.option(
    "--limit",
    type=Size(),
    metavar="BYTES",
    help="Replay in a heap of at most so many bytes, such as 6000000, 5860K or 6M, and look where a request fails.",
)
@click.option(
    "--by",
    type=click.Choice(["site", "size", "age"]),
    help="Group blocks by who asked for them, by size or by age. Default: site if it was recorded, otherwise size.",
)
@click.option(
    "--top",
    default=10,
    show_default=True,
    type=click.IntRange(1, MAX_ROWS),
    metavar="N",
    help="Rows of the table of groups.",
)
@PROCESS
@AS_JSON
def command(
    trace: Path,
    allocators: tuple[str, ...],
    at: str,
    limit: int | None,
    by: str | None,
    top: int,
    process: str | None,
    as_json: bool,
) -> None:
    """Show which live blocks of the recording TRACE hold back a malloc's memory.

    \b
    heapwright blame demo.hwt -a system -a kr --at end

    A replay stops at the moment, by default when the most bytes are live. A page can go back to the kernel only when no
    block is left on it. The table has the groups of blocks that hold back the most. `holds back` is a group's part of
    the free bytes on its pages, in proportion to its bytes there. `own pages` are those on which no other group has a
    block: they are free when the group is. `gives back` is measured: a copy of the process frees the group and asks the
    malloc to return memory, and the kernel counts. `hole then` is the largest hole without the group.

    With --limit, the kernel refuses memory beyond so many bytes, and the replay stops at the first request that fails.
    The largest holes are listed with the blocks on both sides. The bytes are those of `heapwright smallest`.

    Free bytes are all that lie outside of blocks, also headers and the malloc's own records.

    \b
    heapwright blame demo.hwt -a kr --limit 5M
    heapwright blame demo.hwt -a jemalloc --at 50% --by age --json
    """
    from heapwright.cli.blame_text import show
    from heapwright.lab.naming import contestants
    from heapwright.report.blame_trace import SITE, SIZE, Options, Replay

    if limit is not None:
        refuse_idle("with --limit, which stops at the first request that fails", "at")
    subject = opened(trace, process)
    replay = Replay(subject.trace, subject.chosen.process)
    if by == SITE and not replay.callers.has_sites:
        raise click.UsageError("--by site: the trace has no call sites; record them with --call-sites")
    by = by or (SITE if replay.callers.has_sites else SIZE)
    stop = len(replay.flat) if limit is not None else stop_at(at, replay)
    results = [
        result_of(replay, each, limit, lambda most: Options(stop, most, by, top)) for each in contestants(allocators)
    ]
    progress("")
    show_report({**subject.head(), "limit": limit, "results": results}, as_json, show)


def result_of(replay: Replay, contestant: Contestant, limit: int | None, options: Any) -> dict[str, Any]:
    """The findings on one malloc, or the reason why there are none."""
    from heapwright.lab.sample import RunError
    from heapwright.lab.smallest import held_before
    from heapwright.native.jobs.hold_job import NO_LIMIT
    from heapwright.report.blame_trace import blame

    progress(f"{contestant.name}: replaying")
    try:
        if limit is None:
            return {"error": None, **blame(replay, contestant, options(NO_LIMIT))}
        before = held_before(replay.flat, contestant)
        if limit < before:
            raise RunError(f"takes {before:,} bytes when it is loaded: choose a larger limit")
        return {"error": None, **blame(replay, contestant, options(limit - before))}
    except RunError as error:
        return {"allocator": contestant.name, "error": str(error)}


def stop_at(at: str, replay: Replay) -> int:
    """The number of events until the moment that `at` names. Raises UsageError if it names none."""
    from heapwright.cli.report import MOMENT

    named = {"peak": replay.flat.peak, "end": len(replay.flat)}
    if at in named:
        return named[at]
    part, moment = PERCENT.fullmatch(at), MOMENT.fullmatch(at)
    if part:
        return round(len(replay.flat) * float(part[1]) / 100)
    if not moment:
        raise click.UsageError(f"--at '{at}' is no moment: write peak, end, 50%, 1.5s, 200ms or 3m")
    return stop_at_time(at, moment, replay) if replay.events.has_times else stop_at_event(at, moment, replay)


def stop_at_time(at: str, moment: re.Match[str], replay: Replay) -> int:
    from heapwright.cli.report import UNITS
    from heapwright.traces.arrays import np

    times = replay.events.time - replay.origin
    time = round(float(moment[1]) * UNITS[moment[2] or "s"] * 1e6)
    if time > times[-1]:
        raise click.UsageError(f"--at '{at}' is after the end at {duration(times[-1] / 1e6)}")
    return int(np.searchsorted(times, time, "right"))


def stop_at_event(at: str, moment: re.Match[str], replay: Replay) -> int:
    from heapwright.traces.arrays import np

    if moment[2] or "." in at:
        raise click.UsageError(f"--at '{at}': the trace has no times: give the number of an event")
    if int(at) > len(replay.process.events):
        raise click.UsageError(f"--at '{at}' is after the end at event {len(replay.process.events):,}")
    return int(np.searchsorted(replay.indices, int(at)))
