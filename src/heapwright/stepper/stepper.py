"""A position in a recorded run, its moves forward and back, and its breakpoints.

    stepper = Stepper(recording)
    stepper.to_call(7)              # the end of call 7
    stepper.back()                  # the word before
    stepper.stops.append(Word(0x8000, 8))
    stepper.run(-1)                 # back to the store before, if there is one

A position is the number of events that have happened: 0 is the beginning.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from heapwright.programs.naming import WordNames
from heapwright.programs.scene import Scene
from heapwright.stepper.events import Call, Event, Kind
from heapwright.stepper.past import Past, Unreadable
from heapwright.stepper.recorder import Recording
from heapwright.stepper.state import State

ACCESSES = [Kind.LOAD, Kind.STORE, Kind.FILL, Kind.COPY]
CHANGES = [Kind.STORE, Kind.FILL, Kind.COPY]
CAUSES = {*CHANGES, Kind.KERNEL, Kind.RETURN}


@dataclass(frozen=True)
class Stop:
    """A breakpoint on bytes: it stops after each access that changes one of them, or also after each load."""

    address: int
    size: int
    name: str
    loads: bool = False

    def __str__(self) -> str:
        return f"{'every access to' if self.loads else 'every change of'} {self.name}"


class Stepper:
    """One reader of a recording; several can read one."""

    def __init__(self, recording: Recording):
        self.recording, self.log, self.calls = recording, recording.log, recording.calls
        self.position = 0
        self.state = State(recording.page)
        self.stops: list[Stop] = []
        self._firsts = [call.first for call in self.calls]

    def __len__(self) -> int:
        return len(self.log)

    # --- where we are

    @property
    def event(self) -> Event | None:
        """The event that happened last; None at the beginning."""
        return self.log[self.position - 1] if self.position else None

    @property
    def call(self) -> Call | None:
        """The call that runs, or else the one that ended last."""
        found = bisect_right(self._firsts, self.position - 1)
        return self.calls[found - 1] if found else None

    @property
    def is_inside(self) -> bool:
        """Whether the position is in the middle of a call."""
        call = self.call
        return call is not None and self.position <= call.last

    @property
    def past(self) -> Past:
        """The heap here."""
        return Past(self.recording.functions, self.recording.words, self.state)

    @property
    def names(self) -> WordNames:
        return self.past.names

    def changed(self) -> set[int]:
        """The addresses that the current call has changed so far, and its block once it is over."""
        call = self.call
        if call is None:
            return set()
        events = [self.log[number] for number in range(call.first, min(self.position, call.last + 1))]
        block = call.arguments[0] if call.name == "dealloc" else call.result
        blocks = {block} if block and not self.is_inside else set()
        return {event.address for event in events if event.kind == Kind.STORE} | blocks

    def scene(self) -> Scene:
        """The heap here, to draw; raises `Unreadable`."""
        return self.past.scene(self.changed())

    def drawable(self) -> tuple[Scene, str]:
        """The heap here, or the one before the call if it cannot be walked in the middle of a change, and why."""
        try:
            return self.scene(), ""
        except Unreadable as torn:
            before = Stepper(self.recording)
            before.go(self.call.first if self.call else 0)
            return before.scene(), str(torn)

    # --- moves

    def go(self, position: int) -> None:
        """Go to a position, or as far as there are any."""
        position = max(0, min(position, len(self)))
        while self.position < position:
            self._redo()
        while self.position > position:
            self._undo()

    def forward(self, events: int = 1) -> None:
        self.go(self.position + events)

    def back(self, events: int = 1) -> None:
        self.go(self.position - events)

    def next_call(self) -> None:
        """Go to the end of the current call, or of the next one; after the last, to the end."""
        call = self.call
        number = call.number + (not self.is_inside) if call else 1
        self.to_call(number) if number <= len(self.calls) else self.end()

    def previous_call(self) -> None:
        """Go to the end of the call before."""
        call = self.call
        self.to_call(call.number - 1 if call else 0)

    def to_call(self, number: int) -> None:
        """Go to the end of a call, by its number from 1; 0 is the beginning."""
        number = min(number, len(self.calls))
        self.go(self.calls[number - 1].last + 1 if number > 0 else 0)

    def end(self) -> None:
        self.go(len(self))

    def _redo(self) -> None:
        number = self.position
        if self.log.columns["kind"][number] == Kind.STORE:
            self._store("value", number)
        change = self.recording.changes.get(number)
        if change:
            self.state.redo(change)
        self.position += 1

    def _undo(self) -> None:
        number = self.position = self.position - 1
        change = self.recording.changes.get(number)
        if change:
            self.state.undo(change)
        if self.log.columns["kind"][number] == Kind.STORE:
            self._store("old", number)

    def _store(self, which: str, number: int) -> None:
        columns = self.log.columns
        self.state.store(columns["address"][number], columns["size"][number], columns[which][number])

    # --- stops

    def run(self, direction: int = 1) -> Stop | None:
        """Go on, or back, to the nearest breakpoint; return the one that was met, or go to the end and return None."""
        found = [(number, stop) for stop in self.stops for number in self.nearest(stop, direction)]
        if not found:
            self.go(len(self) if direction > 0 else 0)
            return None
        number, stop = min(found, key=lambda each: each[0] * direction)
        self.go(number + 1)
        return stop

    def nearest(self, stop: Stop, direction: int) -> Iterator[int]:
        """The next event that a breakpoint stops at, if there is one."""
        hits = self.touching(stop)
        after = int(np.searchsorted(hits, self.position if direction > 0 else self.position - 1))
        if direction > 0 and after < len(hits):
            yield int(hits[after])
        elif direction < 0 and after > 0:
            yield int(hits[after - 1])

    def touching(self, stop: Stop) -> np.ndarray:
        """The numbers of all events that a breakpoint stops at."""
        address, size, kind = self._search
        kinds = np.isin(kind, ACCESSES if stop.loads else CHANGES)
        return np.flatnonzero(kinds & (address < stop.address + stop.size) & (stop.address < address + size))

    @cached_property
    def _search(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.log.column("address"), self.log.column("size"), self.log.column("kind")

    # --- invariants

    def verdict(self) -> str:
        """Which invariant does not hold here; "" if all do."""
        try:
            self.past.check()
        except Unreadable as broken:
            return str(broken)
        return ""

    def to_first_broken(self, tell: Callable[[int], bool] = lambda call: True) -> str:
        """Go on to the event that first broke an invariant for good; return the invariant, "" if none is broken.

        `tell` gets each call's number before the heap is checked after it, and returns whether to go on.
        """
        here = self.position
        for call in self.calls:
            if call.last < here or not call.is_over:
                continue
            if not tell(call.number):
                break
            self.go(call.last + 1)
            invariant = self.verdict()
            if invariant:
                self._back_to_cause(call)
                return invariant
        self.go(here)
        return ""

    def _back_to_cause(self, call: Call) -> None:
        """From the end of a call that leaves a broken heap, go back to the change after which it stays broken."""
        cause = self.position
        while self.position > call.first:
            if self.log.columns["kind"][self.position - 1] in CAUSES:
                if not self.verdict():
                    break
                cause = self.position
            self.back()
        self.go(cause)
