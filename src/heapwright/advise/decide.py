"""Pure functions over measured rows: what dominates, what a change gains, and what to recommend.

The search ranks the candidates, and fresh runs judge the first ones in that order. So chance in the search cannot make
a gain: the runs that confirm it know nothing of the search.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from heapwright.advise.figures import GOALS, OBJECTIVES, Row, shared_names

FINALISTS = 3  # candidates that fresh runs judge
STEP = 0.03  # of the score: a candidate that is less simple to deploy must be this much better for each step
SETTING = 0.01  # of the score, for each setting
WORTH = 0.03  # of the score: the search ignores less
LIVE_DOMINATES = 0.7  # of the peak


@dataclass(frozen=True)
class Change:
    """How a candidate changes one objective: the medians, the relative gain, and the noise of its paired ratios."""

    name: str
    before: float
    after: float
    gain: float  # positive if the candidate is better
    noise: float

    @property
    def holds(self) -> bool:
        """Whether the gain is larger than the noise and worth a change."""
        objective = OBJECTIVES[self.name]
        is_worth = self.gain >= objective.least and self.before - self.after >= objective.least_amount
        return is_worth and self.gain > self.noise

    def hurts(self, allowed: float) -> bool:
        """Whether the loss is larger than the noise and than what is allowed."""
        return -self.gain > max(self.noise, allowed * OBJECTIVES[self.name].allowance)

    def as_json(self) -> dict[str, Any]:
        noise = self.noise if math.isfinite(self.noise) else None
        return {**vars(self), "noise": noise, "holds": self.holds}


@dataclass(frozen=True)
class Judged:
    """A finalist and what the fresh runs say."""

    row: Row
    changes: tuple[Change, ...]
    is_confirmed: bool
    losses: tuple[str, ...] = ()  # the objectives that it makes worse by more than is allowed

    @property
    def is_trade(self) -> bool:
        """Whether it has a gain that holds, at the price of a loss."""
        return bool(self.losses) and any(each.holds for each in self.changes)

    def as_json(self) -> dict[str, Any]:
        changes = {each.name: each.as_json() for each in self.changes}
        told = {"changes": changes, "is_confirmed": self.is_confirmed, "is_trade": self.is_trade}
        told["losses"] = list(self.losses)
        return {**self.row.as_json(), **told}


# --- comparing rows


def ratio(name: str, candidate: float, today: float) -> float:
    floor = OBJECTIVES[name].floor
    return (max(candidate, 0) + floor) / (max(today, 0) + floor)


def pareto(rows: Sequence[Row]) -> list[Row]:
    """The rows that no other row beats: another one is at least as good in all objectives and better in one."""
    names = shared_names(row for row in rows if row.runs)
    points = [(row, tuple(row.median(name) for name in names)) for row in rows if row.runs]
    return [row for row, mine in points if not any(dominates(other, mine) for _, other in points)]


def dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def score(row: Row, today: Row, goal: str) -> float:
    """The weighted mean of the logarithms of the ratios to today: negative if the candidate is better."""
    weights = {name: GOALS[goal].get(name, 0.0) for name in shared_names([row, today])}
    total = sum(weights.values())
    logs = (weight * math.log(ratio(name, row.median(name), today.median(name))) for name, weight in weights.items())
    return sum(logs) / total if total else 0.0


def is_permitted(row: Row, today: Row, allowed: float) -> bool:
    """Whether no objective is worse than today's worst run by more than the user allows. The judging is stricter."""
    return all(
        ratio(name, row.median(name), max(today.series(name))) <= 1 + allowed * OBJECTIVES[name].allowance
        for name in shared_names([row, today])
    )


def ranked(rows: Iterable[Row], today: Row, goal: str, allowed: float) -> list[Row]:
    """The permitted candidates that seem worth a change, the best first; a simpler deployment wins a near tie."""
    scores = {
        id(row): score(row, today, goal)
        for row in rows
        if row.runs and not row.error and is_permitted(row, today, allowed)
    }
    worth = [row for row in rows if scores.get(id(row), 0.0) < -WORTH]
    return sorted(worth, key=lambda row: scores[id(row)] + burden(row))


def finalists(rows: Sequence[Row], today: Row, goal: str, allowed: float) -> list[Row]:
    """The candidates for fresh runs: the permitted ones, and behind them those that seem to lose too much elsewhere.

    These show what a gain would cost, if nothing else helps.
    """
    permitted = ranked(rows, today, goal, allowed)
    others = [row for row in ranked(rows, today, goal, math.inf) if row not in permitted]
    return [*permitted, *others][:FINALISTS]


def burden(row: Row) -> float:
    """What a candidate's deployment costs, in units of the score."""
    return STEP * row.candidate.steps + SETTING * len(row.candidate.options)


# --- judging


def change(name: str, candidate: Row, today: Row) -> Change:
    """The change of one objective, from runs that took turns: each run is compared with today's beside it."""
    pairs = zip(candidate.series(name), today.series(name), strict=False)
    ratios = [ratio(name, mine, theirs) for mine, theirs in pairs]
    return Change(name, today.median(name), candidate.median(name), 1 - median(ratios), range_of(ratios))


def range_of(ratios: Sequence[float]) -> float:
    """The range of the middle half; a single pair says nothing about noise, so any gain could be noise."""
    if len(ratios) < 2:
        return math.inf
    lower, _, upper = quantiles(ratios, n=4, method="inclusive")
    return upper - lower


def judge(row: Row, today: Row, goal: str, allowed: float) -> Judged:
    """Whether fresh runs confirm a candidate: a gain that the goal asks for holds, and nothing is hurt."""
    changes = tuple(change(name, row, today) for name in shared_names([row, today]))
    wanted = {name for name, weight in GOALS[goal].items() if weight >= 0.5}
    is_better = any(each.holds for each in changes if each.name in wanted)
    losses = tuple(each.name for each in changes if each.hurts(allowed))
    return Judged(row, changes, is_better and not row.error and not losses, losses)


def recommended(judged: Iterable[Judged]) -> Judged | None:
    """The first confirmed finalist in the search's order, or None: then nothing helps."""
    return next((each for each in judged if each.is_confirmed), None)


# --- whose memory it is


def live_share(live_at_peak: int | None, today: Row) -> float | None:
    """The part of today's peak that the program's live blocks are, or None if it is unknown."""
    if live_at_peak is None or "peak" not in today.names or today.median("peak") <= 0:
        return None
    return min(1.0, live_at_peak / today.median("peak"))


def is_the_programs(share: float | None) -> bool:
    """Whether live memory dominates, so that the program, not the malloc, is to blame."""
    return share is not None and share >= LIVE_DOMINATES


def thresholds(allowed: float) -> Mapping[str, Any]:
    """The limits that decided, for the reader."""
    return {
        "allowed_loss": allowed,
        "least_gain": {name: each.least for name, each in OBJECTIVES.items()},
        "least_bytes": OBJECTIVES["peak"].least_amount,
        "live_dominates": LIVE_DOMINATES,
    }
