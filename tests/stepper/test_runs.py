"""Repeated events become one line, and no event is lost."""

import doctest

from hypothesis import given
from hypothesis import strategies as st

from heapwright.stepper import runs as module
from heapwright.stepper.runs import MIN_TIMES, runs


@given(st.lists(st.integers(0, 3), max_size=60))
def test_runs_cover_all_events_in_order_and_their_turns_are_alike(keys):
    at = 0
    for run in runs(keys):
        assert run.first == at and (run.times == 1 or run.times >= MIN_TIMES)
        turn = keys[at : at + run.period]
        assert keys[at : run.end] == turn * run.times
        at = run.end
    assert at == len(keys)


@given(st.integers(1, 16), st.integers(3, 500))
def test_a_loop_is_one_run(period, times):
    assert len(runs([*range(period)] * times)) == 1


def test_the_example():
    assert doctest.testmod(module).failed == 0
