"""A search through the interleavings of a few threads, fewest preemptions first, for one that fails.

    explored = explore(make, preemptions=2)     make() returns new `Threads`, ready to run
    explored.demand()                           raises the failure, if there is one
    wander(make, runs=1000, seed=1)             random ones instead, for more threads or more preemptions

By default, each thread runs until it ends, sleeps or spins. A schedule lists the exceptions, as (point, thread). Every
run starts from the beginning, so the same schedule gives the same run.

Sources: M. Musuvathi, S. Qadeer, Iterative Context Bounding for Systematic Testing of Multithreaded Programs (2007);
S. Burckhardt et al., A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs (2010), for `wander`.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from heapwright import locks
from heapwright.machine.choosers import Follow, Priorities, Redundant, Schedule
from heapwright.machine.interleaving import Interleaving
from heapwright.machine.threads import Chooser, Threads

Make = Callable[[], Threads]
DEPTH = 3  # operations that must come in a certain order for a bug to show, in `wander`


class Failure(AssertionError):
    """An error, and the interleaving that caused it."""

    def __init__(self, error: Exception, interleaving: Interleaving, schedule: Schedule, found_in: int):
        self.error, self.interleaving, self.schedule, self.found_in = error, interleaving, schedule, found_in
        super().__init__(f"{error}\n\n{interleaving}\n\nschedule {schedule}, the {ordinal(found_in)} that was tried")


@dataclass(slots=True)
class Explored:
    """The schedules that were tried: all with up to `preemptions` preemptions; -1 if not even all without any."""

    schedules: int = 0
    preemptions: int = -1
    points: int = 0  # the largest number of visible operations in a run
    seconds: float = 0.0
    failure: Failure | None = None

    def demand(self) -> Explored:
        if self.failure is not None:
            raise self.failure
        return self

    def __str__(self) -> str:
        depth = f"all with up to {self.preemptions} preemptions" if self.preemptions >= 0 else "not even all without"
        speed = self.schedules / self.seconds if self.seconds else 0
        return f"{self.schedules:,} schedules of up to {self.points} visible operations, {depth}; {speed:,.0f} a second"


@dataclass(slots=True)
class Run:
    """The result of one run."""

    threads: Threads
    error: Exception | None = None
    is_redundant: bool = False


@dataclass
class Exploration:
    """A way to make threads, and the findings of the runs so far."""

    make: Make
    preemptions: int = 2
    is_fine: bool = False  # change threads at every access to a word that two of them use
    is_reduced: bool = True  # skip runs that are equivalent to others
    maximum: int = 1 << 30
    hot: set[int] = field(default_factory=set)  # words: threads may change before each access to one
    judged: set[int] = field(default_factory=set)  # final heaps that were checked and found good
    found: Explored = field(default_factory=Explored)

    def run(self, chooser: Chooser, log: Interleaving | None = None) -> Run:
        threads = self.make()
        try:
            threads.run(chooser, self.hot, log)
            threads.judge(set() if log else self.judged)
        except Redundant:
            return Run(threads, is_redundant=True)
        except Exception as error:
            return Run(threads, error)
        return Run(threads)

    def count(self, run: Run, points: int) -> bool:
        """Count a run; return whether it failed."""
        self.found.schedules += 1
        self.found.points = max(self.found.points, points)
        if run.error is not None:
            self.found.failure = self.failure_of(run)
        return run.error is not None

    # --- all schedules

    def try_all(self) -> Explored:
        while not self.sweep():
            pass  # more words turned out to be shared: start over, with points before their accesses
        return self.found

    def sweep(self) -> bool:
        """Try the schedules, fewest preemptions first, until one fails; False if `hot` grew."""
        waiting: list[deque[Schedule]] = [deque() for _ in range(self.preemptions + 1)]
        waiting[0].append(())
        for level, schedules in enumerate(waiting):
            while schedules:
                if self.found.schedules >= self.maximum:
                    return True
                schedule = schedules.popleft()
                follow = Follow(schedule, self.is_reduced)
                run = self.run(follow)
                if self.count(run, follow.points):
                    return True
                if self.learn(run.threads):
                    return False
                for point, thread, cost in () if run.is_redundant else follow.branches:
                    if level + cost <= self.preemptions:
                        waiting[level + cost].append((*schedule, (point, thread)))
            self.found.preemptions = level
        return True

    def learn(self, threads: Threads) -> bool:
        """Add the words that the threads shared; return whether some are new."""
        words = threads.raced | threads.clocks.torn | (threads.clocks.shared if self.is_fine else set())
        known = len(self.hot)
        self.hot |= words
        return len(self.hot) > known

    # --- random schedules

    def try_some(self, runs: int, seed: int, depth: int) -> Explored:
        for i in range(runs):
            priorities = Priorities(random.Random(f"{seed} {i}"), self.found.points, depth)
            run = self.run(priorities)
            if self.count(run, priorities.points):
                break
            self.learn(run.threads)
        return self.found

    # --- a failure

    def failure_of(self, run: Run) -> Failure:
        """The failure of a run, recorded with as few thread switches as it needs."""
        schedule = self.shortest(tuple(run.threads.schedule))
        log = Interleaving()
        error = self.run(Follow(schedule, is_reduced=False), log).error
        assert error is not None, f"schedule {schedule} failed once and not again: {run.error}"
        return Failure(error, log, schedule, self.found.schedules)

    def shortest(self, schedule: Schedule) -> Schedule:
        """Remove the switches that the failure does not need."""
        for i in reversed(range(len(schedule))):
            again = self.run(Follow(schedule[:i] + schedule[i + 1 :], is_reduced=False))
            if again.error is not None and len(again.threads.schedule) < len(schedule):
                return self.shortest(tuple(again.threads.schedule))
        return schedule


def explore(make: Make, preemptions: int = 2, **options: Any) -> Explored:
    """Try every schedule with at most `preemptions` preemptions.

    Threads switch before atomic operations, futex and kernel calls, and accesses that may race. With `is_fine` they
    also switch before each access to a word that two threads touch and one changes. `Exploration` has the options.
    """
    began = time.perf_counter()
    found = Exploration(make, preemptions, **options).try_all()
    found.seconds = time.perf_counter() - began
    return found


def wander(make: Make, runs: int, seed: int = 0, *, depth: int = DEPTH, **options: Any) -> Explored:
    """Try random schedules; each has a known probability of finding a bug that needs `depth` ordered operations."""
    began = time.perf_counter()
    found = Exploration(make, **options).try_some(runs, seed, depth)
    found.seconds = time.perf_counter() - began
    return found


@contextmanager
def sleepy_locks(looks: int = 0) -> Iterator[None]:
    """Make locks look `looks` times before they sleep: spinning reveals nothing that sleeping does not."""
    before, locks.LOOKS = locks.LOOKS, looks
    try:
        yield
    finally:
        locks.LOOKS = before


def ordinal(number: int) -> str:
    ends = {1: "st", 2: "nd", 3: "rd"}
    return f"{number:,}{'th' if number % 100 in (11, 12, 13) else ends.get(number % 10, 'th')}"
