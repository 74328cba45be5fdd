"""How far two gradings of the same submission differ.

    python bench/grading.py -o bench/results/grading.json [SUBMISSION...]

The utilization must be the same in each grading with one seed. The throughput is a ratio of processor times. Its range
is what a score's last digits are worth on the machine.
"""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from heapwright.cli.terminal import progress
from heapwright.grade.grading import Rules, drawn_traces, grade
from heapwright.lab.machine_facts import machine_facts

SEED, GRADINGS = 7, 10


def measure(submission: Path, gradings: int) -> dict[str, Any]:
    """The scores of several gradings, and their parts."""
    grades = [grade(submission, Rules(seed=SEED), drawn_traces(SEED), progress) for _ in range(gradings)]
    return {
        "submission": submission.name,
        "seed": SEED,
        "scores": [round(each.score, 2) for each in grades],
        "utilizations": [each.utilization for each in grades],
        "throughputs": [each.throughput for each in grades],
        "cpu_nanoseconds": [{trace.name: trace.time and trace.time.own for trace in each.traces} for each in grades],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("submissions", nargs="*", type=Path, default=[Path("examples/mm.c")])
    parser.add_argument("-n", dest="gradings", type=int, default=GRADINGS)
    parser.add_argument("-o", dest="output", type=Path, required=True)
    options = parser.parse_args()
    report = {
        "command": "python bench/grading.py",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine_facts(),
        "gradings": [measure(each, options.gradings) for each in options.submissions],
    }
    options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
