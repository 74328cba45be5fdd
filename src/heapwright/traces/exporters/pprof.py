"""The profile of pprof (`.pb.gz`), which `go tool pprof` and many viewers read: six values by call stack and thread.

The values are requests and requested bytes, and the blocks and bytes that are live at the peak and at the end.
Functions that are inlined into one another share a location. Source: github.com/google/pprof, proto/profile.proto.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from heapwright.files import written_whole
from heapwright.traces.events import Process, Trace
from heapwright.traces.exporters.protobuf import message, number, packed, text
from heapwright.traces.exporters.usage import frames_of, losses, measures, named
from heapwright.traces.stacks import Frame

SAMPLE_TYPE, SAMPLE, MAPPING, LOCATION, FUNCTION, STRING, TIME, DURATION = 1, 2, 3, 4, 5, 6, 9, 10
PERIOD_TYPE, PERIOD, DEFAULT_TYPE = 11, 12, 14
VALUES = {
    "requests": ("alloc_objects", "count"),
    "total-bytes": ("alloc_space", "bytes"),
    "peak-blocks": ("peak_objects", "count"),
    "peak-bytes": ("peak_space", "bytes"),
    "end-blocks": ("inuse_objects", "count"),
    "end-bytes": ("inuse_space", "bytes"),
}
DEFAULT = "peak_space"


def write(path: Path, trace: Trace) -> Counter[str]:
    """Write the requests and live blocks of all processes by call stack."""
    profile = Profile(trace)
    for name, process in named(trace):
        profile.add(name, process)
    with written_whole(path) as file, gzip.GzipFile(path.name, "wb", fileobj=file, mtime=0) as packer:
        packer.write(profile.encoded())
    return losses(trace)


class Profile:
    """The parts of a profile. Everything is numbered from 1, except strings, of which number 0 is empty."""

    def __init__(self, trace: Trace):
        self.trace = trace
        self.strings: dict[str, int] = {"": 0}
        self.mappings: dict[str, int] = {}
        self.functions: dict[tuple[str, str], int] = {}
        self.locations: dict[tuple[Frame, ...], int] = {}
        self.samples: list[bytes] = []

    def add(self, name: str, process: Process) -> None:
        """Add the samples of a process."""
        rows, values = measures(process)
        columns = [values[measure].tolist() for measure in VALUES]
        for site, thread, *row in zip(rows.site.tolist(), rows.thread.tolist(), *columns, strict=True):
            if any(row):
                places = packed(1, map(self.location, calls_of(frames_of(self.trace.stacks, site))))
                thread_name = process.threads[thread] if thread < len(process.threads) else ""
                labels = self.label("process", name) + self.label("thread", thread_name or f"thread {thread}")
                self.samples.append(message(SAMPLE, places + packed(2, row) + labels))

    def label(self, key: str, value: str) -> bytes:
        return message(3, number(1, self.string(key)) + number(2, self.string(value)))

    def string(self, value: str) -> int:
        return self.strings.setdefault(value, len(self.strings))

    def location(self, frames: tuple[Frame, ...]) -> int:
        return self.locations.setdefault(frames, len(self.locations) + 1)

    def encoded(self) -> bytes:
        """The whole profile. Strings come last, because everything before may add some."""
        types = [
            message(SAMPLE_TYPE, number(1, self.string(kind)) + number(2, self.string(unit)))
            for kind, unit in VALUES.values()
        ]
        locations = [message(LOCATION, self.encoded_location(each, frames)) for frames, each in self.locations.items()]
        functions = [
            message(
                FUNCTION,
                number(1, each)
                + number(2, self.string(name))
                + number(3, self.string(name))
                + number(4, self.string(file)),
            )
            for (name, file), each in self.functions.items()
        ]
        rest = number(DEFAULT_TYPE, self.string(DEFAULT)) + self.times() + self.period()
        mappings = [message(MAPPING, self.encoded_mapping(each, path)) for path, each in self.mappings.items()]
        strings = [text(STRING, value) for value in self.strings]
        return b"".join([*types, *self.samples, *mappings, *locations, *functions, *strings, rest])

    def encoded_location(self, each: int, frames: tuple[Frame, ...]) -> bytes:
        """A location with its lines, the innermost function first."""
        module = frames[-1].module
        mapping = self.mappings.setdefault(module, len(self.mappings) + 1) if module else 0
        lines = b"".join(message(4, number(1, self.function(frame)) + number(2, frame.line)) for frame in frames)
        return number(1, each) + number(2, mapping) + lines

    def function(self, frame: Frame) -> int:
        return self.functions.setdefault((frame.function, frame.file), len(self.functions) + 1)

    def encoded_mapping(self, each: int, path: str) -> bytes:
        """A module. It says that its functions, files, lines and inlined functions are known already."""
        return number(1, each) + number(5, self.string(path)) + b"".join(number(flag, 1) for flag in (7, 8, 9, 10))

    def period(self) -> bytes:
        """The bytes between two points of a sample, as Go's profiles have it; nothing if all events are recorded."""
        rate = max(process.sample for process in self.trace.processes)
        kind = number(1, self.string("space")) + number(2, self.string("bytes"))
        return message(PERIOD_TYPE, kind) + number(PERIOD, rate) if rate else b""

    def times(self) -> bytes:
        """When the recording began, and how long it lasted, in nanoseconds."""
        last = max(int(process.events.time.max(initial=0)) for process in self.trace.processes)
        began = int(datetime.fromisoformat(self.trace.date).timestamp() * 1e9) if self.trace.date else 0
        return number(TIME, began) + number(DURATION, last * 1000)


def calls_of(frames: list[Frame]) -> Iterator[tuple[Frame, ...]]:
    """The calls of a stack, innermost first: each function after those that are inlined into it."""
    call: list[Frame] = []
    for frame in frames:
        call.append(frame)
        if not frame.is_inlined:
            yield tuple(call)
            call = []
    if call:
        yield tuple(call)
