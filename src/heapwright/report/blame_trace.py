"""Blame on a recording: a replay is held at a moment, and its blocks are grouped by who asked, by size or by age."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from heapwright.lab.contestant import Contestant
from heapwright.lab.held import Moment, held
from heapwright.lab.requests import replayed, request_of
from heapwright.native.jobs.hold_job import NO_GROUP, NO_LIMIT
from heapwright.report.blame import Blocks, Hole, Pages, group_rows, holes, numbered
from heapwright.report.callers import Callers, class_name, size_class, title
from heapwright.stats import UNREPORTED
from heapwright.traces.arrays import I64, np
from heapwright.traces.events import REALLOC, Process, Trace, starts
from heapwright.traces.flat import flatten
from heapwright.wording import duration

SITE, SIZE, AGE = "site", "size", "age"


class Replay:
    """A process's events as they are replayed, and what is known about the block of each."""

    def __init__(self, trace: Trace, process: Process):
        first = trace.processes[0].events.time
        self.process, self.origin = process, int(first[0]) if len(first) else 0
        self.indices = replayed(process.events)
        self.events = process.events[self.indices]
        self.flat = flatten(process.events)
        self.callers = Callers(trace.stacks, process.threads)

    @cached_property
    def births(self) -> I64:
        """The event in which each block starts."""
        return np.flatnonzero(starts(self.events))

    def makers(self, done: int) -> I64:
        """For each slot, the last event before `done` that made its block or gave it its size; -1 for none."""
        records = self.flat.records[:done]
        asks = np.flatnonzero((records["op"] <= REALLOC) & (records["slot"] >= 0))
        makers = np.full(self.flat.slots, -1, np.int64)
        np.maximum.at(makers, records["slot"][asks].astype(np.int64), asks)
        return makers

    def site_name(self, event: int) -> str | None:
        """Who asked in an event; None without call sites."""
        if not self.callers.has_sites:
            return None
        [site] = self.callers.sites(self.events[event : event + 1]).tolist()
        return title(self.callers.frame(int(self.callers.named[site])))

    def request(self, event: int) -> dict[str, Any]:
        """What a replayed event asked for."""
        found = request_of(self.process.events, int(self.indices[event]), self.origin)
        return {**found, "site": self.site_name(event)}

    def when(self, event: int) -> int:
        """The time of an event in microseconds, or its number."""
        return int(self.events.time[event]) if self.events.has_times else event

    def ages(self, events: I64, done: int) -> I64:
        """How long before the moment each event's block started."""
        if not len(events):
            return events
        born = self.births[self.events.block[events]]
        now = self.when(max(done - 1, 0))
        return now - (self.events.time[born] if self.events.has_times else born)


# --- groups


def grouped(replay: Replay, makers: I64, done: int, by: str) -> tuple[I64, list[str]]:
    """The group of each event's block, and the groups' names."""
    events = replay.events[makers]
    if by == SITE:
        frames = replay.callers.named[replay.callers.sites(events)]
        return numbered(frames, lambda frame: title(replay.callers.frame(frame)))
    if by == SIZE:
        return numbered(size_class(events.size), class_name)
    return numbered(power_of_ten(replay.ages(makers, done)), lambda power: age_name(power, replay.events.has_times))


def power_of_ten(ages: I64) -> I64:
    """The power of ten that each age needs: 2 for 11 to 100."""
    found = np.zeros(len(ages), np.int64)
    for power in range(18):
        found += ages > 10**power
    return found


def age_name(power: int, is_time: bool) -> str:
    """The ages of a class, in words."""
    top, bottom = 10**power, 10 ** (power - 1) if power else 0
    if is_time:
        return f"{duration(bottom / 1e6)} to {duration(top / 1e6)} old"
    return f"{bottom:,} to {top:,} events old"


# --- the whole


@dataclass(frozen=True)
class Options:
    """The moment in events, the limit in bytes beyond those before, how to group, and how many rows."""

    stop: int
    limit: int = NO_LIMIT
    by: str = SITE
    top: int = 10


def blame(replay: Replay, contestant: Contestant, options: Options) -> dict[str, Any]:
    """What the live blocks of a malloc hold back at a moment. Raises RunError if the replay fails."""
    with held(replay.flat, contestant, options.stop, options.limit) as moment:
        return Findings(replay, moment, options).as_dict(contestant.name)


class Findings:
    """A held moment, and its live blocks as groups."""

    def __init__(self, replay: Replay, moment: Moment, options: Options):
        self.replay, self.moment, self.options = replay, moment, options
        self.done = moment.outcome.done
        makers = replay.makers(self.done)
        self.slots = np.flatnonzero((moment.blocks != 0) & (makers >= 0))
        self.makers = makers[self.slots]
        self.requested = replay.flat.records["size"][self.makers].astype(np.int64)
        self.groups, self.names = grouped(replay, self.makers, self.done, options.by)
        usable = moment.usable[self.slots]
        sizes = np.where(usable == UNREPORTED, self.requested, usable)
        self.blocks = Blocks.of(moment.blocks[self.slots], sizes, self.groups)
        self.order = np.argsort(moment.blocks[self.slots], kind="stable")

    def as_dict(self, name: str) -> dict[str, Any]:
        refused = self.moment.outcome.refused
        return {
            "allocator": name,
            "moment": self.replay.request(self.done - 1) if self.done else None,
            "events": self.done,
            "refused": self.replay.request(self.done) if refused else None,
            "heap": self.heap(),
            "holes": [self.hole(each) for each in holes(self.blocks, self.moment.ranges)],
            "by": self.options.by,
            "groups": self.rows(),
        }

    def heap(self) -> dict[str, int]:
        """The heap's bytes and pages."""
        held_bytes = sum(end - start for start, end in self.moment.ranges)
        in_blocks = int((self.blocks.ends - self.blocks.starts).sum())
        full, partly = Pages.of(self.blocks).census()
        resident = sum(int(self.moment.source.pages(*each).present.sum()) for each in self.moment.ranges)
        return {
            "held_bytes": held_bytes,
            "resident_bytes": resident * 4096,
            "requested_bytes": int(self.requested.sum()),
            "block_bytes": in_blocks,
            "outside_bytes": held_bytes - in_blocks,
            "blocks": len(self.blocks),
            "full_pages": full,
            "partly_used_pages": partly,
            "pages_without_blocks": held_bytes // 4096 - full - partly,
        }

    def hole(self, hole: Hole) -> dict[str, Any]:
        lowest = self.moment.ranges[0][0]
        return {
            "bytes": hole.size,
            "offset": hole.start - lowest,
            "below": None if hole.below is None else self.block(hole.below),
            "above": None if hole.above is None else self.block(hole.above),
        }

    def block(self, place: int) -> dict[str, Any]:
        """A block, by its place in the order of addresses: its size, age, and who asked."""
        maker = int(self.makers[self.order[place]])
        [age] = self.replay.ages(np.array([maker]), self.done).tolist()
        return {**self.replay.request(maker), "age": age / 1e6 if self.replay.events.has_times else age}

    def rows(self) -> list[dict[str, Any]]:
        """The groups that hold back the most, with what the malloc gives back if one is freed."""
        requested = np.bincount(self.groups, self.requested, len(self.names)).astype(np.int64)
        rows = group_rows(self.blocks, requested, self.moment.ranges, self.names, self.options.top)
        chosen = np.full(len(self.names), NO_GROUP, np.int64)
        chosen[[row["group"] for row in rows]] = np.arange(len(rows))
        groups = np.full(self.replay.flat.slots, NO_GROUP, np.int64)
        groups[self.slots] = chosen[self.groups]
        given = self.moment.release(groups) if rows else []
        return [{**row, "gives_back_bytes": max(0, each)} for row, each in zip(rows, given, strict=True)]
