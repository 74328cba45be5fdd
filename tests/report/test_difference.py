"""Two recordings as one tree: nodes with the same names are one, and nothing of either is lost."""

import numpy as np
from recorded import service

from heapwright.report import difference as differences
from heapwright.report.against import MEASURES, values_of
from heapwright.report.difference import difference
from heapwright.report.profile import profile
from heapwright.report.source import Loaded


def profile_of(**options):
    return profile(Loaded(service(**options)), 0)


def totals(tree, measure):
    return [sum(values) for values in tree["own"][measure]]


def test_values_of_both_recordings_are_all_there():
    now, before = profile_of(rows=900), profile_of(rows=300)
    tree = difference(now, before)
    for measure in MEASURES:
        assert totals(tree, measure) == [int(values_of(each, measure).sum()) for each in (now, before)]
    assert all(parent < node for node, parent in enumerate(tree["parents"][1:], 1))
    assert len(set(zip(tree["parents"], tree["names"], strict=True))) == len(tree["names"]), "each path is there once"


def test_a_node_has_what_it_has_now_and_had_before():
    tree = difference(profile_of(rows=900), profile_of(rows=300))
    now, before = (values[tree["names"].index("parse_row (service.py)")] for values in tree["own"]["peak"])
    assert now > 2 * before > 0


def test_against_itself_nothing_changed():
    same = profile_of()
    tree = difference(same, same)
    assert all(now == before for now, before in tree["own"].values())


def test_small_nodes_count_as_their_callers(monkeypatch):
    monkeypatch.setattr(differences, "MAX_NODES", 3)
    now, before = profile_of(rows=900), profile_of(rows=300)
    tree = difference(now, before)
    assert len(tree["names"]) <= 4
    assert totals(tree, "requested") == [int(values_of(each, "requested").sum()) for each in (now, before)]
    assert np.array(tree["parents"]).max() < len(tree["names"])
