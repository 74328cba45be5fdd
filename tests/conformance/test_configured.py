"""The source of an allocator as its constants configure it."""

import ast
from types import ModuleType

import pytest

from heapwright.conformance import Subject
from heapwright.conformance.configured import Configured, Folding
from heapwright.conformance.mutants import functions_reached, mutants_in, planted

ROOM = ModuleType("room")
ROOM.ON, ROOM.OFF = True, 0
HARDENED = "wright[HARDENED=1]"
NAMES = {"ON": 1, "OFF": 0, "small": 0, "room": ROOM}


def folded(text):
    return ast.unparse(ast.fix_missing_locations(Folding(NAMES).visit(ast.parse(text))))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("if ON: a()\nelse: b()", "a()"),
        ("if OFF: a()\nelse: b()", "b()"),
        ("if room.OFF != 0: a()", "pass"),
        ("if not room.ON: a()\nelif x: b()", "if x:\n    b()"),
        ("if small: a()", "if small:\n    a()"),
        ("if unknown.ON or UNKNOWN: a()", "if unknown.ON or UNKNOWN:\n    a()"),
        ("x = a() if ON and room.ON else b()", "x = a()"),
        ("x = a() or (OFF != 0 and b())", "x = a()"),
        ("x = ON and a() and b()", "x = a() and b()"),
        ("x = a() and OFF and b()", "x = a() and OFF"),
        ("x = OFF or OFF", "x = OFF"),
        ("if ON and a(): b()", "if a():\n    b()"),
        ("if OFF and a(): b()", "pass"),
        ("if ON + 1 > 1: a()", "a()"),
    ],
)
def test_what_constants_decide_is_folded(text, left):
    assert folded(text) == left


def test_only_a_hardened_heap_reaches_seals():
    plain, hardened = ({path.stem for path in functions_reached(Subject(spec))} for spec in ("wright", HARDENED))
    assert hardened - plain == {"seals", "known_segments", "zeros", "huge_ends", "copies", "hardened", "chance"}
    assert "meshing" not in plain | hardened
    assert "tiles" in plain & hardened


def test_a_bug_of_a_variant_is_planted_in_the_variant(tmp_path):
    subject = Subject(HARDENED)
    seals = next(module for module in subject.modules if module.__name__.endswith(".seals"))
    bug = next(mutants_in(seals, HARDENED, {"has_edge"}))
    broken = planted(bug, tmp_path)
    assert broken.constant("DETECTS", ()) == subject.constant("DETECTS", ()) != ()
    assert (tmp_path / "wright" / "seals.py").read_text() == bug.source


def test_a_program_without_its_switched_off_calls():
    path = Subject("wright").sources[0]
    called = {key.name for key in Configured(path, Subject("wright").modules).reached({"alloc", "dealloc"})}
    assert "take" in called
    assert "alloc_sealed" not in called
