"""Go through a process's events chunk by chunk, and keep only what is live: for traces larger than memory.

`LiveBlocks` are the blocks that are live after the chunks so far; `Tally` adds up a `Summary`.
"""

from __future__ import annotations

from dataclasses import replace

from heapwright.traces.arrays import I64, U32, np
from heapwright.traces.events import (
    ALLOC,
    DEALLOC,
    INHERITED,
    NONE,
    Events,
    Summary,
    changes,
    counts_of,
    no_events,
    starts,
)
from heapwright.traces.format import Writer


class LiveBlocks:
    """The live blocks of a process, as events that allocate them, in the order of their numbers.

    Each has the thread and the alignment of its start, and the size, time and call stack of its last request.
    """

    def __init__(self) -> None:
        self.held = no_events()

    def advance(self, events: Events) -> tuple[U32, I64, I64]:
        """Take the next events. Returns for each its block's owner, and its changes of live bytes and of live blocks.

        The owner is the thread that started the block. An event without a block is its own thread's.
        """
        earlier = len(self.held)
        both = Events.join([self.held, events])
        of_bytes, of_blocks = changes(both)
        first = first_on_block(both)
        self.held = survivors(both, first)
        return both.thread[first][earlier:], of_bytes[earlier:], of_blocks[earlier:]

    @property
    def bytes(self) -> int:
        return int(self.held.size.sum())

    def inherited(self, time: int) -> Events:
        """The live blocks as allocations from before a moment."""
        flags = np.full_like(self.held.flags, INHERITED)
        return replace(self.held, flags=flags, time=np.full_like(self.held.time, time))


def first_on_block(events: Events) -> I64:
    """For each event, the index of the first event with its block; its own, if it has none."""
    named = np.flatnonzero(events.block != NONE)
    _, first, which = np.unique(events.block[named], return_index=True, return_inverse=True)
    found = np.arange(len(events))
    found[named] = named[first][which]
    return found


def survivors(events: Events, first: I64) -> Events:
    """The blocks that are live after some events, as events that allocate them."""
    touching = np.flatnonzero((events.block != NONE) & ~events.failed)[::-1]
    block, place = np.unique(events.block[touching], return_index=True)
    last = touching[place]
    last = last[events.op[last] != DEALLOC]
    start = first[last]
    kept = events[last]
    ones = np.ones_like(kept.count)
    return replace(
        kept,
        op=np.full_like(kept.op, ALLOC),
        flags=np.zeros_like(kept.flags),
        log2_align=events.log2_align[start],
        thread=events.thread[start],
        count=ones,
    )


class Tally:
    """The summary of the events so far."""

    def __init__(self) -> None:
        self.live = LiveBlocks()
        self.summary = Summary()
        self.threads: set[int] = set()

    def add(self, events: Events) -> None:
        """Count the next events of the process."""
        before, live_bytes, live_blocks = self.summary, self.live.bytes, len(self.live.held)
        owner, of_bytes, of_blocks = self.live.advance(events)
        self.threads.update(np.unique(events.thread).tolist())
        gives_back = (events.op == DEALLOC) & (events.block != NONE)
        chunk = Summary(
            **counts_of(events),
            cross_thread_deallocs=int((owner != events.thread)[gives_back].sum()),
            blocks=int(starts(events, before.blocks).sum()),
            **peaks(live_bytes + np.cumsum(of_bytes), live_blocks + np.cumsum(of_blocks)),
        )
        is_first = before.events == 0  # a peak of nothing is at the first event
        self.summary = replace(
            chunk if is_first else before + chunk,
            threads=len(self.threads),
            peak_live_blocks=max(before.peak_live_blocks, chunk.peak_live_blocks),
            live_bytes_at_end=self.live.bytes,
            live_blocks_at_end=len(self.live.held),
        )


def add_chunk(writer: Writer, process: int, events: Events, tally: Tally) -> None:
    """Write the next events of a process, and count them."""
    before = tally.summary
    writer.add(process, events, before.blocks, before.live_bytes_at_end, before.live_blocks_at_end)
    writer.flush()
    tally.add(events)


def peaks(live_bytes: I64, live_blocks: I64) -> dict[str, int]:
    """The peaks of a range of events, from what is live after each of them."""
    return {
        "peak_live_bytes": int(live_bytes.max(initial=0)),
        "live_blocks_at_peak": int(live_blocks[live_bytes.argmax()]) if len(live_bytes) else 0,
        "peak_live_blocks": int(live_blocks.max(initial=0)),
    }
