"""What `heapwright compare` needs for a trace that is larger than memory should have to hold.

    python bench/streaming.py -o bench/results/streaming.json [--events 100000000]

The trace is generated: random blocks of a live set are replaced, and some of them grow. While `compare` runs, the
script reads twenty times a second the peak of resident memory (VmHWM) of the command and of its child processes.
`flattening` is the time until the first replay begins. `worker_peak_beyond_bytes` is the peak of a replaying process
without what the malloc under test made of it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heapwright.lab.machine_facts import machine_facts
from heapwright.traces.events import ALLOC, DEALLOC, REALLOC, Events, Summary, counts_of
from heapwright.traces.flat import FlatEvent
from heapwright.traces.format import TraceFile, Writer
from heapwright.traces.passing import peaks
from heapwright.traces.stacks import Stacks

LIVE = 200_000  # blocks
PAIRS = 400_000  # a free and a malloc each, in a chunk
GROWS = 16  # of so many new blocks one is grown at once


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", dest="output", type=Path, required=True)
    parser.add_argument("--events", type=int, default=100_000_000)
    parser.add_argument("-a", dest="mallocs", action="append", help="a malloc; by default hoard and system")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="streaming-") as folder:
        trace = synthesized(Path(folder, "work.hwt"), options.events)
        report = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": ["python", "bench/streaming.py", *sys.argv[1:]],
            "machine": machine_facts(),
            "trace": facts_of(trace),
            "compare": comparison(trace, options.mallocs or ["hoard", "system"]),
        }
    options.output.write_text(json.dumps(report, indent=1) + "\n")


def synthesized(path: Path, events: int) -> Path:
    """A trace of about so many events: blocks of 16 to 255 bytes in a random order, and then one of others for each."""
    say(f"making a trace of {events:,} events")
    work, summary = Work(), Summary()
    with path.open("wb") as file:
        writer = Writer(file)
        while summary.events < events:
            chunk, live_bytes = work.filled() if not summary.events else work.replaced(min(PAIRS, events // 2))
            before = summary.blocks, summary.live_bytes_at_end, summary.live_blocks_at_end
            writer.add(0, chunk, *before)
            writer.flush()
            summary = added(summary, chunk, live_bytes)
        process = {"pid": 1, "parent": 0, "execs": 0, "command": "", "threads": [], "sample": 0, "notes": {}}
        facts = {"source": "bench/streaming.py", "program": "", "command": [], "date": "", "host": {}}
        whole = {"summary": asdict(summary), "processes": [process | {"summary": asdict(summary)}]}
        writer.finish(facts | whole, Stacks())
    return path


class Work:
    """A live set of blocks, whose replacements are drawn at random, a chunk at a time."""

    def __init__(self) -> None:
        self.random = np.random.Generator(np.random.PCG64(1))
        self.blocks = LIVE  # that have started
        self.block = np.arange(LIVE)  # in each place
        self.size = self.sizes(LIVE)

    def sizes(self, count: int) -> NDArray[np.int64]:
        return 16 + (self.random.random(count) * 240).astype(np.int64)

    def filled(self) -> tuple[Events, NDArray[np.int64]]:
        """The first blocks, and the live bytes after each event."""
        op = np.full(LIVE, ALLOC)
        return Events.of(op=op, thread=op * 0, block=self.block, size=self.size), np.cumsum(self.size)

    def replaced(self, pairs: int) -> tuple[Events, NDArray[np.int64]]:
        """Free blocks in random places and make others there, of which some grow to twice their size."""
        place = (self.random.random(pairs) * LIVE).astype(np.int64)
        made, size = self.blocks + np.arange(pairs), self.sizes(pairs)
        grows = np.arange(pairs) % GROWS == 0
        kept = size * (1 + grows)
        old, old_size = before(place, made, self.block), before(place, kept, self.size)
        op = np.tile([DEALLOC, ALLOC, REALLOC], pairs)
        block, asked = np.stack([old, made, made], 1).ravel(), np.stack([old * 0, size, 2 * size], 1).ravel()
        change = np.stack([-old_size, size, size], 1).ravel()
        which = np.stack([grows | True, grows | True, grows], 1).ravel()
        live = self.size.sum() + np.cumsum(change[which])
        self.block[place], self.size[place] = made, kept  # of several, the last one stays
        self.blocks += pairs
        return Events.of(op=op[which], thread=op[which] * 0, block=block[which], size=asked[which]), live


def before(place: NDArray[np.int64], new: NDArray[np.int64], first: NDArray[np.int64]) -> NDArray[np.int64]:
    """What was in each place before: the last new value that was put there, or the first value."""
    order = np.argsort(place, kind="stable")
    found = first[place]
    again = np.flatnonzero(place[order[1:]] == place[order[:-1]]) + 1
    found[order[again]] = new[order[again - 1]]
    return found


def added(summary: Summary, events: Events, live_bytes: NDArray[np.int64]) -> Summary:
    """The summary with further events."""
    counts = counts_of(events)
    changes = (events.op == ALLOC).astype(np.int64) - (events.op == DEALLOC)
    live_blocks = summary.live_blocks_at_end + np.cumsum(changes)
    peak = peaks(live_bytes, live_blocks)
    most = max(summary.peak_live_blocks, peak["peak_live_blocks"])
    ends = {"live_bytes_at_end": int(live_bytes[-1]), "live_blocks_at_end": int(live_blocks[-1])}
    both = summary + Summary(**counts, **peak, blocks=counts["allocs"])
    return replace(both, threads=1, peak_live_blocks=most, **ends)


def facts_of(trace: Path) -> dict[str, Any]:
    with TraceFile(trace) as file:
        kept = ("events", "reallocs", "peak_live_bytes", "peak_live_blocks")
        facts = {name: getattr(file.summary, name) for name in kept}
    return {**facts, "file_bytes": trace.stat().st_size, "flat_bytes": facts["events"] * FlatEvent.SIZE}


def comparison(trace: Path, mallocs: list[str]) -> dict[str, Any]:
    """What `compare` finds, and the peaks of resident memory of all processes meanwhile."""
    say("comparing")
    command = [*heapwright("compare"), trace, "-n", "1", "--json", *(each for name in mallocs for each in ("-a", name))]
    began, peaks, flattening = time.monotonic(), dict[int, int](), {}
    with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True) as process:
        while not (out := finished(process)):
            for pid in family(process.pid):
                peaks[pid] = max(peaks.get(pid, 0), resident_peak(pid))
            if len(peaks) > 1 and not flattening:  # the first replay has begun
                flattening = {"seconds": time.monotonic() - began, "processor_seconds": processor_time(process.pid)}
    parent = peaks.pop(process.pid)
    found = [kept(each) for each in json.loads(out)["results"]]
    own = max(each["peak_resident_bytes"] for each in found)
    return {
        "arguments": ["compare", "-n", "1", *mallocs],
        "seconds": time.monotonic() - began,
        "flattening": flattening,
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


def processor_time(pid: int) -> float:
    """The seconds that a process has run: the 14th and 15th numbers of /proc/PID/stat, in ticks."""
    user, kernel = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(kernel)) / os.sysconf("SC_CLK_TCK")


def kept(result: dict[str, Any]) -> dict[str, Any]:
    names = ("allocator", "seconds", "cold", "events_per_second", "peak_heap_bytes", "peak_resident_bytes", "failures")
    return {name: result[name] for name in names}


def heapwright(command: str) -> list[str]:
    return [sys.executable, "-m", "heapwright", command]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
