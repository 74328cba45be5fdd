"""The plan of a replay on threads."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from heapwright.lab.causal import passes
from heapwright.lab.causal.edges import Lives, handovers, prove
from heapwright.lab.causal.passes import BEGINS, DIES, ENDS, NOTHING, SHARED, Number, Row, Track, Work
from heapwright.lab.causal.stops import Places, Waits, stops_of
from heapwright.native.jobs.causal_job import Section, Thread
from heapwright.native.library import functions_library, opened
from heapwright.traces.arrays import I64, np
from heapwright.traces.events import DEALLOC, NONE, Events, TraceError, changes, starts
from heapwright.traces.flat import flatten
from heapwright.traces.structs import dtype_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

PART = 100  # live memory may exceed the recorded curve by this part of it: by 1 %
EXTENTS = 250  # a section has at most this part of all events
MIN_WIDTH = 1024  # unless that is fewer events than these


@dataclass(frozen=True)
class Order:
    """How much order the plan imposes on the threads."""

    threads: int
    alive: int  # at one time, at most
    handovers: int  # events that need another thread's event first, because of a block
    waits: int  # of them, those that no earlier wait and no section implies
    chain: int  # events in the longest chain of events that need each other
    sections: int
    alone: int  # of them, those that begin after everything before them is done
    held_chain: int  # the longest chain, if sections count

    def as_json(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True)
class Plan:
    """The tables of a job, and how much order they impose."""

    threads: NDArray[Any]
    sections: NDArray[Any]
    stops: NDArray[Any]
    records: NDArray[Any]  # flat events, by thread
    slots: int
    peak: int  # sections until the most bytes are live
    peak_event: int  # events until then
    order: Order


def plan(events: Events, names: Sequence[str] = (), part: int = PART) -> Plan:
    """Plan the replay of a whole process's events. `names` are those of its threads.

    Raises TraceError if the events cannot be replayed on threads.
    """
    flat = flatten(events, recycle=False)
    kept = events[~events.failed]
    if not len(kept):
        raise TraceError("the process has no events to replay on threads")
    lives, source = Lives.of(kept), handovers(kept)
    place = np.zeros(int(kept.thread.max(initial=0)) + 1, np.int64)
    place[lives.thread] = np.arange(len(lives))
    places = Places.of(place[kept.thread], len(lives))
    found = Found.of(kept, source, lives, places.thread, flat.peak, part)
    flat.records["slot"] = found.slot.view("u8")
    prove(places.thread, all_waits(lives, source, found))
    waits = Waits.of(source, places, found.section, found.needs)
    stops, stops_each = stops_of(places, lives, waits, found.section, found.needs)
    return Plan(
        thread_table(places, lives, stops_each, names),
        section_table(places, found),
        stops,
        flat.records[places.order],
        found.slots,
        int(np.searchsorted(found.first, flat.peak)),
        flat.peak,
        Order(
            threads=len(lives),
            alive=lives.most_alive(),
            handovers=int((source != NONE).sum()),
            waits=len(waits.event),
            chain=found.chain,
            sections=len(found.first),
            alone=int((found.needs == np.arange(len(found.needs)))[1:].sum()),
            held_chain=found.held_chain,
        ),
    )


# --- the compiled passes


@dataclass(frozen=True)
class Found:
    """What the passes found: each event's section and slot, and each section's first event and what it needs."""

    section: I64
    slot: I64
    first: I64
    needs: I64
    ceiling: I64
    slots: int
    chain: int
    held_chain: int

    @classmethod
    def of(cls, kept: Events, source: I64, lives: Lives, thread: I64, peak: int, part: int) -> Found:
        rows = rows_of(kept, source, lives, thread)
        tracks = table(Track, len(lives))
        tracks["starter"] = lives.starters(thread)
        sections = table(passes.Section, len(kept))
        work = table(Work, 1)
        work["peak"], work["part"] = peak, part
        work["width"] = max(MIN_WIDTH, len(kept) // EXTENTS)
        run_passes(work, rows, tracks, sections)
        done = sections[: int(work["count"][0])]
        return cls(
            section=signed(rows, "section"),
            slot=signed(rows, "slot"),
            first=signed(done, "first"),
            needs=signed(done, "needs"),
            ceiling=signed(done, "ceiling"),
            slots=int(work["lines"][0]) * passes.LINE,
            chain=int(work["depth"][0]),
            held_chain=int(work["held"][0]),
        )


def table(struct: Any, rows: int) -> NDArray[Any]:
    return np.zeros(rows, dtype_of(struct))


def signed(rows: NDArray[Any], name: str) -> I64:
    """A column of words as signed numbers."""
    column: I64 = rows[name].astype(np.int64)
    return column


def rows_of(kept: Events, source: I64, lives: Lives, thread: I64) -> NDArray[Any]:
    """The events as the passes read them."""
    begins, has_block = starts(kept), kept.block != NONE
    is_shared = np.zeros(int(begins.sum()) + 1, bool)  # the last is for NONE
    is_shared[kept.block[source != NONE]] = True
    flags = begins * BEGINS + ((kept.op == DEALLOC) & has_block) * DIES + is_shared[kept.block] * SHARED
    flags[lives.last[lives.has_ended]] += ENDS
    rows = table(Row, len(kept))
    columns = {"thread": thread, "change": changes(kept)[0], "block": kept.block, "flags": flags, "source": source}
    for name, column in {**columns, "slot": NOTHING}.items():
        rows[name].view("i8")[:] = column
    return rows


def run_passes(work: NDArray[Any], rows: NDArray[Any], tracks: NDArray[Any], sections: NDArray[Any]) -> None:
    """Call the compiled passes on their tables."""
    places = table(Number, len(rows))
    links = table(Number, len(rows) + passes.LINE * len(tracks))
    given = {"rows": rows, "tracks": tracks, "sections": sections, "places": places, "links": links}
    for name, each in given.items():
        work[name] = each.ctypes.data
    work["events"] = len(rows)
    for do in compiled_passes():
        do(work.ctypes.data)


@cache
def compiled_passes() -> list[Callable[[int], None]]:
    """The passes as functions of the address of their Work."""
    library = opened(functions_library(passes))
    found = [getattr(library, name) for name in passes.COMPILED]
    for each in found:
        each.argtypes, each.restype = [ctypes.c_long], None
    return found


# --- the proof


def all_waits(lives: Lives, source: I64, found: Found) -> I64:
    """All waits of a plan: the numbers of each event that waits and of the one that it waits for."""
    event = np.flatnonzero(source != NONE)
    gates = np.flatnonzero(found.needs)
    joined = lives.joined_by()
    ended = np.flatnonzero(joined != NONE)
    of_blocks = event, source[event]
    of_sections = found.first[gates], found.first[found.needs[gates]] - 1
    of_ends = lives.first[joined[ended]], lives.last[ended]
    of_starts = lives.first[1:], lives.first[:-1]
    return np.concatenate([np.column_stack(each) for each in (of_blocks, of_sections, of_ends, of_starts)])


# --- the job's tables


def thread_table(places: Places, lives: Lives, stops: I64, names: Sequence[str]) -> NDArray[Any]:
    threads = table(Thread, len(lives))
    for count, first, numbers in (("events", "first", places.counts), ("stops", "first_stop", stops)):
        threads[count] = numbers
        threads[first] = np.cumsum(numbers) - numbers
    threads["outlives"] = lives.joined_by() == NONE
    known = [names[number][:15].encode()[:15] if number < len(names) else b"" for number in lives.thread]
    threads["name"] = np.array(known, "S16").view("V16") if known else b""
    return threads


def section_table(places: Places, found: Found) -> NDArray[Any]:
    sections = table(Section, len(found.first))
    pairs = np.unique(found.section * len(places.counts) + places.thread)
    sections["threads"] = np.bincount(pairs // len(places.counts), minlength=len(sections))
    sections["ceiling"] = found.ceiling
    return sections
