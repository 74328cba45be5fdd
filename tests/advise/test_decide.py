"""The decisions of `advise`: pure functions over measured rows."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heapwright.advise.candidates import Candidate
from heapwright.advise.decide import (
    LIVE_DOMINATES,
    Judged,
    change,
    finalists,
    is_the_programs,
    judge,
    live_share,
    pareto,
    ranked,
    recommended,
    score,
)
from heapwright.advise.figures import GOALS, MIB, OBJECTIVES, Row, Run
from heapwright.advise.verdict import reasons, verdict

AMOUNTS = st.integers(1, 1000)
POINTS = st.lists(st.tuples(AMOUNTS, AMOUNTS, AMOUNTS), min_size=1, max_size=12)


def row(*runs, text="some", steps=0, error=""):
    return Row(Candidate(text, "system", "system", {}, steps), [Run(dict(run)) for run in runs], error)


def memory_row(*retained, text="some", time=1.0):
    runs = [{"time": time, "retained": float(each * MIB)} for each in retained]
    return row(*runs, text=text)


def rows_at(points):
    names = ("time", "peak", "retained")
    return [row(dict(zip(names, map(float, point), strict=True)), text=str(i)) for i, point in enumerate(points)]


# --- the Pareto set


@given(POINTS)
def test_nothing_in_the_pareto_set_is_beaten_and_all_else_is(points):
    rows = rows_at(points)
    front = pareto(rows)
    assert front
    for each in rows:
        mine = tuple(each.medians().values())
        beaten = [
            other
            for other in front
            if tuple(other.medians().values()) != mine
            and all(a <= b for a, b in zip(other.medians().values(), mine, strict=True))
        ]
        assert (each in front) == (not beaten)


@given(POINTS)
def test_the_best_of_each_objective_is_in_the_pareto_set(points):
    front = pareto(rows_at(points))
    for column in range(3):
        best = min(point[column] for point in points)
        assert any(list(each.medians().values())[column] == best for each in front)


def test_a_row_without_runs_is_not_in_the_pareto_set():
    failed = row(error="crashed")
    good = memory_row(10)
    assert pareto([failed, good]) == [good]


# --- the score


@given(st.sampled_from(sorted(GOALS)), AMOUNTS, AMOUNTS)
def test_today_scores_zero_against_itself_and_less_memory_scores_lower(goal, amount, less):
    today = memory_row(amount)
    assert score(today, today, goal) == 0
    assert score(memory_row(amount - min(less, amount)), today, goal) < 0


def test_objectives_that_one_of_both_lacks_do_not_count():
    today = memory_row(100)
    assert score(row({"time": 1.0}), today, "memory") == 0


def test_the_ranking_leaves_out_losses_failures_and_what_is_hardly_better():
    today = memory_row(100)
    good, slow = memory_row(50, text="good"), memory_row(20, time=1.2, text="slow")
    failed, same = memory_row(10, text="failed"), memory_row(100, text="same")
    failed.error = "ended by SIGSEGV"
    assert ranked([good, slow, failed, same], today, "balance", 0.10) == [good]
    assert ranked([good, slow], today, "balance", 0.25) == [slow, good]


def test_the_search_allows_what_todays_own_runs_differ_by():
    noisy = row({"time": 1.0, "retained": 100.0 * MIB}, {"time": 1.4, "retained": 100.0 * MIB})
    good = memory_row(50, time=1.3)
    assert ranked([good], noisy, "memory", 0.10) == [good]
    assert ranked([good], memory_row(100, 100), "memory", 0.10) == []


def test_of_nearly_equal_candidates_the_simpler_deployment_comes_first():
    today, packaged = memory_row(100), memory_row(49)
    packaged.candidate = Candidate("jemalloc", "jemalloc", "jemalloc", {}, 1)
    variables = memory_row(50)
    assert ranked([packaged, variables], today, "memory", 0.1) == [variables, packaged]


def test_of_nearly_equal_candidates_the_one_with_fewer_settings_comes_first():
    today, one, three = memory_row(1000), memory_row(500), memory_row(499)
    one.candidate = Candidate("one", "system", "system", {"A": "1"})
    three.candidate = Candidate("three", "system", "system", {"A": "1", "B": "1", "C": "1"})
    assert ranked([three, one], today, "memory", 0.1) == [one, three]


# --- noise and thresholds


def test_a_gain_holds_if_it_is_larger_than_the_noise():
    steady = change("retained", memory_row(50, 51, 49, 50, 50), memory_row(100, 100, 100, 101, 99))
    assert steady.holds
    assert steady.gain == pytest.approx(0.5, abs=0.02)
    noisy = change("retained", memory_row(20, 160, 60, 150, 70), memory_row(100, 100, 100, 100, 100))
    assert noisy.gain > OBJECTIVES["retained"].least
    assert not noisy.holds


@given(st.lists(st.floats(0.5, 2.0), min_size=2, max_size=9), st.lists(st.floats(0.5, 2.0), min_size=2, max_size=9))
def test_a_gain_that_holds_cannot_be_reversed(mine, theirs):
    size = min(len(mine), len(theirs))
    candidate, today = (row(*({"time": each} for each in times[:size])) for times in (mine, theirs))
    if change("time", candidate, today).holds:
        assert not change("time", today, candidate).holds


def test_a_small_gain_does_not_hold_even_without_noise():
    assert not change("retained", memory_row(95, 95, 95), memory_row(100, 100, 100)).holds
    assert not change("retained", memory_row(1, 1, 1), memory_row(4, 4, 4)).holds  # less than 4 MiB


def test_a_single_pair_never_confirms():
    found = change("retained", memory_row(1), memory_row(100))
    assert found.noise == math.inf
    assert not found.holds


def test_noise_that_both_share_cancels_because_runs_are_paired():
    shared = [100, 200, 50, 400, 100]
    found = change("retained", memory_row(*(each / 2 for each in shared)), memory_row(*shared))
    assert found.holds


def test_a_loss_beyond_the_allowed_one_refuses_a_candidate():
    today = memory_row(100, 100, 100)
    better_but_slow = memory_row(50, 50, 50, time=1.3)
    assert not judge(better_but_slow, today, "balance", 0.10).is_confirmed
    assert judge(better_but_slow, today, "balance", 0.40).is_confirmed


def test_a_gain_that_the_goal_does_not_ask_for_confirms_nothing():
    today, faster = memory_row(100, 100, 100), memory_row(100, 100, 100, time=0.5)
    assert not judge(faster, today, "memory", 0.10).is_confirmed
    assert judge(faster, today, "time", 0.10).is_confirmed


def test_a_finalist_that_failed_while_it_was_judged_is_not_confirmed():
    failed = memory_row(50, 50, 50)
    failed.error = "ended by SIGSEGV"
    assert not judge(failed, memory_row(100, 100, 100), "memory", 0.1).is_confirmed


def test_a_candidate_that_costs_too_much_is_judged_if_there_is_room():
    today = memory_row(100, 100, 100)
    costly = memory_row(20, 20, 20, time=1.3, text="costly")
    good = [memory_row(size, size, size, text=str(size)) for size in (50, 60, 70)]
    assert finalists([costly, good[0]], today, "memory", 0.10) == [good[0], costly]
    assert finalists([costly, *good], today, "memory", 0.10) == good
    found = judge(costly, today, "memory", 0.10)
    assert (found.is_confirmed, found.losses) == (False, ("time",))


def test_the_answer_says_what_a_gain_would_cost():
    today = memory_row(100, 100, 100)
    judged = [judge(memory_row(20, 20, 20, time=1.3, text="costly"), today, "memory", 0.10).as_json()]
    facts = {"verdict": "nothing", "search": [0] * 5, "judged": judged, "thresholds": {"allowed_loss": 0.1}}
    assert verdict(facts) == (
        "nothing helps without a price: none of 4 candidates improves on today's malloc without a loss beyond what "
        "--allow permits; "
        "with costly, the memory that stays resident falls by 79 %, but the time rises by 30 %, where 10 % are "
        "permitted"
    )


def test_a_loss_that_may_hide_in_the_noise_is_told():
    today = memory_row(100, 100, 100)
    times = [{"time": each, "retained": 50.0 * MIB, "peak": 50.0 * MIB} for each in (0.8, 1.2, 1.5)]
    found = judge(row(*times), today, "memory", 0.10)
    assert found.is_confirmed and found.losses == ()
    [told] = [each for each in reasons(found) if each.startswith("the time")]
    assert told.endswith("; a loss may hide in the noise: judge again on an idle machine")


def test_a_single_run_has_no_noise_to_tell():
    judged = [judge(memory_row(20, text="one"), memory_row(100), "memory", 0.10).as_json()]
    facts = {"verdict": "nothing", "search": [0] * 2, "judged": judged, "thresholds": {"allowed_loss": 0.1}}
    end = "the closest is one, with 79 % less of the memory that stays resident (noise unknown)"
    assert verdict(facts).endswith(end)


def test_the_first_confirmed_finalist_is_recommended():
    rows = [
        Judged(memory_row(1, text=text), (), confirmed) for text, confirmed in (("a", False), ("b", True), ("c", True))
    ]
    assert recommended(rows) is rows[1]
    assert recommended(rows[:1]) is None


# --- whose memory it is


def test_live_memory_dominates_from_a_share_of_the_peak_on():
    today = row({"peak": 100.0})
    assert live_share(None, today) is None
    assert live_share(200, today) == 1
    assert is_the_programs(live_share(round(100 * LIVE_DOMINATES), today))
    assert not is_the_programs(live_share(50, today))
    assert not is_the_programs(None)
