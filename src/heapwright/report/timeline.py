"""Values of call stacks over time, for a page on which a reader chooses a range: a second pass over a process.

Only the call stacks that matter have rows. Each other one counts as its nearest caller that has one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from heapwright.report.blocks import Changes, LiveBlocks
from heapwright.report.profile import Profile, changes_of
from heapwright.report.source import Source
from heapwright.report.tallies import padded
from heapwright.traces.arrays import I64, np
from heapwright.traces.sampling import rounded
from heapwright.traces.stacks import UNKNOWN, Stacks

BINS = 160
METRICS = ("peak", "requested", "requests", "temporary", "left")


@dataclass(frozen=True)
class Rows:
    """The stacks that have rows, their callers included. Row 0 is the stack without frames."""

    stacks: I64  # the stack of each row, ascending
    of_stack: I64  # the row of each stack

    def parents(self, stacks: Stacks) -> list[int]:
        """The row of each row's caller."""
        return [int(self.of_stack[stacks.parents[stack]]) for stack in self.stacks.tolist()]


def chosen_rows(profile: Profile, limit: int) -> Rows:
    """The stacks that have the largest part of anything, with their callers: about `limit` of them."""
    stacks = profile.callers.stacks
    kept = np.zeros(len(stacks), bool)
    kept[UNKNOWN] = True
    for stack in by_importance(profile, len(stacks)):
        if kept.sum() >= limit:
            break
        place = stack
        while not kept[place]:
            kept[place] = True
            place = stacks.parents[place]
    numbers = np.flatnonzero(kept)
    of_stack = np.zeros(len(stacks), np.int64)
    of_stack[numbers] = np.arange(len(numbers))
    for stack in np.flatnonzero(~kept).tolist():  # a caller has the lower number
        of_stack[stack] = of_stack[stacks.parents[stack]]
    return Rows(numbers, of_stack)


def by_importance(profile: Profile, count: int) -> list[int]:
    """The stacks that have a part of anything, those with the largest shares first."""
    requests = profile.requests
    wholes = [profile.peak.bytes_by_site, profile.end.bytes_by_site]
    wholes += [each.values() for each in (requests.bytes, requests.count, requests.temporary)]
    shares = np.max([padded(whole, count) / max(int(whole.sum()), 1) for whole in wholes], axis=0)
    order: list[int] = np.argsort(-shares, kind="stable")[: int((shares > 0).sum())].tolist()
    return order


class Timeline:
    """A matrix for each metric: a row for each of `rows`, a column for each bin.

    peak       live bytes when the most are live in the bin
    requested  bytes asked for in the bin
    requests   how often
    temporary  temporary blocks that were freed in the bin
    left       bytes asked for in the bin and never freed
    """

    def __init__(self, profile: Profile, rows: Rows):
        points = profile.curve
        self.start, self.width = points.start, max(1, -(-(points.end - points.start + 1) // BINS))
        self.bins = (points.end - points.start) // self.width + 1 if len(points) else 0
        self.rows, self._others = rows, profile.options.temporary
        shape = len(rows.stacks), self.bins
        self.matrices: dict[str, Any] = {name: np.zeros(shape, np.int64) for name in METRICS}
        if profile.process.sample:
            self.matrices["requests"] = np.zeros(shape)
        self.high: I64 = np.full(self.bins, -1, np.int64)
        self.when: I64 = np.zeros(self.bins, np.int64)
        self._live: I64 = np.zeros(len(rows.stacks), np.int64)

    def add(self, changes: Changes) -> None:
        """Take the next events."""
        bins = (changes.x - self.start) // self.width
        asked, short = changes.requests, changes.dies & (changes.others <= self._others)
        self._sum("requested", changes.site[asked], bins[asked], changes.bytes[asked])
        self._sum("requests", changes.site[asked], bins[asked], changes.weight[asked])
        if not changes.rate:
            self._sum("temporary", changes.old_site[short], bins[short], 1)
        first = np.flatnonzero(np.diff(bins, prepend=-1))
        for start, end in zip(first.tolist(), [*first[1:].tolist(), len(changes)], strict=True):
            self._add_bin(int(bins[start]), changes[start:end])

    def _sum(self, metric: str, sites: Any, bins: I64, values: Any) -> None:
        np.add.at(self.matrices[metric], (self.rows.of_stack[sites], bins), values)

    def _add_bin(self, place: int, changes: Changes) -> None:
        """Take events of one bin."""
        highest = int(changes.live_bytes.argmax())
        self._move(changes[: highest + 1])
        if int(changes.live_bytes[highest]) > self.high[place]:
            self.high[place], self.when[place] = changes.live_bytes[highest], changes.x[highest]
            self.matrices["peak"][:, place] = self._live
        self._move(changes[highest + 1 :])

    def _move(self, changes: Changes) -> None:
        np.add.at(self._live, self.rows.of_stack[changes.site], changes.bytes)
        np.add.at(self._live, self.rows.of_stack[changes.old_site], -changes.old_bytes)

    def finish(self, blocks: LiveBlocks) -> None:
        """Take the blocks that are live at the end, and continue what was live through bins without events."""
        rows = blocks.rows
        self._sum("left", rows["site"], (rows["born"] - self.start) // self.width, blocks.bytes_for())
        self.matrices["requests"] = rounded(self.matrices["requests"])
        for place in range(1, self.bins):
            if self.high[place] < 0:
                self.matrices["peak"][:, place] = self.matrices["peak"][:, place - 1]
                self.high[place], self.when[place] = self.high[place - 1], self.start + place * self.width


def timeline(source: Source, profile: Profile, limit: int) -> Timeline:
    """The values over time of about `limit` call stacks, those that matter most."""
    made = Timeline(profile, chosen_rows(profile, limit))
    blocks = LiveBlocks(profile.process.sample)
    for changes in changes_of(source, profile.number - 1, profile.axis, profile.callers, blocks):
        made.add(changes)
    made.finish(blocks)
    return made
