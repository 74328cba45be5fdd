"""What a trace is: the calls that a program's processes made to their allocator, in order.

Each process has its events, one column for each property (`Events`):

    op          uint8   ALLOC, ALLOC_ZEROED, REALLOC, DEALLOC or THREAD_EXIT
    flags       uint8   FAILED: the program got null;  INHERITED: allocated before the fork, by the parent
    log2_align  uint8   of the alignment asked for, in bytes; 0 when the call asks for none, as malloc does
    thread      uint32  dense, in order of appearance
    block       int64   which block: 0 for the process's first, n for its n-th; or NONE
    size        uint64  bytes asked for; 0 for DEALLOC and THREAD_EXIT

Invariants
    E1  the columns have one length
    E2  blocks are numbered in the order in which they start
    E3  an event names a live block or NONE; after DEALLOC its block is dead
    E4  NONE is named by free(NULL), a failed request that had no block, and THREAD_EXIT, and by nothing else

ALLOC and ALLOC_ZEROED start a block. REALLOC keeps its block's number; one without a block, realloc(NULL, size),
starts one. A failed REALLOC leaves its block as it was; one to size 0 that returned null is a DEALLOC.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from heapwright.errors import Mendable
from heapwright.traces.arrays import I64, U8, U32, U64, Mask, np

ALLOC, ALLOC_ZEROED, REALLOC, DEALLOC, THREAD_EXIT = 1, 2, 3, 4, 5
FAILED, INHERITED = 1, 2
NONE = -1
COLUMNS = {"op": "u1", "flags": "u1", "log2_align": "u1", "thread": "<u4", "block": "<i8", "size": "<u8"}


class TraceError(Mendable):
    """A trace that cannot be read, written or replayed: one line that says what is wrong and what to do."""


@dataclass(frozen=True, eq=False)
class Events:
    """A stretch of one process's events: columns of one length, as the module's docstring lists them."""

    op: U8
    flags: U8
    log2_align: U8
    thread: U32
    block: I64
    size: U64

    @classmethod
    def of(cls, **columns: Any) -> Events:
        """Make events of anything that numpy can turn into columns; flags and alignments default to zeros.

        Raises TraceError when the columns differ in length.
        """
        zeros = np.zeros(len(columns["op"]), "u1")
        given = {"flags": zeros, "log2_align": zeros} | columns
        events = cls(**{name: np.asarray(given[name], kind) for name, kind in COLUMNS.items()})
        if len({len(column) for column in events.columns()}) > 1:
            raise TraceError("the columns of a trace differ in length: E1 does not hold")
        return events

    @classmethod
    def join(cls, stretches: list[Events]) -> Events:
        """One stretch of several, in their order; of none, no events."""
        parts = stretches or [no_events()]
        return cls(*(np.concatenate(columns) for columns in zip(*(each.columns() for each in parts), strict=True)))

    def columns(self) -> Iterator[Any]:
        """The columns in the order of the docstring."""
        return (getattr(self, each.name) for each in fields(self))

    def __len__(self) -> int:
        return len(self.op)

    def __getitem__(self, which: slice | Mask | I64) -> Events:
        """A stretch, or the events that a mask or an array of indices selects; blocks keep their numbers."""
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
    def asks(self) -> Mask:
        """Which events ask for bytes: allocations and reallocations."""
        return self.op <= REALLOC


def no_events() -> Events:
    return Events.of(op=[], thread=[], block=[], size=[])


def starts(events: Events, first_block: int = 0) -> Mask:
    """Which events start a block: those whose number is above all before (E2).

    `first_block` is the number of blocks that started before this stretch.
    """
    highest = np.maximum.accumulate(np.concatenate(([first_block - 1], events.block)))
    return events.block > highest[:-1]


def previous_on_block(events: Events) -> I64:
    """For each event, the index of the last earlier one that succeeded on the same block, or -1.

    Events that failed, and those of no block, have -1 and are nobody's predecessor.
    """
    touching = np.flatnonzero((events.block != NONE) & ~events.failed)
    order = touching[np.argsort(events.block[touching], kind="stable")]
    same = events.block[order[1:]] == events.block[order[:-1]]
    previous = np.full(len(events), -1, np.int64)
    previous[order[1:][same]] = order[:-1][same]
    return previous


def owners(events: Events) -> U32:
    """For each block, the thread that started it: an array of as many as there are blocks."""
    return events.thread[starts(events)]


def changes(events: Events) -> tuple[I64, I64]:
    """By how many bytes, and by how many blocks, each event changes what is live."""
    previous = previous_on_block(events)
    granted = np.where(events.asks & ~events.failed, events.size, 0).astype(np.int64)
    replaced = np.where(previous >= 0, events.size[previous], 0).astype(np.int64) if len(events) else granted
    dies = (events.op == DEALLOC) & (events.block != NONE)
    return granted - replaced, starts(events).astype(np.int64) - dies


def live(events: Events) -> tuple[I64, I64]:
    """Bytes asked for and not given back, and blocks, after each event of a whole process."""
    of_bytes, of_blocks = changes(events)
    return np.cumsum(of_bytes), np.cumsum(of_blocks)


@dataclass(frozen=True)
class Summary:
    """The figures of a process's events; sizes in bytes as asked for."""

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
    cross_thread_deallocs: int = 0  # by another thread than the one that started the block
    blocks: int = 0
    total_bytes: int = 0  # of all requests that succeeded
    peak_live_bytes: int = 0
    live_blocks_at_peak: int = 0  # when the most bytes are live
    peak_live_blocks: int = 0  # the most at once, at whatever time
    live_bytes_at_end: int = 0
    live_blocks_at_end: int = 0

    def __add__(self, other: Summary) -> Summary:
        """Of several processes: counts add up, and peaks are those of the larger heap, since none is shared."""
        larger = max(self, other, key=lambda each: each.peak_live_bytes)
        both = zip(vars(self).items(), vars(other).values(), strict=True)
        return Summary(
            **{name: getattr(larger, name) if "peak" in name else mine + theirs for (name, mine), theirs in both}
        )


def summarize(events: Events) -> Summary:
    """The figures of one process's events, from its first on."""
    counts = np.bincount(events.op, minlength=THREAD_EXIT + 1)
    live_bytes, live_blocks = live(events)
    gives_back = (events.op == DEALLOC) & (events.block != NONE)
    owner = owners(events)
    return Summary(
        events=len(events),
        allocs=int(counts[ALLOC]),
        zeroed_allocs=int(counts[ALLOC_ZEROED]),
        reallocs=int(counts[REALLOC]),
        deallocs=int(counts[DEALLOC]),
        null_deallocs=int(counts[DEALLOC] - gives_back.sum()),
        thread_exits=int(counts[THREAD_EXIT]),
        failed=int(events.failed.sum()),
        inherited=int(((events.flags & INHERITED) != 0).sum()),
        threads=len(np.unique(events.thread)),
        cross_thread_deallocs=int((owner[events.block[gives_back]] != events.thread[gives_back]).sum()),
        blocks=len(owner),
        total_bytes=int(events.size[events.asks & ~events.failed].sum()),
        peak_live_bytes=int(live_bytes.max(initial=0)),
        live_blocks_at_peak=int(live_blocks[live_bytes.argmax()]) if len(events) else 0,
        peak_live_blocks=int(live_blocks.max(initial=0)),
        live_bytes_at_end=int(live_bytes[-1:].sum()),
        live_blocks_at_end=int(live_blocks[-1:].sum()),
    )


@dataclass
class Process:
    """One process: who it was, its events, and what reading them had to repair or drop, counted by sentence."""

    events: Events
    pid: int = 0
    parent: int = 0
    execs: int = 0
    command: str = ""
    notes: Counter[str] = field(default_factory=Counter)

    def summary(self) -> Summary:
        return summarize(self.events)


@dataclass
class Trace:
    """A program's run: its processes, the first one first, and facts about the run that are worth keeping."""

    processes: list[Process]
    source: str = ""  # what it was made from
    program: str = ""
    command: list[str] = field(default_factory=list)
    date: str = ""  # ISO 8601, when it was recorded
    host: dict[str, Any] = field(default_factory=dict)  # pointer_size and page_size, in bytes, if known

    @property
    def events(self) -> Events:
        """The events of the first process: of the only one, in most traces."""
        return self.processes[0].events

    @property
    def largest(self) -> Process:
        """The process with the most events: a shell that starts the program is not what was meant."""
        return max(self.processes, key=lambda process: len(process.events))

    def summary(self) -> Summary:
        return sum((process.summary() for process in self.processes), Summary())

    def notes(self) -> Counter[str]:
        """What was repaired or dropped, over all processes."""
        return sum((process.notes for process in self.processes), Counter[str]())


def check(events: Events) -> None:
    """Assert E2 to E4 of the docstring for the events of a whole process."""
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
