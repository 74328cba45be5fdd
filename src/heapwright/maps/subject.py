"""The process whose heap is drawn: its events in flat form, and for each the function that asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from heapwright.report.callers import Callers, title
from heapwright.traces.arrays import I64, np
from heapwright.traces.events import Process, times_of
from heapwright.traces.flat import flatten

if TYPE_CHECKING:
    from heapwright.traces.flat import Flat
    from heapwright.traces.stacks import Stacks


@dataclass(frozen=True)
class Subject:
    """A process to draw."""

    flat: Flat
    sites: I64  # of each event, a number in `names`; -1 for none
    names: list[str]  # of functions that asked
    times: I64  # of each event, in microseconds since the first; empty if the trace has no times
    threads: list[str]


def subject_of(process: Process, stacks: Stacks) -> Subject:
    """The process, without the requests that its own malloc refused."""
    events, flat = process.events[~process.events.failed], flatten(process.events)
    callers = Callers(stacks, process.threads)
    sites, names = np.full(len(events), -1), list[str]()
    if callers.has_sites:
        frames = callers.named[callers.sites(events)]
        used = np.unique(frames[frames >= 0])
        sites = np.where(frames >= 0, np.searchsorted(used, frames), -1)
        names = [title(callers.frame(number)) for number in used.tolist()]
    return Subject(flat, sites, names, times_of(process.events), process.threads)
