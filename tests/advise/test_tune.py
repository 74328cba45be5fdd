"""Tuning with Optuna: what it proposes, that it learns, and that a seed repeats it."""

from __future__ import annotations

import pytest

from heapwright.advise import tune
from heapwright.advise.candidates import TODAY, Candidate, Today
from heapwright.advise.figures import Row, Run
from heapwright.advise.question import Question
from heapwright.advise.search import Plan
from heapwright.advise.tune import TuneError, Tuner, space_of, tunable_mallocs

pytest.importorskip("optuna")


class Simulated:
    """A program whose memory depends on the variables."""

    def __init__(self):
        self.order = []

    def measure(self, candidate):
        self.order.append(candidate.text)
        is_good = candidate.options.get("MALLOC_ARENA_MAX") == "1" or "K=" in candidate.text
        return Run({"time": 1.0, "retained": 2e7 if is_good else 8e7})


def tuned(monkeypatch, texts, seed=1, trials=25):
    monkeypatch.setattr(tune, "resolved", lambda candidates: candidates)
    subject = Simulated()
    question = Question("a", "b", Today(), subject, subject, lambda: None)
    today = Row(Candidate(TODAY, "system", "system"), [subject.measure(Candidate(TODAY, "system", "system"))])
    rows = [today]
    Tuner(question, Plan(goal="memory"), trials, seed, texts, lambda line: None)(today, rows)
    return rows, subject


def test_trials_become_rows_and_none_is_run_twice(monkeypatch):
    rows, subject = tuned(monkeypatch, ["system"])
    assert len(subject.order) == len(set(subject.order)) == len(rows)
    assert min(row.median("retained") for row in rows) == 2e7


def test_a_seed_repeats_the_search(monkeypatch):
    first, again, other = (tuned(monkeypatch, ["system"], seed)[1].order for seed in (3, 3, 4))
    assert first == again != other


def test_the_constants_of_our_allocators_are_tuned(monkeypatch):
    rows, _ = tuned(monkeypatch, ["hoard"], trials=5)
    assert all(row.candidate.malloc.startswith("hoard[") for row in rows[1:])
    assert "SUPERBLOCK=" in rows[1].candidate.text


def test_what_has_no_settings_cannot_be_tuned():
    with pytest.raises(TuneError, match="none of linked_list has settings to tune"):
        tunable_mallocs(["linked_list"])
    assert "K" in space_of("hoard")
    assert "MALLOC_ARENA_MAX" in space_of("system")


def test_a_missing_optuna_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(TuneError, match=r"pip install 'heapwright\[tune\]'"):
        tune.library()
