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

Recycled slots impose an order on threads. A replayer that lets threads run freely passes `recycle=False` and gets one
slot for each block.
"""

# A field of a struct is annotated with its kind, which is no type.
# mypy: disable-error-code="valid-type"
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heapwright.layout import Byte, Struct, Word, Word16, Word32
from heapwright.traces.arrays import I64, U8, np
from heapwright.traces.events import DEALLOC, NONE, Events, TraceError, live, previous_on_block, starts
from heapwright.traces.structs import dtype_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

NO_SLOT = NONE
MAX_THREADS = 1 << 16


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
    threads = int(events.thread.max(initial=0)) + 1
    if threads > MAX_THREADS:
        raise TraceError(f"{threads} threads are too many to replay: at most {MAX_THREADS}")
    kept = events[~events.failed]
    slot = slots_of(kept) if recycle else kept.block
    records = np.zeros(len(kept), dtype_of(FlatEvent))
    records["op"], records["thread"], records["slot"] = kept.op, kept.thread, slot
    records["size"], records["log2_align"] = sizes(kept), alignments(kept)
    return Flat(records, int(slot.max(initial=NONE)) + 1, threads, live(kept)[0])


def sizes(events: Events) -> I64:
    """The bytes of each event: the requested size, or for a DEALLOC the size of its block."""
    previous = previous_on_block(events)
    dies = np.flatnonzero((events.op == DEALLOC) & (previous >= 0))
    size = events.size.astype(np.int64)
    size[dies] = size[previous[dies]]
    return size


def alignments(events: Events) -> U8:
    """The log2 of the alignment of each event's block."""
    of_block = np.append(events.log2_align[starts(events)], np.uint8(0))  # the last is for NONE
    return of_block[events.block]


def slots_of(events: Events) -> I64:
    """For each event the slot of its block, or NO_SLOT.

    The empty slots are a stack. A block that raises the number of live blocks to n takes the n-th slot from the bottom:
    the slot of the block whose death last lowered the number from n, or, the first time, slot n - 1.
    """
    begins, dies = starts(events), (events.op == DEALLOC) & (events.block != NONE)
    _, live_blocks = live(events)
    crossing = np.flatnonzero(begins | dies)
    level = live_blocks[crossing] + dies[crossing]
    by_level = np.argsort(level, kind="stable")  # births and deaths alternate at each level
    block, level, born = events.block[crossing][by_level], level[by_level], begins[crossing][by_level]
    again = np.flatnonzero((level[1:] == level[:-1]) & born[1:]) + 1
    before = np.arange(begins.sum())
    before[block[again]] = block[again - 1]
    fresh = np.zeros(len(before), np.int64)
    fresh[block[born]] = level[born] - 1
    return np.append(fresh[first_of_chain(before)], NO_SLOT)[events.block]


def first_of_chain(before: I64) -> I64:
    """Follow `before` from each index until it points to itself, in doubling steps."""
    while True:
        further = before[before]
        if np.array_equal(further, before):
            return before
        before = further
