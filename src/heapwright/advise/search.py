"""The order of the runs: the search tries every candidate, and fresh runs judge the best ones beside today's malloc.

Candidates take turns, and the order changes with each round. Ctrl-C ends the search, and what it found is judged; a
second one ends the judging, and what it measured counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from heapwright.advise.candidates import Candidate
from heapwright.advise.decide import Judged, finalists, judge, pareto, recommended, score
from heapwright.advise.figures import OBJECTIVES, Row, Run, shared_names
from heapwright.errors import UserError
from heapwright.lab.sample import RunError

HOPELESS = 2.0  # times today's: not tried again
SURVIVORS = 0.5  # of the candidates, after each round of the search
FEWEST = 6  # survivors
AGAIN = 8  # candidates, after which today's malloc is measured again: its range shows the noise

Progress = Callable[[str], None]


class AdviseError(UserError):
    """Today's malloc itself could not be measured, so there is nothing to compare with."""


class Subject(Protocol):
    """What candidates are measured on."""

    def measure(self, candidate: Candidate) -> Run: ...


@dataclass(frozen=True)
class Plan:
    """How much to measure, and what to look for."""

    rounds: int = 2  # of the search
    repeats: int = 5  # of the judging
    goal: str = "balance"
    allowed: float = 0.10  # loss of any objective


@dataclass
class Outcome:
    """All that was measured, and what follows from it."""

    plan: Plan
    searched: list[Row]  # today's malloc first
    judged: list[Judged] = field(default_factory=list)
    today: Row | None = None  # the fresh runs of today's malloc
    is_interrupted: bool = False

    @property
    def recommended(self) -> Judged | None:
        return recommended(self.judged)

    def by_score(self) -> list[Row]:
        """What was searched: today's malloc first, then the others from the best score to the worst."""
        today, *others = self.searched
        goal = self.plan.goal
        return [today, *sorted(others, key=lambda row: score(row, today, goal) if row.runs else math.inf)]

    def as_json(self) -> dict[str, Any]:
        best = self.recommended
        front = {row.candidate.text for row in pareto(self.searched)}
        return {
            "goal": self.plan.goal,
            "search": [{**row.as_json(), "is_pareto": row.candidate.text in front} for row in self.by_score()],
            "today": self.today.as_json() if self.today else None,
            "judged": [each.as_json() for each in self.judged],
            "recommended": best.row.candidate.text if best else None,
            "is_interrupted": self.is_interrupted,
        }


def advise(
    subject: Subject,
    judge_on: Subject,
    candidates: Sequence[Candidate],
    plan: Plan,
    progress: Progress,
    more: Callable[[Row, list[Row]], None] | None = None,
) -> Outcome:
    """Search, then judge. The first candidate is today's malloc. `more` extends the search, such as by tuning.

    Raises AdviseError if today's malloc fails.
    """
    outcome = Outcome(plan, [Row(each) for each in candidates])
    try:
        search(subject, outcome, progress)
        if more:
            more(outcome.searched[0], outcome.searched)
    except KeyboardInterrupt:
        outcome.is_interrupted = True
    check(outcome.searched[0])
    judge_all(judge_on, outcome, progress)
    return outcome


def check(today: Row) -> None:
    if today.error:
        raise AdviseError(f"today's malloc: {today.error}; the program must succeed before mallocs can be compared")
    if not today.runs:
        raise KeyboardInterrupt


# --- the search


def search(subject: Subject, outcome: Outcome, progress: Progress) -> None:
    """Measure all candidates once, and the better ones again in each further round."""
    rows = outcome.searched
    for number in range(outcome.plan.rounds):
        going = rows if number == 0 else survivors(rows, outcome.plan)
        order = turned(going, number)
        for place, row in enumerate(order, 1):
            progress(f"search, round {number + 1} of {outcome.plan.rounds}: {place}/{len(order)} {row.candidate.text}")
            measure(subject, row)
            check_first(rows[0])


def check_first(today: Row) -> None:
    """Do not try others for an hour if today's malloc has failed."""
    if today.error:
        check(today)


def turned(rows: Sequence[Row], number: int) -> list[Row]:
    """The rows in the order of a round: the others are rotated, and today's comes before each few of them."""
    first, others = rows[0], list(rows[1:])
    start = number * 7 % len(others) if others else 0
    order = [*others[start:], *others[:start]]
    return [row for place in range(0, max(len(order), 1), AGAIN) for row in (first, *order[place : place + AGAIN])]


def survivors(rows: Sequence[Row], plan: Plan) -> list[Row]:
    """Today's malloc, and the better half of the others: at least FEWEST."""
    today = rows[0]
    hopeful = [row for row in rows[1:] if row.runs and not row.error and not is_hopeless(row, today)]
    hopeful.sort(key=lambda row: score(row, today, plan.goal))
    return [today, *hopeful[: max(FEWEST, round(SURVIVORS * len(hopeful)))]]


def is_hopeless(row: Row, today: Row) -> bool:
    """Whether a candidate is so much worse in one objective that no repeat will help."""
    return any(
        row.median(name) - today.median(name) > OBJECTIVES[name].least_amount
        and row.median(name) > HOPELESS * OBJECTIVES[name].allowance * today.median(name)
        for name in shared_names([row, today])
    )


def measure(subject: Subject, row: Row) -> None:
    """Run a candidate once; after a failure it is not tried again."""
    if row.error:
        return
    try:
        row.runs.append(subject.measure(row.candidate))
    except RunError as error:
        row.error = str(error)


# --- the judging


def judge_all(subject: Subject, outcome: Outcome, progress: Progress) -> None:
    """Measure today's malloc and the finalists afresh, in turns, and judge."""
    plan, today = outcome.plan, outcome.searched[0]
    chosen = finalists(outcome.searched[1:], today, plan.goal, plan.allowed)
    rows = [Row(today.candidate), *(Row(row.candidate) for row in chosen)]
    try:
        for number in range(plan.repeats if chosen else 0):
            for row in turned(rows, number):
                progress(f"judging, run {number + 1} of {plan.repeats}: {row.candidate.text}")
                measure(subject, row)
    except KeyboardInterrupt:
        outcome.is_interrupted = True
    outcome.today = rows[0] if rows[0].runs else today
    check(outcome.today)
    fresh = [row for row in rows[1:] if row.runs]
    outcome.judged = [judge(row, outcome.today, plan.goal, plan.allowed) for row in fresh]
