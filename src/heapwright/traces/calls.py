"""Turn calls that name addresses into events that name blocks.

Recordings and text traces say `free(0x5580…)`. An address is reused, so a block is an address together with its
generation: the last call at that address before this one started or moved the block.

A call releases an address at one moment and acquires one at another. A realloc does both, and in between another thread
may get the address that it released. Moments are numbers that order all releases and acquisitions of a process.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from heapwright.traces.arrays import I64, U8, U32, U64, Mask, np
from heapwright.traces.events import DEALLOC, FAILED, INHERITED, NONE, REALLOC, Events

UNMATCHED_FREE = "frees of blocks never seen, dropped"
DOUBLE_FREE = "double frees, dropped"
FREED_REALLOC = "reallocs of freed blocks, kept as new blocks"
UNMATCHED_REALLOC = "reallocs of blocks never seen, kept as new blocks"
UNMATCHED_FAILURE = "failed reallocs of blocks never seen, dropped"
MISSING_FREE = "addresses given out again without a free, which was added"
REALLOC_TO_ZERO = "reallocs to size 0 that returned null, kept as frees"


@dataclass
class Calls:
    """Calls in the order of their completion, one array for each property.

    `address` is the result, 0 for none; `old` is the argument of a free or realloc, 0 for null; `count` is calloc's
    number of elements, 1 for other calls.
    """

    op: U8
    log2_align: U8
    thread: U32  # any numbers
    address: U64
    old: U64
    size: U64
    count: U32
    time: I64  # microseconds
    site: U32
    acquired: I64  # moments
    released: I64
    inherited: Mask

    @classmethod
    def in_order(cls, **columns: Any) -> Calls:
        """Calls that do not overlap: each releases, then acquires, and then the next one follows."""
        n = len(columns["op"])
        columns.setdefault("log2_align", np.zeros(n))
        columns.setdefault("count", np.ones(n))
        columns.setdefault("time", np.zeros(n))
        columns.setdefault("site", np.zeros(n))
        columns.setdefault("released", 2 * np.arange(n))
        columns.setdefault("acquired", 2 * np.arange(n) + 1)
        columns.setdefault("inherited", np.zeros(n))
        kinds = {"op": "u1", "log2_align": "u1", "thread": "u4", "address": "u8", "old": "u8", "size": "u8"}
        kinds |= {"count": "u4", "time": "i8", "site": "u4", "acquired": "i8", "released": "i8", "inherited": "?"}
        return cls(**{name: np.asarray(columns[name], kind) for name, kind in kinds.items()})

    def __len__(self) -> int:
        return len(self.op)

    def __getitem__(self, which: Mask | I64 | slice) -> Calls:
        return Calls(**{name: column[which] for name, column in vars(self).items()})

    @property
    def failed(self) -> Mask:
        """Requests that got null. (A realloc to size 0 that returned null is a free: see `settle`.)"""
        failed: Mask = (self.op <= REALLOC) & (self.address == 0)
        return failed


def settle(calls: Calls, notes: Counter[str]) -> None:
    """Turn each realloc to size 0 that returned null into the free it was."""
    frees = (calls.op == REALLOC) & (calls.size == 0) & (calls.address == 0) & (calls.old != 0)
    calls.op[frees] = DEALLOC
    note(notes, REALLOC_TO_ZERO, frees.sum())


@dataclass
class Story:
    """The history of every address, in order: for each step its call, and what the call did there.

    A failed realloc did nothing, but it shows that there is a block.
    """

    call: I64
    address: U64
    acquires: Mask
    failed: Mask

    @classmethod
    def of(cls, calls: Calls) -> Story:
        acquiring, releasing = np.flatnonzero(calls.address), np.flatnonzero(calls.old)
        call = np.concatenate([acquiring, releasing])
        address = np.concatenate([calls.address[acquiring], calls.old[releasing]])
        moment = np.concatenate([calls.acquired[acquiring], calls.released[releasing]])
        order = np.lexsort((moment, address))
        return cls(call[order], address[order], order < len(acquiring), calls.failed[call[order]])

    def predecessors(self, calls: int) -> tuple[I64, I64, I64]:
        """For each call, three other calls or -1.

        The first acquired the block that this call releases or failed to move. The second acquired the address that
        this call got, although nobody had released it. The third had already released the block that this call
        releases.
        """
        steps = np.arange(len(self.call))
        before = np.maximum.accumulate(np.where(self.failed, 0, steps))[:-1]  # the last step that had an effect
        follows = (self.address[before] == self.address[1:]) & ~self.failed[before]
        follows_birth = follows & self.acquires[before]
        source, overwritten, released = (np.full(calls, -1) for _ in range(3))
        for target, mask in (
            (source, follows_birth & ~self.acquires[1:]),
            (overwritten, follows_birth & self.acquires[1:]),
            (released, follows & ~self.acquires[before] & ~self.acquires[1:]),
        ):
            target[self.call[1:][mask]] = self.call[before[mask]]
        return source, overwritten, released


def first_calls(source: I64, op: U8) -> I64:
    """For each call, the one that started its block, found through the chain of reallocs in doubling steps."""
    first = np.where((op == REALLOC) & (source >= 0), source, np.arange(len(source)))
    while not np.array_equal(first, further := first[first]):
        first = further
    return first


def resolve(calls: Calls, notes: Counter[str], is_whole: bool = True) -> Events:
    """The events of one process, from its calls. Repaired or dropped calls are counted in `notes`.

    Threads are renumbered in order of appearance, blocks in the order in which they start. If calls are missing from
    the record, it is not whole, and a second free of a block is not called a double free.
    """
    settle(calls, notes)
    source, overwritten, released = Story.of(calls).predecessors(len(calls))
    unknown = (calls.old != 0) & (source < 0)
    dropped = unknown & ((calls.op == DEALLOC) | calls.failed)
    number, events = named(calls, source)
    events = add_missing_frees(events, number, overwritten, dropped)
    events = replace(events, thread=in_order_of_appearance(events.thread))
    doubtful = np.isin(calls.old, calls.address[overwritten >= 0]) | (not is_whole)
    again = unknown & ~calls.failed & (released >= 0) & ~doubtful
    note_unknown(calls, unknown & ~again, notes)
    ledger = Ledger(calls, events, ~dropped, np.cumsum(~dropped) + np.cumsum(overwritten >= 0))
    note_again(ledger, np.where(again, released, -1), notes)
    note(notes, MISSING_FREE, (overwritten >= 0).sum())
    return events


def named(calls: Calls, source: I64) -> tuple[I64, Events]:
    """The block number of each call, and its event. `source` is the call that acquired what it releases, or -1."""
    is_realloc, failed = calls.op == REALLOC, calls.failed
    begins = (calls.op < REALLOC) & ~failed | is_realloc & ~failed & (source < 0)
    number = (np.cumsum(begins) - 1)[first_calls(source, calls.op)]
    return number, Events.of(
        op=calls.op,
        flags=FAILED * failed + INHERITED * calls.inherited,
        log2_align=np.where(calls.op < REALLOC, calls.log2_align, 0),
        thread=calls.thread,
        block=np.where(begins, number, np.where(source >= 0, number[source], NONE)),
        size=np.where(calls.op <= REALLOC, calls.size, 0),
        count=calls.count,
        time=calls.time,
        site=calls.site,
    )


def add_missing_frees(events: Events, number: I64, overwritten: I64, dropped: Mask) -> Events:
    """Free each block whose address was given out again just before that, and leave out the dropped events."""
    places = np.flatnonzero(overwritten >= 0)
    if not (len(places) or dropped.any()):
        return events
    zeros = np.zeros_like(places)
    block = number[overwritten[places]]
    deaths = Events.of(
        op=zeros + DEALLOC, thread=events.thread[places], block=block, size=zeros, time=events.time[places]
    )
    kept = np.insert(~dropped, places, True)
    both = zip(events.columns(), deaths.columns(), strict=True)
    return Events(*(np.insert(column, places, death)[kept] for column, death in both))


# --- notes about releases without a block


def note_unknown(calls: Calls, unknown: Mask, notes: Counter[str]) -> None:
    is_realloc, failed = calls.op == REALLOC, calls.failed
    note(notes, UNMATCHED_FREE, (unknown & (calls.op == DEALLOC)).sum())
    note(notes, UNMATCHED_REALLOC, (unknown & is_realloc & ~failed).sum())
    note(notes, UNMATCHED_FAILURE, (unknown & failed).sum())


@dataclass
class Ledger:
    """The positions of calls among the events that were made from them."""

    calls: Calls
    events: Events
    kept: Mask
    upto: I64  # the number of events up to each call, including its own

    def place(self, call: int) -> str:
        """`at event 3 by thread 0`, counted from 1; `after` for a call that was dropped."""
        same = np.flatnonzero(self.kept & (self.calls.thread == self.calls.thread[call]))
        thread = f"thread {self.events.thread[self.upto[same[0]] - 1]}" if len(same) else "a thread without events"
        return f"{'at' if self.kept[call] else 'after'} event {self.upto[call]:,} by {thread}"


def note_again(ledger: Ledger, released: I64, notes: Counter[str]) -> None:
    """Count the calls that release what another, in `released`, had released, and note where the first two are."""
    for op, sentence, verb in (DEALLOC, DOUBLE_FREE, "again"), (REALLOC, FREED_REALLOC, "reallocated"):
        found = np.flatnonzero((released >= 0) & (ledger.calls.op == op))
        if len(found):
            last, before = int(found[0]), int(released[found[0]])
            places = f"freed {ledger.place(before)} and {verb} {ledger.place(last)}"
            which = ":" if len(found) == 1 else "; the first:"
            note(notes, f"{sentence}{which} block {ledger.calls.old[last]:#x}, {places}", len(found))


def note(notes: Counter[str], sentence: str, count: int | np.integer[Any]) -> None:
    """Add a count under a sentence, unless the count is 0."""
    if count:
        notes[sentence] += int(count)


def in_order_of_appearance(thread: U32) -> U32:
    """Thread numbers from 0 on, without gaps."""
    _, first, which = np.unique(thread, return_index=True, return_inverse=True)
    rank = np.empty(len(first), "u4")
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[which]
