"""What must happen before what, besides each thread's own order; and the proof that nothing waits for itself.

Each event number stands for a moment of the recording. All waits of a plan are for earlier moments. So the recorded
order is itself an order in which every wait is over when its turn comes. A wait that is over once stays over. So no
order of the threads can get stuck.
"""

from __future__ import annotations

from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from heapwright.traces.arrays import I64, Mask, np
from heapwright.traces.events import NONE, THREAD_EXIT, Events, TraceError, previous_on_block

MAX_NAMED = 6  # events of a circle, in a message


def handovers(events: Events) -> I64:
    """For each event, the event of another thread that last touched its block; NONE if there is none.

    The blocks of failed requests and the reuse of an address hand nothing over.
    """
    previous = previous_on_block(events)
    is_foreign = (previous != NONE) & (events.thread[previous] != events.thread)
    return np.where(is_foreign, previous, NONE)


@dataclass(frozen=True)
class Lives:
    """The life of each thread that has events: its number, and moments of the recording."""

    thread: I64
    first: I64
    last: I64
    has_ended: Mask  # whether the recording has its end

    @classmethod
    def of(cls, events: Events) -> Lives:
        """The lives in the order of their first events."""
        thread, first = np.unique(events.thread, return_index=True)
        last = len(events) - 1 - np.unique(events.thread[::-1], return_index=True)[1]
        has_ended = np.isin(thread, events.thread[events.op == THREAD_EXIT])
        order = np.argsort(first)
        return cls(thread.astype(np.int64)[order], first[order], last[order], has_ended[order])

    def __len__(self) -> int:
        return len(self.thread)

    def starters(self, place: I64) -> I64:
        """For each life, the place of the life that starts it; NONE for the first. `place` has that of each event.

        The recording does not say who started a thread. It was a thread that was alive, and most likely the one with
        the event just before.
        """
        before = [int(place[first - 1]) if first else NONE for first in self.first]
        found, earlier = list(before), list(before)
        for at, first in enumerate(self.first):
            passed = []
            while found[at] > 0 and self.has_ended[found[at]] and self.last[found[at]] < first:
                passed.append(found[at])
                found[at] = earlier[found[at]]
            for each in passed:
                earlier[each] = found[at]
        return np.array(found, np.int64)

    def joined_by(self) -> I64:
        """For each life, the place of the first that begins after its end; NONE if none does, or for the first."""
        next_start = np.searchsorted(self.first, self.last, side="right")
        is_joined = self.has_ended & (next_start < len(self)) & (np.arange(len(self)) > 0)
        return np.where(is_joined, next_start, NONE)

    def most_alive(self) -> int:
        """How many threads exist at one time."""
        ends = np.sort(self.last[self.has_ended & (self.joined_by() != NONE)])
        return int((np.arange(1, len(self) + 1) - np.searchsorted(ends, self.first)).max(initial=0))


# --- no circles


def prove(thread: I64, waits: I64) -> None:
    """Raise TraceError, naming the events, if threads would wait for each other in a circle.

    Each row of `waits` is an event and the event that it waits for.
    """
    if (waits[:, 1] < waits[:, 0]).all():
        return
    pairs = waits.tolist()
    graph = TopologicalSorter[int]()
    for event, awaited in pairs:
        graph.add(event, awaited)
    touched = sorted({each for pair in pairs for each in pair}, key=lambda each: (thread[each], each))
    for earlier, later in zip(touched, touched[1:], strict=False):
        if thread[earlier] == thread[later]:
            graph.add(later, earlier)
    try:
        graph.prepare()
    except CycleError as error:
        raise TraceError(circle(thread, error.args[1])) from error


def circle(thread: I64, events: list[int]) -> str:
    named = [f"event {each} of thread {thread[each]}" for each in events[::-1]]
    shown = [*named[:MAX_NAMED], *(["..."] if len(named) > MAX_NAMED else [])]
    return f"cannot be replayed on threads: {', which waits for '.join(shown)}; replay it in order, without --threads"
