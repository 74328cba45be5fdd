"""Who goes on: what follows a schedule, and what decides at random."""

from __future__ import annotations

import random

from heapwright.machine.accesses import Access
from heapwright.machine.threads import Point, Task

Schedule = tuple[tuple[int, int], ...]  # (point, thread) for each place where another than the first goes on


class Redundant(Exception):  # noqa: N818  no error
    """What is left of this run is the same in another one."""


class Follow:
    """Follows a schedule, and notes from its end on where another thread could have gone on.

    A thread that is preempted before an operation with which nothing conflicts that the others do before it is back
    might as well have been preempted after it: such a run is redundant.
    """

    def __init__(self, schedule: Schedule, is_reduced: bool = True):
        self._next, self._end = dict(schedule), schedule[-1][0] if schedule else 0
        self._is_reduced = is_reduced
        self.branches: list[tuple[int, int, int]] = []  # (point, thread, preemptions that it costs)
        self.points = 0
        self._preempted: Task | None = None
        self._before: Access | None = None  # what the preempted thread is about to do, while nothing conflicts

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
        """See whether what happens conflicts with what the preempted thread waits to do."""
        if point.running is self._preempted or (point.access is None and point.ready[0] is self._preempted):
            raise Redundant
        if point.access is not None and point.access.conflicts_with(before):
            self._before = None


class Priorities:
    """The thread with the highest priority runs; at a few random points, and when it spins, it gets the lowest."""

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
