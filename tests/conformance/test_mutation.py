"""The checks are judged: every numbered assert can fire, and mutants of the sources are killed."""

import json
from pathlib import Path
from time import process_time, sleep

import pytest

from heapwright.allocators import ALLOCATORS
from heapwright.conformance import Subject, mutants
from heapwright.conformance.corruption import find_corruptions
from heapwright.conformance.mutants import mutants_of, try_mutants
from heapwright.conformance.proof import MAX_TRIED, SECONDS, Judged

pytestmark = pytest.mark.long

ARDUOUS = ("buddy", "pages_split", "hoard", "ptmalloc")  # much is walked for each change
PROOF = Path(__file__).parent.parent.parent / "docs" / "proof"
JUDGED = Judged.read(PROOF / "judged.toml")


@pytest.mark.parametrize(
    "spec", [pytest.param(spec, marks=pytest.mark.slow) if spec in ARDUOUS else spec for spec in ALLOCATORS]
)
def test_each_numbered_assert_can_fire(spec):
    """Without exceptions: an assert that was never seen to fire is either a tautology or comes too late."""
    found = find_corruptions(Subject(spec), seconds=60)
    assert found
    assert [label for label, corruption in found.items() if corruption is None] == []


def test_mutants_are_killed():
    trials, there_are = try_mutants(Subject("kr"), seconds=60, maximum=3)
    assert there_are > 80
    assert JUDGED.unexplained(trials) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("spec", ALLOCATORS)
def test_most_mutants_are_killed(spec):
    """All that were tried, but for the judged ones and a share that was reached: see `min_killed`."""
    trials, _ = try_mutants(Subject(spec), SECONDS, MAX_TRIED)
    survivors = JUDGED.unexplained(trials)
    assert len(survivors) <= len(trials) * (1 - JUDGED.min_killed[spec]), "\n".join(survivors)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_judged_survivor_is_a_mutant():
    planted = {(mutant.file, mutant.what) for spec in ALLOCATORS for mutant in mutants_of(Subject(spec))}
    assert sorted(set(JUDGED.reasons) - planted) == []


def test_each_allocator_has_a_share_to_reach():
    assert set(JUDGED.min_killed) == set(ALLOCATORS)


@pytest.mark.parametrize("spec", ALLOCATORS)
def test_the_share_was_reached_when_it_was_measured_last(spec):
    kept = json.loads((PROOF / f"{spec}.json").read_text()).get("mutants")
    if kept is None:
        pytest.skip("not measured yet: python tools/make_proof.py NAME")
    assert kept["killed"] + kept["judged"] >= JUDGED.min_killed[spec] * kept["tried"]
    assert 0 < kept["tried"] <= MAX_TRIED


@pytest.mark.parametrize(("sleeps", "tried"), [(True, 3), (False, 1)])
def test_the_time_is_that_of_processors(monkeypatch, sleeps, tried):
    def first_killer(mutant, killers):
        until = process_time() + 0.3
        while not sleeps and process_time() < until:
            pass
        sleep(0.3)
        return "time"

    monkeypatch.setattr(mutants, "killers_for", lambda subject: [])
    monkeypatch.setattr(mutants, "behaviour_of", lambda subject: "")
    monkeypatch.setattr(mutants, "first_killer", first_killer)
    assert len(try_mutants(Subject("kr"), seconds=0.2, maximum=3)[0]) == tried


def test_check_itself_is_not_mutated():
    found = list(mutants_of(Subject("kr")))
    assert not any(mutant.what.startswith("check:") for mutant in found)
    assert any(mutant.what.startswith("take:") for mutant in found)
    assert len({mutant.source for mutant in found}) > len(found) * 0.9
