"""Cut a part out of a trace: a range of time or of events, some threads, some processes.

What is left is a trace of its own. Blocks that are live where it begins become allocations at its start, with the flag
INHERITED, as those of a forked process. A thread's part are the blocks that it started, until they are freed, by
whichever thread. Blocks and threads get new numbers. Times stay as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from heapwright.files import written_whole
from heapwright.traces.arrays import I64, U32, Mask, np
from heapwright.traces.calls import note
from heapwright.traces.events import NONE, Events, Summary, TraceError, starts
from heapwright.traces.format import CHUNK_EVENTS, Writer
from heapwright.traces.passing import LiveBlocks, Tally, add_chunk
from heapwright.traces.sources import Source, duration

LIVE_AT_START = "blocks that are live where the cut begins, kept as allocations"
BY_OTHERS = "calls of other threads on the chosen threads' blocks, kept"
END = (1 << 63) - 1


@dataclass(frozen=True)
class Part:
    """What to keep. Times are in microseconds, event numbers count from 0 in each process; ends are left out."""

    first_time: int = 0
    end_time: int = END
    first_event: int = 0
    end_event: int = END
    threads: frozenset[str] = frozenset()  # numbers or names; none means all
    processes: frozenset[int] = frozenset()  # places; none means all

    @property
    def begins_at_start(self) -> bool:
        return self.first_time <= 0 and self.first_event <= 0

    @property
    def is_by_time(self) -> bool:
        return self.first_time > 0 or self.end_time < END

    def range_in(self, events: Events, before: int) -> slice:
        """The events of a chunk to keep, of which `before` others came first."""
        by_time = np.searchsorted(events.time, [self.first_time, self.end_time])
        by_number = np.clip(np.array([self.first_event, self.end_event]) - before, 0, len(events))
        first = int(max(by_time[0], by_number[0]))
        return slice(first, max(first, int(min(by_time[1], by_number[1]))))


def cut(source: Source, path: Path, part: Part) -> Summary:
    """Write a part of a trace to `path`, and return its summary. Raises TraceError if nothing is left."""
    header, total = source.header, Summary()
    kept: list[dict[str, Any]] = []
    if part.is_by_time and not duration(source):
        raise TraceError("the trace has no times; cut it by events")
    with written_whole(path) as file:
        writer = Writer(file)
        for place, facts in enumerate(header["processes"]):
            if not part.processes or place in part.processes:
                cutter = Cutter(part, facts, writer, len(kept))
                cutter.take(source.chunks(place))
                if len(cutter):
                    kept.append(cutter.facts())
                    total += cutter.tally.summary
        if not kept:
            raise TraceError(f"{path}: not written: the trace has no events there; see `heapwright trace info`")
        writer.finish(header | {"processes": kept, "summary": asdict(total)}, source.stacks)
    return total


class Cutter:
    """The part of one process: what was kept so far."""

    def __init__(self, part: Part, facts: dict[str, Any], writer: Writer, process: int):
        self.part, self.original, self.writer, self.process = part, facts, writer, process
        self.chosen = chosen_threads(part.threads, facts["threads"])
        self.live, self.tally = LiveBlocks(), Tally()
        self.numbers = Numbers()
        self.notes = Counter(facts["notes"])
        self.has_begun = part.begins_at_start
        self.seen = 0

    def __len__(self) -> int:
        return self.tally.summary.events

    def take(self, chunks: Iterable[Events]) -> None:
        """Keep what belongs to the part of each chunk. Chunks after its end are not read."""
        for chunk in chunks:
            which = self.part.range_in(chunk, self.seen)
            self.seen += len(chunk)
            if which.start == len(chunk):
                self.live.advance(chunk)
                continue
            self.live.advance(chunk[: which.start])
            self.begin(chunk, which)
            self.keep(chunk[which])
            if which.stop < len(chunk):
                break

    def begin(self, chunk: Events, which: slice) -> None:
        """Write the blocks that are live at the start, before the first event that is kept."""
        if self.has_begun or which.start == which.stop:
            return
        self.has_begun = True
        first = self.part.first_time or int(chunk.time[which.start])
        opening = self.live.inherited(first if chunk.has_times else 0)
        opening = opening[self.is_chosen(opening.thread)]
        note(self.notes, LIVE_AT_START, len(opening))
        self.write(opening)

    def keep(self, events: Events) -> None:
        owner, _, _ = self.live.advance(events)
        kept = self.is_chosen(owner)
        note(self.notes, BY_OTHERS, (kept & ~self.is_chosen(events.thread)).sum())
        self.write(events[kept])
        self.numbers.forget_all_but(self.live.held.block)

    def is_chosen(self, threads: U32) -> Mask:
        chosen: Mask = np.ones(len(threads), bool) if self.chosen is None else np.isin(threads, self.chosen)
        return chosen

    def write(self, events: Events) -> None:
        for first in range(0, len(events), CHUNK_EVENTS):
            renumbered = self.numbers.renumber(events[first : first + CHUNK_EVENTS])
            add_chunk(self.writer, self.process, renumbered, self.tally)

    def facts(self) -> dict[str, Any]:
        """The facts of the process in the new header."""
        names = self.original["threads"]
        threads = [names[each] if each < len(names) else "" for each in self.numbers.threads]
        rest = {"notes": dict(self.notes), "summary": asdict(self.tally.summary)}
        return self.original | {"threads": threads if any(threads) else []} | rest


def chosen_threads(wanted: frozenset[str], names: list[str]) -> list[int] | None:
    """The numbers of threads that are given by number or name; None if all are wanted."""
    if not wanted:
        return None
    by_name = [number for number, name in enumerate(names) if name in wanted]
    return by_name + [int(each) for each in wanted if each.isdecimal() and each not in names]


class Numbers:
    """New numbers for the blocks and threads of a part. Both grow in the order of appearance."""

    def __init__(self) -> None:
        self.old: I64 = np.empty(0, np.int64)
        self.new: I64 = np.empty(0, np.int64)
        self.blocks = 0
        self.threads: dict[int, int] = {}

    def renumber(self, events: Events) -> Events:
        """The same events with new numbers. Their blocks start in them or have numbers already."""
        begins = starts(events, int(self.old[-1]) + 1 if len(self.old) else 0)
        started = events.block[begins]
        self.old = np.concatenate([self.old, started])
        self.new = np.concatenate([self.new, self.blocks + np.arange(len(started))])
        self.blocks += len(started)
        return replace(events, block=self.blocks_of(events.block), thread=self.threads_of(events.thread))

    def blocks_of(self, block: I64) -> I64:
        place = np.minimum(np.searchsorted(self.old, block), max(len(self.old) - 1, 0))
        found: I64 = np.where(block == NONE, NONE, self.new[place] if len(self.new) else NONE)
        return found

    def threads_of(self, thread: U32) -> U32:
        different, first, which = np.unique(thread, return_index=True, return_inverse=True)
        for each in different[np.argsort(first)].tolist():
            self.threads.setdefault(each, len(self.threads))
        numbers = np.array([self.threads[each] for each in different.tolist()], np.uint32)
        renumbered: U32 = numbers[which]
        return renumbered

    def forget_all_but(self, block: I64) -> None:
        """Drop the numbers of blocks that are dead."""
        kept = np.isin(self.old, block)
        self.old, self.new = self.old[kept], self.new[kept]
