"""`heapwright compare`: one recording, several allocators, side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from heapwright.cli.terminal import console, progress

if TYPE_CHECKING:
    from heapwright.traces.events import Process, Summary, Trace

DEFAULT = ("linked_list", "kr", "system")
WIDTH = 110  # columns, where nobody says how many there are


@click.command()
@click.argument("trace", type=click.Path(dir_okay=False, path_type=Path))
@click.option("-a", "--allocator", "allocators", multiple=True, help="Name, path, stack, 'system', or NAME=LIB.so.")
@click.option("-n", "--repeats", default=5, show_default=True, type=click.IntRange(1, 1000))
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def command(trace: Path, allocators: tuple[str, ...], repeats: int, as_json: bool) -> None:
    """Replay TRACE on each allocator and compare time and memory.

    TRACE is a recording (.hwt), or an Android memory_replay, malloc-lab .rep or glibc mtrace file. Each replay is
    a fresh process whose malloc is the allocator's; all threads' events are replayed in their recorded order by
    one thread. The repeats of the allocators take turns; times are medians of passes over warm pages, and their spread
    is the distance between the quartiles of the repeats, as a part of the median.

    \b
    heapwright compare demo.hwt -a kr -a linked_list -a system
    heapwright compare demo.hwt -a kr -a jemalloc=/usr/lib/x86_64-linux-gnu/libjemalloc.so.2
    """
    from heapwright.lab.compare import compare, contestant
    from heapwright.traces.importers import open_trace

    loaded = open_trace(trace)
    process = loaded.largest
    chosen = [contestant(name) for name in allocators or DEFAULT]
    figures = compare(process, chosen, repeats, progress)
    progress("")
    summary = process.summary()
    results = [each.as_json(summary) for each in figures]
    if as_json:
        click.echo(json.dumps({"trace": head(trace, loaded, process, summary), "results": results}, indent=2))
    else:
        table(head(trace, loaded, process, summary), results)


def head(path: Path, trace: Trace, process: Process, summary: Summary) -> dict[str, Any]:
    return {
        "file": str(path),
        "command": process.command or " ".join(trace.command),
        "processes": len(trace.processes),
        **vars(summary),
    }


def table(trace: dict[str, Any], results: list[dict[str, Any]]) -> None:
    from rich.table import Table

    out = console(WIDTH)
    of = f" (the largest of {trace['processes']} processes)" if trace["processes"] > 1 else ""
    out.print(f"{trace['command'] or trace['file']}{of}", markup=False, soft_wrap=True)
    out.print(
        f"{trace['events']:,} events of {trace['threads']} threads, at most {trace['peak_live_bytes']:,} bytes "
        f"live in {trace['peak_live_blocks']:,} blocks",
        soft_wrap=True,
    )
    fastest = min(result["seconds"] for result in results)
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("allocator", "seconds", "± spread", "events/s", "× fastest", "peak heap", "utilization", "resident"):
        grid.add_column(name, justify="left" if name == "allocator" else "right")
    for result in results:
        grid.add_row(*row(result, fastest))
    out.print(grid)


def row(result: dict[str, Any], fastest: float) -> tuple[str, ...]:
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
