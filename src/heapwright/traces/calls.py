"""From calls that name addresses to events that name blocks.

Recordings and text traces say `free(0x5580…)`. An address is used again and again, so a block is an address together
with its generation: what happened last at that address, before this call, started or moved the block meant here.

A call releases an address at one moment and acquires one at another: a realloc does both, and in between another
thread may be given what it released. Moments are numbers that order all releases and acquisitions of a process.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from heapwright.traces.arrays import I64, U8, U32, U64, Mask, np
from heapwright.traces.events import ALLOC, DEALLOC, FAILED, INHERITED, NONE, REALLOC, Events

UNMATCHED_FREE = "frees of blocks never seen, dropped"
UNMATCHED_REALLOC = "reallocs of blocks never seen, kept as new blocks"
UNMATCHED_FAILURE = "failed reallocs of blocks never seen, dropped"
MISSING_FREE = "addresses given out again without a free, which was added"
REALLOC_TO_ZERO = "reallocs to size 0 that returned null, kept as frees"


@dataclass
class Calls:
    """Calls in the order of their completion, one array for each property.

    `address` is the result, 0 for none; `old` is what a free or realloc was given, 0 for null.
    """

    op: U8
    log2_align: U8
    thread: U32  # any numbers
    address: U64
    old: U64
    size: U64
    acquired: I64  # moments
    released: I64
    inherited: Mask

    @classmethod
    def in_order(cls, **columns: Any) -> Calls:
        """Calls none of which overlap: each releases, then acquires, then the next one follows."""
        n = len(columns["op"])
        columns.setdefault("log2_align", np.zeros(n))
        columns.setdefault("released", 2 * np.arange(n))
        columns.setdefault("acquired", 2 * np.arange(n) + 1)
        columns.setdefault("inherited", np.zeros(n))
        kinds = {"op": "u1", "log2_align": "u1", "thread": "u4", "address": "u8", "old": "u8", "size": "u8"}
        kinds |= {"acquired": "i8", "released": "i8", "inherited": "?"}
        return cls(**{name: np.asarray(columns[name], kind) for name, kind in kinds.items()})

    def __len__(self) -> int:
        return len(self.op)

    def __getitem__(self, which: Mask | I64 | slice) -> Calls:
        return Calls(**{name: column[which] for name, column in vars(self).items()})

    def followed_by(self, later: Calls) -> Calls:
        """These calls, then the later ones."""
        return Calls(**{name: np.concatenate([column, vars(later)[name]]) for name, column in vars(self).items()})

    @property
    def failed(self) -> Mask:
        """Requests that got null. (A realloc to size 0 that did is a free: see `settle`.)"""
        failed: Mask = (self.op <= REALLOC) & (self.address == 0)
        return failed


def settle(calls: Calls, notes: Counter[str]) -> None:
    """Turn each realloc to size 0 that returned null into the free it was."""
    frees = (calls.op == REALLOC) & (calls.size == 0) & (calls.address == 0) & (calls.old != 0)
    calls.op[frees] = DEALLOC
    note(notes, REALLOC_TO_ZERO, frees.sum())


@dataclass
class Story:
    """What happened at every address, in order: for each step its call, and what that did there.

    A realloc that failed did nothing, but it says that there is a block.
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

    def predecessors(self, calls: int) -> tuple[I64, I64]:
        """For each call, two other calls or -1.

        The first acquired the block that this call releases, or failed to move; the second acquired the address
        that this call was given although nobody had released it.
        """
        steps = np.arange(len(self.call))
        before = np.maximum.accumulate(np.where(self.failed, 0, steps))[:-1]  # the last step that did something
        follows = (self.address[before] == self.address[1:]) & self.acquires[before]
        source, overwritten = np.full(calls, -1), np.full(calls, -1)
        for mask, target in (~self.acquires[1:], source), (self.acquires[1:], overwritten):
            target[self.call[1:][follows & mask]] = self.call[before[follows & mask]]
        return source, overwritten

    def holders(self) -> I64:
        """The calls whose addresses are still held when the story ends."""
        last = np.append(self.address[1:] != self.address[:-1], True)[: len(self.address)]
        return self.call[last & self.acquires]

    def orphans(self) -> U64:
        """The addresses whose story begins with a release: what was there came from elsewhere."""
        first = np.append(True, self.address[1:] != self.address[:-1])[: len(self.address)]
        return self.address[first & ~self.acquires]


def holders_at(calls: Calls, moment: int) -> Calls:
    """The blocks that are held at a moment, as calls that allocate them. The calls must be settled."""
    begun = calls[~calls.failed & (calls.released <= moment)]
    under_way = begun.acquired > moment  # what these released is gone, what they acquired is not there yet
    begun.address[under_way] = 0
    begun.op[under_way] = DEALLOC
    held = begun[Story.of(begun).holders()]
    held.old[:] = 0
    held.op[:] = ALLOC
    return held


def first_calls(source: I64, op: U8) -> I64:
    """For each call, the one that started its block: through the chain of reallocs, in steps that double."""
    first = np.where((op == REALLOC) & (source >= 0), source, np.arange(len(source)))
    while not np.array_equal(first, further := first[first]):
        first = further
    return first


def resolve(calls: Calls, notes: Counter[str]) -> Events:
    """The events of one process, from its calls; what had to be repaired or dropped is counted in `notes`.

    Threads are renumbered in order of appearance, blocks in the order in which they start.
    """
    settle(calls, notes)
    source, overwritten = Story.of(calls).predecessors(len(calls))
    is_realloc, failed = calls.op == REALLOC, calls.failed
    begins = (calls.op < REALLOC) & ~failed | is_realloc & ~failed & (source < 0)
    unknown = (calls.old != 0) & (source < 0)
    dropped = unknown & ((calls.op == DEALLOC) | failed)
    note(notes, UNMATCHED_FREE, (unknown & (calls.op == DEALLOC)).sum())
    note(notes, UNMATCHED_REALLOC, (unknown & is_realloc & ~failed).sum())
    note(notes, UNMATCHED_FAILURE, (unknown & failed).sum())
    note(notes, MISSING_FREE, (overwritten >= 0).sum())
    number = (np.cumsum(begins) - 1)[first_calls(source, calls.op)]
    block = np.where(begins, number, np.where(source >= 0, number[source], NONE))
    events = Events.of(
        op=calls.op,
        flags=FAILED * failed + INHERITED * calls.inherited,
        log2_align=np.where(calls.op < REALLOC, calls.log2_align, 0),
        thread=calls.thread,
        block=block,
        size=np.where(calls.op <= REALLOC, calls.size, 0),
    )
    events = add_missing_frees(events, number, overwritten, dropped)
    return replace(events, thread=in_order_of_appearance(events.thread))


def add_missing_frees(events: Events, number: I64, overwritten: I64, dropped: Mask) -> Events:
    """Let each block whose address was given out again die just before that; leave the dropped events out."""
    places = np.flatnonzero(overwritten >= 0)
    if not (len(places) or dropped.any()):
        return events
    zeros = np.zeros_like(places)
    block = number[overwritten[places]]
    deaths = Events.of(op=zeros + DEALLOC, thread=events.thread[places], block=block, size=zeros)
    kept = np.insert(~dropped, places, True)
    both = zip(events.columns(), deaths.columns(), strict=True)
    return Events(*(np.insert(column, places, death)[kept] for column, death in both))


def in_order_of_appearance(thread: U32) -> U32:
    """Thread numbers from 0 on, without gaps."""
    _, first, which = np.unique(thread, return_index=True, return_inverse=True)
    rank = np.empty(len(first), "u4")
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[which]


def note(notes: Counter[str], sentence: str, count: int | np.integer[Any]) -> None:
    """Count something worth reporting, unless it did not happen."""
    if count:
        notes[sentence] += int(count)
