"""Instructions for each operation of small workloads, before and after a change: counts do not depend on the load.

    python bench/instructions.py -o bench/results/instructions.json hoard=before/hoard.so,after/hoard.so ...

Valgrind's callgrind counts what a process executes for N operations and for 2 N; the difference, divided by N, is what
one takes. It needs valgrind and a C compiler.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
WORKLOADS = {  # with the number of operations
    **{f"pairs {size}": 2000 for size in (16, 64, 1000, 4096, 20_000, 65_536)},
    **{"lifo": 10_000, "fifo": 10_000, "random_set": 40_000, "random_large": 8000},
    **{"vectors": 1000, "strings": 12_000, "remote": 10_000, "successors": 20_000},
}


def executed(program: Path, library: str, workload: str, operations: int) -> int:
    """How many instructions a process takes, from its start to its end."""
    name, *rest = workload.split()
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, name, operations, *rest]
    environment = {"LD_PRELOAD": str(Path(library).resolve()), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True, check=True)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if not found:
        raise SystemExit(f"callgrind counted nothing: {done.stderr}")
    return int(found[1])


def for_each(program: Path, library: str, workload: str) -> float:
    """Instructions for one operation."""
    operations = WORKLOADS[workload]
    more, less = (executed(program, library, workload, n) for n in (2 * operations, operations))
    return round((more - less) / operations, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Instructions for each operation, before and after a change.")
    parser.add_argument("pairs", nargs="+", metavar="NAME=BEFORE,AFTER", help="two libraries of an allocator")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args()
    figures: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "instructions"
        subprocess.run(["cc", "-O2", "-fno-builtin", "-pthread", SOURCE, "-o", program], check=True)
        for name, _, libraries in (pair.partition("=") for pair in options.pairs):
            for workload in WORKLOADS:
                before, after = (for_each(program, library, workload) for library in libraries.split(","))
                row = {"before": before, "after": after, "ratio": round(after / before, 3)}
                figures.setdefault(name, {})[workload] = row
                sys.stdout.write(f"{name:12}{workload:14}{before:10.1f}{after:10.1f}{after / before:8.3f}\n")
    told = {
        "command": ["python", "bench/instructions.py", *sys.argv[1:]],
        "date": datetime.now(UTC).isoformat("T", "seconds"),
    }
    options.output.write_text(json.dumps({**told, "instructions": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
