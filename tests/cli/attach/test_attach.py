"""`heapwright attach`: programs that run already, and run on as before."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys

import pytest
from running import ASKS, BUSY, FORKS, IDLE, LOADS, PYTHON, ROUNDS, THREADS, attached, wait_for

from heapwright.traces.events import check
from heapwright.traces.format import TraceFile
from heapwright.traces.importers import open_trace
from heapwright.traces.sampling import live_figures, requested

pytestmark = pytest.mark.long

pytest.importorskip("numba")


@pytest.mark.parametrize("source", [THREADS, IDLE, BUSY])
def test_a_program_is_recorded_and_runs_on_as_before(run, built, attach, source):
    program = run(built(source))
    for _ in range(2):
        trace, said = attach(program, "--for", "2.5" if source is IDLE else "1")
        assert len(trace.events)
        assert trace.processes[0].pid == program.pid
        assert "; blocks from before are unknown" in said
        assert program.words_of_malloc() == []
    assert program.end() == "well\n"


def test_call_sites(run, built, attach):
    trace, _ = attach(run(built(THREADS, "-g")), "--for", "1", "--call-sites")
    assert {trace.stacks.of(site)[0].function for site in set(trace.events.site.tolist()) if site} == {"work"}


def test_python_with_its_frames(run, attach):
    program = run(sys.executable, "-c", PYTHON)
    trace, _ = attach(program, "--for", "1", "--call-sites")
    events = trace.events
    functions = {frame.function for site in events.site[events.size > 3000] for frame in trace.stacks.of(site)}
    assert any("load_rows" in function for function in functions)
    assert program.end() == "well\n"


@pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed")
def test_redis_on_its_own_malloc(run, attach, tmp_path):
    socket = tmp_path / "socket"
    program = run("redis-server", "--port", "0", "--unixsocket", socket, "--save", "")
    asking = subprocess.Popen(
        ["sh", "-c", f"while redis-cli -s {socket} set key 12345678901234567890; do :; done"], stdout=subprocess.DEVNULL
    )
    try:
        trace, _ = attach(program, "--for", "2", "--call-sites")
        assert len(trace.events) > 10
        assert subprocess.run(["redis-cli", "-s", socket, "ping"], capture_output=True, check=True).stdout == b"PONG\n"
        assert program.words_of_malloc() == []
    finally:
        asking.kill()
        asking.wait()
        program.process.terminate()
    assert program.process.wait(30) == 0


def test_children_that_are_forked_meanwhile(run, built, attach):
    program = run(built(FORKS))
    trace, _ = attach(program)
    children = [each for each in trace.processes if each.pid != program.pid]
    assert children
    assert {each.parent for each in children} == {program.pid}
    assert all(44 in each.events.size.tolist() for each in children[:-1])
    assert program.end() == "well\n"


def test_libraries_that_are_loaded_meanwhile(run, built, attach, compiled, tmp_path):
    library = compiled(ASKS, "-shared", "-fPIC")
    program = run(built(LOADS), library)
    (tmp_path / "load").touch()
    trace, _ = attach(program, "--for", "2")
    assert {55, 66} <= set(trace.events.size.tolist())
    assert program.words_of_malloc() == []
    assert program.end() == "well\n"


def test_a_budget(run, built, attach, tmp_path):
    program = run(built(THREADS))
    _, said = attach(program, "--budget", "100K")
    assert "until the trace reached its budget of 102,400 bytes" in said
    assert program.end() == "well\n"


def test_samples_one_after_the_other(run, built, tmp_path):
    """Their estimates of 100 million bytes, of which half stay, are right."""
    program = run(built(ROUNDS))
    for turn, rate in enumerate((64 << 10, 256 << 10)):
        process = attached(program, tmp_path, "--sample", f"{rate >> 10}K")
        (tmp_path / f"go{turn}").touch()
        wait_for(tmp_path / f"done{turn}")
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 0, said
        with TraceFile(tmp_path / "x.hwt") as trace:
            assert trace.header["processes"][0]["sample"] == rate
            estimate = requested(trace)
        assert abs(estimate.value - 100_000_000) < 5 * estimate.error < 30_000_000
        events = open_trace(tmp_path / "x.hwt").events
        check(events)
        left = live_figures(events, rate)["live_bytes_at_end"]
        assert abs(left - 50_000_000) < 5 * estimate.error
        assert program.words_of_malloc() == []
    assert program.end() == "well\n"
