"""An open trace, read chunk by chunk if it is a `.hwt` file, otherwise from memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heapwright.lab.processes import choose
from heapwright.traces import sources
from heapwright.traces.events import Process, Summary, Trace, TraceError, no_events
from heapwright.traces.stacks import Stacks


@dataclass(frozen=True)
class Described:
    """A process without its events: what it is, its figures, and what reading repaired or dropped."""

    pid: int
    parent: int
    command: str
    threads: list[str]
    notes: dict[str, int]
    summary: Summary
    sample: int  # bytes between two points of a sample; 0: all events are here


class Source:
    """A trace whose processes' events can be read again and again, chunk by chunk."""

    def __init__(self, source: sources.Source):
        self._source = source
        self.chunks = source.chunks
        header = source.header
        self.processes = [described(facts, " ".join(header["command"])) for facts in header["processes"]]

    @property
    def stacks(self) -> Stacks:
        return self._source.stacks


class Loaded(Source):
    """A trace in memory."""

    def __init__(self, trace: Trace):
        super().__init__(sources.InMemory(trace))


def described(facts: dict[str, Any], command: str) -> Described:
    kept = facts["pid"], facts["parent"], facts["command"] or command, facts["threads"], facts["notes"]
    return Described(*kept, Summary(**facts["summary"]), facts["sample"])


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """A trace of any known format. Raises TraceError if it cannot be read or has no processes."""
    with sources.opened(path) as source:
        opened = Source(source)
        if not opened.processes:
            raise TraceError(f"{path}: has no processes")
        yield opened


def chosen(source: Source, which: str | None) -> list[int]:
    """The places, from 0, of the processes that `which` names; if None, the one with the highest peak.

    Raises ProcessError if it names no process or several.
    """
    summaries = [each.summary for each in source.processes]
    if which is None:
        peaks = [(each.peak_live_bytes, each.events) for each in summaries]
        return [peaks.index(max(peaks))]
    light = [Process(no_events(), each.pid, command=each.command) for each in source.processes]
    return [each.number - 1 for each in choose(Trace(light), which)]
