"""What `heapwright compare` replays: processes of traces, which are read chunk by chunk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heapwright.report.source import chosen, open_source
from heapwright.traces.events import Events, Process, TraceError
from heapwright.traces.format import require_memory
from heapwright.traces.sampling import refuse_sample

if TYPE_CHECKING:
    from heapwright.lab.flat_file import FlatFile
    from heapwright.report.source import Described, Source
    from heapwright.traces.events import Summary


@dataclass(frozen=True)
class Subject:
    """One process of an open trace."""

    path: Path
    source: Source
    place: int  # of the process, from 0
    is_default: bool

    @property
    def described(self) -> Described:
        return self.source.processes[self.place]

    def about(self) -> dict[str, Any]:
        """What is replayed, for the head of a report."""
        process, count = self.described, len(self.source.processes)
        return facts_of(
            self.path, process.command, process.pid, process.summary, self.place + 1, count, self.is_default
        )

    def flat(self, progress: Callable[[str], None]) -> AbstractContextManager[FlatFile]:
        """The flat events, in a file. `progress` gets a line about each chunk."""
        from heapwright.lab.flat_file import flattened

        summary = self.described.summary
        events = summary.events - summary.failed

        def tell(done: int) -> None:
            progress(f"reading {self.path.name}: {done:,} of {events:,} events")

        return flattened(self.source.chunks(self.place), events, tell)

    def check_memory(self) -> None:
        """Raise TraceError, before any work is done, if the events do not fit into memory."""
        require_memory(self.path, self.described.summary.events)

    def check_times(self) -> None:
        """Raise TraceError if the trace does not say when its events happened."""
        if not self.process.events.has_times:
            raise TraceError(f"{self.path} has no times: use --steps events")

    @cached_property
    def process(self) -> Process:
        """The process with all its events in memory."""
        about = self.described
        events = Events.join(list(self.source.chunks(self.place)))
        notes = Counter(about.notes)
        return Process(events, about.pid, about.parent, command=about.command, notes=notes, threads=about.threads)


def subjects_of(path: Path, process: str | None, stack: ExitStack) -> list[Subject]:
    """The chosen processes of a trace, which is open as long as the stack is."""
    source = stack.enter_context(open_source(path))
    refuse_sample((each.sample for each in source.processes), path)
    is_default = process is None
    return [Subject(path, source, place, is_default) for place in chosen(source, process)]


def facts_of(
    path: Path, command: str, pid: int, summary: Summary, number: int, processes: int, is_default: bool
) -> dict[str, Any]:
    """The facts about a process that is replayed, for the head of a report."""
    return {
        "file": str(path),
        "command": command,
        "processes": processes,
        "process": number,
        "pid": pid,
        "is_default": is_default,
        **vars(summary),
    }
