"""Two threads of one process, compared with two processes of one thread each that share nothing.

    python bench/two_threads.py -n 5 -o bench/results/two_threads.json [ALLOCATOR ...]

It runs `heapwright bench -w threads --threads 2 --processes`, repeats interleaved. For each workload and allocator,
`cpu` is the processor time of the two processes divided by that of the two threads, and `wall` the same for the time on
the clock: the median of the pairs of one repeat, with their quartiles. 1 means that the threads do not hinder each
other, and less that they do. On a busy machine, trust `cpu`. `producer_consumer` needs both threads, so it has no pair.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median, quantiles
from typing import Any

CLOCKS = "cpu", "wall"


def measured(allocators: list[str], repeats: int) -> dict[str, Any]:
    """The raw results of the bench, as it writes them."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "raw.json"
        chosen = [word for name in allocators for word in ("-a", name)]
        options = ["-w", "threads", "--threads", "2", "--processes", "--no-peers", "-n", str(repeats)]
        command = [sys.executable, "-m", "heapwright", "bench", *chosen, *options, "-o", str(output)]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        return dict(json.loads(output.read_text()))


def compared(threads: dict[str, Any], processes: dict[str, Any]) -> dict[str, list[float]]:
    """The lower quartile, the median and the upper quartile of the ratios of one workload, for each clock."""
    found = {}
    for clock in CLOCKS:
        ratios = [apart / together for apart, together in zip(processes[clock], threads[clock], strict=True)]
        lower, _, upper = quantiles(ratios, n=4)
        found[clock] = [round(each, 3) for each in (lower, median(ratios), upper)]
    return found


def ratios_of(raw: dict[str, Any]) -> dict[str, dict[str, dict[str, list[float]]]]:
    """The ratios of each workload that ran both ways, for each allocator."""
    groups: dict[str, dict[str, Any]] = {"threads": {}, "processes": {}}
    for row in raw["rows"]:
        groups[row["group"]][row["name"]] = row["results"]
    return {
        name: {each: compared(together[each], apart[each]) for each in together if each in apart}
        for name, together in groups["threads"].items()
        if (apart := groups["processes"].get(name))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Two threads compared with two processes.")
    parser.add_argument("allocators", nargs="*", default=["wright", "hoard"])
    parser.add_argument("-n", "--repeats", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args()
    raw = measured(options.allocators, options.repeats)
    ratios = ratios_of(raw)
    options.output.write_text(json.dumps({"command": sys.argv, "ratios": ratios, "raw": raw}, indent=1) + "\n")


if __name__ == "__main__":
    main()
