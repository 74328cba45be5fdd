"""The stepper as its user sees it, in a terminal."""

import subprocess
import sys
from pathlib import Path

import pytest
from screens import Screen

from heapwright.traces.events import ALLOC, DEALLOC, Events, Process, Trace
from heapwright.traces.format import write

pytestmark = pytest.mark.timeout(300)
MISTAKE = "    block.size = size\n", "    block.size = size // 2\n"
FAULT = "broken invariant: U2"


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


@pytest.mark.long
def test_a_trace_is_stepped_from_its_first_call(tmp_path):
    path = tmp_path / "few.hwt"
    events = Events.of(op=[ALLOC, ALLOC, DEALLOC, DEALLOC], thread=[0] * 4, block=[0, 1, 0, 1], size=[24, 100, 0, 0])
    write(path, Trace([Process(events, 1)]))
    screen = Screen("simulate", path, "-a", "hoard", "--step", cwd=tmp_path)
    screen.wait_for("call 1 of 4")
    screen.press(*["down"] * 3)
    screen.wait_for("call 4 of 4")
    screen.press(*["up"] * 2)
    screen.wait_for("call 2 of 4")
    screen.press("q")
    status, rest = screen.end()
    assert status == 0
    assert "exit code 0" in rest and "4 operations" in rest


@pytest.mark.long
def test_a_failing_story_of_check_leads_to_its_fault(tmp_path):
    """Blocks that say half of their size: `check` saves the story, and the stepper jumps to where it breaks."""
    mine, story = tmp_path / "mine.py", tmp_path / "story.py"
    source = (Path(__file__).parents[2] / "examples" / "powers_of_two.py").read_text()
    assert source.count(MISTAKE[0]) == 1
    mine.write_text(source.replace(*MISTAKE))
    words = ("check", mine, "--quick", "-x", "--save", story)
    done = subprocess.run([sys.executable, "-m", "heapwright", *words], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 1, done.stderr
    screen = Screen("simulate", story, "-a", mine, "--step", cwd=tmp_path)
    screen.wait_for("call 1 of")
    screen.press("f")
    screen.wait_for(FAULT)
    screen.press("q")
    assert screen.end()[0] == 1
