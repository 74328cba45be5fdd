"""The check of interleavings: each scenario in several sizes, all schedules as far as that goes, then random ones."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import product, takewhile

from heapwright.allocator import Allocator, load
from heapwright.conformance.interleavings import PAIRS, ROOMY, SCENARIOS, try_scenario, wander_through
from heapwright.conformance.registry import check
from heapwright.conformance.story import Broken
from heapwright.conformance.subject import Subject
from heapwright.machine.explore import Explored

SIZES = 40, 2000, 20_000, 200_000  # what a cache takes, what a bin or slab serves, what is large to most, a mapping
QUICK_SECONDS, SECONDS = 1.0, 60.0
ONE, TWO = 1, 2  # preemptions
MOST_SCHEDULES = 300  # of one scenario and size
AT_A_TIME = 10  # random schedules


@dataclass
class Tally:
    """What was tried of all scenarios in all sizes; the seconds are of processor time."""

    until: float
    schedules: int = 0
    exhausted: list[int] = field(default_factory=lambda: [0, 0, 0])  # scenarios and sizes, by preemptions
    cases: int = 0
    random: int = 0

    @property
    def is_over(self) -> bool:
        return time.process_time() > self.until

    def explore(self, allocator: Allocator, name: str, size: int, preemptions: int) -> None:
        explored = try_scenario(allocator, name, size, preemptions, ROOMY, most=MOST_SCHEDULES)
        demand_all(explored, f"{name}, {size} bytes")
        self.schedules += explored.schedules
        self.exhausted[preemptions] += explored.preemptions == preemptions

    def wander(self, allocator: Allocator, name: str, size: int, seed: int) -> None:
        explored = wander_through(allocator, name, size, AT_A_TIME, seed, ROOMY)
        demand_all(explored, f"{name}, {size} bytes, at random")
        self.random += explored.schedules

    def __str__(self) -> str:
        return (
            f"{self.schedules:,} schedules of two threads: all with one preemption in {self.exhausted[ONE]} of "
            f"{self.cases} cases, with two in {self.exhausted[TWO]}; {self.random:,} random ones"
        )


@check("interleavings", "two threads get along in each order that was tried, under a lock if need be", is_slow=True)
def interleavings(subject: Subject) -> str:
    return str(try_all(subject))


def try_all(subject: Subject) -> Tally:
    """Half of the time is for every schedule with one preemption; the rest for random ones and for two preemptions."""
    allocator = subject.allocator if subject.allocator.is_threaded else load(f"locked({subject.spec})")
    seconds = QUICK_SECONDS if subject.is_quick else SECONDS
    cases = [(name, size) for size in SIZES for name in PAIRS]
    tally = Tally(time.process_time() + seconds / 2, cases=len(cases))
    for name, size in takewhile(lambda _: not tally.is_over, cases):
        tally.explore(allocator, name, size, ONE)
    tally.until += seconds / 4
    for seed, (size, name) in takewhile(lambda _: not tally.is_over, enumerate(product(SIZES, SCENARIOS))):
        tally.wander(allocator, name, size, seed)
    tally.until += seconds / 4
    for name, size in takewhile(lambda _: not tally.is_over, cases):
        tally.explore(allocator, name, size, TWO)
    return tally


def demand_all(explored: Explored, scenario: str) -> None:
    if explored.failure is not None:
        raise Broken(f"{scenario}: {explored.failure.error}", str(explored.failure.interleaving).splitlines())
