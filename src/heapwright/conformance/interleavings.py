"""Threads on one heap in every order: small scenarios whose interleavings are tried one by one in the machine.

    explored = try_scenario(allocator.load("hoard"), "handed_over", 8192)
    explored.demand()                       raises the first interleaving that fails, as a table
    print(explored)                         1,200 schedules of up to 40 visible operations, all with up to 2 preemptions

An interleaving fails if the machine refuses an access, an invariant does not hold at the end, contents change, threads
deadlock, or two accesses race. An allocator declares harmless races: `RACES` names the fields, each with a colon and
the reason.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product, takewhile
from typing import Any

from heapwright.allocator import Allocator, load
from heapwright.conformance.registry import check
from heapwright.conformance.scenarios import MACHINE, PAIRS, SCENARIOS
from heapwright.conformance.story import Broken
from heapwright.conformance.subject import ROOMY, SEEDS, Subject
from heapwright.machine.explore import Explored, explore, sleepy_locks, wander
from heapwright.machine.shared_heap import SharedHeap
from heapwright.machine.threads import Threads

SIZES = 40, 2000, 20_000, 200_000  # typical sizes for a cache, for a bin or slab, for a large object, for a mapping
QUICK_SECONDS, SECONDS = 1.0, 60.0
ONE, TWO = 1, 2  # preemptions
MAX_SCHEDULES = 300  # of one scenario and size
AT_A_TIME = 10  # random schedules


# --- trying them


def make_threads(allocator: Allocator, name: str, size: int, machine: Mapping[str, Any] = MACHINE) -> Threads:
    """The threads of a scenario on a new heap, ready to run."""
    heap = SharedHeap.start(allocator, **machine)
    threads = Threads(heap)
    threads.benign = declared_races(allocator)
    SCENARIOS[name](threads, heap, size)
    return threads


def declared_races(allocator: Allocator) -> dict[str, str]:
    """The fields that an allocator lets race, and why that is harmless."""
    said = [sentence for part in allocator.parts for sentence in getattr(part, "RACES", ())]
    return {name.strip(): reason.strip() for name, _, reason in (each.partition(":") for each in said)}


def try_scenario(
    allocator: Allocator,
    name: str,
    size: int,
    preemptions: int = 2,
    machine: Mapping[str, Any] = MACHINE,
    **options: Any,
) -> Explored:
    """Explore the schedules of one scenario; the options are those of `Exploration`."""
    with sleepy_locks():
        return explore(lambda: make_threads(allocator, name, size, machine), preemptions, **options)


def wander_through(
    allocator: Allocator, name: str, size: int, runs: int, seed: int = 0, machine: Mapping[str, Any] = MACHINE
) -> Explored:
    """Try random schedules of one scenario."""
    with sleepy_locks():
        return wander(lambda: make_threads(allocator, name, size, machine), runs, seed)


# --- the check


@dataclass
class Schedules:
    """The schedules tried for all scenarios in all sizes; the seconds are of processor time."""

    until: float
    schedules: int = 0
    exhausted: list[int] = field(default_factory=lambda: [0, 0, 0])  # scenarios and sizes, by preemptions
    cases: int = 0
    random: int = 0

    @property
    def is_over(self) -> bool:
        return time.process_time() > self.until

    def explore(self, allocator: Allocator, name: str, size: int, preemptions: int) -> None:
        explored = try_scenario(allocator, name, size, preemptions, ROOMY, maximum=MAX_SCHEDULES)
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


@check(
    "interleavings",
    "two threads work correctly in every order tried; an allocator without locks gets one",
    is_slow=True,
)
def interleavings(subject: Subject) -> str:
    return str(try_all(subject))


def try_all(subject: Subject) -> Schedules:
    """Spend half of the time on schedules with one preemption, the rest on random ones and on two preemptions."""
    allocator = subject.allocator if subject.allocator.is_threaded else load(f"locked({subject.spec})")
    seconds = QUICK_SECONDS if subject.is_quick else SECONDS
    cases = [(name, size) for size in SIZES for name in PAIRS]
    tally = Schedules(time.process_time() + seconds / 2, cases=len(cases))
    for name, size in takewhile(lambda _: not tally.is_over, cases):
        tally.explore(allocator, name, size, ONE)
    tally.until += seconds / 4
    for seed, (size, name) in takewhile(
        lambda _: not tally.is_over, enumerate(product(SIZES, SCENARIOS), SEEDS * subject.seed)
    ):
        tally.wander(allocator, name, size, seed)
    tally.until += seconds / 4
    for name, size in takewhile(lambda _: not tally.is_over, cases):
        tally.explore(allocator, name, size, TWO)
    return tally


def demand_all(explored: Explored, scenario: str) -> None:
    if explored.failure is not None:
        raise Broken(f"{scenario}: {explored.failure.error}", str(explored.failure.interleaving).splitlines())
