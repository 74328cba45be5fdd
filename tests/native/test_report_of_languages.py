"""`heapwright report` names the method of C++, the function of Rust and the function of Python that ask for most."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from call_sites import record

from heapwright.report.findings import findings
from heapwright.report.profile import profile
from heapwright.report.source import Loaded

HERE = Path(__file__).parent
PROGRAMS = {
    "c++": (["c++", "-std=c++17", "-O2", "-g"], "programs/basket.cpp", "market::Basket::fill (basket.cpp:11)"),
    "rustc": (["rustc", "-O", "-g"], "rust/orchard.rs", "orchard::Basket::fill (orchard.rs:17)"),
}


def found_in(tmp_path, *command):
    trace, _ = record(tmp_path, command)
    number = trace.processes.index(trace.largest)
    return findings(profile(Loaded(trace), number))


@pytest.mark.parametrize("compiler", PROGRAMS)
def test_a_compiled_program(compiler, tmp_path):
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed (Debian: apt-get install g++ rustc)")
    command, source, name = PROGRAMS[compiler]
    subprocess.run([*command, HERE / source, "-o", tmp_path / "program"], check=True)
    found = found_in(tmp_path, tmp_path / "program")
    assert found["requests"]["callers"][0]["name"].endswith(name)


def test_a_python_program(tmp_path):
    found = found_in(tmp_path, sys.executable, HERE / "programs" / "basket.py")
    assert found["requests"]["callers"][0]["name"] == "Basket.fill (basket.py:11)"
