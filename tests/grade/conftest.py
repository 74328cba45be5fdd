"""Submissions made of the example `mm.c` and an attack, and a short grading of them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from sandboxes import need_bubblewrap

from heapwright.grade import grading, stories, submission
from heapwright.grade.requests import free, malloc, realloc

EXAMPLES = Path(__file__).parents[2] / "examples"
SOUND = (EXAMPLES / "mm.c").read_text()
CALLS = ("mm_init", "mm_malloc", "mm_free", "mm_realloc")


def wrapped(attack: str) -> str:
    """The example with its functions named sound_malloc and so on, and an attack that may define the lab's."""
    defined = {name for name in CALLS if f"{name}(void" in attack or f"{name}(size_t" in attack}
    renamed = "".join(f"#define {name} sound_{name[3:]}\n" for name in defined)
    restored = "".join(f"#undef {name}\n" for name in defined)
    headers = '#define _GNU_SOURCE\n#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n#include "mm.h"\n'
    return f"{headers}{renamed}{SOUND}{restored}{attack}"


def short_story(chance: random.Random):
    """Some blocks that are allocated, resized and freed."""
    for block in range(40):
        yield malloc(block, chance.randrange(1, 600))
        if block % 5 == 4:
            yield realloc(block - 2, chance.randrange(1, 2000))
        if block % 3 == 2:
            yield free(block - 1)


SHORT = stories.Duty("short", "a short story", short_story)


@pytest.fixture(scope="session")
def sandbox():
    need_bubblewrap()


@pytest.fixture(scope="session")
def driver(sandbox, tmp_path_factory):
    """The driver, which is compiled once for all gradings."""
    return submission.compiled_driver(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def trace():
    return {"trace": list(short_story(random.Random(5)))}


@pytest.fixture
def graded(driver, tmp_path, monkeypatch, trace):
    """Grade the example with an attack in it, on one duty and a short trace."""
    monkeypatch.setattr(submission, "compiled_driver", lambda scratch: driver)

    def run(attack="", duty=SHORT, **rules):
        monkeypatch.setattr(stories, "DUTIES", (duty,))
        path = tmp_path / "mm.c"
        path.write_text(wrapped(attack))
        return grading.grade(path, grading.Rules(**{"repeats": 1, "seconds": 5, **rules}), trace)

    return run


@pytest.fixture
def failure(graded):
    """Grade an attack that must fail; its first failure."""

    def run(attack="", duty=SHORT, **rules):
        grade = graded(attack, duty, **rules)
        assert grade.failures, "the attack succeeded"
        assert grade.score == 0
        return grade.failures[0].failure

    return run
