"""docs/proof.md tells of every allocator and invariant there is, and of no less than the suite reaches."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from heapwright.allocators import ALLOCATORS
from heapwright.conformance import Subject
from heapwright.conformance.exhaustive import RESIZING, TWO_SIZES, least_depth
from heapwright.conformance.interleavings import SIZES
from heapwright.conformance.scenarios import PAIRS
from heapwright.conformance.worlds import invariants_of

ROOT = Path(__file__).parent.parent.parent


def test_the_tables_are_those_that_are_kept(tool: Callable[[str], ModuleType]) -> None:
    assert tool("make_proof").problems(ROOT) == []


@pytest.mark.parametrize("name", ALLOCATORS)
def test_what_is_kept_is_of_the_checks_that_there_are(name: str) -> None:
    kept = json.loads((ROOT / "docs" / "proof" / f"{name}.json").read_text())
    assert list(kept["invariants"]) == list(invariants_of(Subject(name))), "python tools/make_proof.py NAME"
    assert all(kept["invariants"].values())
    assert kept["resizing"]["depth"] >= least_depth(RESIZING)
    assert kept["two_sizes"]["depth"] >= least_depth(TWO_SIZES)
    assert kept["interleavings"]["cases"] == len(PAIRS) * len(SIZES)
