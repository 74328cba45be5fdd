"""The stops of a plan: what each thread does between two of its events. See `heapwright.native.jobs.causal_job`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from heapwright.lab.causal.edges import Lives
from heapwright.native.jobs.causal_job import JOIN, LEAVE, PASS, START, TELL, WAIT, Stop
from heapwright.traces.arrays import I64, Mask, np
from heapwright.traces.events import NONE
from heapwright.traces.structs import dtype_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Places:
    """The events by thread. `thread` is each event's thread, as its place in the order of the lives."""

    thread: I64
    order: I64  # the events of the first thread, then those of the next
    counts: I64  # events of each thread
    position: I64  # of each event in its thread

    @classmethod
    def of(cls, thread: I64, threads: int) -> Places:
        order = np.argsort(thread, kind="stable")
        counts = np.bincount(thread, minlength=threads)
        position = np.empty_like(order)
        position[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        return cls(thread, order, counts, position)

    def before(self, thread: int, event: int) -> int:
        """How many events of a thread are earlier than an event."""
        first = int(self.counts[:thread].sum())
        own = self.order[first : first + int(self.counts[thread])]
        return int(np.searchsorted(own, event))


@dataclass(frozen=True)
class Waits:
    """The waits for blocks that a thread must really make: not those that an earlier wait or a section implies."""

    event: I64
    source: I64

    @classmethod
    def of(cls, source: I64, places: Places, section: I64, needs: I64) -> Waits:
        event = np.flatnonzero(source != NONE)
        event = event[section[source[event]] >= needs[section[event]]]
        event = event[is_news(event, source, places)]
        return cls(event, source[event])


def is_news(event: I64, source: I64, places: Places) -> Mask:
    """Which waits are for a later event of a thread than all earlier ones of the same two threads."""
    threads = len(places.counts)
    pair = places.thread[event] * threads + places.thread[source[event]]
    order = np.lexsort((event, pair))
    far = places.position[source[event]][order]
    group = np.unique(pair[order], return_inverse=True)[1].astype(np.int64) * (len(source) + 1)
    highest = np.maximum.accumulate(np.concatenate(([-1], group + far)))
    found = np.zeros(len(event), bool)
    found[order] = group + far > np.maximum(highest[:-1], group - 1)
    return found


def stops_of(places: Places, lives: Lives, waits: Waits, section: I64, needs: I64) -> tuple[NDArray[Any], I64]:
    """The stops by thread and in order, and the number of those of each thread."""
    rows = np.concatenate(
        [
            told(places, waits),
            waited(places, waits),
            *of_sections(places, lives, section, needs),
            *of_lives(places, lives),
        ]
    )
    rows = rows[np.lexsort((rows["kind"], rows["when"], rows["at"], rows["thread"]))]
    stops = np.zeros(len(rows), dtype_of(Stop))
    for name in ("at", "kind", "who", "what"):
        stops[name] = rows[name]
    return stops, np.bincount(rows["thread"], minlength=len(lives))


FIRST, LAST = -1, (1 << 63) - 1  # the stops at one place that precede or follow the starts there
ROW = [(name, "<i8") for name in ("thread", "at", "when", "kind", "who", "what")]


def rows_of(thread: Any, at: Any, kind: int, *, who: Any = 0, what: Any = 0, when: Any = 0) -> NDArray[Any]:
    """Stops of one kind. `when` orders the starts at one place."""
    rows = np.zeros(len(thread), ROW)
    for name, column in {"thread": thread, "at": at, "when": when, "kind": kind, "who": who, "what": what}.items():
        rows[name] = column
    return rows


# --- blocks


def told(places: Places, waits: Waits) -> NDArray[Any]:
    """After each event that others wait for, its thread says so."""
    source = np.unique(waits.source)
    done = places.position[source] + 1
    return rows_of(places.thread[source], done, TELL, what=done, when=FIRST)


def waited(places: Places, waits: Waits) -> NDArray[Any]:
    return rows_of(
        places.thread[waits.event],
        places.position[waits.event],
        WAIT,
        who=places.thread[waits.source],
        what=places.position[waits.source] + 1,
        when=LAST,
    )


# --- sections


def of_sections(places: Places, lives: Lives, section: I64, needs: I64) -> list[NDArray[Any]]:
    """A thread passes into each section in which it has events, and leaves it after the last of them."""
    thread, number = places.thread[places.order], section[places.order]
    ends = np.flatnonzero(np.append((thread[1:] != thread[:-1]) | (number[1:] != number[:-1]), True))
    begins = np.append(0, ends[:-1] + 1)
    position = places.position[places.order]
    must = needs[number[begins]]
    is_first = np.append(True, thread[begins][1:] != thread[begins][:-1])
    is_new = must > np.where(is_first, 0, np.append(0, must[:-1]))
    begins, must = begins[is_new], must[is_new]
    forever = np.flatnonzero(~lives.has_ended | (np.arange(len(lives)) == 0))
    return [
        rows_of(thread[ends], position[ends] + 1, LEAVE, what=number[ends], when=FIRST),
        rows_of(thread[begins], position[begins], PASS, what=must, when=LAST),
        rows_of(forever, places.counts[forever], PASS, what=len(needs), when=LAST),
    ]


# --- threads


def of_lives(places: Places, lives: Lives) -> list[NDArray[Any]]:
    """Who starts a thread first joins those that ended since the last start."""
    starter = lives.starters(places.thread)
    at = np.array([0, *(places.before(starter[each], lives.first[each]) for each in range(1, len(lives)))], np.int64)
    started = np.arange(1, len(lives))
    joined = np.flatnonzero(lives.joined_by() != NONE)
    by = lives.joined_by()[joined]
    return [
        rows_of(starter[started], at[started], START, who=started, when=lives.first[started]),
        rows_of(starter[by], at[by], JOIN, who=joined, when=lives.first[by]),
    ]
