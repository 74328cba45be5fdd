"""Small scope, every story: all sequences of a few requests, as far as a depth, on one allocator.

In each state of the heap every request of an alphabet is made; each time the machine goes back to that state. Stories
of three sizes, with realloc, have 3 + 3n ways to go on with n live blocks; those of two sizes that are only allocated
and freed have 2 + n, so that they can be told twice as far: to where neighbours are freed in every order.

States that are the same have the same future, which is told once and counted as often as it is reached. The same are
two states with the same memory, owned alike, with the same live blocks, and with the same bytes where the allocator
may read them: not in a live block, which it may at most copy, nor where nothing was written since it was a caller's,
for the machine refuses such a load. What is in the live blocks is looked at after each request.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from heapwright.conformance.registry import check
from heapwright.conformance.story import Play, Step, telling
from heapwright.conformance.subject import Subject
from heapwright.machine import Heap
from heapwright.machine.checkpoint import Checkpoint
from heapwright.machine.shadow import ALLOCATOR, FREED, USER, WRITTEN

LEAST_DEPTH = 2  # is told whatever time it takes, and twice as far with few requests
DEPTH = 20  # nobody gets there
QUICK_SECONDS, SECONDS = 0.2, 30.0  # for each alphabet
MOST_PAGES = 1 << 12  # whose digests are remembered


class Alphabet(NamedTuple):
    """What is asked for: blocks of some sizes, that each live block is freed, or gets another size."""

    allocated: tuple[int, ...]
    resized: tuple[int, ...]

    def requests(self, blocks: int) -> list[Step]:
        """All that can be asked for when so many blocks are live."""
        steps = [Step("alloc", 0, size) for size in self.allocated]
        for which in range(blocks):
            steps += [Step("free", which), *(Step("realloc", which, size) for size in self.resized)]
        return steps


RESIZING = Alphabet((24, 72, 3000), (8, 100))  # 100 is less than twice 72
TWO_SIZES = Alphabet((24, 3000), ())


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
    seconds = QUICK_SECONDS if subject.is_quick else SECONDS
    resizing = explore(subject, RESIZING, DEPTH, seconds)
    return f"{resizing}; of two sizes, without realloc, {explore(subject, TWO_SIZES, DEPTH, seconds)}"


def explore(
    subject: Subject, alphabet: Alphabet, depth: int, seconds: float, tell: Callable[[Reached], None] | None = None
) -> Reached:
    """Tell all sequences of 1, 2, ... requests, so that the first one that fails is a shortest one.

    The depths that were finished are what is reported; a depth is given up when the seconds of processor time are over.
    """
    began, reached = time.process_time(), Reached(0, 1, 1, 0.0)
    scope = Scope(Play(subject.heap()), alphabet)
    level, sequences = Counter({scope.first: 1}), 1
    for depth_now in range(1, depth + 1):
        scope.until = began + seconds if depth_now > least_depth(alphabet) else math.inf
        try:
            level = scope.next_level(level)
        except OutOfTime:
            break
        sequences += level.total()
        reached = Reached(depth_now, sequences, len(scope.stories), time.process_time() - began)
        if tell:
            tell(reached)
    return reached


def least_depth(alphabet: Alphabet) -> int:
    return LEAST_DEPTH if alphabet.resized else 2 * LEAST_DEPTH


class OutOfTime(Exception):  # noqa: N818  it is no error
    """The time for exploring is over."""


State = bytes  # what `digest` says of it


class Scope:
    """The states that were seen, each with a shortest story, and where each request leads from them."""

    def __init__(self, play: Play, alphabet: Alphabet):
        self.play, self.heap, self.alphabet = play, play.heap, alphabet
        self.until = math.inf
        self.beginning = Checkpoint(self.heap.process)
        self.first = digest(self.heap)
        self.stories: dict[State, tuple[Step, ...]] = {self.first: ()}
        self.following: dict[State, list[State]] = {}

    def next_level(self, level: Counter[State]) -> Counter[State]:
        """How many sequences end in each state, when those that end in the states of a level get one request more."""
        found = Counter[State]()
        for state, sequences in level.items():
            if state not in self.following:
                self.following[state] = self.all_after(self.stories[state])
            for after in self.following[state]:
                found[after] += sequences
        return found

    def all_after(self, story: tuple[Step, ...]) -> list[State]:
        """The states that the requests lead to which can be made at the end of a story."""
        self.beginning.restore()
        play = self.play.copy(self.heap)
        play.play(story)
        here = Checkpoint(self.heap.process)
        steps = self.alphabet.requests(len(play.blocks))
        return [self.after(play.copy(self.heap), story, step, here) for step in steps]

    def after(self, play: Play, story: tuple[Step, ...], step: Step, here: Checkpoint) -> State:
        """Make one request, and judge what is new."""
        if time.process_time() > self.until:
            raise OutOfTime
        here.restore()
        with telling(play):
            play.take(step)
            for block in play.blocks:
                play.intact(block)
            state = digest(self.heap)
            if state not in self.stories:
                self.heap.check()
                self.stories[state] = (*story, step)
        return state


# --- when two states are the same

READABLE = bytes(0xFF * (code & (ALLOCATOR | USER | WRITTEN) == ALLOCATOR | WRITTEN) for code in range(256))
OWNERS = bytes(code & ~FREED for code in range(256))


def digest(heap: Heap) -> State:
    """What the future of a heap may depend on: its memory, its blocks, its thread's words, and what can be read."""
    process, space = heap.process, heap.process.space
    live = sorted((block.address, block.size) for block in heap.live.values())
    code = blake2b(repr((space.segments, list(space.areas), live, process.thread.words)).encode(), digest_size=16)
    untouched = bytes(space.page)
    for number, codes in sorted(space.shadow.pages.items()):
        if number >= heap.words // space.page:
            frame = space.table.frame_of(space.table.entry(number * space.page))
            content = bytes(process.kernel.frames.bytes_of(frame)) if frame else untouched
            code.update(b"%x" % number + page_digest(content, bytes(codes)))
    return code.digest()


@lru_cache(MOST_PAGES)
def page_digest(content: bytes, codes: bytes) -> bytes:
    seen = int.from_bytes(content, "little") & int.from_bytes(codes.translate(READABLE), "little")
    return blake2b(codes.translate(OWNERS) + seen.to_bytes(len(content), "little"), digest_size=16).digest()
