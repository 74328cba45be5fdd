"""Traces as events: the calls that a program's processes made to their allocator, in order.

Each process has its events, one column for each property (`Events`):

    op          uint8   ALLOC, ALLOC_ZEROED, REALLOC, DEALLOC or THREAD_EXIT
    flags       uint8   FAILED: the program got null;  INHERITED: allocated before the fork, by the parent,
                        or before the moment at which the trace was cut
    log2_align  uint8   of the alignment asked for, in bytes; 0 when the call asks for none, as malloc does
    thread      uint32  dense, in order of appearance
    block       int64   which block: 0 for the process's first, n for its n-th; or NONE
    size        uint64  bytes asked for; 0 for DEALLOC and THREAD_EXIT
    count       uint32  of how many elements: calloc's first argument; 1 for all other calls, and beyond 32 bits
    time        int64   microseconds since the recording began; 0 for all events if the trace has no times
    site        uint32  the call stack that asked, in the trace's `stacks`; 0 if it is unknown

Invariants
    E1  the columns have one length
    E2  blocks are numbered in the order in which they start
    E3  an event names a live block or NONE; after DEALLOC its block is dead
    E4  NONE is named by free(NULL), a failed request that had no block, and THREAD_EXIT, and by nothing else
    E5  size is a multiple of count; only for ALLOC_ZEROED is count not 1
    E6  time never decreases

ALLOC and ALLOC_ZEROED start a block. REALLOC keeps its block's number; one without a block, realloc(NULL, size),
starts one. A failed REALLOC leaves its block as it was; one to size 0 that returned null is a DEALLOC.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from heapwright.errors import UserError
from heapwright.traces import operations
from heapwright.traces.arrays import I64, U8, U32, U64, Mask, np
from heapwright.traces.stacks import Stacks

ALLOC, ALLOC_ZEROED, REALLOC = operations.ALLOC, operations.ALLOC_ZEROED, operations.REALLOC
DEALLOC, THREAD_EXIT = operations.DEALLOC, operations.THREAD_EXIT
FAILED, INHERITED = 1, 2
NONE = -1
COLUMNS = {
    "op": "u1",
    "flags": "u1",
    "log2_align": "u1",
    "thread": "<u4",
    "block": "<i8",
    "size": "<u8",
    "count": "<u4",
    "time": "<i8",
    "site": "<u4",
}


class TraceError(UserError):
    """A trace that cannot be read, written or replayed. The text is one line with the problem and what to do."""


@dataclass(frozen=True, eq=False)
class Events:
    """A range of one process's events: columns of one length, listed in the module's docstring."""

    op: U8
    flags: U8
    log2_align: U8
    thread: U32
    block: I64
    size: U64
    count: U32
    time: I64
    site: U32

    @classmethod
    def of(cls, **columns: Any) -> Events:
        """Make events from anything that numpy can turn into columns. Counts default to 1, and
        flags, alignments, times and sites to 0.

        Raises TraceError if the columns differ in length.
        """
        zeros = np.zeros(len(columns["op"]), "u1")
        absent = dict.fromkeys(("flags", "log2_align", "time", "site"), zeros)
        given = absent | {"count": zeros + np.uint8(1)} | columns
        events = cls(**{name: np.asarray(given[name], kind) for name, kind in COLUMNS.items()})
        if len({len(column) for column in events.columns()}) > 1:
            raise TraceError("the columns of a trace differ in length: E1 does not hold")
        return events

    @classmethod
    def join(cls, extents: list[Events]) -> Events:
        """Several ranges as one, in their order; without any, no events."""
        parts = extents or [no_events()]
        return cls(*(np.concatenate(columns) for columns in zip(*(each.columns() for each in parts), strict=True)))

    def columns(self) -> Iterator[Any]:
        """The columns in the order of the docstring."""
        return (getattr(self, each.name) for each in fields(self))

    def __len__(self) -> int:
        return len(self.op)

    def __getitem__(self, which: slice | Mask | I64) -> Events:
        """A range, or the events that a mask or an array of indices selects. Blocks keep their numbers."""
        return Events(*(column[which] for column in self.columns()))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Events):
            return NotImplemented
        return all(np.array_equal(a, b) for a, b in zip(self.columns(), other.columns(), strict=True))

    __hash__ = None  # type: ignore[assignment]  # columns are arrays

    @property
    def failed(self) -> Mask:
        """Which requests the program's own allocator refused."""
        failed: Mask = (self.flags & FAILED) != 0
        return failed

    @property
    def has_times(self) -> bool:
        """Whether the trace says when its events happened."""
        return bool(self.time.any())

    @property
    def asks(self) -> Mask:
        """Which events ask for bytes: allocations and reallocations."""
        return self.op <= REALLOC


def no_events() -> Events:
    return Events.of(op=[], thread=[], block=[], size=[])


def times_of(events: Events) -> I64:
    """The microseconds from the first event to each that did not fail; empty if the trace has no times."""
    times = events.time[~events.failed]
    return times - times[0] if events.has_times else no_events().time


def starts(events: Events, first_block: int = 0) -> Mask:
    """Which events start a block: those whose block number is above all earlier ones (E2).

    `first_block` is the number of blocks that started before this range.
    """
    highest = np.maximum.accumulate(np.concatenate(([first_block - 1], events.block)))
    return events.block > highest[:-1]


def previous_on_block(events: Events) -> I64:
    """For each event, the index of the last earlier successful event on the same block, or -1.

    Failed events and events without a block have -1, and no event has them as predecessor.
    """
    touching = np.flatnonzero((events.block != NONE) & ~events.failed)
    order = touching[np.argsort(events.block[touching], kind="stable")]
    same = events.block[order[1:]] == events.block[order[:-1]]
    previous = np.full(len(events), -1, np.int64)
    previous[order[1:][same]] = order[:-1][same]
    return previous


def owners(events: Events) -> U32:
    """The thread that started each block: an array with one element per block."""
    return events.thread[starts(events)]


def changes(events: Events) -> tuple[I64, I64]:
    """The changes of live bytes and of live blocks by each event."""
    previous = previous_on_block(events)
    granted = np.where(events.asks & ~events.failed, events.size, 0).astype(np.int64)
    replaced = np.where(previous >= 0, events.size[previous], 0).astype(np.int64) if len(events) else granted
    dies = (events.op == DEALLOC) & (events.block != NONE)
    return granted - replaced, starts(events).astype(np.int64) - dies


def live(events: Events) -> tuple[I64, I64]:
    """The live bytes, as requested, and the live blocks after each event of a whole process."""
    of_bytes, of_blocks = changes(events)
    return np.cumsum(of_bytes), np.cumsum(of_blocks)


@dataclass(frozen=True)
class Summary:
    """The figures of a process's events. Sizes are requested bytes."""

    events: int = 0
    allocs: int = 0
    zeroed_allocs: int = 0
    reallocs: int = 0
    deallocs: int = 0
    null_deallocs: int = 0  # of them, those of NULL
    thread_exits: int = 0
    failed: int = 0
    inherited: int = 0
    threads: int = 0
    cross_thread_deallocs: int = 0  # by a thread that did not start the block
    blocks: int = 0
    total_bytes: int = 0  # of all successful requests
    peak_live_bytes: int = 0
    live_blocks_at_peak: int = 0  # when the most bytes are live
    peak_live_blocks: int = 0  # the most at any time
    live_bytes_at_end: int = 0
    live_blocks_at_end: int = 0

    def __add__(self, other: Summary) -> Summary:
        """The figures of several processes: counts add up; peaks are the larger ones, because heaps are not shared."""
        larger = max(self, other, key=lambda each: each.peak_live_bytes)
        both = zip(vars(self).items(), vars(other).values(), strict=True)
        return Summary(
            **{name: getattr(larger, name) if "peak" in name else mine + theirs for (name, mine), theirs in both}
        )


def counts_of(events: Events) -> dict[str, int]:
    """The figures of a Summary for which each event counts by itself."""
    counts = np.bincount(events.op, minlength=THREAD_EXIT + 1)
    return {
        "events": len(events),
        "allocs": int(counts[ALLOC]),
        "zeroed_allocs": int(counts[ALLOC_ZEROED]),
        "reallocs": int(counts[REALLOC]),
        "deallocs": int(counts[DEALLOC]),
        "null_deallocs": int(((events.op == DEALLOC) & (events.block == NONE)).sum()),
        "thread_exits": int(counts[THREAD_EXIT]),
        "failed": int(events.failed.sum()),
        "inherited": int(((events.flags & INHERITED) != 0).sum()),
        "total_bytes": int(events.size[events.asks & ~events.failed].sum()),
    }


def summarize(events: Events) -> Summary:
    """The figures of one process's events, which must be complete from the first on."""
    live_bytes, live_blocks = live(events)
    gives_back = (events.op == DEALLOC) & (events.block != NONE)
    owner = owners(events)
    return Summary(
        **counts_of(events),
        threads=len(np.unique(events.thread)),
        cross_thread_deallocs=int((owner[events.block[gives_back]] != events.thread[gives_back]).sum()),
        blocks=len(owner),
        peak_live_bytes=int(live_bytes.max(initial=0)),
        live_blocks_at_peak=int(live_blocks[live_bytes.argmax()]) if len(events) else 0,
        peak_live_blocks=int(live_blocks.max(initial=0)),
        live_bytes_at_end=int(live_bytes[-1:].sum()),
        live_blocks_at_end=int(live_blocks[-1:].sum()),
    )


@dataclass
class Process:
    """One process: its identity, its events, and what reading repaired or dropped, counted by sentence."""

    events: Events
    pid: int = 0
    parent: int = 0
    execs: int = 0
    command: str = ""
    notes: Counter[str] = field(default_factory=Counter)
    threads: list[str] = field(default_factory=list)  # the threads' names, as far as they are known
    sample: int = 0  # bytes between two points of a sample (heapwright.traces.sampling); 0: all events are here

    def summary(self) -> Summary:
        return summarize(self.events)

    @property
    def peak_live_bytes(self) -> int:
        """The most requested bytes that are live at one time."""
        return int(live(self.events)[0].max(initial=0))


@dataclass
class Trace:
    """A program's run: its processes, in the order of their starts, and facts about the run."""

    processes: list[Process]
    source: str = ""  # what it was made from
    program: str = ""
    command: list[str] = field(default_factory=list)
    date: str = ""  # ISO 8601, when it was recorded
    host: dict[str, Any] = field(default_factory=dict)  # pointer_size and page_size, in bytes, if known
    stacks: Stacks = field(default_factory=Stacks)  # that the sites of all processes' events refer to

    @property
    def events(self) -> Events:
        """The events of the first process, which is the only one in most traces."""
        return self.processes[0].events

    @property
    def largest(self) -> Process:
        """The process with the highest peak of live memory; among equals, the one with the most events."""
        return max(self.processes, key=lambda process: (process.peak_live_bytes, len(process.events)))

    def summary(self) -> Summary:
        return sum((process.summary() for process in self.processes), Summary())

    def notes(self) -> Counter[str]:
        """The counts of repairs and dropped events, by sentence, over all processes."""
        return sum((process.notes for process in self.processes), Counter[str]())


def check(events: Events) -> None:
    """Assert E2 to E6 of the docstring for the events of a whole process."""
    has_block, dies = events.block != NONE, events.op == DEALLOC
    begins = starts(events)
    assert np.array_equal(events.block[begins], np.arange(begins.sum())), (
        "E2  blocks are numbered in the order in which they start"
    )
    previous = previous_on_block(events)
    succeeds = has_block & ~events.failed
    assert not ((previous < 0) & succeeds & ~begins).any(), "E3  an event names a live block or NONE"
    assert not dies[previous[previous >= 0]].any(), "E3  after DEALLOC its block is dead"
    may_lack = dies | (events.op == THREAD_EXIT) | events.failed
    assert not (~has_block & ~may_lack).any(), "E4  NONE is named by nothing else"
    assert is_counted(events).all(), "E5  size is a multiple of count"
    assert (events.count[events.op != ALLOC_ZEROED] == 1).all(), "E5  only for ALLOC_ZEROED is count not 1"
    assert (events.time[1:] >= events.time[:-1]).all(), "E6  time never decreases"


def is_counted(events: Events) -> Mask:
    """Which events have a size that is a multiple of their count."""
    multiple: Mask = events.size % np.maximum(events.count, 1) == 0
    return np.where(events.count > 0, multiple, events.size == 0)
