"""`heapwright compare`: one recording, several allocators, side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from heapwright.cli.terminal import progress

if TYPE_CHECKING:
    from heapwright.traces.events import Process, Summary, Trace

DEFAULT = ("linked_list", "kr", "system")


@click.command()
@click.argument("trace", type=click.Path(dir_okay=False, path_type=Path))
@click.option("-a", "--allocator", "allocators", multiple=True, help="Name, path, stack, 'system', or NAME=LIB.so.")
@click.option("-n", "--repeats", default=5, show_default=True, type=click.IntRange(1, 1000))
@click.option("--memory", is_flag=True, help="Show how the heap is used when the most bytes are live.")
@click.option("--latency", is_flag=True, help="Time each call by itself, too: percentiles.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def command(trace: Path, allocators: tuple[str, ...], repeats: int, memory: bool, latency: bool, as_json: bool) -> None:
    """Replay TRACE on each allocator and compare time and memory.

    TRACE is a recording (.hwt), or an Android memory_replay, malloc-lab .rep or glibc mtrace file. Each replay is
    a fresh process whose malloc is the allocator's; all threads' events are replayed in their recorded order by
    one thread. The repeats of the allocators take turns; times are medians of passes over warm pages, and their spread
    is the distance between the quartiles of the repeats, as a part of the median.

    --memory: what is held from the kernel when the most bytes are live is the sum of what blocks requested, what
    they may use beyond that (internal), and all outside of blocks (external): free memory, headers, records. Free is
    the part that mallinfo2 calls so: neither blocks in a thread's cache, nor anything inside of mapped memory. Retained
    is what is held when all was freed. A dash is what a malloc does not tell: others than ours and the C library's
    no more than what their blocks may use. JSON has these figures always.

    --latency: one more pass for each repeat, after the others and on the same warm pages, reads the processor's clock
    around each call: what a page costs when it is first touched is not in it. `malloc` stands for calloc, realloc
    and memalign too. Percentiles are of all repeats' calls together, at most 6.25 % too high. What reading the clock
    costs is said and not subtracted.

    \b
    heapwright compare demo.hwt -a kr -a linked_list -a system
    heapwright compare demo.hwt -a dlmalloc -a system --memory --latency
    heapwright compare demo.hwt -a kr -a jemalloc=/usr/lib/x86_64-linux-gnu/libjemalloc.so.2
    """
    from heapwright.cli.compare_tables import print_tables
    from heapwright.lab.compare import compare, contestant
    from heapwright.traces.importers import open_trace

    loaded = open_trace(trace)
    process = loaded.largest
    chosen = [contestant(name) for name in allocators or DEFAULT]
    figures = compare(process, chosen, repeats, progress, times_calls=latency)
    progress("")
    summary = process.summary()
    results = [each.as_json(summary) for each in figures]
    if as_json:
        click.echo(json.dumps({"trace": head(trace, loaded, process, summary), "results": results}, indent=2))
    else:
        print_tables(head(trace, loaded, process, summary), results, memory)


def head(path: Path, trace: Trace, process: Process, summary: Summary) -> dict[str, Any]:
    return {
        "file": str(path),
        "command": process.command or " ".join(trace.command),
        "processes": len(trace.processes),
        **vars(summary),
    }
