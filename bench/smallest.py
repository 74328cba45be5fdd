"""The smallest heap of each malloc on generated traces and on recordings.

    python bench/smallest.py -o bench/results/smallest.json [TRACE...]

Each limit is the kernel's, so the figures are bytes and repeat exactly on one machine: no clock is read. Without
traces, those that `heapwright synthesize` makes are measured.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from heapwright.cli.smallest import as_dict
from heapwright.cli.terminal import progress
from heapwright.lab.contestant import Contestant
from heapwright.lab.machine_facts import installed_peers, machine_facts
from heapwright.lab.naming import contestants
from heapwright.lab.smallest import smallest
from heapwright.traces.events import Events
from heapwright.traces.flat import flatten
from heapwright.traces.importers import open_trace
from heapwright.traces.synthesize import WORKLOADS

OURS = ("kr", "linked_list", "dlmalloc", "ptmalloc", "hoard", "slab", "tlsf")


def measure(events: Events, mallocs: list[Contestant], rows: list[dict[str, Any]], keep: Callable[[], None]) -> None:
    """Add a row for each malloc on one process's events, and keep what there is so far."""
    flat = flatten(events)
    for each in mallocs:
        rows.append(as_dict(smallest(flat, each, progress), events))
        keep()


def traces_of(paths: list[Path]) -> dict[str, Events]:
    if paths:
        return {path.name: open_trace(path).largest.events for path in paths}
    return {name: make(0) for name, make in WORKLOADS.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("traces", nargs="*", type=Path)
    parser.add_argument("-a", dest="mallocs", action="append", help="a malloc; all by default")
    parser.add_argument("-o", dest="output", type=Path, required=True)
    options = parser.parse_args()
    mallocs = contestants(options.mallocs or ("system", *OURS, *installed_peers()))
    report: dict[str, Any] = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine_facts()}
    report["traces"] = {}
    for name, events in traces_of(options.traces).items():
        rows: list[dict[str, Any]] = []
        report["traces"][name] = rows
        measure(events, mallocs, rows, lambda: write(options.output, report))


def write(path: Path, report: dict[str, Any]) -> None:
    path.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
