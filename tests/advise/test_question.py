"""The whole answer on fake measurements: its data, its sentences, the terminal's text and the page."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

from heapwright.advise.candidates import Today
from heapwright.advise.figures import MIB, Point, Run
from heapwright.advise.holders import Holders
from heapwright.advise.page import make_page
from heapwright.advise.question import Question, answer, candidates_for
from heapwright.advise.search import Plan
from heapwright.cli.advise_text import overlaid, plotted, print_answer

ARENAS, TRIM = "system{MALLOC_ARENA_MAX=1}", "system{MALLOC_TRIM_THRESHOLD_=65536}"


class Watched:
    """A subject whose runs have a course."""

    def __init__(self, table):
        self.table = table

    def measure(self, candidate):
        found = self.table[candidate.text]
        retained = round(found["retained"])
        return Run(found, (Point(0.0, MIB), Point(0.5, round(found["peak"])), Point(1.0, retained)))


def asked(table, holders=None, **options):
    subject = Watched(table)
    question = Question("server <x>", "./server", Today(), subject, subject, lambda: holders, **options)
    return answer(question, list(table)[1:], Plan(), lambda line: None)


@pytest.fixture
def change(figures):
    return asked({"today": figures(), ARENAS: figures(retained=20, peak=60), TRIM: figures(time=2.0)})


@pytest.fixture
def nothing(figures):
    return asked({"today": figures(), ARENAS: figures(peak=99)}, Holders(20 * MIB, False, []))


@pytest.fixture
def price(figures):
    return asked({"today": figures(), ARENAS: figures(retained=20, peak=130)}, Holders(90 * MIB, True, []))


@pytest.fixture
def program(figures):
    callers = [{"name": "load (app.py:3)", "bytes": 70 * MIB, "blocks": 9, "share": 0.77}]
    return asked({"today": figures(), ARENAS: figures()}, Holders(90 * MIB, True, callers))


def test_a_change_has_reasons_risks_and_lines_to_deploy_it(change):
    assert change["verdict"] == "change"
    assert change["sentence"].startswith(f"change to {ARENAS}: the memory that stays resident falls by 74 %")
    assert "from 80.0 MiB to 20.0 MiB" in change["sentence"]
    assert any(reason.startswith("the peak of resident memory falls by 40 %") for reason in change["reasons"])
    assert any(risk.startswith("MALLOC_ARENA_MAX: threads wait") for risk in change["risks"])
    assert change["deployment"]["shell"] == ["MALLOC_ARENA_MAX=1 ./server"]
    assert set(change["courses"]) == {"today", "recommended"}


def test_nothing_helps_is_an_answer(nothing):
    assert nothing["verdict"] == "nothing"
    assert nothing["recommended"] is None
    assert nothing["sentence"].startswith("nothing helps: none of 1 candidate")


def test_memory_that_a_malloc_would_save_at_a_price_is_not_the_programs(price):
    assert (price["verdict"], price["recommended"]) == ("nothing", None)
    assert price["live_share"] > 0.7
    assert price["sentence"].startswith("nothing helps without a price: none of 1 candidate")
    assert (
        "the memory that stays resident falls by 74 %, but the peak of resident memory rises by 30 %"
        in price["sentence"]
    )


def test_the_program_is_to_blame_if_live_memory_dominates(program):
    assert program["verdict"] == "program"
    assert program["sentence"].startswith("the program, not the malloc, holds the memory: 90 % of the peak are live")
    assert program["holders"]["callers"][0]["name"] == "load (app.py:3)"


def test_an_answer_is_json(change, nothing, price, program):
    for report in (change, nothing, price, program):
        assert json.loads(json.dumps(report, allow_nan=False))["verdict"] == report["verdict"]


def test_settings_of_threads_are_not_tried_on_one_thread(figures):
    question = Question("a", "b", Today(), None, None, lambda: None, has_threads=False)
    assert [each.text for each in candidates_for(question, (ARENAS, TRIM))] == ["today", TRIM]


# --- the terminal


def test_the_answer_comes_first_and_all_parts_follow(change, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    print_answer(change)
    text = capsys.readouterr().out
    order = [
        "server <x>",
        "change to",
        "why:",
        "risk:",
        "judged by 5 fresh runs",
        "resident memory over time",
        "the search",
    ]
    places = [text.index(part) for part in (*order, "to deploy it: systemd")]
    assert places == sorted(places)
    assert "20.0 MiB -74 ±0 %" in text
    assert f"b {ARENAS} *" in text


def test_who_holds_the_memory_is_said_if_nothing_helps(program, capsys):
    print_answer(program)
    text = capsys.readouterr().out
    assert "77 % of load (app.py:3): 70.0 MiB" in text
    assert "to deploy it" not in text


def test_a_scatter_shows_less_time_left_and_less_memory_below():
    rows = plotted([(1.0, 10.0, "a"), (2.0, 0.0, "b"), (2.0, 10.0, "c")], 20)
    assert rows[0] == "a" + " " * 18 + "c"
    assert rows[-1] == " " * 19 + "b"


def test_of_two_points_in_one_place_the_first_is_shown():
    assert "a" in plotted([(1.0, 1.0, "a"), (1.0, 1.0, "b")], 16)[0]


def test_two_curves_are_told_apart():
    rows = list(overlaid([(2, 1), (1, 2), (0, 0)]))
    assert rows[-1] == "██"
    assert rows[-2] == "░▓"
    assert rows[0] == ""


# --- the page


class Checker(HTMLParser):
    """The tags that stay open, and everything that would be loaded from elsewhere."""

    VOID = ("meta", "line", "circle", "polyline")

    def __init__(self):
        super().__init__()
        self.open, self.loads = [], []

    def handle_starttag(self, tag, attrs):
        self.loads += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert tag in self.VOID or self.open.pop() == tag


@pytest.mark.parametrize("name", ["change", "nothing", "program"])
def test_the_page_is_whole_and_loads_nothing(name, request):
    page = make_page(request.getfixturevalue(name))
    checker = Checker()
    checker.feed(page)
    assert checker.open == checker.loads == []
    assert "server &lt;x&gt;" in page
    assert len(page) < 100_000


def test_the_page_draws_the_proof_and_the_search(change, nothing):
    page = make_page(change)
    assert page.count("<polyline") == 2
    assert page.count("<circle") == 3
    assert "Environment=&quot;MALLOC_ARENA_MAX=1&quot;" in page
    assert "<polyline" not in make_page(nothing)
