"""The page on grading, followed to the letter."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from pages import follow
from sandboxes import need_bubblewrap

from heapwright.grade.rules import RULES

pytestmark = pytest.mark.long

PROGRAMS = {"heapwright": [sys.executable, "-m", "heapwright"]}


def run(name, *arguments, cwd, **options):
    known = {key: options.pop(key) for key in ("stderr", "input") if key in options}
    command = [*PROGRAMS.get(name, [name]), *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, cwd=cwd, env=os.environ | options, text=True, timeout=110,
                          check=False, **known)  # fmt: skip


def test_the_page_is_true(root, tmp_path, monkeypatch):
    need_bubblewrap()
    shutil.copytree(root / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    assert follow(root / "docs" / "grading.md", tmp_path, run) == []


def test_the_rules_of_the_score_are_the_same_everywhere(root, heapwright):
    first = RULES.splitlines()[0]
    assert first in (root / "docs" / "grading.md").read_text()
    assert all(line.strip() in heapwright("grade", "--help").stdout for line in RULES.splitlines())


def test_the_range_of_scores_is_the_measured_one(root):
    [measured] = json.loads((root / "bench" / "results" / "grading.json").read_text())["gradings"]
    scores = measured["scores"]
    assert f"from {min(scores):.1f} to {max(scores):.1f}" in (root / "docs" / "grading.md").read_text()
    assert (len(scores), len(set(measured["utilizations"]))) == (10, 1)
