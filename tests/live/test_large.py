"""Large heaps: what is counted some chunks at a time comes to the same, and a core's pages are let go of."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from heapwright.lab.inspect import inspect
from heapwright.live.core import Core
from heapwright.live.extent import copy_of, joined
from heapwright.live.look import look_at
from heapwright.live.report import report_of

pytestmark = pytest.mark.long

PASSING = ("time", "pause")


@pytest.fixture
def shapes(compiled):
    return compiled("shapes.c", (Path(__file__).parent / "programs" / "shapes.c").read_text(), "-pthread")


@pytest.mark.parametrize("shape", ["holes", "fast", "foreign", "threads", "segments"])
def test_windows_make_no_difference(shape, program, shapes, monkeypatch):
    pid = program(shapes, shape).pid
    whole = report_of(inspect(pid))
    for module, name, value in (("states", "WINDOW", 300), ("check", "WINDOW", 77), ("walk", "ROOM", 1000)):
        monkeypatch.setattr(sys.modules[f"heapwright.live.glibc.{module}"], name, value)
    parts = report_of(inspect(pid))
    holes = [[(each["size"], each["resident"]) for each in found.pop("holes")] for found in (whole, parts)]
    assert holes[0] == holes[1]  # which of several of one size is shown does not matter
    pins = [{(g["kind"], g["size_class"]): g for g in found.pop("pins")} for found in (whole, parts)]
    assert pins[0].keys() == pins[1].keys()
    for key, group in pins[0].items():  # on a window's last page the free bytes are shared out apart
        assert pins[1][key].pop("pinned_bytes") == pytest.approx(group.pop("pinned_bytes"), rel=0.02, abs=8192)
        assert pins[1][key] == group
    differ = {field for field in whole if field not in (*PASSING, "advice") and whole[field] != parts[field]}
    assert not differ


def test_damage_is_found_across_windows(program, shapes, monkeypatch):
    pid = program(shapes, "unlinked").pid
    whole = inspect(pid).damage
    monkeypatch.setattr("heapwright.live.glibc.check.WINDOW", 77)
    assert whole and inspect(pid).damage == whole


def test_arrays_are_joined_in_order_and_dropped():
    parts = [np.arange(3), np.arange(0), np.arange(3, 10)]
    assert joined(parts).tolist() == list(range(10))
    assert parts == []


@pytest.mark.skipif(not shutil.which("gcore"), reason="gcore is not installed (Debian: gdb)")
def test_a_core_is_not_held_in_memory(program, shapes, tmp_path):
    """The file has 40 MB; behind a look next to nothing of it is mapped in, wherever its segments begin."""
    pid = program(shapes, "holes").pid
    subprocess.run(["gcore", "-o", tmp_path / "core", str(pid)], capture_output=True, check=True, cwd=tmp_path)
    core = Core(tmp_path / f"core.{pid}")
    heap = core.mappings.at(look_at(core).chunks[0].run.places[0])
    assert heap.size > 20 << 20
    copy = copy_of(core, heap.start, heap.end)
    assert int(copy.words[::512].sum()) >= 0  # each page
    assert resident_of(core.path) > 20 << 20
    copy.done_with(heap.start, heap.end)
    assert resident_of(core.path) < 4 << 20


def resident_of(path):
    """The resident bytes of a file's mappings in this process."""
    total = 0
    for mapping in re.split(r"(?m)^(?=[0-9a-f]+-[0-9a-f]+ )", Path(f"/proc/{os.getpid()}/smaps").read_text()):
        if str(path) in mapping.partition("\n")[0]:
            total += int(re.search(r"Rss:\s+(\d+)", mapping)[1]) * 1024
    return total
