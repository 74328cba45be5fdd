"""`breakpoint()` in an allocator: pdb stops in its own line, and a user can look around from there."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

BREAK = "def dealloc(heap, address, size, align):\n"


@pytest.fixture
def mine(root, tmp_path):
    text = (root / "examples" / "powers_of_two.py").read_text()
    path = tmp_path / "mine.py"
    path.write_text(text.replace(BREAK, f"{BREAK}    breakpoint()\n"))
    return path


def debug(*arguments, commands, cwd, **environment):
    """Run a command with these lines for the debugger; its exit status, and what it answered to each."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        input="\n".join([*commands, ""]),
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done, [answer.strip("\n") for answer in re.split(r"\((?:Pdb|heapwright)\) ", done.stdout)]


def simulate(mine, *commands, **environment):
    return debug("-m", "heapwright", "simulate", "boxtest", "-a", mine.name, commands=commands, cwd=mine.parent,
                 **environment)  # fmt: skip


def test_it_stops_in_the_allocators_line_and_shows_a_block(mine):
    done, answers = simulate(mine, "p address", "n", "p block", "p heap.lists[5]", "q")
    assert re.search(r"> .*mine\.py\(\d+\)dealloc\(\)\n-> block = live_block\(heap, address\)$", answers[0])
    assert answers[1] == "32784"
    assert answers[3:5] == ["Block at 0x8000: size 32, next 0x8000", "Block at 0x0"]
    assert done.returncode == 1 and "panic" not in done.stdout
    [warning] = done.stderr.splitlines()
    assert warning.startswith("heapwright: will not compile: ") and "`breakpoint()`" in warning


def test_up_leads_to_the_program_and_step_stays_out_of_the_machinery(mine):
    _, answers = simulate(mine, "s", "s", "w", "up", "up", "up", "q")
    assert [re.search(r"> .*/(\S+\.py)\(\d+\)(\w+)\(\)", answers[n]).groups() for n in (1, 2, 4, 5)] == [
        ("mine.py", "live_block"),
        ("mine.py", "live_block"),
        ("mine.py", "dealloc"),
        ("boxtest.py", "main"),
    ]
    assert re.findall(r"(\w+\.py)\(", answers[3]) == ["boxtest.py", "mine.py", "mine.py"]
    assert answers[6] == "*** Oldest frame"


def test_draw_shows_the_heap_before_the_free(mine):
    _, answers = simulate(mine, "draw", "up", "draw", "c", "q")
    assert "0x8000  used          32" in answers[1] and "break" in answers[1]
    assert answers[3] == answers[1]


def test_looking_costs_the_program_nothing(mine):
    plain, _ = debug("-m", "heapwright", "simulate", "boxtest", "-a", "mine.py", commands=(), cwd=mine.parent,
                     PYTHONBREAKPOINT="0")  # fmt: skip
    done, _ = simulate(mine, *["draw", "p block_of(heap, address)", "c"] * 8)
    assert done.returncode == plain.returncode == 0
    assert done.stderr == plain.stderr


def test_a_breakpoint_in_what_draws_is_passed_over(mine):
    head = "def check(heap, start, end):\n"
    mine.write_text(mine.read_text().replace(head, f"{head}    breakpoint()\n"))
    _, answers = simulate(mine, "draw", "p 6 * 7", "q")
    assert "break" in answers[1] and answers[2] == "42"


def test_another_debugger_is_left_alone(mine):
    done, answers = simulate(mine, "q", PYTHONBREAKPOINT="pdb.set_trace")
    assert "(Pdb) " in done.stdout and "dealloc()" in answers[0]


SCRIPT = """\
from heapwright import start
heap = start("mine.py")
heap.dealloc(heap.alloc(24))
"""


@pytest.mark.parametrize("hook", ["", "heapwright.debugger.stop"])
def test_in_a_script(mine, hook):
    (mine.parent / "script.py").write_text(SCRIPT)
    environment = {"PYTHONBREAKPOINT": hook} if hook else {}
    done, answers = debug("script.py", commands=["p block_of(heap, address)", "c"], cwd=mine.parent, **environment)
    assert answers[1] == "Block at 0x4000: size 64, next 0x4000", done.stderr
    assert done.returncode == 0


def test_under_a_layer(mine):
    done, answers = debug("-m", "heapwright", "simulate", "boxtest", "-a", "locked(mine.py)", cwd=mine.parent,
                          commands=["w", "q"])  # fmt: skip
    assert re.findall(r"(\w+\.py)\(", answers[1]) == ["boxtest.py", "locked.py", "mine.py"], done.stdout


def test_on_a_terminal(mine):
    """The prompt is there, and the lines that are typed are taken."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "heapwright", "simulate", "boxtest", "-a", "mine.py"]
    program = subprocess.Popen(command, cwd=mine.parent, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.write(ours, b"p block_of(heap, address)\nq\n")
    seen = b""
    try:
        while chunk := os.read(ours, 4096):
            seen += chunk
    except OSError:  # the terminal has no other end any more
        pass
    os.close(ours)
    assert program.wait(60) == 1
    assert b"(heapwright) " in seen and b"Block at 0x8000: size 32, next 0x8000" in seen


def test_the_dialect_says_where_it_stands(mine, heapwright):
    """Compiled code has no debugger: the line is named."""
    done = heapwright("build", mine, "-o", mine.with_suffix(".so"))
    assert done.returncode == 2
    assert re.search(r"mine\.py:\d+: D\d: `breakpoint\(\)`", done.stderr)
