"""Small scope, every story: all sequences of a few requests, as far as a depth, on one allocator.

From each state of the heap every request is made in a copy of the process: an allocation of each of three sizes, and
for each live block a deallocation and two reallocations. The copy is checked. Two states that have the same bytes in
the same places and the same live blocks have the same future, so it is told once and counted as often as it is
reached. No other symmetry is used.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from heapwright.conformance.registry import check
from heapwright.conformance.story import Play, Step, Wrong, telling
from heapwright.conformance.subject import Subject
from heapwright.machine import Heap

ALLOCATED = (24, 72, 3000)  # sizes that are asked for
RESIZED = (8, 100)  # and sizes that blocks are resized to: 100 is less than twice 72
QUICK_DEPTH, DEPTH = 3, 6
QUICK_SECONDS, SECONDS = 0.4, 60.0


class Reached(NamedTuple):
    """How far all sequences were told."""

    depth: int
    sequences: int
    states: int
    seconds: float

    def __str__(self) -> str:
        return f"all {self.sequences:,} sequences of up to {self.depth} requests, {self.states:,} states of the heap"


@check("exhaustive", "every sequence of a few requests leaves a sound heap")
def small_scope(subject: Subject) -> str:
    depth, seconds = (QUICK_DEPTH, QUICK_SECONDS) if subject.is_quick else (DEPTH, SECONDS)
    return str(explore(subject, depth, seconds))


def explore(subject: Subject, depth: int, seconds: float, tell: Callable[[Reached], None] | None = None) -> Reached:
    """Tell all sequences of 1, 2, ... requests, so that the first one that fails is a shortest one.

    The depths that were finished are what is reported; a depth is given up when the seconds are over.
    """
    began, reached = time.monotonic(), Reached(0, 1, 1, 0.0)
    for depth_now in range(1, depth + 1):
        scope = Scope(began + seconds)
        try:
            sequences = scope.sequences(Play(subject.heap()), depth_now)
        except OutOfTime:
            break
        reached = Reached(depth_now, sequences, len(scope.states), time.monotonic() - began)
        if tell:
            tell(reached)
    return reached


class OutOfTime(Exception):  # noqa: N818  it is no error
    """The time for exploring is over."""


@dataclass
class Scope:
    """All sequences as far as one depth, and the states seen on the way."""

    until: float
    known: dict[tuple[bytes, int], int] = field(default_factory=dict)  # (state, requests left) -> sequences from there
    states: set[bytes] = field(default_factory=set)

    def sequences(self, play: Play, left: int) -> int:
        """How many sequences of up to `left` requests there are from here, the empty one included."""
        if time.monotonic() > self.until:
            raise OutOfTime
        state = digest(play.heap)
        self.states.add(state)
        if left == 0:
            return 1
        if (state, left) not in self.known:
            self.known[state, left] = 1 + sum(self.after(play, step, left - 1) for step in requests(play))
        return self.known[state, left]

    def after(self, play: Play, step: Step, left: int) -> int:
        """The sequences that begin with one request, made in a copy of the process."""
        copy = twin(play)
        try:
            with telling(copy):
                copy.take(step)
                copy.heap.check()
                for block in copy.blocks:
                    copy.intact(block)
            return self.sequences(copy, left)
        finally:
            copy.heap.process.exit()
            play.heap.process.children.remove(copy.heap.process)


def requests(play: Play) -> list[Step]:
    steps = [Step("alloc", 0, size) for size in ALLOCATED]
    for which in range(len(play.blocks)):
        steps += [Step("free", which), *(Step("realloc", which, size) for size in RESIZED)]
    return steps


def digest(heap: Heap) -> bytes:
    """The bytes of a heap and its own words, who owns them, and where its memory lies."""
    space, code = heap.process.space, blake2b(digest_size=16)
    code.update(repr((heap.stretches(), heap.process.brk, sorted(heap.live), heap.process.thread.words)).encode())
    first = heap.words // space.page
    for number in sorted(number for number in space.pages if number >= first):
        code.update(number.to_bytes(8, "little"))
        code.update(space.pages[number][2])
        code.update(space.pages[number][3])
    return code.digest()


def twin(play: Play) -> Play:
    """The same story in a copy of the process, made behind the allocator's back."""
    process = play.heap.process.fork()
    if process is None:
        raise Wrong("the machine has frames for a copy")
    process.thread.id = play.heap.process.thread.id
    return play.copy(play.heap.over(process))
