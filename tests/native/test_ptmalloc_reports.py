"""Compiled ptmalloc reports each word that a program spoils, before it follows it."""

import signal

import pytest
from corruptions import CASES, NAMES, SPOILT


@pytest.mark.parametrize(("spec", "reason", "name", "steps"), CASES, ids=NAMES)
def test_what_is_spoilt_is_reported(spec, reason, name, steps, preloaded):
    done = preloaded(spec, "story", *steps)
    assert done.returncode == -signal.SIGABRT, done.stderr
    assert done.stderr.startswith(f"heapwright: ptmalloc: {reason}: 0x")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", SPOILT)
def test_without_the_writes_nothing_is_reported(name, preloaded):
    done = preloaded("ptmalloc", "story", *[step for step in SPOILT[name] if "]" not in step])
    assert (done.returncode, done.stderr) == (0, "")
