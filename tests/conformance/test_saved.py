"""A failing story as a program; and compiled code that crashes or hangs, in a process of its own."""

import os
import re
import signal
import time
from functools import partial

import pytest

from heapwright.conformance import CHECKS, Broken, Subject, apart
from heapwright.conformance.apart import run_apart
from heapwright.conformance.saved import STATEMENTS, can_be_played, program, statement
from heapwright.conformance.story import Play, Step, without_numbers
from heapwright.programs.run import find_program, run_program

LINES = {
    "a = alloc(24, 16) -> 0x5010": "a = alloc(24, 16)",
    "b1 = alloc_zeroed(-1, 16) -> 0": "b1 = alloc_zeroed(-1, 16)",
    "b = realloc(b, 300)": "b = realloc(b, 300)",
    "free(a)": "free(a)",
    "usable_size(a) -> 40": "usable_size(a)",
    "trim() -> 0": "trim()",
    "sbrk(24), by the program": "sbrk(24)",
    "thread 2 goes on": "thread(2)",
    "thread 3 ends": "thread_exit()",
    "the thread ends": "thread_exit()",
    "the kernel gives no more memory": "refuse_memory(1)",
    "the kernel refuses request 3 for memory": "refuse_memory(3, once=True)",
    "the kernel refuses request 12 for memory and all that follow": "refuse_memory(12)",
    "the kernel gives memory again": "relent()",
    "the kernel refuses return 2 of memory and all that follow": "refuse_returns(2)",
    "the kernel takes memory back again": "relent()",
    "the break rises 0 times": "stop_break(1)",
    "somebody moves the break before rise 2": "move_break(2, once=True)",
    "the machine has no more frames": "no_more_frames()",
    "the machine has 24 more frames": "no_more_frames(24)",
    "pages of 16384 bytes": "# pages of 16384 bytes",
    "fork()": "# fork()",
}


@pytest.mark.parametrize("line", LINES)
def test_each_line_of_a_story_is_a_statement(line):
    assert statement(line) == LINES[line]


def test_every_kind_of_line_is_tried_here():
    assert all(any(re.fullmatch(pattern, line.partition(" -> ")[0]) for line in LINES) for pattern in STATEMENTS)


def test_what_no_allocation_is_told_of_cannot_be_played():
    assert can_be_played(["a = alloc(1, 16)"]) and can_be_played(["fork()", "a = alloc_zeroed(1, 16)"])
    assert not can_be_played(["mine.py:4: D4: alloc", "free(a)", "one | two"])


def test_a_program_runs_every_statement(tmp_path):
    path = tmp_path / "story.py"
    stories = [line for line in LINES if line != "free(a)"]
    path.write_text(program("a title", ["b = alloc(100, 64)", *stories, "free(a)"], "heapwright simulate"))
    outcome = run_program(find_program(str(path)), "hoard", maxva=1 << 34, frames=1 << 14)
    assert outcome.fault is None and outcome.exit_code == 0, outcome.fault
    assert any(line.startswith("usable_size(0x") for line in outcome.output)


REFUSED = "    if start == -1:\n", "    if start == -2:\n"
TOO_LITTLE = "max(size + room, MIN_BLOCK)", "max(size, MIN_BLOCK)"


@pytest.fixture
def forgetful(tmp_path, root):
    """An allocator that takes what the kernel refuses for memory."""
    text = (root / "examples" / "powers_of_two.py").read_text()
    assert text.count(REFUSED[0]) == text.count(TOO_LITTLE[0]) == 1
    path = tmp_path / "forgetful.py"
    path.write_text(text.replace(*REFUSED))
    return path


@pytest.mark.parametrize("check", ["U7_failure_atomicity", "exhaustive"])
def test_the_program_shows_the_fault_of_the_story(check, forgetful, tmp_path):
    """Refusals of the kernel included."""
    if check == "exhaustive":
        forgetful.write_text(forgetful.read_text().replace(*TOO_LITTLE))
    with pytest.raises(Broken) as caught:
        CHECKS[check](Subject(str(forgetful), patience=2))
    path = tmp_path / "story.py"
    path.write_text(program("a title", caught.value.lines, "heapwright simulate"))
    outcome = run_program(find_program(str(path)), str(forgetful), frames=1 << 14)
    assert without_numbers(outcome.fault.what) in without_numbers(caught.value.what)


def test_the_options_of_a_machine_are_told():
    plain, large = Subject("kr").heap(), Subject("kr").heap(frames=1 << 14, page=1 << 16)
    assert (Play(plain).machine, Play(large).machine) == ("", " --frames 16384 --page 65536")
    with pytest.raises(Broken) as caught:
        Play(Subject("kr").heap(frames=64)).take(Step("alloc", 0, 24, 0))
    assert caught.value.machine == " --frames 64"


def test_all_sequences_can_be_saved(heapwright, forgetful, tmp_path):
    forgetful.write_text(forgetful.read_text().replace(*TOO_LITTLE))
    done = heapwright("check", forgetful, "--exhaustive", "3", "--save", tmp_path / "story.py", "--json")
    assert done.returncode == 1 and "the story of exhaustive is saved" in done.stderr
    assert heapwright("simulate", tmp_path / "story.py", "-a", forgetful).returncode == 1


@pytest.mark.parametrize("name", ["story.txt", "story"])
def test_a_story_is_saved_as_a_program(heapwright, name):
    done = heapwright("check", "kr", "--save", name)
    assert done.returncode == 2 and "ends in .py" in done.stderr


@pytest.mark.long
def test_what_has_no_story_is_not_saved(heapwright, tmp_path):
    path = tmp_path / "mine.py"
    text = Subject("kr").sources[0].read_text()
    path.write_text(text.replace("MIN_GROWTH = 4096", "growths = []\nLEAST_GROWTH = 4096"))
    done = heapwright("check", path, "--only", "lint", "--save", tmp_path / "story.py")
    assert done.returncode == 1 and "no failure has a story" in done.stderr
    assert not (tmp_path / "story.py").exists()


# --- apart


def crash(number):
    os.kill(os.getpid(), number)
    return 0


def test_what_runs_apart_returns_its_note():
    assert run_apart(lambda apart: f"{apart.call('a = alloc(1)', lambda: 7)} calls") == "7 calls"


def test_what_goes_wrong_apart_is_broken_as_it_was():
    def wrong(_):
        raise Broken("what", ["line"], "picture", "cause", " --frames 5")

    with pytest.raises(Broken) as caught:
        run_apart(wrong)
    found = caught.value
    assert (found.what, found.lines, found.picture) == ("what", ("line",), "picture")
    assert (found.cause, found.machine) == ("cause", " --frames 5")
    with pytest.raises(Broken, match="ZeroDivisionError at test_saved.py"):
        run_apart(lambda _: 1 // 0)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGKILL])
def test_a_crash_is_told_with_its_call(number):
    with pytest.raises(Broken) as caught:
        run_apart(lambda apart: str(apart.call("b = alloc(2, 16)", partial(crash, number))))
    assert caught.value.what == f"compiled, a call ends in {number.name}"
    assert caught.value.lines == ("b = alloc(2, 16)",)


def test_a_call_without_an_end_is_ended(monkeypatch):
    monkeypatch.setattr(apart, "CALL_SECONDS", 0.1)

    def endless():
        while True:
            pass

    with pytest.raises(Broken, match=r"compiled, a call does not return within 0.1 s"):
        run_apart(lambda apart: str(apart.call("free(a)", endless)))


def test_time_between_calls_is_not_limited(monkeypatch):
    monkeypatch.setattr(apart, "CALL_SECONDS", 0.1)

    def busy(apart):
        apart.call("free(a)", lambda: 0)
        until = time.process_time() + 0.2
        while time.process_time() < until:
            pass
        return "done"

    assert run_apart(busy) == "done"


def test_a_process_that_ends_early_is_told():
    with pytest.raises(Broken, match="ends the process with status 3"):
        run_apart(lambda apart: str(apart.call("free(a)", lambda: os._exit(3))))


SERVES = "    return place(block, align) if block else NULL\n"
CRASHES = "    if heap.memory.thread_id() > 1:\n        Block(heap.memory, 64).size = 1\n"  # the machine's thread is 1


@pytest.mark.slow
def test_an_allocator_that_crashes_compiled_is_judged(tmp_path, root):
    text = (root / "examples" / "powers_of_two.py").read_text()
    path = tmp_path / "mine.py"
    path.write_text(text.replace(SERVES, CRASHES + SERVES))
    with pytest.raises(Broken, match="compiled, a call ends in SIGSEGV"):
        CHECKS["same_addresses"](Subject(str(path)))
