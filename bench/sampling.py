"""What `heapwright record --sample` costs a program: instructions, and processor time in pairs of runs.

    python bench/sampling.py [PAIRS] [BYTES] [PERCENT] > bench/results/sampling.json

Instructions are those of the whole program in user mode, counted by valgrind: a figure that hardly depends on what
else runs. It is the least of three, because a server looks at its sockets more often when its clients are slow.
Processor time is the program's own, user and system, of a run without and a run with the sampler, one directly after
the other; the ratio is the median of the pairs, and its spread the distance between their quartiles. The collector's
time is that of the process that reads the ring. redis-server has jemalloc in it, which every preloaded malloc
replaces, so its runs without the sampler use the C library's malloc, too. PERCENT makes the programs' work smaller.
Needs valgrind and the programs of bench/recording.py.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from recording import LONG, workloads

from heapwright.lab.collector import Collector, is_clock_common
from heapwright.native.clock import processor_clock
from heapwright.native.library import sampler_library
from heapwright.options import SAMPLE_VARIABLE, USUAL_SAMPLE_BYTES
from heapwright.traces.raw_stacks import USUAL_DEPTH, VARIABLE

PLAIN = {"redis-server": {"LD_PRELOAD": "libc.so.6"}}
COUNTS = 3
COUNTED = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--trace-children=yes"]
REFERENCES = re.compile(r"I +refs: +([\d,]+)")


def cpu_seconds(command: list[str], environment: dict[str, str]) -> float:
    """The processor time of a program and its children."""
    program = subprocess.Popen(
        command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(program.pid, 0)
    if status:
        sys.exit(f"{command} ended with status {status}")
    return usage.ru_utime + usage.ru_stime


def instructions(command: list[str], environment: dict[str, str], folder: Path) -> int:
    """The instructions of the process that has most."""
    for old in folder.glob("count.*"):
        old.unlink()
    options = [f"--cachegrind-out-file={folder}/out.%p", f"--log-file={folder}/count.%p"]
    subprocess.run([*COUNTED, *options, *command], env=os.environ | environment, capture_output=True, check=True)
    found = (REFERENCES.search(each.read_text()) for each in folder.glob("count.*"))
    return max(int(each[1].replace(",", "")) for each in found if each)


class Sampled:
    """The environment of a program that is sampled, as a context; the collector runs in this process."""

    def __init__(self, folder: Path, rate: int):
        self.folder, self.rate = folder, rate

    def __enter__(self) -> dict[str, str]:
        self.file = (self.folder / "trace.hwt").open("w+b")
        ticks = processor_clock() if is_clock_common() else None
        self.collector = Collector(self.folder, self.file, ticks=ticks, sample=self.rate)
        self.collector.__enter__()
        return {
            "LD_PRELOAD": str(sampler_library()),
            "HEAPWRIGHT_RECORD": str(self.collector.path),
            SAMPLE_VARIABLE: str(self.rate),
            VARIABLE: str(USUAL_DEPTH),
        }

    def __exit__(self, *_: object) -> None:
        self.collector.__exit__(None, None, None)
        self.file.close()


def pair(
    command: list[str], plain: dict[str, str], environment: dict[str, str], folder: Path, rate: int
) -> list[float]:
    """The processor time of a run without and of one with the sampler, and the collector's."""
    bare = cpu_seconds(command, environment | plain)
    with Sampled(folder, rate) as ours:
        began = time.process_time()
        sampled = cpu_seconds(command, environment | ours)
        collector = time.process_time() - began
    return [bare, sampled, collector]


def measure(
    name: str, command: list[str], environment: dict[str, str], folder: Path, pairs: int, rate: int
) -> dict[str, object]:
    """The row of one program."""
    plain = PLAIN.get(name, {})
    times = [pair(command, plain, environment, folder, rate) for _ in range(pairs)]
    ratios = [sampled / bare for bare, sampled, _ in times]
    quartiles = statistics.quantiles(ratios, n=4) if pairs > 1 else [1.0] * 3
    count = min(instructions(command, environment | plain, folder) for _ in range(COUNTS))
    with Sampled(folder, rate) as ours:
        sampled_count = min(instructions(command, environment | ours, folder) for _ in range(COUNTS))
    return {
        "program": name,
        "instructions": count,
        "instructions_sampled": sampled_count,
        "instructions_x": round(sampled_count / count, 4),
        "cpu_s": round(statistics.median(bare for bare, _, _ in times), 3),
        "cpu_x": round(statistics.median(ratios), 3),
        "cpu_x_spread": round(quartiles[2] - quartiles[0], 3),
        "collector_cpu_s": round(statistics.median(collector for _, _, collector in times), 3),
    }


def main(pairs: int = 9, rate: int = USUAL_SAMPLE_BYTES, percent: int = 100) -> None:
    needed = [each for each in ("valgrind", "sqlite3", "redis-server", "gcc") if not shutil.which(each)]
    if needed:
        sys.exit(f"install {', '.join(needed)}")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        programs = workloads(folder, percent)
        del programs[LONG]  # the same as the first
        rows = [measure(name, *each, folder, pairs, rate) for name, each in programs.items()]
    result = {
        "pairs": pairs,
        "bytes": rate,
        "percent": percent,
        "call_sites": USUAL_DEPTH,
        "load": os.getloadavg(),
        "programs": rows,
    }
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
