"""One pass over a process's events: what it asked for, who asked, and when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from heapwright.report.blocks import Changes, LiveBlocks
from heapwright.report.callers import Callers
from heapwright.report.curve import Curve, Points
from heapwright.report.source import Described, Source
from heapwright.report.tallies import Growth, Lifetimes, Moment, Moments, Requests, Sizes, Threads
from heapwright.traces.arrays import I64, np
from heapwright.wording import duration

TEMPORARY = 1  # requests between, as in memray
TIME, EVENTS = "time", "events"  # what the curve's axis counts


@dataclass(frozen=True)
class Options:
    """What to count as temporary, at which moment to look, and which frames to keep."""

    temporary: int = TEMPORARY
    at: int | None = None  # on the axis; None for the peak
    all_frames: bool = False  # those of an interpreter, too


@dataclass
class Profile:
    """The findings on one process."""

    number: int  # its place in the trace, from 1
    process: Described
    axis: str  # TIME or EVENTS
    options: Options
    callers: Callers
    curve: Points
    peak: Moment
    end: Moment
    chosen: Moment  # at the time that was asked for; otherwise the peak
    requests: Requests
    growth: Growth
    sizes: Sizes
    lifetimes: Lifetimes
    threads: Threads

    @cached_property
    def named(self) -> I64:
        """For each call stack, the frame to name."""
        return self.callers.named

    @property
    def has_sites(self) -> bool:
        return self.callers.has_sites

    def when(self, x: int) -> str:
        """A moment in words: `1.25 s`, `event 1,000`."""
        return duration(x / 1e6) if self.axis == TIME else f"event {x + 1:,}"

    def by_name(self, values: Any) -> Any:
        """Values of call stacks, summed by the frame to name. The last element is that of nobody."""
        sums = np.zeros(len(self.callers.stacks.frames) + 1, values.dtype)
        np.add.at(sums, self.named[: len(values)], values[: len(self.named)])
        return sums


def changes_of(
    source: Source, process: int, axis: str, callers: Callers, blocks: LiveBlocks | None = None
) -> Iterator[Changes]:
    """What each event of a process does, chunk by chunk. In the end, `blocks` has those that are still live."""
    blocks, done, origin = blocks or LiveBlocks(source.processes[process].sample), 0, origin_of(source)
    for events in source.chunks(process):
        x = np.maximum(events.time - origin, 0) if axis == TIME else np.arange(done, done + len(events))
        yield blocks.advance(events, x, callers.sites(events))
        done += len(events)


def origin_of(source: Source) -> int:
    """The time of the first recorded call, from which the report counts."""
    first = next(iter(source.chunks(0)), None)
    return int(first.time[0]) if first is not None else 0


def axis_of(source: Source, process: int) -> str:
    """TIME if a process's first chunk has times, else EVENTS."""
    first = next(iter(source.chunks(process)), None)
    return TIME if first is not None and first.has_times else EVENTS


def profile(source: Source, process: int, options: Options | None = None) -> Profile:
    """The findings on the process at a place, from 0, of a trace."""
    options = options or Options()
    axis, described = axis_of(source, process), source.processes[process]
    callers = Callers(source.stacks, described.threads, options.all_frames)
    curve, moments, requests = Curve(), Moments(options.at), Requests(options.temporary)
    growth, sizes, lifetimes, threads = Growth(), Sizes(), Lifetimes(), Threads()
    takers = curve.add, moments.add, requests.add, growth.add, sizes.add_changes, lifetimes.add_changes, threads.add
    for changes in changes_of(source, process, axis, callers):
        for take in takers:
            take(changes)
    chosen = moments.peak if options.at is None else moments.chosen
    return Profile(
        process + 1,
        described,
        axis,
        options,
        callers,
        curve.points(),
        moments.peak,
        moments.end(),
        chosen,
        requests,
        growth,
        sizes,
        lifetimes,
        threads,
    )
