"""A program under a candidate: what the launcher samples, and the figures that follow."""

from __future__ import annotations

import os
import sys

import pytest

from heapwright.advise.candidates import Candidate, Today
from heapwright.advise.commands import CURVE, Program, environment, last_idle, peak_of, thinned
from heapwright.advise.figures import MIB, Point
from heapwright.advise.holders import holders_of
from heapwright.lab.contestant import Contestant
from heapwright.lab.programs import C_LIBRARY
from heapwright.lab.sample import RunError

BUSY, IDLE = True, False
TODAY = Candidate("today", "system", "system", {}, 0, Contestant("system", None))


def samples(*periods):
    """A sample each 10 ms: periods of seconds, resident bytes, and whether a thread runs."""
    found, now = [], 0.0
    for seconds, resident, is_busy in periods:
        for _ in range(round(seconds * 100)):
            found.append((now, resident, is_busy))
            now += 0.01
    return found


# --- the last idle period


def test_the_end_of_the_last_idle_period_is_retained():
    found = last_idle(samples((0.5, 10, BUSY), (0.5, 90, IDLE), (0.2, 99, BUSY), (0.4, 50, IDLE), (0.1, 5, BUSY)))
    assert found.resident == 50


def test_a_short_pause_is_no_idle_period():
    assert last_idle(samples((0.5, 10, BUSY), (0.2, 90, IDLE), (0.5, 10, BUSY))) is None
    assert last_idle([]) is None


def test_a_single_busy_sample_does_not_end_an_idle_period_but_two_do():
    one = samples((0.2, 7, IDLE), (0.01, 7, BUSY), (0.2, 7, IDLE))
    two = samples((0.2, 7, IDLE), (0.02, 7, BUSY), (0.2, 7, IDLE))
    assert last_idle(one).resident == 7
    assert last_idle(two) is None


def test_the_peak_is_the_higher_of_what_was_sampled_and_what_the_kernel_counted():
    curve = [Point(0.0, 20 * MIB), Point(0.1, 30 * MIB)]
    assert peak_of(curve, 40 * MIB) == 40 * MIB
    assert peak_of(curve, 25 * MIB) == 30 * MIB
    assert peak_of([Point(0.0, MIB)], 12 * MIB) == MIB  # that is the launcher's


def test_a_long_curve_keeps_its_highest_points():
    curve = [Point(float(i), i % 1000) for i in range(5000)]
    short = thinned(curve)
    assert len(short) <= CURVE
    assert max(point.resident for point in short) == 999
    assert thinned([]) == []


# --- the environment


def test_todays_malloc_is_not_preloaded_and_another_one_is(tmp_path):
    library = tmp_path / "libother.so"
    library.write_bytes(b"")
    other = Candidate("other", "ours", "other", {}, 2, Contestant("other", library, (("MALLOC_X", "1"),)))
    forced = Candidate("system", "system", "system", {}, 1, Contestant("system", None))
    with environment(TODAY) as variables:
        assert variables == {}
    with environment(other) as variables:
        assert variables == {"LD_PRELOAD": str(library), "MALLOC_X": "1"}
    with environment(forced) as variables:
        assert variables == {"LD_PRELOAD": C_LIBRARY}


def test_what_the_caller_preloads_is_kept(monkeypatch):
    monkeypatch.setenv("LD_PRELOAD", "libm.so.6")
    with environment(Candidate("system", "system", "system", {}, 1, Contestant("system", None))) as variables:
        assert variables["LD_PRELOAD"] == f"{C_LIBRARY} libm.so.6"


# --- real runs


def python(code, **options):
    return Program((sys.executable, "-c", code), Today(), **options)


def test_a_run_has_time_memory_and_what_is_retained_while_idle():
    run = python("import time; b = bytearray(60 << 20); b = b[: 9 << 20]; time.sleep(0.5)").measure(TODAY)
    assert run.values["peak"] > 60 * MIB
    assert 9 * MIB < run.values["retained"] < 50 * MIB
    assert run.values["time"] > 0.5
    assert run.course[0].seconds < run.course[-1].seconds


def test_children_count():
    child = "import time; b = bytearray(40 << 20); time.sleep(0.6)"
    run = python(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])").measure(TODAY)
    assert run.values["retained"] > 40 * MIB


def test_a_program_that_fails_or_hangs_is_reported():
    with pytest.raises(RunError, match="ended with status 3: sorry"):
        python("import sys; print('sorry', file=sys.stderr); sys.exit(3)").measure(TODAY)
    with pytest.raises(RunError, match="did not end within 1 s"):
        python("import time; time.sleep(60)", timeout=1).measure(TODAY)


def test_a_server_is_driven_and_then_ended(tmp_path):
    started = tmp_path / "started"
    server = f"import time, pathlib; pathlib.Path({str(started)!r}).touch(); time.sleep(60)"
    load = f"while [ ! -e {started} ]; do sleep 0.02; done"
    run = python(server, load=load, settle=0.4).measure(TODAY)
    assert run.values["time"] < 30  # that of the load
    assert run.values["retained"] > MIB


def test_a_run_leaves_no_file_in_the_users_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    python("print(1)").measure(TODAY)
    assert os.listdir(tmp_path) == []


def test_a_recorded_run_says_who_holds_the_memory():
    """This is what `advise` does when nothing helps."""
    found = holders_of(python("x = bytearray(30 << 20)"))
    assert found.live_bytes > 30 * MIB
    assert found.callers[0]["bytes"] >= 30 * MIB
