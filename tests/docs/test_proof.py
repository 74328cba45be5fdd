"""docs/proof.md tells of every allocator and invariant there is, and of no less than the suite reaches."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import ModuleType

import pytest

from heapwright import allocators
from heapwright.allocators import ALLOCATORS
from heapwright.conformance import Subject
from heapwright.conformance.exhaustive import RESIZING, TWO_SIZES, min_depth
from heapwright.conformance.interleavings import SIZES
from heapwright.conformance.mutants import Mutant, Trial
from heapwright.conformance.proof import NOT_COUNTED, Judged
from heapwright.conformance.scenarios import PAIRS
from heapwright.conformance.worlds import invariants_of

ROOT = Path(__file__).parent.parent.parent


def test_the_tables_are_those_that_are_kept(tool: Callable[[str], ModuleType]) -> None:
    assert tool("make_proof").problems(ROOT) == []


def test_results_have_the_day_and_the_commit_that_was_measured(
    tool: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_proof = tool("make_proof")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "-m", "first")
    (tmp_path / "docs" / "proof").mkdir(parents=True)
    judged = Path(shutil.copy(ROOT / "docs" / "proof" / "judged.toml", tmp_path / "docs" / "proof"))
    seen = []
    monkeypatch.setattr(make_proof, "measured", lambda spec, judged: seen.append(judged) or {"mutants": {"tried": 7}})
    make_proof.measure(tmp_path, "kr", make_proof.stamp(tmp_path))
    kept = json.loads((tmp_path / "docs" / "proof" / "kr.json").read_text())
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert kept == {"date": date.today().isoformat(), "commit": commit[:7], "mutants": {"tried": 7}}
    assert seen == [Judged.read(judged)]


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, check=True).stdout.strip()


def test_the_page_has_what_is_kept_of_each_allocator(tool: Callable[[str], ModuleType]) -> None:
    make_proof = tool("make_proof")
    one = {"date": "2030-01-02", "commit": "abc1234", "share": "85%"}
    kept = {"kr": one | {"mutants": {"tried": 1234, "killed": 50, "judged": 3}}, "tlsf": one}
    assert "| `kr` | 2030-01-02 | abc1234 |\n" in "".join(make_proof.runs(kept))
    mutants = "".join(make_proof.mutants(kept))
    assert "| `kr` | 1,234 | 50 | 3 | 85% |\n" in mutants and "| `tlsf` | – | – | – | 85% |\n" in mutants


def test_survivors_are_counted_by_what_was_judged_of_them() -> None:
    def trial(file: str, what: str, killer: str = "") -> Trial:
        return Trial(Mutant("module", Path(allocators.__file__).parent / file, 1, what, "source", "kr"), killer)

    judged = Judged({("kr.py", "as good"): "why"}, {"kr": 0.5})
    trials = [
        trial("kr.py", "worse", "exhaustive"),
        trial("kr.py", "as good"),
        trial("kr.py", "unknown"),
        trial("tlsf/blocks.py", "as good"),
        trial(NOT_COUNTED[0], "anything"),
    ]
    assert judged.tally(trials) == {"tried": 5, "killed": 1, "judged": 2}
    assert judged.unexplained(trials) == ["kr.py:1: unknown", "tlsf/blocks.py:1: as good"]


@pytest.mark.parametrize("name", ALLOCATORS)
def test_what_is_kept_is_of_the_checks_that_there_are(name: str) -> None:
    kept = json.loads((ROOT / "docs" / "proof" / f"{name}.json").read_text())
    assert list(kept["invariants"]) == list(invariants_of(Subject(name))), "python tools/make_proof.py NAME"
    assert all(kept["invariants"].values())
    assert date.fromisoformat(kept["date"]) and kept["commit"]
    assert kept["resizing"]["depth"] >= min_depth(RESIZING)
    assert kept["two_sizes"]["depth"] >= min_depth(TWO_SIZES)
    assert kept["interleavings"]["cases"] == len(PAIRS) * len(SIZES)
