"""What the checks reach for one allocator, in the form that docs/proof keeps.

Some planted bugs leave a heap that is just as good: a mutant that behaves the same, or another policy. A person has
looked at each survivor in docs/proof/judged.toml.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heapwright.conformance.corruption import find_corruptions
from heapwright.conformance.exhaustive import DEPTH, RESIZING, TWO_SIZES, explore
from heapwright.conformance.exhaustive import SECONDS as SECONDS_OF_SEARCH
from heapwright.conformance.interleavings import ONE, TWO, try_all
from heapwright.conformance.mutants import Trial, try_mutants
from heapwright.conformance.subject import Subject

CORRUPTION_SECONDS = 60  # of processor time
SECONDS = 300  # of processor time, to try mutants
MAX_TRIED = 60  # mutants
# Files whose mutants are not counted. The steps of breaks.py are for kernels whose sbrk takes an int, which the quick
# checks do not boot: tests/allocators/test_two_gibibytes.py covers them. fast_bins.py belongs to a variant of ptmalloc:
# tests/allocators/test_originals.py and tests/allocators/test_ptmalloc_236.py cover it.
NOT_COUNTED = ("parts/breaks.py", "ptmalloc/fast_bins.py")


@dataclass(frozen=True)
class Judged:
    """The survivors that were looked at, (file, planted bug) -> why the heap is as good; and the share to reach."""

    reasons: dict[tuple[str, str], str]
    min_killed: dict[str, float]

    @classmethod
    def read(cls, path: Path) -> Judged:
        found = tomllib.loads(path.read_text())
        reasons = {(file, what): why for file, rows in found["judged"].items() for what, why in rows.items()}
        return cls(reasons, found["min_killed"])

    def unexplained(self, trials: Iterable[Trial]) -> list[str]:
        """The survivors that nobody has explained."""
        mutants = [trial.mutant for trial in trials if not trial.killer and trial.mutant.file not in NOT_COUNTED]
        return [str(mutant) for mutant in mutants if (mutant.file, mutant.what) not in self.reasons]

    def tally(self, trials: list[Trial]) -> dict[str, int]:
        """The mutants that were tried, those killed, and the survivors that are as good or not counted."""
        survivors = sum(not trial.killer for trial in trials)
        judged = survivors - len(self.unexplained(trials))
        return {"tried": len(trials), "killed": len(trials) - survivors, "judged": judged}


def measured(spec: str, judged: Judged) -> dict[str, Any]:
    """What the bounded checks reach, what makes each invariant's assert fire, and how many mutants are killed."""
    subject = Subject(spec, is_quick=False)
    tally = try_all(subject)
    return {
        "resizing": explore(subject, RESIZING, DEPTH, SECONDS_OF_SEARCH)._asdict(),
        "two_sizes": explore(subject, TWO_SIZES, DEPTH, SECONDS_OF_SEARCH)._asdict(),
        "interleavings": {
            "cases": tally.cases,
            "one": tally.exhausted[ONE],
            "two": tally.exhausted[TWO],
            "schedules": tally.schedules,
            "random": tally.random,
        },
        "invariants": {name: str(found or "") for name, found in find_corruptions(subject, CORRUPTION_SECONDS).items()},
        "mutants": judged.tally(try_mutants(Subject(spec), SECONDS, MAX_TRIED)[0]),
    }
