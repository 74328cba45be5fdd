"""A judgement of the checks: does each numbered assert fire when its invariant breaks, and are planted bugs found?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from heapwright.conformance.corruption import Corruption, find_corruptions
from heapwright.conformance.mutants import Trial, try_mutants
from heapwright.conformance.subject import Subject


@dataclass(frozen=True, slots=True)
class Judgement:
    """For each invariant, a changed word that its assert noticed; and the results of the mutants."""

    spec: str
    corruptions: dict[str, Corruption | None]
    trials: list[Trial]
    mutants: int

    @property
    def all_can_fire(self) -> bool:
        return bool(self.corruptions) and all(self.corruptions.values())

    @property
    def survivors(self) -> list[Trial]:
        return [trial for trial in self.trials if not trial.killer]

    @property
    def killed(self) -> int:
        return len(self.trials) - len(self.survivors)

    @property
    def killers(self) -> dict[str, int]:
        """The number of mutants that each check killed, largest first."""
        return dict(Counter(trial.killer for trial in self.trials if trial.killer).most_common())

    def __str__(self) -> str:
        lines = [f"{self.spec}: a change of a word that makes each assert fire"]
        lines += [f"  {found or f'{label:<5} was not seen to fire'}" for label, found in self.corruptions.items()]
        share = f"{self.killed / len(self.trials):.0%}" if self.trials else "none tried"
        lines += [f"{self.killed} of {len(self.trials)} mutants killed, {share}; there are {self.mutants}"]
        lines += [f"  {count:>4} by {name}" for name, count in self.killers.items()]
        lines += [f"  survived{', the same' if each.is_same else ''}: {each.mutant}" for each in self.survivors]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        return {
            "allocator": self.spec,
            "invariants": {label: str(found) if found else None for label, found in self.corruptions.items()},
            "mutants": {"there_are": self.mutants, "tried": len(self.trials), "killed": self.killed},
            "killers": self.killers,
            "survivors": [{"mutant": str(each.mutant), "is_same": each.is_same} for each in self.survivors],
        }


def judge_checks(subject: Subject, seconds: float, tell: Callable[[str], None] | None = None) -> Judgement:
    """Judge the checks of a subject. At most half of the time is for the words, the rest for the mutants."""
    corruptions = find_corruptions(subject, seconds / 2)
    trials, there_are = try_mutants(subject, seconds / 2, tell=tell)
    return Judgement(subject.spec, corruptions, trials, there_are)
