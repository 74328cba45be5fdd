"""Who allocates most, in C++, Rust and Python: named as a programmer writes it, with the file and the line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from call_sites import record, top_stack

from heapwright.traces.stacks import NATIVE, PYTHON

pytestmark = pytest.mark.long

HERE = Path(__file__).parent
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
OTHERS = os.environ.get("HEAPWRIGHT_PYTHON", "")  # a folder with VERSION/python3


def test_a_method_in_cxx(tmp_path):
    if shutil.which("c++") is None:
        pytest.skip("there is no C++ compiler (Debian: apt-get install g++)")
    source, program = HERE / "programs" / "basket.cpp", tmp_path / "basket"
    subprocess.run(["c++", "-std=c++17", "-O2", "-g", source, "-o", program], check=True)
    trace, _ = record(tmp_path, [program])
    stack = top_stack(trace)
    [fill] = [frame for frame in stack if frame.function == "market::Basket<market::Apple>::fill(int)"]
    assert fill.is_inlined
    assert (Path(fill.file).name, fill.line) == ("basket.cpp", 11)
    caller = stack[stack.index(fill) + 1]
    assert caller.function == "market::harvest(market::Basket<market::Apple>&)"
    assert (caller.module, caller.language, caller.is_inlined) == (str(program), NATIVE, False)


def test_a_method_in_rust(tmp_path):
    if shutil.which("rustc") is None:
        pytest.skip("there is no Rust compiler (Debian: apt-get install rustc)")
    source, program = HERE / "rust" / "orchard.rs", tmp_path / "orchard"
    subprocess.run(["rustc", "-O", "-g", source, "-o", program], check=True)
    trace, _ = record(tmp_path, [program])
    names = [frame.function for frame in top_stack(trace)]
    [fill] = [place for place, name in enumerate(names) if name.endswith("Basket<T>::fill")]
    assert names[fill + 1] == "orchard::harvest"
    assert "orchard::main" in names[fill + 2 :]
    frame = top_stack(trace)[fill]
    assert (Path(frame.file).name, frame.line) == ("orchard.rs", 17)


def interpreter(version):
    """The path of a CPython of this version, or a skip."""
    named = [*PYENV.glob(f"{version}.*/bin/python3"), Path(OTHERS, version, "python3")]
    system = shutil.which(f"python{version}", path="/usr/bin:/usr/local/bin")
    found = next((path for path in named if path.exists()), system)
    return found or pytest.skip(f"python{version} is not installed; $HEAPWRIGHT_PYTHON/{version}/python3 is not there")


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_a_method_in_python(version, tmp_path):
    trace, _ = record(tmp_path, [interpreter(version), HERE / "programs" / "basket.py"])
    python = [frame for frame in top_stack(trace) if frame.language == PYTHON]
    found = [(frame.function, Path(frame.file).name, frame.line) for frame in python]
    assert found == [
        ("Basket.fill", "basket.py", 11),
        ("harvest", "basket.py", 16),
        ("訪問", "basket.py", 22),
        *[("訪問", "basket.py", 21)] * 3,
        ("grün.<locals>.<lambda>", "basket.py", 26),
        ("grün", "basket.py", 26),
        ("<module>", "basket.py", 29),
    ]


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_python_and_native_frames_alternate(version, tmp_path):
    """Each native frame of the interpreter's evaluation is replaced by the Python frames that it runs."""
    trace, _ = record(tmp_path, [interpreter(version), HERE / "programs" / "basket.py"])
    stack = top_stack(trace)
    assert stack[0].language == NATIVE
    names = [frame.function for frame in stack]
    assert not any("EvalFrameDefault" in name for name in names)
    between = names[names.index("Basket.fill") + 1 : names.index("harvest")]
    assert "map_next" in between
    between = names[names.index("grün.<locals>.<lambda>") + 1 : names.index("grün")]
    assert any("sort" in name for name in between)
    assert "Py_BytesMain" in names[names.index("<module>") :]


def test_code_at_the_address_of_other_code(tmp_path):
    """Each function is compiled, run and forgotten, so that the next one may lie where it lay."""
    source = (
        "for name in map('f{:03}'.format, range(200)):\n"
        "    scope = {}\n"
        "    exec(compile(f'def {name}(): return bytes(50000 + {int(name[1:])})\\n{name}()', name, 'exec'), scope)\n"
    )
    trace, _ = record(tmp_path, [sys.executable, "-c", source])
    events = trace.largest.events
    for number in range(200):
        sites = events.site[events.asks & (events.size == 50000 + number + 33)].tolist()
        named = [next(f for f in trace.stacks.of(site) if f.language == PYTHON).function for site in sites]
        assert f"f{number:03}" in named


def test_threads_of_python(tmp_path):
    source = (
        "import threading\n"
        "def work(n): return bytes(70000 + n)\n"
        "threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]\n"
        "for each in threads: each.start()\n"
        "for each in threads: each.join()\n"
    )
    trace, _ = record(tmp_path, [sys.executable, "-c", source])
    events = trace.largest.events
    for number in range(8):
        [site] = events.site[events.asks & (events.size == 70000 + number + 33)].tolist()
        python = [frame.function for frame in trace.stacks.of(site) if frame.language == PYTHON]
        assert python == ["work", "Thread.run", "Thread._bootstrap_inner", "Thread._bootstrap"]


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_the_path_of_each_call_in_random_trees(version, tmp_path):
    """A stack is taken with the help of the thread's last one, of which any part may be the same."""
    trace, _ = record(tmp_path, [interpreter(version), HERE / "programs" / "paths.py"], depth=128)
    events, names = trace.largest.events, ["zero", "one", "two", "three"]
    asks = events.asks & (events.size > 100_000 + 33) & (events.size < 100_000 + 4**7 + 64)
    wrong, checked = [], 0
    for size, site in set(zip(events.size[asks].tolist(), events.site[asks].tolist(), strict=True)):
        python = [frame.function for frame in trace.stacks.of(site) if frame.language == PYTHON]
        path = [name for name in python if name in names]
        expected = 1
        for name in reversed(path):
            expected = expected * 4 + names.index(name)
        if python[0] == "go_on":
            checked += 1
            wrong += [(size, python)] if size != 100_000 + expected + 33 else []
    assert not wrong
    assert checked > 100


def test_greenlets(tmp_path):
    """They take turns on one native stack, and each has Python frames of its own."""
    source = (
        "from greenlet import greenlet\n"
        "def work(n): return bytes(60000 + n)\n"
        "def first():\n    for _ in range(9): work(1), other.switch()\n"
        "def second():\n    for _ in range(9): work(2), one.switch()\n"
        "one, other = greenlet(first), greenlet(second)\n"
        "one.switch()\n"
    )
    trace, status = record(tmp_path, [sys.executable, "-c", source])
    assert status == 0
    events = trace.largest.events
    for number, name in (1, "first"), (2, "second"):
        sites = events.site[events.asks & (events.size == 60000 + number + 33)].tolist()
        python = [[frame.function for frame in trace.stacks.of(site) if frame.language == PYTHON] for site in sites]
        assert python == [["work", name]] * 9
