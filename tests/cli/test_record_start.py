"""What `heapwright record` does before its program starts, and what it leaves for later."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from heapwright import cli
from heapwright.cli import record, recording
from heapwright.lab import collector
from heapwright.native import library
from heapwright.native.own_sources import PACKAGE
from heapwright.traces.conversion import passes

pytest.importorskip("numba")

IMPORTED = """
import os, sys
os._exit = sys.exit
from heapwright.cli import main
try:
    main()
except SystemExit:
    large = "click", "hashlib", "numba", "llvmlite", "numpy", "pandas", "pyarrow"
    print(*(name for name in large if name in sys.modules))
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("options", "expected"), [([], ""), (["--sample", "1K"], "click numpy"), (["--call-sites"], "click numpy")]
)
def test_no_program_waits_for_large_imports(tmp_path, options, expected):
    arguments = ["record", *options, "-o", str(tmp_path / "x.hwt"), "--", "ls", str(tmp_path / "nothing")]
    command = [sys.executable, "-c", IMPORTED, *arguments]
    subprocess.run(command, capture_output=True, check=True)  # compiles the libraries
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected


USUAL = [(["-o", "x.hwt", "--", "ls"], ["ls"]), (["--output", "x.hwt", "--", "ls", "--", "-o"], ["ls", "--", "-o"])]
OTHER = ["-o x.hwt --", "-o x.hwt ls", "-o x.hwt --sample -- ls", "--help", "-o . -- ls", "-- ls", "-ox.hwt -- ls"]


@pytest.mark.parametrize(("arguments", "program"), USUAL)
def test_the_usual_recording_needs_no_parser(arguments, program):
    assert cli.usual_recording(["record", *arguments]) == ("x.hwt", program)
    asked = record.command.make_context("record", list(arguments)).params
    assert (str(asked["output"]), list(asked["command"])) == ("x.hwt", program)


@pytest.mark.parametrize("line", OTHER)
def test_all_other_recordings_need_a_parser(line):
    assert cli.usual_recording(["record", *line.split()]) is None
    assert cli.usual_recording(["run", "-o", "x.hwt", "--", "ls"]) is None


def test_what_the_collector_calls_is_compiled_before_the_program_starts(monkeypatch):
    asked = []
    monkeypatch.setattr(collector, "is_clock_common", lambda: False)
    monkeypatch.setattr(library, "cached", lambda name, key, *rest: asked.append(name) or Path(name))
    recording.tools(None)
    assert asked == ["heapwright-traces-conversion-passes", "recorder"]
    assert library.place_of(*library.functions_key(passes.__name__, Path(passes.__file__))).name.startswith(asked[0])
    assert Path(passes.__file__) == PACKAGE / "traces" / "conversion" / "passes.py"
