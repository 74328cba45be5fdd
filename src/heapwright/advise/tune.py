"""More candidates, from Optuna: settings of each malloc, and the constants of heapwright's allocators.

Optuna's sampler (TPE) learns from each trial which values help. A trial is one run. All trials join the rows of the
search, so fresh runs judge them like all others. The extra `heapwright[tune]` installs Optuna.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heapwright.advise.candidates import OUR_MALLOCS, Candidate, candidate, named, resolved
from heapwright.advise.decide import is_permitted, score
from heapwright.advise.figures import Row
from heapwright.advise.search import Plan, Progress, measure
from heapwright.advise.settings import SYSTEM, known_options
from heapwright.allocator import load
from heapwright.errors import UserError
from heapwright.lab.machine_facts import installed_peers
from heapwright.variants import base_of, tunables_of

if TYPE_CHECKING:
    from heapwright.advise.question import Question

UNSET = "unset"
FAILED, REFUSED = 10.0, 1.0  # added to the score of a trial that fails, or that loses more than is allowed


class TuneError(UserError):
    """Optuna is missing, or nothing can be tuned."""


class Tuner:
    """A search of `trials` further candidates; `texts` restricts it to these mallocs."""

    def __init__(
        self, question: Question, plan: Plan, trials: int, seed: int, texts: Sequence[str], progress: Progress
    ):
        self.question, self.plan, self.trials, self.seed, self.progress = question, plan, trials, seed, progress
        self.optuna = library()
        self.mallocs = tunable_mallocs(texts)

    def __call__(self, today: Row, rows: list[Row]) -> None:
        """Add a row for each new candidate."""
        known = {row.candidate.text: row for row in rows}
        study = self.optuna.create_study(sampler=self.optuna.samplers.TPESampler(seed=self.seed))
        for number in range(self.trials):
            trial = study.ask()
            proposed = self.propose(trial)
            row = known.get(proposed.text)
            if row is None:
                self.progress(f"tuning, {number + 1} of {self.trials}: {proposed.text}")
                row = known[proposed.text] = Row(resolved([proposed])[0])
                measure(self.question.subject, row)
                rows.append(row)
            study.tell(trial, self.value(row, today))

    def propose(self, trial: Any) -> Candidate:
        """A malloc, and a value for each of its options or constants."""
        malloc = trial.suggest_categorical("malloc", list(self.mallocs))
        space = self.mallocs[malloc]
        chosen = {name: suggested(trial, f"{malloc} {name}", values) for name, values in space.items()}
        set_ = {name: value for name, value in chosen.items() if value != UNSET}
        if malloc in installed_mallocs():
            return candidate(self.question.today, malloc, set_)
        constants = ",".join(f"{name}={value}" for name, value in set_.items())
        return named(self.question.today, f"{malloc}[{constants}]" if constants else malloc)

    def value(self, row: Row, today: Row) -> float:
        if row.error or not row.runs:
            return FAILED
        found = score(row, today, self.plan.goal)
        return found if is_permitted(row, today, self.plan.allowed) else REFUSED + found


def library() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise TuneError("--tune needs Optuna: pip install 'heapwright[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def suggested(trial: Any, name: str, values: Sequence[Any] | range) -> str:
    """A value as text. A long range is searched on a logarithmic scale."""
    if isinstance(values, range) and values.step == 1 and len(values) > len(UNSET):
        return str(trial.suggest_int(name, max(1, values[0]), values[-1], log=True))
    if isinstance(values, range):
        return str(trial.suggest_int(name, values[0], values[-1], step=values.step))
    return str(trial.suggest_categorical(name, [UNSET, *map(str, values)]))


def installed_mallocs() -> dict[str, Any]:
    return {SYSTEM: None, **installed_peers()}


def tunable_mallocs(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The mallocs to tune, each with its options or constants and their values."""
    wanted = [base_of(text.partition("{")[0]) for text in texts] or [*installed_mallocs(), *OUR_MALLOCS]
    found = {name: space_of(name) for name in wanted}
    found = {name: space for name, space in found.items() if space}
    if not found:
        raise TuneError(f"none of {', '.join(wanted)} has settings to tune")
    return found


def space_of(name: str) -> dict[str, Any]:
    installed = installed_mallocs()
    if name in installed:
        return {option: each.values for option, each in known_options(name, installed[name]).items()}
    return {constant: each.values for constant, each in tunables_of(main_file(name)).items()}


def main_file(name: str) -> Path:
    return Path(str(load(name).parts[-1].__file__))
