"""Choosers of the thread that runs next: one follows a schedule, one decides at random."""

from __future__ import annotations

import random

from heapwright.machine.accesses import Access
from heapwright.machine.frames import Stop
from heapwright.machine.threads import Point, Task

Schedule = tuple[tuple[int, int], ...]  # (point, thread) for each point at which another thread than the first goes on


class Redundant(Stop):
    """The rest of this run is the same as in another run."""


class Follow:
    """Follows a schedule; after its end, notes where another thread could have gone on.

    A thread is preempted before an operation. If nothing that the others do before it resumes conflicts with that
    operation, it might as well have been preempted after it: such a run is redundant.
    """

    def __init__(self, schedule: Schedule, is_reduced: bool = True):
        self._next, self._end = dict(schedule), schedule[-1][0] if schedule else 0
        self._is_reduced = is_reduced
        self.branches: list[tuple[int, int, int]] = []  # (point, thread, preemptions that it costs)
        self.points = 0
        self._preempted: Task | None = None
        self._before: Access | None = None  # the next access of the preempted thread, while nothing conflicts with it

    def choose(self, point: Point) -> Task:
        self.points += 1
        if self._before is not None and self._is_reduced:
            self._compare(point, self._before)
        if point.number > self._end:
            cost = int(point.is_preemption)
            self.branches += [(point.number, task.number, cost) for task in point.ready[1:]]
            return point.ready[0]
        wanted = self._next.get(point.number, point.ready[0].number)
        chosen = next((task for task in point.ready if task.number == wanted), point.ready[0])
        if point.number == self._end and point.is_preemption and chosen is not point.running:
            self._preempted, self._before = point.running, point.access
        return chosen

    def _compare(self, point: Point, before: Access) -> None:
        """Test whether an operation conflicts with the next access of the preempted thread."""
        if point.running is self._preempted or (point.access is None and point.ready[0] is self._preempted):
            raise Redundant
        if point.access is not None and point.access.conflicts_with(before):
            self._before = None


class Priorities:
    """Runs the thread with the highest priority; at a few random points, and when it spins, it drops to the lowest."""

    def __init__(self, rng: random.Random, points: int, depth: int):
        self._rng, self._lowest = rng, 0
        self._of: dict[int, float] = {}
        self._changes = {rng.randrange(max(points, 1)) for _ in range(depth - 1)}
        self.points = 0

    def choose(self, point: Point) -> Task:
        for task in point.ready:
            self._of.setdefault(task.number, self._rng.random())
        if self.points in self._changes or not point.is_preemption:
            self._lowest -= 1
            self._of[point.running.number] = self._lowest
        self.points += 1
        return max(point.ready, key=lambda task: self._of[task.number])
