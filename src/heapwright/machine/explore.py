"""Tries the interleavings of a few threads, those with few preemptions first, and shows one that goes wrong.

    explored = explore(make, preemptions=2)     make() returns new `Threads`, ready to run
    explored.demand()                           raises the failure, if there is one
    wander(make, runs=1000, seed=1)             random ones instead, for more threads or more preemptions

A schedule is where it differs from letting each thread run until it ends, sleeps or spins: (point, thread) for each
such place. Every run starts anew, so the same schedule is the same run.

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
DEPTH = 3  # places that must be ordered right for a bug to show, in `wander`


class Failure(AssertionError):
    """What went wrong, and the interleaving in which it did."""

    def __init__(self, error: Exception, interleaving: Interleaving, schedule: Schedule, found_in: int):
        self.error, self.interleaving, self.schedule, self.found_in = error, interleaving, schedule, found_in
        super().__init__(f"{error}\n\n{interleaving}\n\nschedule {schedule}, the {ordinal(found_in)} that was tried")


@dataclass(slots=True)
class Explored:
    """What was tried: `preemptions` is the most that a schedule had, if all of these were tried."""

    schedules: int = 0
    preemptions: int = -1
    points: int = 0  # the most visible operations of a run
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
    """What one run showed."""

    threads: Threads
    error: Exception | None = None
    is_redundant: bool = False


@dataclass
class Exploration:
    """A way of making threads, and what is known from the runs so far."""

    make: Make
    preemptions: int = 2
    is_fine: bool = False  # change threads at every access to a word that two of them use
    is_reduced: bool = True  # leave out runs that are the same as others
    most: int = 1 << 30
    hot: set[int] = field(default_factory=set)  # words before whose accesses threads change
    judged: set[int] = field(default_factory=set)  # the heaps at the end that were found good
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
        """Note a run that was tried; say whether it failed."""
        self.found.schedules += 1
        self.found.points = max(self.found.points, points)
        if run.error is not None:
            self.found.failure = self.failure_of(run)
        return run.error is not None

    # --- all of them

    def try_all(self) -> Explored:
        while not self.sweep():
            pass  # words turned out to be shared: begin again, with points before them
        return self.found

    def sweep(self) -> bool:
        """Try the schedules, fewest preemptions first, until one fails; False if `hot` grew."""
        waiting: list[deque[Schedule]] = [deque() for _ in range(self.preemptions + 1)]
        waiting[0].append(())
        for level, schedules in enumerate(waiting):
            while schedules:
                if self.found.schedules >= self.most:
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
        """Take in which words are shared; say whether some are new."""
        words = threads.raced | threads.clocks.torn | (threads.clocks.shared if self.is_fine else set())
        known = len(self.hot)
        self.hot |= words
        return len(self.hot) > known

    # --- some of them

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
        """The failure of a run, with as few changes of thread as it needs, recorded."""
        schedule = self.shortest(tuple(run.threads.schedule))
        log = Interleaving()
        error = self.run(Follow(schedule, is_reduced=False), log).error
        assert error is not None, f"schedule {schedule} failed once and not again: {run.error}"
        return Failure(error, log, schedule, self.found.schedules)

    def shortest(self, schedule: Schedule) -> Schedule:
        """Leave out what the failure does not need."""
        for i in reversed(range(len(schedule))):
            again = self.run(Follow(schedule[:i] + schedule[i + 1 :], is_reduced=False))
            if again.error is not None and len(again.threads.schedule) < len(schedule):
                return self.shortest(tuple(again.threads.schedule))
        return schedule


def explore(make: Make, preemptions: int = 2, **options: Any) -> Explored:
    """Try every schedule with at most so many preemptions.

    Threads change before atomic operations, futex and kernel calls, and accesses that may race; `is_fine`, before
    each access to a word that two threads touch and one of them changes. See `Exploration` for the options.
    """
    began = time.perf_counter()
    found = Exploration(make, preemptions, **options).try_all()
    found.seconds = time.perf_counter() - began
    return found


def wander(make: Make, runs: int, seed: int = 0, *, depth: int = DEPTH, **options: Any) -> Explored:
    """Try random schedules: each finds a bug that `depth` ordered places make with a probability of its own."""
    began = time.perf_counter()
    found = Exploration(make, **options).try_some(runs, seed, depth)
    found.seconds = time.perf_counter() - began
    return found


@contextmanager
def sleepy_locks(looks: int = 0) -> Iterator[None]:
    """Locks that look so often before they sleep: spinning shows nothing that waiting does not."""
    before, locks.LOOKS = locks.LOOKS, looks
    try:
        yield
    finally:
        locks.LOOKS = before


def ordinal(number: int) -> str:
    ends = {1: "st", 2: "nd", 3: "rd"}
    return f"{number:,}{'th' if number % 100 in (11, 12, 13) else ends.get(number % 10, 'th')}"
