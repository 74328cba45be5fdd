"""speedscope's JSON: a profile for each process and measure, by call stack."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from heapwright.files import written_whole
from heapwright.traces.arrays import I64, U32
from heapwright.traces.events import Trace
from heapwright.traces.exporters.usage import frames_of, losses, measures, named
from heapwright.traces.stacks import Frame

SCHEMA = "https://www.speedscope.app/file-format-schema.json"
SHOWN = {
    "peak-bytes": "live at the peak",
    "end-bytes": "live at the end",
    "total-bytes": "requested in all",
    "requests": "requests",
}


def write(path: Path, trace: Trace) -> Counter[str]:
    """Write the requests and live blocks of all processes by call stack."""
    table = FrameTable(trace)
    profiles = list(profiles_of(trace, table))
    content = {
        "$schema": SCHEMA,
        "exporter": "heapwright",
        "name": " ".join(trace.command) or trace.source or path.name,
        "activeProfileIndex": 0,
        "shared": {"frames": table.frames},
        "profiles": profiles,
    }
    with written_whole(path) as file:
        file.write(json.dumps(content, separators=(",", ":")).encode())
    return losses(trace)


class FrameTable:
    """The frames of the file, and the sample of each stack: its frames' numbers, outermost first."""

    def __init__(self, trace: Trace):
        self.stacks = trace.stacks
        self.frames: list[dict[str, Any]] = []
        self.numbers: dict[Frame, int] = {}

    def sample(self, site: int) -> list[int]:
        return [self.number(frame) for frame in reversed(frames_of(self.stacks, site))]

    def number(self, frame: Frame) -> int:
        if frame not in self.numbers:
            self.numbers[frame] = len(self.frames)
            place = {"file": frame.file or frame.module} if frame.place else {}
            self.frames.append({"name": frame.function, **place, **({"line": frame.line} if frame.line else {})})
        return self.numbers[frame]


def profiles_of(trace: Trace, table: FrameTable) -> Iterator[dict[str, Any]]:
    """The profiles that are not empty; if all are, one."""
    found = False
    for name, process in named(trace):
        rows, values = measures(process)
        for measure, title in SHOWN.items():
            if values[measure].any():
                found = True
                yield profile(f"{title}: {name}", measure, rows.site, values[measure], table)
    if not found:
        yield {
            "type": "sampled",
            "name": "nothing",
            "unit": "bytes",
            "startValue": 0,
            "endValue": 0,
            "samples": [],
            "weights": [],
        }


def profile(name: str, measure: str, sites: U32, values: I64, table: FrameTable) -> dict[str, Any]:
    by_site: Counter[int] = Counter()
    for site, value in zip(sites.tolist(), values.tolist(), strict=True):
        by_site[site] += value
    rows = [(table.sample(site), value) for site, value in by_site.most_common() if value]
    return {
        "type": "sampled",
        "name": name,
        "unit": "bytes" if measure.endswith("bytes") else "none",
        "startValue": 0,
        "endValue": sum(value for _, value in rows),
        "samples": [sample for sample, _ in rows],
        "weights": [value for _, value in rows],
    }
