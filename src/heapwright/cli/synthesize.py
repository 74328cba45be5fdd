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
    """Make up a trace of WORKLOAD: demo, pairs, random, vectors, or the table of what a program asks for.

    A table is a .csv file with a line `size, alloc_rate, num_live` for each size, as google/fleetbench has them:
    what a profile of a running service tells where the service itself cannot be recorded. The same table and seed
    give the same trace everywhere.

    \b
    heapwright synthesize demo -o demo.hwt
    heapwright synthesize service.csv --live 64 -o service.hwt
    heapwright compare service.hwt -a dlmalloc -a system
    """
    from heapwright.traces.synthesize import from_table, synthesize

    form = format_of(output)
    is_table = workload.endswith(".csv")
    trace = from_table(workload, allocs, live * (1 << 20), seed) if is_table else synthesize(workload, seed)
    report(output, form, trace, Counter(write_as(form, output, trace)))
