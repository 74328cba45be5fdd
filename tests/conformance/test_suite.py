"""The suite as others use it: at a prompt, from pytest, from Python."""

import json
from functools import partial
from pathlib import Path

import pytest

from heapwright import allocator
from heapwright.conformance import CHECKS, Broken, Subject, Verdict, checks_for, parametrize_with_checks, run
from heapwright.conformance.exhaustive import RESIZING, TWO_SIZES, explore
from heapwright.conformance.story import Play, Step, Wrong, with_story
from heapwright.conformance.worlds import invariants_of

pytestmark = pytest.mark.long

KR = Path(allocator.load("kr").parts[0].__file__)


@pytest.fixture
def broken(tmp_path):
    """kr without merging."""
    path = tmp_path / "broken.py"
    path.write_text(KR.read_text().replace("    join(before, block)\n", "    before.next = block\n"))
    return path


@pytest.fixture
def heapwright(heapwright):
    return partial(heapwright, "check")


# --- at a prompt


def test_what_holds_exits_with_0(heapwright):
    done = heapwright("kr", "--quick", "--only", "U1_alignment", "--only", "own")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "kr: 2 hold"
    assert done.stderr == ""


def test_what_does_not_hold_exits_with_1_and_shows_the_story(heapwright, broken):
    done = heapwright(broken, "--quick", "--only", "own_invariants")
    assert done.returncode == 1
    first, *rest = done.stdout.splitlines()
    assert "does not hold" in first
    assert "I3  no two free blocks touch" in first
    assert any("alloc(" in line for line in rest)


def test_json_is_stable(heapwright, broken):
    done = heapwright(broken, "--quick", "--only", "own_invariants", "--only", "threads_take_turns", "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert set(report) == {"allocator", "quick", "seed", "holds", "counts", "causes", "checks"}
    assert report["counts"] == {"holds": 0, "does not hold": 1, "skipped": 1}
    failed = next(each for each in report["checks"] if each["check"] == "own_invariants")
    assert set(failed) == {"check", "requirement", "verdict", "note", "story", "picture", "told_by", "seconds"}
    assert failed["story"] and failed["told_by"] is None
    assert report["causes"] == [{"what": failed["note"], "checks": ["own_invariants"]}]


@pytest.mark.parametrize(
    "arguments", [("nothing",), ("kr", "--only", "nothing"), ("kr", "--exhaustive", "0"), (), ("kr", "--nothing")]
)
def test_wrong_use_exits_with_2(heapwright, arguments):
    done = heapwright(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""


def test_the_list_leaves_out_what_does_not_apply(heapwright):
    names = [line.split()[0] for line in heapwright("linked_list", "--list", "--quick").stdout.splitlines()]
    assert "U1_alignment" in names
    assert "U4_usable_size" not in names
    assert "same_addresses" not in names


def test_all_sequences(heapwright, broken):
    assert heapwright("kr", "--exhaustive", "2").stdout.startswith("all 22 sequences of up to 2 requests")
    done = heapwright(broken, "--exhaustive", "4")
    assert done.returncode == 1
    assert done.stdout.count("alloc(") == 1


# --- from Python


@pytest.mark.parametrize(("alphabet", "sequences"), [(RESIZING, 1 + 3 + 3 * (3 + 3)), (TWO_SIZES, 1 + 2 + 2 * (2 + 1))])
def test_all_sequences_are_counted(alphabet, sequences):
    """Three requests at first, with n live blocks 3 + 3n; or two, and 2 + n."""
    reached = explore(Subject("kr"), alphabet, depth=2, seconds=60)
    assert reached.sequences == sequences
    assert reached.depth == 2
    assert reached.states <= reached.sequences


def test_states_that_are_the_same_are_told_once():
    """What is freed last is taken first, so that only what is live tells states of a stack of blocks apart."""
    reached = explore(Subject("segregated_storage"), TWO_SIZES, depth=4, seconds=60)
    assert reached.sequences == 105
    assert reached.states < 60


def test_the_shortest_story_is_found(broken):
    with pytest.raises(Broken) as caught:
        CHECKS["own_invariants"](Subject(str(broken), is_quick=False))
    assert len(caught.value.lines) <= 4
    assert caught.value.picture


def test_what_is_told_can_be_repeated():
    with pytest.raises(Broken) as caught, with_story(Play(Subject("kr").heap())) as play:
        play.play([Step("alloc", 0, 24), Step("alloc", 0, 100, 64), Step("free"), Step("realloc", 0, 300)])
        raise Wrong("this")
    assert caught.value.lines[0].startswith("a = alloc(24, 16) -> 0x")
    assert [line.split(" -> ")[0] for line in caught.value.lines[1:]] == [
        "b = alloc(100, 64)",
        "free(a)",
        "b = realloc(b, 300)",
    ]
    assert "used" in caught.value.picture


LAYERS = {"locked(kr)": ["U", "fork", "threads_take"], "sized(linked_list)": ["U1", "U4", "U6"]}


@pytest.mark.parametrize("spec", LAYERS)
def test_layers_are_judged_too(spec):
    outcomes = list(run(Subject(spec), checks_for(LAYERS[spec])))
    assert {outcome.verdict for outcome in outcomes} == {Verdict.HOLDS}


def test_names_of_checks_that_are_not_there():
    with pytest.raises(KeyError):
        checks_for(["nothing"])


def test_invariants_are_read_from_the_docstring():
    assert list(invariants_of(Subject("kr"))) == ["I1", "I2", "I3", "I4"]
    assert str(invariants_of(Subject("kr"))["I3"]) == "I3 no two free blocks touch"


# --- from pytest


def test_known_failures_are_strict():
    mark = parametrize_with_checks(["kr"], {"kr": {"fork": "a reason"}})
    cases = {case.id: case for case in mark.args[1]}
    assert set(cases) == {f"kr-{name}" for name in CHECKS}
    (xfail,) = cases["kr-fork"].marks
    assert xfail.kwargs == {"reason": "a reason", "strict": True, "raises": Broken}
    assert [mark.name for mark in cases["kr-same_addresses"].marks] == ["slow"]


def test_known_failures_of_checks_that_are_not_there():
    with pytest.raises(ValueError, match="no check 'nothing'"):
        parametrize_with_checks(["kr"], {"kr": {"nothing": ""}})


def test_a_check_has_the_mark_that_one_asks_for():
    mark = parametrize_with_checks(["kr"], marks={"fork": pytest.mark.long})
    assert [case.id for case in mark.args[1] if "long" in {each.name for each in case.marks}] == ["kr-fork"]
    with pytest.raises(ValueError, match="marks: there is no check 'nothing'"):
        parametrize_with_checks(["kr"], marks={"nothing": pytest.mark.long})
