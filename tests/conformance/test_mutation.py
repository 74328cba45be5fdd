"""The checks are judged: every numbered assert can fire, and mutants of the sources are killed."""

import pytest

from heapwright.allocators import ALLOCATORS
from heapwright.conformance import Subject
from heapwright.conformance.corruption import find_corruptions
from heapwright.conformance.mutants import FIRST, mutants_of, try_mutants

ARDUOUS = ("buddy", "pages_split")  # much is walked for each change


@pytest.mark.parametrize(
    "spec", [pytest.param(spec, marks=pytest.mark.slow) if spec in ARDUOUS else spec for spec in ALLOCATORS]
)
def test_each_numbered_assert_can_fire(spec):
    """Without exceptions: an assert that was never seen to fire is either a tautology or comes too late."""
    found = find_corruptions(Subject(spec), seconds=60)
    assert found
    assert [label for label, corruption in found.items() if corruption is None] == []


def test_mutants_are_killed():
    trials, there_are = try_mutants(Subject("kr"), seconds=15, most=10, killers=FIRST)
    assert there_are > 80
    assert sum(bool(trial.killer) for trial in trials) >= len(trials) * 0.5


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("spec", ALLOCATORS)
def test_most_mutants_are_killed(spec):
    trials, _ = try_mutants(Subject(spec), seconds=300, most=60)
    survivors = [str(trial.mutant) for trial in trials if not trial.killer]
    assert len(survivors) <= len(trials) * 0.4, "\n".join(survivors)


def test_check_itself_is_not_mutated():
    mutants = list(mutants_of(Subject("kr")))
    assert not any(mutant.what.startswith("check:") for mutant in mutants)
    assert any(mutant.what.startswith("take:") for mutant in mutants)
    assert len({mutant.source for mutant in mutants}) > len(mutants) * 0.9
