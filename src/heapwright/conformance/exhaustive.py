"""Exhaustive small stories: all sequences of a few requests, up to a depth, on one allocator.

In each state of the heap, every request of an alphabet is made, and then the machine returns to that state. Stories of
three sizes, with realloc, have 3 + 3n continuations with n live blocks. Stories of two sizes that are only allocated
and freed have 2 + n, so they reach twice the depth: enough to free neighbours in every order.

Equal states have the same future. It is explored once and counted as often as the state is reached. Two states are
equal if they have the same memory with the same owners, the same live blocks, and the same bytes where the allocator
may read. It may not read a live block (it may only copy it), nor bytes that nobody wrote since a caller freed them: the
machine refuses such a load. The contents of live blocks are checked after each request.
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
from heapwright.conformance.story import Play, Step, with_story
from heapwright.conformance.subject import Subject
from heapwright.machine import Heap
from heapwright.machine.checkpoint import Checkpoint
from heapwright.machine.shadow import ALLOCATOR, FREED, USER, WRITTEN

MIN_DEPTH = 2  # explored whatever time it takes; twice this depth with few requests
DEPTH = 20  # out of reach
QUICK_SECONDS, SECONDS = 0.2, 30.0  # for each alphabet
MAX_PAGES = 1 << 12  # pages whose digests are remembered


class Alphabet(NamedTuple):
    """The possible requests: allocate a block of some size, free each live block, or resize it."""

    allocated: tuple[int, ...]
    resized: tuple[int, ...]

    def requests(self, blocks: int) -> list[Step]:
        """All requests that are possible with this number of live blocks."""
        steps = [Step("alloc", 0, size) for size in self.allocated]
        for which in range(blocks):
            steps += [Step("free", which), *(Step("realloc", which, size) for size in self.resized)]
        return steps


RESIZING = Alphabet((24, 72, 3000), (8, 100))  # 100 is less than twice 72
TWO_SIZES = Alphabet((24, 3000), ())


class Reached(NamedTuple):
    """The depth up to which all sequences were tried."""

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
    """Try all sequences of 1, 2, ... requests, so that the first one that fails is a shortest one.

    Only finished depths are reported. A depth is abandoned when the seconds of processor time are over.
    """
    began, reached = time.process_time(), Reached(0, 1, 1, 0.0)
    scope = Scope(Play(subject.heap()), alphabet)
    level, sequences = Counter({scope.first: 1}), 1
    for depth_now in range(1, depth + 1):
        scope.until = began + seconds if depth_now > min_depth(alphabet) else math.inf
        try:
            level = scope.next_level(level)
        except OutOfTime:
            break
        sequences += level.total()
        reached = Reached(depth_now, sequences, len(scope.stories), time.process_time() - began)
        if tell:
            tell(reached)
    return reached


def min_depth(alphabet: Alphabet) -> int:
    return MIN_DEPTH if alphabet.resized else 2 * MIN_DEPTH


class OutOfTime(Exception):  # noqa: N818  not an error
    """The time for exploring is over."""


State = bytes  # the result of `digest`


class Scope:
    """The states seen so far, each with a shortest story that leads to it and the states that follow it."""

    def __init__(self, play: Play, alphabet: Alphabet):
        self.play, self.heap, self.alphabet = play, play.heap, alphabet
        self.until = math.inf
        self.beginning = Checkpoint(self.heap.process)
        self.first = digest(self.heap)
        self.stories: dict[State, tuple[Step, ...]] = {self.first: ()}
        self.following: dict[State, list[State]] = {}

    def next_level(self, level: Counter[State]) -> Counter[State]:
        """The number of sequences that end in each state after one more request than in this level."""
        found = Counter[State]()
        for state, sequences in level.items():
            if state not in self.following:
                self.following[state] = self.all_after(self.stories[state])
            for after in self.following[state]:
                found[after] += sequences
        return found

    def all_after(self, story: tuple[Step, ...]) -> list[State]:
        """The states that follow a story, one for each possible request."""
        self.beginning.restore()
        play = self.play.copy(self.heap)
        play.play(story)
        here = Checkpoint(self.heap.process)
        steps = self.alphabet.requests(len(play.blocks))
        return [self.after(play.copy(self.heap), story, step, here) for step in steps]

    def after(self, play: Play, story: tuple[Step, ...], step: Step, here: Checkpoint) -> State:
        """Make one request; check the heap if its state is new."""
        if time.process_time() > self.until:
            raise OutOfTime
        here.restore()
        with with_story(play):
            play.take(step)
            for block in play.blocks:
                play.intact(block)
            state = digest(self.heap)
            if state not in self.stories:
                self.heap.check()
                self.stories[state] = (*story, step)
        return state


# --- when two states are equal

READABLE = bytes(0xFF * (code & (ALLOCATOR | USER | WRITTEN) == ALLOCATOR | WRITTEN) for code in range(256))
OWNERS = bytes(code & ~FREED for code in range(256))


def digest(heap: Heap) -> State:
    """A digest of all that a heap's future depends on: its memory, blocks, thread's words and readable bytes."""
    process, space = heap.process, heap.process.space
    live = sorted((block.address, block.size) for block in heap.live.values())
    code = blake2b(repr((space.segments, list(space.mappings), live, process.thread.words)).encode(), digest_size=16)
    untouched = bytes(space.page)
    for number, codes in sorted(space.shadow.pages.items()):
        if number >= heap.words // space.page:
            frame = space.table.frame_of(space.table.entry(number * space.page))
            content = bytes(process.kernel.frames.bytes_of(frame)) if frame else untouched
            code.update(b"%x" % number + page_digest(content, bytes(codes)))
    return code.digest()


@lru_cache(MAX_PAGES)
def page_digest(content: bytes, codes: bytes) -> bytes:
    seen = int.from_bytes(content, "little") & int.from_bytes(codes.translate(READABLE), "little")
    return blake2b(codes.translate(OWNERS) + seen.to_bytes(len(content), "little"), digest_size=16).digest()
