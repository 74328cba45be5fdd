"""What `heapwright compare` needs for a trace that is larger than memory should have to hold.

    python bench/streaming.py -o bench/results/streaming.json [--events 100000000]

A C program replaces random blocks of a live set, grows some of them, and is recorded. The script then measures the
time of making the events flat, and runs `compare`. Twenty times a second it reads the peak of resident memory (VmHWM)
of the command and of the processes that it starts. `worker_peak_beyond_bytes` is the peak of a replaying process
without what the malloc under test made of it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from heapwright.lab.flat_file import flattened
from heapwright.lab.machine_facts import machine_facts
from heapwright.traces.format import TraceFile

PROGRAM = """
#include <stdint.h>
#include <stdlib.h>
#define LIVE 200000
static void *block[LIVE];
static uint64_t state = 88172645463325252u;
static uint64_t random_word(void) {
  state ^= state << 13; state ^= state >> 7; state ^= state << 17;
  return state;
}
int main(int count, char **arguments) {
  (void) count;
  for (long left = atol(arguments[1]); left > 0;) {
    uint64_t word = random_word();
    void **place = &block[(word >> 32) % LIVE];
    size_t size = 16 + word % 240;
    if (*place && word % 16 == 0) {
      *place = realloc(*place, 2 * size);
      left -= 1;
    } else {
      left -= *place ? 2 : 1;
      free(*place);
      *place = malloc(size);
    }
  }
}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", dest="output", type=Path, required=True)
    parser.add_argument("--events", type=int, default=100_000_000)
    parser.add_argument("-a", dest="mallocs", action="append", help="a malloc; by default hoard and system")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="streaming-") as folder:
        trace = recorded(Path(folder), options.events)
        report = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": ["python", "bench/streaming.py", *sys.argv[1:]],
            "machine": machine_facts(),
            "trace_bytes": trace.stat().st_size,
            "flattening": flattening(trace),
            "compare": comparison(trace, options.mallocs or ["hoard", "system"]),
        }
    options.output.write_text(json.dumps(report, indent=1) + "\n")


def recorded(folder: Path, events: int) -> Path:
    """The recording of the program."""
    say(f"recording {events:,} events")
    (folder / "work.c").write_text(PROGRAM)
    subprocess.run([shutil.which("gcc") or "cc", "-O2", "-o", folder / "work", folder / "work.c"], check=True)
    command = [*heapwright("record"), "-o", folder / "work.hwt", "--", folder / "work", str(events)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / "work.hwt"


def flattening(trace: Path) -> dict[str, Any]:
    """The time of making all events flat, without a replay."""
    say("making the events flat")
    began, began_cpu = time.monotonic(), time.process_time()
    with TraceFile(trace) as file:
        summary = file.summary
        with flattened(file.chunks(), summary.events - summary.failed) as flat:
            size = flat.path.stat().st_size
    return {
        "events": summary.events,
        "reallocs": summary.reallocs,
        "peak_live_bytes": summary.peak_live_bytes,
        "peak_live_blocks": summary.peak_live_blocks,
        "seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(time.process_time() - began_cpu, 1),
        "flat_bytes": size,
    }


def comparison(trace: Path, mallocs: list[str]) -> dict[str, Any]:
    """What `compare` finds, and the peaks of resident memory of all processes meanwhile."""
    say("comparing")
    command = [*heapwright("compare"), trace, "-n", "1", "--json", *(each for name in mallocs for each in ("-a", name))]
    began, peaks = time.monotonic(), dict[int, int]()
    with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True) as process:
        while not (out := finished(process)):
            for pid in family(process.pid):
                peaks[pid] = max(peaks.get(pid, 0), resident_peak(pid))
    parent = peaks.pop(process.pid)
    found = [kept(each) for each in json.loads(out)["results"]]
    own = max(each["peak_resident_bytes"] for each in found)
    return {
        "arguments": ["compare", "-n", "1", *mallocs],
        "seconds": round(time.monotonic() - began, 1),
        "parent_peak_resident_bytes": parent,
        "worker_peak_resident_bytes": max(peaks.values()),
        "worker_peak_beyond_bytes": max(peaks.values()) - own,
        "results": found,
    }


def finished(process: subprocess.Popen[str]) -> str:
    """The output of a process when it has ended; "" before."""
    try:
        return process.communicate(timeout=0.05)[0]
    except subprocess.TimeoutExpired:
        return ""


def family(pid: int) -> Iterator[int]:
    """A process and those that it has started."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            yield from map(int, task.read_text().split())
        except OSError:
            continue


def resident_peak(pid: int) -> int:
    """The bytes of VmHWM; 0 if the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def kept(result: dict[str, Any]) -> dict[str, Any]:
    names = ("allocator", "seconds", "cold", "events_per_second", "peak_heap_bytes", "peak_resident_bytes", "failures")
    return {name: result[name] for name in names}


def heapwright(command: str) -> list[str]:
    return [sys.executable, "-m", "heapwright", command]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
