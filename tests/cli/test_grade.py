"""`heapwright grade`: what it prints, and its exit status."""

from __future__ import annotations

import json

import pytest
from sandboxes import need_bubblewrap


@pytest.fixture(scope="module", autouse=True)
def _sandbox():
    need_bubblewrap()


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "small.rep"
    path.write_text("1\n3\n5\n1\na 0 100\na 1 3000\nr 0 500\nf 1\na 2 2900\n")
    return path


def test_a_sound_submission_has_a_score_and_lessons(heapwright, root, trace):
    done = heapwright("grade", root / "examples" / "mm.c", "--traces", trace, "-n", "1", "--seed", "7")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "mm.c, graded with seed 7 and an alignment of 8 bytes"
    assert any(line.startswith("small.rep") and "3,500" in line for line in lines)
    assert "    malloc(100), request 1, takes the heap to its peak of 4,128 bytes" in lines
    assert lines[-1].startswith("score ")
    assert "of 100 = 60 × 0.8" in lines[-1]


def test_a_broken_submission_is_explained_and_has_status_1(heapwright, root, tmp_path, trace):
    source = (root / "examples" / "mm.c").read_text()
    assert "+ TAGS + 15" in source
    (tmp_path / "mm.c").write_text(source.replace("+ TAGS + 15", "+ TAGS + 7"))
    done = heapwright("grade", tmp_path / "mm.c", "--traces", trace, "-n", "1")
    assert done.returncode == 1, done.stderr
    assert "sizes          does not hold  " in done.stdout
    assert "<- here" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("score 0 of 100: sizes")


def test_the_grade_as_json(heapwright, root, trace):
    done = heapwright("grade", root / "examples" / "mm.c", "--traces", trace, "-n", "2", "--seed", "7", "--json")
    report = json.loads(done.stdout)
    assert report["passed"]
    assert 0 < report["score"] < 100
    [found] = report["traces"]
    assert (found["peak_payload"], len(found["time"]["own"])) == (3500, 2)
    assert report["rules"]["seed"] == 7


def test_without_bubblewrap_one_line_says_what_to_install(heapwright, root, tmp_path):
    done = heapwright("grade", root / "examples" / "mm.c", PATH=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert "install bubblewrap" in done.stderr
