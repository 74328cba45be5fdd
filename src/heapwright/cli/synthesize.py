"""`heapwright synthesize`: generate a trace if no program can be recorded."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from heapwright.cli.convert import report
from heapwright.cli.options import Real, refuse_idle
from heapwright.files import check_output
from heapwright.traces.exporters import format_of, write_as

MAX_ALLOCS = 1 << 32
MAX_LIVE = 1 << 16  # MiB


@click.command()
@click.argument("workload")
@click.option(
    "-o", "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="The trace to write."
)
@click.option(
    "--allocs",
    default=100_000,
    show_default=True,
    type=click.IntRange(1, MAX_ALLOCS),
    help="For a table: the number of allocations.",
    metavar="N",
)
@click.option(
    "--live",
    default=16.0,
    show_default=True,
    type=Real(0, MAX_LIVE, min_open=True),
    metavar="MIB",
    help="For a table: the live memory to reach, in MiB.",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Random seed; different seeds give different traces.",
    metavar="N",
)
def command(workload: str, output: Path, allocs: int, live: float, seed: int) -> None:
    """Generate a trace from a built-in workload, or from a table of the sizes that a service allocates.

    \b
    heapwright synthesize service.csv --live 64 -o service.hwt && heapwright compare service.hwt

    \b
    WORKLOAD is one of
      demo     a small server
      pairs    one block, allocated and freed repeatedly
      random   a live set whose blocks are replaced at random
      vectors  several vectors that take turns to double
      holes    adversary: frees every second block, then asks for twice the size
      ladder   adversary: vectors double between small blocks that stay live

    or a .csv file with a line `size, alloc_rate, num_live` for each size, as in google/fleetbench. You can make such a
    table from a profile of a running service. The same table and seed give the same trace on every machine.

    `compare --memory` shows what the adversaries cost. The program `robson` of `heapwright simulate` costs more: it
    sees the addresses and causes the worst case.
    """
    from heapwright.traces.synthesize import SEEDED, from_table, synthesize

    check_output(output)
    form = format_of(output)
    is_table = workload.endswith(".csv")
    if not is_table:
        refuse_idle(f"for {workload}: it applies to tables", "allocs", "live")
        refuse_idle(f"for {workload}, which is always the same", *([] if workload in SEEDED else ["seed"]))
    trace = from_table(workload, allocs, live * (1 << 20), seed) if is_table else synthesize(workload, seed)
    report(output, form, trace, Counter(write_as(form, output, trace)))
