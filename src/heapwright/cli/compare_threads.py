"""`heapwright compare --threads`: a replay on real threads, and what is printed of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from heapwright.cli.compare_tables import WIDTH, course, number, over, time_cells, title, usage
from heapwright.cli.tables import print_table
from heapwright.cli.terminal import console, progress, say
from heapwright.wording import counted, duration, share

if TYPE_CHECKING:
    from rich.console import Console

    from heapwright.lab.contestant import Contestant
    from heapwright.traces.events import Process

TIMES = ("allocator", "warm", "± spread", "× best", "processor", "idle", "waited", "events/s")
PEAKS = ("peak heap", "utilization", "resident")


def replayed_on_threads(process: Process, mallocs: Sequence[Contestant], repeats: int) -> dict[str, Any]:
    """The part of a report that a replay on threads finds."""
    from heapwright.lab.causal.figures import compare_on_threads
    from heapwright.lab.causal.plan import plan

    progress("planning the threads")
    made, summary = plan(process.events, process.threads), process.summary()
    figures = compare_on_threads(made, mallocs, repeats, progress)
    return {"order": made.order.as_json(), "results": [found.as_json(summary) for found in figures]}


def print_threads(report: dict[str, Any], memory: bool) -> None:
    """Print what was replayed, how much of it was ordered, times and peaks, and the memory if it was asked for."""
    out = console(WIDTH)
    title(out, report["trace"], report["environment"])
    results = report["results"]
    told_order(out, report["trace"]["events"] - report["trace"]["failed"], report["order"], results)
    best = min(result["seconds"] for result in results)
    print_table(out, (*TIMES, *PEAKS), [row(result, best) for result in results])
    for result in results:
        if result["failures"]:
            say(out, f"{result['allocator']} refused {counted(result['failures'], 'requests')}")
    if memory:
        course(out, results)
        usage(out, results)


def told_order(out: Console, events: int, order: dict[str, int], results: list[dict[str, Any]]) -> None:
    """Say how much order the replay imposed on the threads, and how near it kept to the recorded curve."""
    say(
        out,
        f"{counted(order['threads'], 'threads')}, at most {order['alive']:,} at one time, in causal order: "
        f"{counted(order['handovers'], 'events')} ({share(order['handovers'], events)}) "
        f"{'needs' if order['handovers'] == 1 else 'need'} a block from another thread",
    )
    chain, held = order["chain"], order["held_chain"]
    say(
        out,
        f"the longest chain of events that need each other has {share(chain, events)} of all events; with live memory "
        f"kept to the recorded curve, {share(held, events)}: at best {events / held:.1f} at a time",
    )
    beyond = max(result["beyond_curve"] for result in results)
    say(out, f"live memory was at most {beyond:.2%} above the recorded curve")


def row(result: dict[str, Any], best: float) -> tuple[str, ...]:
    waited = result["waited_for_blocks"]["seconds"] + result["waited_for_sections"]["seconds"]
    utilization = result["utilization"]
    return (
        result["allocator"],
        *time_cells(result, over(result["seconds"], best)),
        duration(result["processor"]["seconds"]),
        duration(result["idle"]["seconds"]),
        duration(waited),
        f"{result['events_per_second'] / 1e6:.1f} M",
        number(result["peak_heap_bytes"]),
        "-" if utilization is None else f"{utilization:.1%}",
        number(result["peak_resident_bytes"]),
    )
