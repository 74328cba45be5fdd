"""`heapwright synthesize`: a trace made up, where no program can be recorded."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from heapwright.cli.convert import report
from heapwright.traces.export import format_of, write_as


@click.command()
@click.argument("workload")
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The trace.")
@click.option("--allocs", default=100_000, show_default=True, type=click.IntRange(1), help="Of a table: allocations.")
@click.option(
    "--live",
    default=16.0,
    show_default=True,
    type=click.FloatRange(0, 1 << 16, min_open=True),
    help="Of a table: MiB live.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Another one is another trace.")
def command(workload: str, output: Path, allocs: int, live: float, seed: int) -> None:
    """Make up a trace of WORKLOAD: one of those below, or the table of what a program asks for.

    demo is a small server, pairs one block again and again, random a live set whose blocks are replaced at random,
    vectors some that double in turn. Two are adversaries: holes frees every second block and asks for twice the size,
    ladder lets vectors double between small blocks that stay; `compare --memory` shows what that costs. For the worst
    there is, see the program robson of `heapwright simulate`, which sees addresses.

    A table is a .csv file with a line `size, alloc_rate, num_live` for each size, as google/fleetbench has them:
    what a profile of a running service tells where the service itself cannot be recorded. The same table and seed
    give the same trace everywhere.

    \b
    heapwright synthesize demo -o demo.hwt
    heapwright synthesize holes -o holes.hwt
    heapwright synthesize service.csv --live 64 -o service.hwt
    heapwright compare service.hwt -a dlmalloc -a system
    """
    from heapwright.traces.synthesize import from_table, synthesize

    form = format_of(output)
    is_table = workload.endswith(".csv")
    trace = from_table(workload, allocs, live * (1 << 20), seed) if is_table else synthesize(workload, seed)
    report(output, form, trace, Counter(write_as(form, output, trace)))
