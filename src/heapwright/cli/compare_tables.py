"""The tables that `heapwright compare` prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from heapwright.cli.terminal import console

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 110  # columns, where nobody says how many there are
BYTES = ("requested", "internal", "external", "free", "largest_free", "held", "retained")
TIMES = ("p50", "p90", "p99", "p99.9", "max")


def print_tables(trace: dict[str, Any], results: list[dict[str, Any]], memory: bool) -> None:
    """What was replayed, times and peaks; then the tables that were asked for."""
    out = console(WIDTH)
    title(out, trace)
    times(out, results)
    if memory:
        usage(out, results)
    if any(result["latency"] for result in results):
        latency(out, results)


def title(out: Console, trace: dict[str, Any]) -> None:
    of = f" (the largest of {trace['processes']} processes)" if trace["processes"] > 1 else ""
    out.print(f"{trace['command'] or trace['file']}{of}", markup=False, soft_wrap=True)
    out.print(
        f"{trace['events']:,} events of {trace['threads']} threads, at most {trace['peak_live_bytes']:,} bytes "
        f"live in {trace['peak_live_blocks']:,} blocks",
        soft_wrap=True,
    )


def grid(out: Console, columns: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> None:
    """Print a table whose first columns, so many as there are `words`, are text and not numbers."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(columns):
        table.add_column(name, justify="left" if place < words else "right")
    for row in rows:
        table.add_row(*row)
    out.print(table)


# --- time, and what was held at most


def times(out: Console, results: list[dict[str, Any]]) -> None:
    fastest = min(result["seconds"] for result in results)
    columns = ("allocator", "seconds", "± spread", "events/s", "× fastest", "peak heap", "utilization", "resident")
    grid(out, columns, (times_row(result, fastest) for result in results))
    for result in results:
        if result["failures"]:
            out.print(f"{result['allocator']} refused {result['failures']:,} requests")


def times_row(result: dict[str, Any], fastest: float) -> tuple[str, ...]:
    heap, utilization = result["peak_heap_bytes"], result["utilization"]
    return (
        result["allocator"],
        f"{result['seconds']:.4f}",
        "-" if result["spread"] is None else f"{result['spread']:.0%}",
        f"{result['events_per_second'] / 1e6:.1f} M",
        f"{result['seconds'] / fastest:.2f}",
        f"{heap:,}" if heap else "-",
        f"{utilization:.1%}" if utilization else "-",
        f"{result['peak_resident_bytes']:,}",
    )


# --- where the bytes are


def usage(out: Console, results: list[dict[str, Any]]) -> None:
    out.print("\nbytes when the most are live; retained: held when all is freed")
    columns = ("allocator", *(name.replace("_", " ") for name in BYTES))
    grid(out, columns, (usage_row(result["allocator"], result["memory"]) for result in results))


def usage_row(allocator: str, memory: dict[str, int | None]) -> tuple[str, ...]:
    return (allocator, *(number(memory[f"{name}_bytes"]) for name in BYTES))


def number(of: float | None) -> str:
    return "-" if of is None else f"{of:,.0f}"


# --- single calls


def latency(out: Console, results: list[dict[str, Any]]) -> None:
    floor = max(result["latency"]["floor_ns"] for result in results)
    out.print(f"\nnanoseconds of single calls, of which up to {floor:.0f} are the clock's own")
    rows = (latency_row(result, call) for result in results for call in ("malloc", "free"))
    grid(out, ("allocator", "call", "calls", *TIMES), rows, words=2)


def latency_row(result: dict[str, Any], call: str) -> tuple[str, ...]:
    found = result["latency"][call]
    return (result["allocator"], call, number(found["calls"]), *(number(found[f"{name}_ns"]) for name in TIMES))
