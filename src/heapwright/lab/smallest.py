"""The smallest heap in which a trace runs, found by bisection. Limits below it are tried, because some may succeed.

A limit counts pages that the kernel may add to the process's private writable memory. A malloc that takes memory when
it is loaded has some more: it counts towards the heap, too.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heapwright.lab.contestant import Contestant
from heapwright.lab.held import Outcome, attempt, data_ranges, hold_job, started
from heapwright.lab.sample import RunError
from heapwright.live.process import Process
from heapwright.native.jobs.hold_job import STARTED
from heapwright.native.runtime.linux import PAGE

if TYPE_CHECKING:
    from heapwright.traces.flat import Flat

BELOW = 100  # limits that are tried below the smallest one
STEPS = 8  # the first step up from the bound is this part of it


@dataclass
class Smallest:
    """What was found for one malloc. `error` says why nothing was. Limits are pages beyond those it had before."""

    allocator: str
    before: int = 0  # bytes that the malloc had before the first event
    pages: int = 0  # the limit in which the trace runs
    fails: Outcome | None = None  # with one page less; None if there is none less
    below: list[int] = field(default_factory=list)  # lower limits that were tried: all failed
    above: list[int] = field(default_factory=list)  # higher limits that failed
    tries: int = 0
    error: str = ""

    def bytes_at(self, pages: int) -> int:
        """The size of the heap at a limit."""
        return self.before + pages * PAGE

    @property
    def safe(self) -> int:
        """The limit from which on no limit that was tried failed."""
        return max(self.above, default=self.pages - 1) + 1


class Search:
    """Tries of one malloc at several limits. Each limit is tried once."""

    def __init__(self, path: Path, job: Any, contestant: Contestant, progress: Callable[[str], None]):
        self.path, self.job, self.contestant, self.progress = path, job, contestant, progress
        self.outcomes: dict[int, Outcome] = {}

    def runs(self, pages: int) -> bool:
        """Whether the trace runs if the kernel gives at most so many pages."""
        if pages not in self.outcomes:
            self.progress(f"{self.contestant.name}: {pages:,} pages, try {len(self.outcomes) + 1}")
            self.outcomes[pages] = attempt(self.path, self.job, self.contestant, pages * PAGE)
        return self.outcomes[pages].succeeded

    def lowest(self, bound: int) -> int:
        """A limit that runs where one page less fails, and where no tried lower one runs. Blocks need `bound` pages."""
        low, high = self.bracket(bound)
        found = self.bisect(low, high)
        while succeeded := [each for each in below(bound, found) if self.runs(each)]:
            lowest = min(succeeded)
            failed = [each for each, outcome in self.outcomes.items() if each < lowest and not outcome.succeeded]
            found = self.bisect(max(failed, default=bound - 1), lowest)
        while found > 0 and self.runs(found - 1):
            found -= 1
        return found

    def bracket(self, bound: int) -> tuple[int, int]:
        """A limit that fails and a higher one that runs, by steps that double."""
        low, high, step = bound - 1, bound, max(1, bound // STEPS)
        while not self.runs(high):
            low, high, step = high, high + step, 2 * step
        return low, high

    def bisect(self, low: int, high: int) -> int:
        """Between a limit that fails and one that runs: one that runs where one page less fails."""
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.runs(middle) else (middle, high)
        return high


def below(bound: int, found: int) -> list[int]:
    """The limits to try below one that runs: all down to the bound, or the next ones and some spread over the rest."""
    count = found - bound
    if count <= BELOW:
        return list(range(bound, found))
    near = BELOW // 2
    rest = count - near
    spread = {bound + place * rest // (BELOW - near) for place in range(BELOW - near)}
    return sorted({*spread, *range(found - near, found)})


def smallest(flat: Flat, contestant: Contestant, progress: Callable[[str], None]) -> Smallest:
    """The smallest heap in which a malloc serves all requests. A malloc that cannot be measured has an error."""
    try:
        with hold_job(flat) as (path, job):
            return search(flat, Search(path, job, contestant, progress))
    except RunError as error:
        return Smallest(contestant.name, error=str(error))


def search(flat: Flat, trial: Search) -> Smallest:
    free = attempt(trial.path, trial.job, trial.contestant)
    if not free.succeeded:
        raise RunError(f"fails at event {free.done + 1:,} even without a limit{free.crash and ': '}{free.crash}")
    before = held_before(flat, trial.contestant)
    bound = max(0, -(-(int(flat.live.max(initial=0)) - before) // PAGE))
    found = trial.lowest(bound)
    require_repeatable(trial, found)
    tried = sorted(trial.outcomes)
    above = [each for each in tried if each > found and not trial.outcomes[each].succeeded]
    lower, fails = tried[: tried.index(found)], trial.outcomes.get(found - 1)
    return Smallest(trial.contestant.name, before, found, fails, lower, above, len(tried))


def require_repeatable(trial: Search, found: int) -> None:
    """Run at the limit that was found and one page below again. Raises RunError if the outcomes differ."""
    for pages in (found, found - 1):
        expected = trial.outcomes.get(pages)
        if expected and attempt(trial.path, trial.job, trial.contestant, pages * PAGE) != expected:
            raise RunError(f"does not repeat at {pages * PAGE:,} bytes: its need depends on chance")


def held_before(flat: Flat, contestant: Contestant) -> int:
    """The bytes that the malloc took when it was loaded: those beyond what a process has on the C library's malloc."""
    if contestant.library is None:
        return 0
    loaded, plain = (data_before(flat, each) for each in (contestant, Contestant("system", None)))
    return max(0, loaded - plain)


def data_before(flat: Flat, contestant: Contestant) -> int:
    with hold_job(flat) as (path, job):
        job.is_held = 1
        with started(path, job, contestant) as worker:
            worker.wait_for(STARTED)
            with closing(Process(worker.process.pid)) as source:
                return sum(end - start for start, end in data_ranges(source))
