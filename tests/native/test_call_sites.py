"""The call stacks that a recorder takes inside malloc, on all kinds of stacks: `programs/call_sites.c` says which."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from call_sites import record

PROGRAMS = Path(__file__).parent / "programs"
DEPTH = 64
FIRST = 1000001
SIZES = re.search(r"PLAIN = \d+, ([^}]*)", (PROGRAMS / "call_sites.c").read_text())
NAMES = ["PLAIN", *re.findall(r"\w+", SIZES[1] if SIZES else "")]
SIZE = {name: FIRST + i for i, name in enumerate(NAMES)}
ABOVE_MAIN = ["main", "__libc_start_call_main"]


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    """The trace of the program, compiled with optimisation and without frame pointers."""
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler (Debian: apt-get install gcc)")
    folder = tmp_path_factory.mktemp("call-sites")
    program = folder / "program"
    options = ["-O2", "-fomit-frame-pointer", "-fno-optimize-sibling-calls", "-rdynamic", "-pthread"]
    subprocess.run(["cc", *options, PROGRAMS / "call_sites.c", "-o", program], check=True)
    libraries = [folder / f"lib{name}.so" for name in ("first", "other")]
    for library in libraries:
        shared = ["-shared", "-fPIC", f"-DNAME={library.stem[3:]}", f"-Wl,-soname,{library.name}"]
        subprocess.run(["cc", "-O2", *shared, PROGRAMS / "call_sites_library.c", "-o", library], check=True)
    found, status = record(folder, [program, *libraries], DEPTH)
    assert status == 42
    return found


def stacks(trace, name, process=0):
    """The functions of each call stack that asked for blocks of this size, the innermost first."""
    events = trace.processes[process].events
    sites = events.site[events.asks & (events.size == SIZE[name])]
    return [[frame.function for frame in trace.stacks.of(site)] for site in sites.tolist()]


@pytest.mark.parametrize(
    ("name", "functions"),
    [
        ("PLAIN", ["ask", "plain", *ABOVE_MAIN]),
        ("DYNAMIC", ["ask", "dynamic", *ABOVE_MAIN]),
        ("REALIGNED", ["ask", "realigned", *ABOVE_MAIN]),
        ("AFTER_JUMP", ["ask", "after_jump", "survive", *ABOVE_MAIN]),
    ],
)
def test_a_stack(trace, name, functions):
    for stack in stacks(trace, name):
        assert stack[: len(functions)] == functions
        assert stack[-1] == "_start"
    assert stacks(trace, name)


def test_the_depth_is_limited(trace):
    [stack] = stacks(trace, "RECURSIVE")
    assert stack == ["ask", *["recursive"] * (DEPTH - 1), "[more callers]"]


@pytest.mark.parametrize("levels", [DEPTH + 20, 400])
def test_each_level_of_a_deep_recursion(tmp_path, levels):
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler (Debian: apt-get install gcc)")
    options = ["-O2", "-fno-optimize-sibling-calls", "-rdynamic"]
    subprocess.run(["cc", *options, PROGRAMS / "deep_stacks.c", "-o", tmp_path / "deep"], check=True)
    found, status = record(tmp_path, [tmp_path / "deep", str(levels)], DEPTH)
    assert status == 42
    events = found.events
    asked = {size: site for size, site in zip(events.size.tolist(), events.site.tolist(), strict=True) if size >= 10**6}
    assert len(asked) == 2 * (levels + 1)
    for size, site in asked.items():
        above = [("even", "odd")[level % 2] for level in range(size % 10**6, -1, -1)] + ABOVE_MAIN
        functions = [frame.function for frame in found.stacks.of(site)]
        assert functions[:DEPTH] == above[:DEPTH] or functions[: len(above)] == above
        assert len(functions) <= DEPTH + 1
        assert (functions[-1] == "[more callers]") == (len(functions) == DEPTH + 1)


@pytest.mark.parametrize("name", ["IN_HANDLER", "ON_SIGNAL_STACK"])
def test_a_signal_handler_and_what_it_interrupted(trace, name):
    [stack] = stacks(trace, name)
    assert stack[:2] == ["ask", "handler"]
    assert stack[stack.index("signalled") :][:2] == ["signalled", "main"]
    assert stack[-1] == "_start"


def test_a_handler_of_a_fault(trace):
    [stack] = stacks(trace, "IN_CRASH")
    assert stack[0] == "ask"
    assert stack[stack.index("crash") :][:3] == ["crash", "survive", "main"]


def test_a_thread(trace):
    [stack] = stacks(trace, "IN_THREAD")
    assert stack[0] == "ask"
    assert "main" not in stack
    assert stack[-1] != "[unknown callers]"


def test_a_coroutine(trace):
    [stack] = stacks(trace, "IN_COROUTINE")
    assert stack[:2] == ["ask", "coroutine"]
    assert len(stack) < 8


def test_a_function_without_unwind_tables(trace):
    """Its frame pointer leads on, to a function that has none."""
    [stack] = stacks(trace, "NO_TABLE")
    assert stack[:4] == ["ask", "bare", "calls_bare", "main"]
    assert stack[-1] == "_start"


def test_a_frame_pointer_that_leads_nowhere(trace):
    found = stacks(trace, "NO_TABLE_BAD_FRAME")
    assert len(found) == 11
    assert all(stack[:2] == ["ask", "bare_bad"] for stack in found)
    assert sum(stack[2:] == ["[unknown callers]"] for stack in found) >= 8


def test_code_of_no_module(trace):
    [stack] = stacks(trace, "JITTED")
    assert (stack[0], stack[2:4]) == ("ask", ["jitted", "main"])
    assert re.fullmatch("0x[0-9a-f]+", stack[1])
    [stack] = stacks(trace, "JITTED_BAD_FRAME")
    assert (stack[0], stack[2:]) == ("ask", ["[unknown callers]"])


def test_a_smashed_stack(trace):
    [stack] = stacks(trace, "SMASHED")
    assert stack[:2] == ["ask", "smash"]


def test_libraries_that_take_each_others_place(trace):
    assert [stack[0] for stack in stacks(trace, "FIRST_LIBRARY")] == ["first"] * 3
    assert [stack[0] for stack in stacks(trace, "SECOND_LIBRARY")] == ["other"] * 3
    assert all("main" in stack[1:4] for stack in stacks(trace, "SECOND_LIBRARY"))


def test_a_child_continues_its_parents_numbers(trace):
    [stack] = stacks(trace, "CHILD", process=1)
    assert stack[:4] == ["ask", "child", *ABOVE_MAIN]
    assert [len(stack) > 3 for stack in stacks(trace, "PLAIN")] == [True] * 2


def test_the_first_frame_has_called_malloc_and_none_is_the_recorders(trace):
    modules = {frame.module for frame in trace.stacks.frames}
    assert not any("recorder" in module for module in modules)
    assert not trace.notes()


def test_without_the_variable_no_stack_is_taken(tmp_path):
    found, _ = record(tmp_path, ["ls", "/"], depth=0)
    assert not any(process.events.site.any() for process in found.processes)
    assert len(found.stacks) == 1


@pytest.mark.long
def test_the_path_of_each_call_in_random_trees(tmp_path):
    """A stack is taken with the help of the thread's last one, of which any part may be the same."""
    program, names = tmp_path / "paths", ["zero", "one", "two", "three"]
    options = ["-O2", "-fomit-frame-pointer", "-fno-optimize-sibling-calls", "-fno-builtin", "-pthread"]
    subprocess.run(["cc", *options, PROGRAMS / "paths.c", "-o", program], check=True)
    found, status = record(tmp_path, [program])
    assert status == 42
    events = found.processes[0].events
    asked = set(zip(events.size[events.asks].tolist(), events.site[events.asks].tolist(), strict=True))
    wrong, paths = [], 0
    for size, site in asked:
        stack = [frame.function for frame in found.stacks.of(site)]
        if "run" in stack:
            path = stack[: stack.index("run")]
            paths += 1
            expected = 1
            for name in reversed(path):
                expected = expected * 4 + names.index(name)
            wrong += [(size, path)] if size != expected else []
    assert not wrong
    assert paths > 500
