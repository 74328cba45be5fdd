"""The tables that `heapwright compare` prints."""

from __future__ import annotations

from collections.abc import Callable
from statistics import geometric_mean
from typing import TYPE_CHECKING, Any

from heapwright.cli.curves_text import print_curves
from heapwright.cli.mallocs import environment_line
from heapwright.cli.tables import print_table
from heapwright.cli.terminal import console, say
from heapwright.wording import counted, duration

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 120  # columns, if the terminal does not give a width
TIMES = ("allocator", "warm", "± spread", "× {}", "cold", "± spread", "× {}")
PEAKS = ("events/s", "peak heap", "utilization", "resident")
BYTES = ("requested", "internal", "external", "free", "largest_free", "held")
Figure = Callable[[dict[str, Any]], "float | None"]
MEANS: dict[str, Figure] = {
    "warm": lambda result: result["seconds"],
    "cold": lambda result: result["cold"]["seconds"],
    "peak heap": lambda result: result["peak_heap_bytes"],
    "resident": lambda result: result["peak_resident_bytes"],
}
QUANTILES = ("p50", "p90", "p99", "p99.9", "max")


def print_tables(report: dict[str, Any], memory: bool) -> None:
    """Print what was replayed, the times and peaks, and then the tables that were asked for."""
    out = console(WIDTH)
    title(out, report["trace"], report["environment"])
    results = [each for each in report["results"] if not each["error"]]
    shared(out, report, results)
    if results:
        times(out, results, shares_time(report, results))
    for each in report["results"]:
        if each["error"]:
            say(out, f"{each['allocator']} is not measured: {each['error']}")
    if memory:
        course(out, results)
        usage(out, results)
    if any(result["latency"] for result in results):
        latency(out, results)
    with_curves = [result for result in results if "curves" in result]
    if with_curves:
        print_curves(out, with_curves, report["steps"])
    for result in results:
        if "no_curves" in result:
            say(out, result["no_curves"])


def title(out: Console, trace: dict[str, Any], environment: dict[str, str]) -> None:
    say(out, f"{trace['command'] or trace['file']}{place(trace)}")
    say(out, events_line(trace))
    if environment:
        say(out, environment_line(environment))


def events_line(trace: dict[str, Any]) -> str:
    """How much was replayed."""
    return (
        f"{counted(trace['events'], 'events')} of {counted(trace['threads'], 'threads')}; at the peak "
        f"{trace['peak_live_bytes']:,} bytes are live in {counted(trace['live_blocks_at_peak'], 'blocks')}"
    )


def place(trace: dict[str, Any]) -> str:
    """Which of several processes this is, and why it was chosen."""
    if trace["processes"] == 1:
        return ""
    which = f"process {trace['process']} of {trace['processes']}, PID {trace['pid']}"
    return f" ({which}: the highest peak of live memory)" if trace["is_default"] else f" ({which})"


def number(of: float | None) -> str:
    return "-" if of is None else f"{of:,.0f}"


# --- times and peaks


def shares_time(report: dict[str, Any], results: list[dict[str, Any]]) -> bool:
    """Whether times are to be compared with those of `system` in the same repeat, because replays ran side by side."""
    return (report["jobs"] > 1 or bool(report["on"])) and all(result["to_system"] for result in results)


def shared(out: Console, report: dict[str, Any], results: list[dict[str, Any]]) -> None:
    """Say what times mean that were measured side by side, or on several machines."""
    hosts = sorted({host for result in results for host in result["hosts"]})
    if report["on"]:
        machines = ", ".join(hosts) or "-"
        say(out, f"measured on {report['on']} ({machines}): `system` is the C library there")
    elif report["jobs"] > 1:
        say(
            out,
            f"{report['jobs']} replays at a time share the machine: times are longer than alone, bytes are the same",
        )
    if shares_time(report, results):
        say(out, "× system: the time divided by that of system in the same repeat; the median of all repeats")
    elif report["on"] or report["jobs"] > 1:
        say(out, "add `-a system` for ratios within each repeat; these times may not be comparable")


def times(out: Console, results: list[dict[str, Any]], to_system: bool) -> None:
    if to_system:
        ratios = [(each["to_system"]["warm"]["ratio"], each["to_system"]["cold"]["ratio"]) for each in results]
    else:
        warm = min(result["seconds"] for result in results)
        cold = min(result["cold"]["seconds"] for result in results)
        ratios = [(over(each["seconds"], warm), over(each["cold"]["seconds"], cold)) for each in results]
    heads = [each.format("system" if to_system else "best") for each in TIMES]
    print_table(out, (*heads, *PEAKS), [times_row(*each) for each in zip(results, ratios, strict=True)])
    for result in results:
        if result["failures"]:
            say(out, f"{result['allocator']} refused {counted(result['failures'], 'requests')}")


def over(time: float, best: float) -> float | None:
    return time / best if best else None


def times_row(result: dict[str, Any], ratios: tuple[float | None, float | None]) -> tuple[str, ...]:
    warm, cold = ratios
    heap, utilization = result["peak_heap_bytes"], result["utilization"]
    return (
        result["allocator"],
        *time_cells(result, warm),
        *time_cells(result["cold"], cold),
        f"{result['events_per_second'] / 1e6:.1f} M",
        number(heap),
        "-" if utilization is None else f"{utilization:.1%}",
        number(result["peak_resident_bytes"]),
    )


def time_cells(timed: dict[str, Any], ratio: float | None) -> tuple[str, str, str]:
    """A time, its spread, and its ratio to another time."""
    spread = timed["spread"]
    told = "-" if ratio is None else f"{ratio:.2f}"
    return duration(timed["seconds"]), "-" if spread is None else f"{spread:.0%}", told


# --- over several traces


def print_means(reports: list[dict[str, Any]]) -> None:
    """Print each malloc's multiples of the first one, as geometric means over all that both could serve."""
    out = console(WIDTH)
    first = reports[0]["results"][0]["allocator"]
    what = "traces" if len({report["trace"]["file"] for report in reports}) > 1 else "processes"
    say(out, f"\nover all {len(reports)} {what}: multiples of {first}, as geometric means")
    tables = [{each["allocator"]: each for each in report["results"] if not each["error"]} for report in reports]
    names = [each["allocator"] for each in reports[0]["results"]]
    print_table(out, ("allocator", what, *MEANS), [means_row(tables, name, first) for name in names])


def means_row(tables: list[dict[str, Any]], name: str, first: str) -> tuple[str, ...]:
    both = [(table[name], table[first]) for table in tables if name in table and first in table]
    return (name, str(len(both)), *(mean_of(both, figure) for figure in MEANS.values()))


def mean_of(both: list[tuple[Any, Any]], figure: Figure) -> str:
    """The geometric mean of the ratios of a figure; a dash if one is missing."""
    pairs = [(figure(mine), figure(its)) for mine, its in both]
    ratios = [one / other for one, other in pairs if one and other]
    return f"{geometric_mean(ratios):.2f}" if ratios and len(ratios) == len(both) else "-"


# --- where the bytes are


def course(out: Console, results: list[dict[str, Any]]) -> None:
    say(out, "\nresident bytes as the kernel counts them; worst: when the most of them hold no live block")
    rows = [
        course_row(result["allocator"], name, moment)
        for result in results
        for name, moment in result["memory"]["moments"].items()
    ]
    print_table(out, ("allocator", "moment", "after event", "live", "resident", "× live"), rows, words=2)


def course_row(allocator: str, name: str, moment: dict[str, int]) -> tuple[str, ...]:
    live, resident = moment["live_bytes"], moment["resident_bytes"]
    return (
        allocator,
        name,
        number(moment["event"]),
        number(live),
        number(resident),
        f"{resident / live:.2f}" if live else "-",
    )


def usage(out: Console, results: list[dict[str, Any]]) -> None:
    say(out, "\nbytes as the malloc reports them; freed: after all blocks are freed")
    rows = [row for result in results for row in usage_rows(result["allocator"], result["memory"])]
    print_table(out, ("allocator", "moment", *(name.replace("_", " ") for name in BYTES)), rows, words=2)


def usage_rows(allocator: str, memory: dict[str, Any]) -> list[tuple[str, ...]]:
    freed = {"requested_bytes": 0, "held_bytes": memory["retained_bytes"]}
    moments = {"peak": memory, "end": memory["at_end"], "freed": freed}
    return [
        (allocator, name, *(number(found.get(f"{each}_bytes")) for each in BYTES)) for name, found in moments.items()
    ]


# --- single calls


def latency(out: Console, results: list[dict[str, Any]]) -> None:
    floor = max(result["latency"]["floor_ns"] for result in results)
    say(out, f"\nnanoseconds per call; reading the clock adds up to {floor:.0f}")
    rows = [latency_row(result, call) for result in results for call in ("malloc", "free")]
    print_table(out, ("allocator", "call", "calls", *QUANTILES), rows, words=2)


def latency_row(result: dict[str, Any], call: str) -> tuple[str, ...]:
    found = result["latency"][call]
    return (result["allocator"], call, number(found["calls"]), *(number(found[f"{name}_ns"]) for name in QUANTILES))
