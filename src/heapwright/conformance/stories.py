"""Stories made by Hypothesis, which also finds the shortest one that shows a fault."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from heapwright.conformance.story import Broken, Judge, Play, Step, telling
from heapwright.conformance.subject import Subject
from heapwright.machine import Heap

Steps = Sequence[Step]

INDEX = st.integers(0, 15)
SMALL = st.integers(0, 160)
FEW = st.sampled_from((24, 40, 72, 100, 200))  # the same again and again, so that one fits where another was
SIZES = st.one_of(FEW, SMALL, st.integers(0, 3000), st.sampled_from((0, 1, 4096, 65536, 140_000)))
ALIGNS = st.sampled_from((16, 16, 16, 16, 1, 8, 32, 64, 256, 4096))

ALLOC = st.builds(Step, st.just("alloc"), st.just(0), SIZES, ALIGNS)
ZEROED = st.builds(Step, st.just("zeroed"), st.just(0), SIZES, ALIGNS)
REALLOC = st.builds(Step, st.just("realloc"), INDEX, SIZES)
ALLOC_LARGE = st.builds(Step, st.just("alloc"), st.just(0), st.sampled_from((70_000, 100_000)), st.just(16))
FREE = st.builds(Step, st.just("free"), INDEX)
USABLE = st.builds(Step, st.just("usable"), INDEX)
TRIM = st.just(Step("trim"))
FOREIGN = st.builds(Step, st.just("foreign"), st.just(0), st.sampled_from((1, 5, 16, 24, 4096, 5001)))
THREAD = st.builds(Step, st.just("thread"), st.integers(0, 3))
THREAD_EXIT = st.just(Step("thread_exit"))
USUAL = (ALLOC, ALLOC, ALLOC, FREE, FREE, REALLOC, ZEROED, TRIM)

QUICK_EXAMPLES, EXAMPLES = 20, 300
QUICK_STEPS, STEPS = 30, 60


def steps_of(*kinds: SearchStrategy[Step], most: int = STEPS) -> SearchStrategy[list[Step]]:
    return st.lists(st.one_of(*(kinds or USUAL)), min_size=1, max_size=most)


def for_all_stories(
    subject: Subject,
    name: str,
    *kinds: SearchStrategy[Step],
    each: Judge | None = None,
    last: Judge | None = None,
    make: Callable[[], Heap] | None = None,
) -> None:
    """Play stories made of these kinds of steps on fresh heaps; judge after each step, and at the end."""

    def tell(steps: Steps) -> None:
        with telling(Play((make or subject.heap)())) as play:
            for step in steps:
                play.take(step)
                if each:
                    each(play)
            if last:
                last(play)

    for_all(subject, name, steps_of(*kinds, most=QUICK_STEPS if subject.is_quick else STEPS), tell)


def for_all(subject: Subject, name: str, strategy: SearchStrategy[Any], tell: Callable[[Any], None]) -> None:
    """Raise the shortest `Broken` that `tell` raises for something of the strategy; the name seeds the choice."""
    search = Search(tell, subject.seconds, subject.patience)

    @seed(zlib.crc32(name.encode()))
    @settings(
        max_examples=QUICK_EXAMPLES if subject.is_quick else EXAMPLES,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink) if subject.patience else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(strategy)
    def explore(given_steps: Any) -> None:
        search.try_one(given_steps)

    try:
        explore()
    except Exception:
        if search.shortest is None:
            raise
    if search.shortest is not None:
        raise search.shortest from None


def for_story(subject: Subject, steps: Steps, tell: Callable[[Steps], None]) -> None:
    """Tell one story; if something is wrong, raise the shortest part of it that still shows something wrong."""
    try:
        tell(steps)
    except Broken as broken:
        raise shortened(broken, steps, tell, time.process_time() + subject.patience) from None


def shortened(shortest: Broken, steps: Steps, tell: Callable[[Steps], None], until: float) -> Broken:
    """Leave out halves, quarters, ... and single steps, as long as something is wrong without them."""
    size = len(steps)
    while size := size // 2:
        at = 0
        while at < len(steps) and time.process_time() < until:
            fewer = [*steps[:at], *steps[at + size :]]
            try:
                tell(fewer)
                at += size
            except Broken as broken:
                shortest, steps = broken, fewer
    return shortest


class Search:
    """Keeps the shortest failure, and an eye on the clock: when time is up, everything seems to hold."""

    def __init__(self, tell: Callable[[Any], None], seconds: float, patience: float):
        self.tell, self.patience = tell, patience
        self.until = time.process_time() + seconds
        self.shortest: Broken | None = None

    def try_one(self, example: Any) -> None:
        if time.process_time() > self.until:
            return
        try:
            self.tell(example)
        except Broken as broken:
            if self.shortest is None:
                self.until = time.process_time() + self.patience
            if self.shortest is None or length(broken) <= length(self.shortest):
                self.shortest = broken
            raise


def length(broken: Broken) -> tuple[int, int]:
    return len(broken.lines), sum(map(len, broken.lines))
