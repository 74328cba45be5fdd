"""The memory of each malloc over traces: parts, figures of merit, and what stays after the trace.

    python bench/curves.py -o bench/results/curves.json [TRACE ...]

Without a TRACE, the project makes them: the built-in workloads. The sum of the parts is
checked at each sample. The figures are bytes, so a busy machine disturbs only those that depend on time:
what a malloc gives back after a while.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from heapwright.cli.compare import DEFAULT
from heapwright.lab.curves.measure import Plan, curves_of_each
from heapwright.lab.machine_facts import installed_peers, machine_facts
from heapwright.lab.naming import contestants
from heapwright.lab.processes import choose
from heapwright.traces.events import Process
from heapwright.traces.importers import open_trace
from heapwright.traces.synthesize import synthesize

MADE = ("demo", "random", "vectors", "holes", "ladder")
SAMPLES = 50


def processes(paths: list[Path]) -> Iterator[tuple[str, Process]]:
    """The traces to follow, each with its name."""
    for path in paths:
        yield path.name, choose(open_trace(path), None)[0].process
    for name in () if paths else MADE:
        yield name, synthesize(name).processes[0]


def tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def measured(process: Process, samples: int) -> dict[str, Any]:
    """The curves of each malloc on one process's events."""
    mallocs = contestants((*DEFAULT, *installed_peers()))
    found = curves_of_each(process, mallocs, Plan(samples), tell)
    return {each.name: curves.as_json() for each, curves in zip(mallocs, found, strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("traces", nargs="*", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    arguments = parser.parse_args()
    report = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine_facts(),
        "samples": arguments.samples,
        "traces": {name: measured(process, arguments.samples) for name, process in processes(arguments.traces)},
    }
    arguments.output.write_text(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
