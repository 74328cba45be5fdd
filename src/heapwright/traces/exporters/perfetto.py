"""Perfetto's trace (ui.perfetto.dev): for each process live memory over time, and heap profiles by call stack.

The curves are two counters, bytes and blocks. The profiles, at the peak and at the end, have what each call stack
requested and freed up to then. Source: github.com/google/perfetto, protos/perfetto/trace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from heapwright.files import written_whole
from heapwright.traces.arrays import I64, np
from heapwright.traces.calls import note
from heapwright.traces.events import Events, Process, Trace
from heapwright.traces.exporters.protobuf import always, message, number, text
from heapwright.traces.exporters.usage import frames_of, losses, named, peak_of, usage
from heapwright.traces.sampling import live_estimate
from heapwright.traces.stacks import Frame

PACKET = 1  # the field of a trace
TIMESTAMP, TRACK_EVENT, SEQUENCE, SEQUENCE_FLAGS, PROFILE_PACKET, TRACK_DESCRIPTOR = 8, 11, 10, 13, 37, 60
COUNTER_EVENT = 4
SAMPLING_INTERVAL = 12  # of a process's heap samples, in bytes
UNITS = {"bytes": 3, "blocks": 2}
INCREMENTAL_STATE_CLEARED = 1
MAX_POINTS = 20_000  # of each curve
THINNED = "points of live memory over time, of which the highest of each interval are kept"
NO_TIMES = "events without times, drawn at 1 µs each"


def write(path: Path, trace: Trace) -> Counter[str]:
    """Write the live memory over time and the heap profiles of all processes."""
    notes = losses(trace)
    with written_whole(path) as file:
        packets = Packets(file)
        for place, (name, process) in enumerate(named(trace), 1):
            times = in_nanoseconds(process.events, notes)
            write_curves(packets, place, name, process, times, notes)
            write_profiles(packets, place, process, times, trace)
    return notes


def in_nanoseconds(events: Events, notes: Counter[str]) -> I64:
    """The time of each event; its number, as microseconds, if the trace has no times."""
    note(notes, NO_TIMES, 0 if events.has_times else len(events))
    times: I64 = 1000 * (events.time if events.has_times else np.arange(len(events)))
    return times


class Packets:
    """The packets of a trace. All are of one sequence, which begins with the first."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.flags = number(SEQUENCE_FLAGS, INCREMENTAL_STATE_CLEARED)

    def add(self, field: int, content: bytes, time: int = 0) -> None:
        packet = always(TIMESTAMP, time) + number(SEQUENCE, 1) + self.flags + message(field, content)
        self.flags = b""
        self.file.write(message(PACKET, packet))


# --- live memory over time


def write_curves(packets: Packets, place: int, name: str, process: Process, times: I64, notes: Counter[str]) -> None:
    pid = pid_of(process, place)
    track = 10 * place
    described = number(1, pid) + text(6, name)
    packets.add(TRACK_DESCRIPTOR, number(1, track) + text(2, name) + message(3, described))
    for each, (unit, values) in enumerate(zip(UNITS, live_estimate(process.events, process.sample), strict=True), 1):
        counter = (
            number(1, track + each) + text(2, f"live {unit}") + number(5, track) + message(8, number(3, UNITS[unit]))
        )
        packets.add(TRACK_DESCRIPTOR, counter)
        kept = thinned(values)
        note(notes, THINNED, len(values) - len(kept))
        for time, value in zip(times[kept].tolist(), values[kept].tolist(), strict=True):
            event = number(9, COUNTER_EVENT) + number(11, track + each) + always(30, value)
            packets.add(TRACK_EVENT, event, time)


def thinned(values: I64) -> I64:
    """The places of the highest value in each of MAX_POINTS intervals, and of the last value."""
    if len(values) <= MAX_POINTS:
        return np.arange(len(values))
    edges = np.linspace(0, len(values), MAX_POINTS, endpoint=False).astype(np.int64)
    tops = np.maximum.reduceat(values, edges)
    interval = np.repeat(np.arange(MAX_POINTS), np.diff(edges, append=len(values)))
    at_top = np.flatnonzero(values == tops[interval])
    _, first = np.unique(interval[at_top], return_index=True)
    return np.union1d(at_top[first], [len(values) - 1])


def pid_of(process: Process, place: int) -> int:
    return process.pid or place


# --- heap profiles


def write_profiles(packets: Packets, place: int, process: Process, times: I64, trace: Trace) -> None:
    """Write a heap profile at the peak, and one at the end if that is later."""
    events = process.events
    for until in sorted({peak_of(process), len(events)}):
        rows = usage(process, until)
        table = ProfileTables(trace)
        columns = rows.site, rows.requested_bytes, rows.bytes, rows.requests, rows.blocks
        samples = b"".join(
            table.sample(*row) for row in zip(*(column.tolist() for column in columns), strict=True) if row[1]
        )
        time = int(times[until - 1])
        dump = (
            number(1, pid_of(process, place))
            + samples
            + number(9, time)
            + text(11, "malloc")
            + number(SAMPLING_INTERVAL, process.sample)
        )
        packets.add(PROFILE_PACKET, b"".join(table.encoded()) + message(5, dump), time)


class ProfileTables:
    """The strings, modules, frames and stacks that the samples of one profile refer to, numbered from 1."""

    def __init__(self, trace: Trace):
        self.stacks = trace.stacks
        self.strings: dict[str, int] = {}
        self.modules: dict[str, int] = {}
        self.frames: dict[Frame, int] = {}
        self.callstacks: dict[int, int] = {}

    def sample(self, site: int, requested: int, held: int, requests: int, blocks: int) -> bytes:
        stack = self.callstacks.setdefault(site, len(self.callstacks) + 1)
        values = requested, requested - held, 0, requests, requests - blocks
        return message(2, number(1, stack) + b"".join(number(field, value) for field, value in enumerate(values, 2)))

    def encoded(self) -> Iterator[bytes]:
        """The tables as fields of a profile: what refers to others before these, so that all are known."""
        stacks = {each: frames_of(self.stacks, site) for site, each in self.callstacks.items()}
        for each, frames in stacks.items():
            numbers = (self.frames.setdefault(frame, len(self.frames) + 1) for frame in reversed(frames))
            yield message(3, number(1, each) + b"".join(number(2, frame) for frame in numbers))
        for frame, each in self.frames.items():
            module = self.modules.setdefault(frame.module or frame.file, len(self.modules) + 1)
            yield message(
                2, number(1, each) + number(2, self.string(frame.function)) + number(3, module) + number(6, frame.line)
            )
        for path, each in self.modules.items():
            yield message(4, number(1, each) + number(7, self.string(path)))
        for string, each in self.strings.items():
            yield message(1, number(1, each) + text(2, string))

    def string(self, value: str) -> int:
        return self.strings.setdefault(value, len(self.strings) + 1)
