"""The stepper as its user sees it, in a terminal."""

import pytest
from screens import Screen

pytestmark = pytest.mark.timeout(300)


@pytest.mark.long
def test_from_call_to_call_and_from_word_to_word_and_back(tmp_path):
    screen = Screen("simulate", "boxtest", "-a", "kr", "--step", cwd=tmp_path)
    screen.wait_for("call 1 of 8, event 34 of 34")
    screen.press(*["down"] * 6)
    screen.wait_for("call 7 of 8, event 19 of 19")
    screen.press(*["left"] * 5)
    screen.wait_for("call 7 of 8, event 14 of 19", "load   Block.units at 0x17fe0 = 2", "lower.units += upper.units")
    screen.press("right")
    screen.wait_for("event 15 of 19", "store  Block.units at 0x17fc0: 2 -> 4", "dealloc › insert › join")
    screen.press("s")
    screen.wait_for("saved boxtest-7-120.svg")
    assert "Block.units at 0x17fc0: 2 -&gt; 4" in (tmp_path / "boxtest-7-120.svg").read_text()
    screen.press("q")
    status, rest = screen.end()
    assert status == 0
    assert "[heapwright kr] boxtest: exit code 0, no leaks" in rest


@pytest.mark.long
def test_a_script_with_a_double_free_ends_at_the_fault(tmp_path):
    screen = Screen("simulate", "-c", "a = alloc 24; free a; free a", "-a", "tlsf", "--step", cwd=tmp_path)
    screen.wait_for("call 1 of 2")
    screen.press("f")
    screen.wait_for("heap misuse: double free: dealloc(")
    screen.press("q")
    status, rest = screen.end()
    assert status == 1
    assert "double free" in rest
