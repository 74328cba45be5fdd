"""The search and the judging, on fake measurements."""

from __future__ import annotations

import pytest

from heapwright.advise.search import AdviseError, Plan, advise, turned
from heapwright.lab.sample import RunError


def run(fake, make, table, plan=None, more=None):
    subject = fake(table)
    candidates = [make(), *(make(text) for text in table if text != "today")]
    return subject, advise(subject, subject, candidates, plan or Plan(), lambda line: None, more)


def test_what_chance_makes_in_the_search_the_judging_runs_refuse(fake, make, figures):
    table = {"today": figures(), "lucky": lambda number: figures(retained=80 if number >= 2 else 20)}
    _, outcome = run(fake, make, table)
    assert [each.row.candidate.text for each in outcome.judged] == ["lucky"]
    assert outcome.recommended is None


def test_a_real_gain_is_recommended_on_runs_of_its_own(fake, make, figures):
    subject, outcome = run(fake, make, {"today": figures(), "good": figures(retained=30), "bad": figures(peak=900)})
    assert outcome.recommended.row.candidate.text == "good"
    assert len(outcome.recommended.row.runs) == len(outcome.today.runs) == 5
    assert subject.order.count("good") == 2 + 5
    assert subject.order.count("bad") == 1


def test_the_judging_runs_take_turns_with_todays_malloc(fake, make, figures):
    subject, _ = run(fake, make, {"today": figures(), "a": figures(retained=30), "b": figures(retained=31)})
    judging = subject.order[-15:]
    assert [set(judging[i : i + 3]) for i in range(0, 15, 3)] == [{"today", "a", "b"}] * 5


def test_nothing_is_judged_if_the_search_finds_nothing(fake, make, figures):
    subject, outcome = run(fake, make, {"today": figures(), "same": figures()})
    assert outcome.judged == []
    assert outcome.recommended is None
    assert len(subject.order) == 4


def test_a_candidate_that_fails_is_kept_with_its_error(fake, make, figures, failure):
    subject, outcome = run(fake, make, {"today": figures(), "broken": failure, "good": figures(retained=30)})
    assert {row.candidate.text: row.error for row in outcome.searched}["broken"] == "ended by SIGSEGV"
    assert subject.order.count("broken") == 1


def test_todays_malloc_must_succeed_before_anything_is_compared(fake, make, figures, failure):
    with pytest.raises(AdviseError, match="today's malloc: ended by SIGSEGV; the program must succeed"):
        run(fake, make, {"today": failure, "good": figures()})


def test_ctrl_c_ends_the_search_and_what_it_found_is_judged(fake, make, figures):
    table = {
        "today": figures(),
        "good": figures(retained=30),
        "later": lambda number: KeyboardInterrupt(),
    }
    _, outcome = run(fake, make, table)
    assert outcome.is_interrupted
    assert outcome.recommended.row.candidate.text == "good"


def test_ctrl_c_while_judging_keeps_the_runs_so_far(fake, make, figures):
    table = {"today": lambda number: figures() if number < 5 else KeyboardInterrupt(), "good": figures(retained=30)}
    _, outcome = run(fake, make, table)
    assert outcome.is_interrupted
    assert len(outcome.today.runs) == 3
    assert outcome.recommended


def test_ctrl_c_before_the_first_run_is_an_interruption(fake, make):
    with pytest.raises(KeyboardInterrupt):
        run(fake, make, {"today": KeyboardInterrupt()})


def test_further_rows_are_judged_like_all_others(fake, make, figures):
    from heapwright.advise.figures import Row
    from heapwright.advise.search import measure

    table = {"today": figures(), "same": figures()}
    subject = fake(table | {"tuned": figures(retained=10)})

    def more(today, rows):
        rows.append(Row(make("tuned")))
        measure(subject, rows[-1])

    outcome = advise(subject, subject, [make(), make("same")], Plan(), lambda line: None, more)
    assert outcome.recommended.row.candidate.text == "tuned"


def test_a_round_begins_with_todays_malloc_which_comes_again_and_the_order_changes():
    rows = list("tabcdefghijk")
    orders = ["".join(turned(rows, number)) for number in range(3)]
    assert all(order[0] == order[9] == "t" for order in orders)
    assert all(sorted(order.replace("t", "")) == rows[1:] for order in orders)
    assert len(set(orders)) == 3
    assert turned(["t"], 1) == ["t"]


def test_a_judging_run_that_fails_refuses_its_finalist(fake, make, figures):
    table = {"today": figures(), "good": lambda number: figures(retained=30) if number < 4 else RunError("hung")}
    _, outcome = run(fake, make, table)
    assert outcome.recommended is None
    assert outcome.judged[0].row.error == "hung"
