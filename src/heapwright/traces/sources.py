"""A trace as a header and chunks of events: a `.hwt` file is read chunk by chunk, another trace lies in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from heapwright.traces import format
from heapwright.traces.events import Events, Trace
from heapwright.traces.files import read_bytes
from heapwright.traces.importers import open_trace
from heapwright.traces.stacks import Stacks


class Source(Protocol):
    """What `cut`, `merge` and `info` need of a trace."""

    @property
    def header(self) -> dict[str, Any]:
        """Facts about the run, a summary, and for each process its facts, notes and summary."""

    @property
    def stacks(self) -> Stacks:
        """The call stacks that the events' sites refer to."""

    def chunks(self, process: int = 0) -> Iterator[Events]:
        """The events of one process, in order, some at a time."""

    def last_chunk(self, process: int) -> Events:
        """The last events of one process; none if it has none."""


@dataclass
class InMemory:
    """A trace of another tool, which was read whole. Chunks that are not too large stay in the processor's cache."""

    trace: Trace
    chunk_events: int = 1 << 18

    @cached_property
    def header(self) -> dict[str, Any]:
        return format.header_of(self.trace)

    @property
    def stacks(self) -> Stacks:
        return self.trace.stacks

    def chunks(self, process: int = 0) -> Iterator[Events]:
        events = self.trace.processes[process].events
        for first in range(0, len(events), self.chunk_events):
            yield events[first : first + self.chunk_events]

    def last_chunk(self, process: int) -> Events:
        return self.trace.processes[process].events[-1:]


def duration(source: Source) -> int:
    """The time of the last event of all processes, in microseconds; 0 if the trace has no times."""
    last = (source.last_chunk(place).time for place in range(len(source.header["processes"])))
    return max((int(time[-1]) for time in last if len(time)), default=0)


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """A trace of any known format, to be read chunk by chunk. Raises TraceError as `open_trace` does."""
    if path.is_dir() or read_bytes(path, len(format.MAGIC)) != format.MAGIC:
        yield InMemory(open_trace(path))
        return
    with format.TraceFile(path) as file:
        yield file
