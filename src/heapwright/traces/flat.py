"""The flat form of a process's events, which a replayer reads: 24 bytes each, with nothing left to look up.

    byte  0  op          ALLOC, ALLOC_ZEROED, REALLOC, DEALLOC or THREAD_EXIT (heapwright.traces.events)
          1  log2 align  of the block, 0 for none; for REALLOC and DEALLOC it is that of their block
          2  thread      16 bits
          4  zero        32 bits
          8  slot        where the replayer keeps the block's address; NO_SLOT (-1) for free(NULL)
         16  size        bytes asked for; for DEALLOC those of its block

There are as many slots as blocks are live at one time. The slot that was emptied last is filled first, which keeps the
table in the cache. A DEALLOC empties its slot; a REALLOC of an empty slot is realloc(NULL, size). Requests that failed
when they were recorded are left out, because the program never had the block.

A trace need not fit into memory: `Flattener` takes its events some at a time.

Recycled slots impose an order on threads. A replayer that lets threads run freely passes `recycle=False` and gets one
slot for each block.
"""

# A field of a struct is annotated with its kind, which is no type.
# mypy: disable-error-code="valid-type"
from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heapwright.layout import Byte, Struct, Word, Word16, Word32
from heapwright.traces.arrays import I64, U8, U64, Mask, np
from heapwright.traces.events import ALLOC, DEALLOC, NONE, Events, TraceError, previous_on_block, starts
from heapwright.traces.structs import dtype_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

NO_SLOT = NONE
MAX_THREADS = 1 << 16
HELD = [("block", "i8"), ("slot", "i8"), ("size", "u8"), ("log2_align", "u1")]  # of a live block


class FlatEvent(Struct):
    op: Byte
    log2_align: Byte
    thread: Word16
    zero: Word32
    slot: Word
    size: Word


@dataclass(frozen=True)
class Flat:
    """Flat events: a numpy record array with the fields of `FlatEvent`, and the numbers of slots and threads in use.

    `live` holds the live bytes after each event.
    """

    records: NDArray[Any]
    slots: int
    threads: int
    live: I64

    @property
    def peak(self) -> int:
        """The number of events until the most bytes are live; if that happens several times, until the last."""
        return len(self) - int(self.live[::-1].argmax()) if len(self) else 0

    def __len__(self) -> int:
        return len(self.records)

    def __bytes__(self) -> bytes:
        return self.records.tobytes()

    def write(self, path: str | Path) -> None:
        """Write the events to a file, without a header."""
        self.records.tofile(path)


def flatten(events: Events, recycle: bool = True) -> Flat:
    """The flat form of a whole process's events.

    Raises TraceError if there are more threads than 16 bits can number.
    """
    flattener = Flattener(recycle)
    records, live = flattener.take(events)
    return Flat(records, flattener.slots, flattener.threads, live)


class Flattener:
    """Makes a process's events flat, some at a time. It keeps the live blocks and the empty slots, and nothing else."""

    def __init__(self, recycle: bool = True):
        self.recycle = recycle
        self.threads = 0
        self._live_bytes = 0
        self._blocks = 0  # that have started
        self._held = np.zeros(0, HELD)  # the live blocks, in the order of their numbers
        self._empty: I64 = np.zeros(0, np.int64)  # for each number of live blocks, the slot that the next block takes

    @property
    def slots(self) -> int:
        """The number of slots in use."""
        return len(self._empty) if self.recycle else self._blocks

    def take(self, events: Events) -> tuple[NDArray[Any], I64]:
        """The records of the next events, without those that failed, and the live bytes after each of them.

        Raises TraceError if there are more threads than 16 bits can number.
        """
        self.threads = max(self.threads, int(events.thread.max(initial=0)) + 1)
        if self.threads > MAX_THREADS:
            raise TraceError(f"{self.threads} threads are too many to replay: at most {MAX_THREADS}")
        kept = events[~events.failed]
        known = self._known(kept)
        part = Part(self._renumbered(kept, known), len(known))
        size, slot = part.sizes(), self._slots_of(part, known)
        records = np.zeros(len(kept), dtype_of(FlatEvent))
        records["op"], records["thread"], records["size"] = kept.op, kept.thread, size[part.new]
        records["slot"] = np.append(slot, NO_SLOT)[part.events.block[part.new]] if self.recycle else kept.block
        records["log2_align"] = part.alignments()[part.new]
        live = self._live_bytes + np.cumsum(part.grown()[part.new])
        self._keep(part, known, slot)
        self._live_bytes = int(live[-1]) if len(live) else self._live_bytes
        return records, live

    def _known(self, events: Events) -> I64:
        """The places, among the live blocks, of those that the events name. Raises TraceError if one is not live."""
        named = events.block[(events.block != NONE) & (events.block < self._blocks)]
        places = np.searchsorted(self._held["block"], named)
        is_known = np.zeros(len(self._held) + 1, bool)  # the last is for a block above all live ones
        is_known[places] = True
        if is_known[-1] or not np.array_equal(self._held["block"][places], named):
            raise TraceError("an event names a block that is dead: E3 does not hold; record again")
        return np.flatnonzero(is_known)

    def _renumbered(self, events: Events, known: I64) -> Events:
        """The events after allocations of the known blocks, as if no others had ever been."""
        if not len(known) and not self._blocks:
            return events
        held = self._held[known]
        earlier = np.searchsorted(held["block"], events.block)
        later = events.block - self._blocks + len(known)
        number = np.where(events.block == NONE, NONE, np.where(later < len(known), earlier, later))
        same = np.zeros(len(known), np.uint8)
        opening = {"op": same + np.uint8(ALLOC), "thread": same, "block": np.arange(len(known)), "size": held["size"]}
        first = Events.of(**opening, log2_align=held["log2_align"])
        return Events.join([first, replace(events, block=number)])

    def _slots_of(self, part: Part, known: I64) -> I64:
        """The slot of each block of a part. The empty slots are a stack.

        A block that raises the number of live blocks to n takes the slot of the block whose death last lowered the
        number from n, or, the first time, slot n - 1.
        """
        block, level, born = part.crossings(len(self._held))
        most = int(level.max(initial=0))
        self._empty = np.append(self._empty, np.arange(len(self._empty), most))
        follows = np.append(False, level[1:] == level[:-1])[: len(level)]  # at each level births and deaths alternate
        again = np.flatnonzero(follows & born)
        before = np.arange(part.blocks)
        before[block[again]] = block[again - 1]
        slot = np.zeros(part.blocks, np.int64)
        slot[: len(known)] = self._held["slot"][known]
        opens = born & ~follows
        slot[block[opens]] = self._empty[level[opens] - 1]
        slot = slot[first_of_chain(before)]
        ends = ~born & ~np.append(follows[1:], False)[: len(level)]
        self._empty[level[ends] - 1] = slot[block[ends]]
        return slot

    def _keep(self, part: Part, known: I64, slot: I64) -> None:
        """Note what lives on after a part."""
        rows = np.zeros(part.blocks, HELD)
        rows["block"] = np.append(self._held["block"][known], self._blocks + np.arange(part.blocks - len(known)))
        rows["slot"], rows["size"], rows["log2_align"] = slot, part.last_sizes(), part.of_blocks_start()
        lives = np.ones(part.blocks, bool)
        lives[part.events.block[part.dies]] = False
        self._held[known] = rows[: len(known)]
        left = np.delete(self._held, known[~lives[: len(known)]])
        self._held = np.concatenate([left, rows[len(known) :][lives[len(known) :]]])
        self._blocks += part.blocks - len(known)


class Part:
    """Some events of a process, of which the first `known` allocate blocks that were live before."""

    def __init__(self, events: Events, known: int):
        self.events, self.known = events, known
        self.new = slice(known, None)
        self.begins = starts(events)
        self.blocks = int(self.begins.sum())
        self.dies = (events.op == DEALLOC) & (events.block != NONE)
        self._previous = previous_on_block(events)

    def sizes(self) -> I64:
        """The bytes of each event: the requested size, or for a DEALLOC the size of its block."""
        size = self.events.size.astype(np.int64)
        size[self.dies] = size[self._previous[self.dies]]
        return size

    def grown(self) -> I64:
        """The change of live bytes by each event."""
        size = np.where(self.events.asks, self.events.size, 0).astype(np.int64)
        return size - np.where(self._previous >= 0, size[self._previous], 0)

    def last_sizes(self) -> U64:
        """The size of each block after its last request."""
        size = np.zeros(self.blocks, np.uint64)
        asks = self.events.asks
        size[self.events.block[asks]] = self.events.size[asks]  # of several sizes the last one stays
        return size

    def of_blocks_start(self) -> U8:
        """The log2 of the alignment of each block."""
        return self.events.log2_align[self.begins]

    def alignments(self) -> U8:
        """The log2 of the alignment of each event's block."""
        return np.append(self.of_blocks_start(), np.uint8(0))[self.events.block]  # the last is for NONE

    def crossings(self, live_before: int) -> tuple[I64, I64, Mask]:
        """The births and deaths, sorted by level and then in their order: the block, the level, whether it is a birth.

        The level of a birth is the number of live blocks after it; that of a death is the number before it.
        """
        born = self.begins.copy()
        born[: self.known] = False
        live_blocks = live_before + np.cumsum(born.astype(np.int64) - self.dies)
        crossing = np.flatnonzero(born | self.dies)
        level = live_blocks[crossing] + self.dies[crossing]
        by_level = np.argsort(level, kind="stable")
        return self.events.block[crossing][by_level], level[by_level], born[crossing][by_level]


def first_of_chain(before: I64) -> I64:
    """Follow `before` from each index until it points to itself, in doubling steps."""
    while True:
        further = before[before]
        if np.array_equal(further, before):
            return before
        before = further
