"""What `guarded` costs: instructions for each operation, the time of one guarded block, and resident memory.

    python bench/guarded.py > bench/results/guarded.json

Instructions are callgrind's, as in `bench/instructions.py`: of the allocator alone and under the layer, at its usual
rate. The time is processor time, the kernel's included, of a pair of malloc and free of which each is guarded. Resident
memory is the peak of a Python program, in turns. It needs valgrind and a C compiler.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

from instructions import SOURCE, executed

from heapwright.native.library import library_of

ALLOCATORS = ("hoard",)
WORKLOADS = ("pairs 64", "pairs 1000", "lifo")
OPERATIONS, PAIRS, TIMES = 200_000, 30_000, 5
PYTHON = "words = [str(i) * 9 for i in range(200_000)]; table = {word: len(word) for word in words}"


def usage_of(command: list[str | Path], library: Path) -> tuple[float, int]:
    """The processor time of a process in seconds, and its peak of resident memory in bytes."""
    environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONMALLOC": "malloc"}
    child = os.posix_spawn(command[0], [str(each) for each in command], environment)
    _, status, used = os.wait4(child, 0)
    if status:
        raise SystemExit(f"{command} ended with {status}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def for_each(program: Path, library: str, workload: str) -> float:
    """Instructions for one operation, over so many that their sample has its usual share."""
    more, less = (executed(program, library, workload, n) for n in (2 * OPERATIONS, OPERATIONS))
    return round((more - less) / OPERATIONS, 1)


def instructions_of(program: Path, name: str) -> dict[str, dict[str, float]]:
    """For each workload: the instructions of one operation, bare and under the layer."""
    rows = {}
    for workload in WORKLOADS:
        bare, guarded = (for_each(program, str(library_of(spec)), workload) for spec in (name, f"guarded({name})"))
        rows[workload] = {"bare": bare, "guarded": guarded, "more": round(guarded - bare, 1)}
    return rows


def microseconds_of(program: Path, name: str) -> list[float]:
    """The time of a pair of which each block is guarded."""
    library, found = library_of(f"guarded[RATE=1]({name})"), []
    for _ in range(TIMES):
        less, more = (usage_of([program, "pairs", str(n), "64"], library)[0] for n in (PAIRS, 2 * PAIRS))
        found.append(round((more - less) / PAIRS * 1e6, 3))
    return found


def resident_of(name: str) -> dict[str, int]:
    """The median of the peaks, in turns."""
    libraries = {spec: library_of(spec) for spec in (name, f"guarded({name})")}
    found: dict[str, list[int]] = {spec: [] for spec in libraries}
    for _ in range(TIMES):
        for spec, library in libraries.items():
            found[spec].append(usage_of([sys.executable, "-c", PYTHON], library)[1])
    return {spec: int(median(peaks)) for spec, peaks in found.items()}


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "instructions"
        subprocess.run(["cc", "-O2", "-fno-builtin", "-pthread", SOURCE, "-o", program], check=True)
        allocators = {
            name: {
                "instructions": instructions_of(program, name),
                "microseconds_of_a_guarded_pair": microseconds_of(program, name),
                "peak_resident_bytes": resident_of(name),
            }
            for name in ALLOCATORS
        }
    about = {"command": "python bench/guarded.py", "date": datetime.now(UTC).isoformat(timespec="seconds")}
    versions = {"python": sys.version.split()[0], "numba": version("numba"), "kernel": os.uname().release}
    sys.stdout.write(json.dumps(about | {"versions": versions, "allocators": allocators}, indent=1) + "\n")


if __name__ == "__main__":
    main()
