"""Fake candidates and measurements for the decisions."""

from __future__ import annotations

import pytest

from heapwright.advise.candidates import TODAY, Candidate
from heapwright.advise.figures import MIB, Run
from heapwright.lab.sample import RunError


class FakeSubject:
    """Measurements from a table: the values of each candidate, a function of the number of its runs, or an error."""

    def __init__(self, table):
        self.table, self.order = table, []

    def measure(self, candidate):
        number = self.order.count(candidate.text)
        self.order.append(candidate.text)
        found = self.table[candidate.text]
        found = found(number) if callable(found) else found
        if isinstance(found, BaseException):
            raise found
        return Run(found)


def values(time=1.0, peak=100, retained=80):
    """Objectives in seconds and MiB."""
    return {"time": time, "cpu": time, "peak": float(peak * MIB), "retained": float(retained * MIB)}


@pytest.fixture
def fake():
    return FakeSubject


@pytest.fixture
def figures():
    return values


@pytest.fixture
def make():
    """A candidate with a text."""
    return lambda text=TODAY, steps=0: Candidate(text, "system", "system", {}, steps)


@pytest.fixture
def failure():
    return RunError("ended by SIGSEGV")
