"""`heapwright attach`: other users' programs, the end of a recording, and what is refused."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from running import BECOMES, BUSY, IDLE, THREADS, attached

from heapwright.traces.importers import open_trace

pytestmark = pytest.mark.long

pytest.importorskip("numba")


# --- other users

NOBODY = 65534
ASKING = "import os, time\nwhile os.getppid() == {}:\n    block = bytes(100_000)\n    time.sleep(0.001)\n"
AS_NOBODY = """
import os, sys
from heapwright import cli
import difflib, heapwright.cli.attach, heapwright.cli.commands
import heapwright.lab.attach, heapwright.lab.collector, heapwright.lab.inspect
os.setgroups([]), os.setgid(65534), os.setuid(65534)
sys.argv = ["heapwright", "attach", *sys.argv[1:]]
cli.main()
"""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")


@pytest.fixture
def of_nobody():
    """A program of user nobody. Its interpreter must be one that everybody may run."""
    source = ASKING.format(os.getpid())
    program = subprocess.Popen(["/usr/bin/python3", "-c", source], user=NOBODY, group=NOBODY, extra_groups=[], cwd="/")
    time.sleep(0.3)
    yield program
    program.kill()
    program.wait()


@needs_root
@pytest.mark.skipif(not os.access("/usr/bin/python3", os.X_OK), reason="/usr/bin/python3 is not there")
def test_root_records_a_program_of_another_user(of_nobody, attach):
    """The ring and the recorder lie where that user can open them."""
    trace, _ = attach(of_nobody, "--for", "1")
    assert 100_000 < trace.events.size.max() < 110_000
    assert of_nobody.poll() is None


@needs_root
def test_another_users_program_is_refused(run, built, tmp_path):
    program = run(built(IDLE))
    command = [sys.executable, "-c", AS_NOBODY, str(program.pid), "-o", "/tmp/of-nobody.hwt"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        f"heapwright: process {program.pid} (program) may not be read: "
        "it belongs to user 0: run as that user, or as root\n"
    )
    assert program.end() == "well\n"


# --- ends


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_recording(run, built, tmp_path, number):
    program = run(built(THREADS))
    process = attached(program, tmp_path)
    process.send_signal(number)
    assert process.wait(60) == 0
    assert len(open_trace(tmp_path / "x.hwt").events)
    assert program.words_of_malloc() == []
    assert program.end() == "well\n"


def test_the_program_survives_a_killed_attach_and_can_be_recorded_again(run, built, attach, tmp_path):
    program = run(built(THREADS))
    process = attached(program, tmp_path)
    process.kill()
    process.wait()
    assert program.words_of_malloc()
    time.sleep(2)
    trace, _ = attach(program)
    assert len(trace.events)
    assert program.words_of_malloc() == []
    assert program.end() == "well\n"


def test_the_program_ends_first(run, built, tmp_path):
    program = run(built(THREADS))
    process = attached(program, tmp_path, "--for", "100")
    assert program.end() == "well\n"
    assert process.wait(60) == 0
    assert open_trace(tmp_path / "x.hwt").summary().live_bytes_at_end == 4096  # of puts


def test_the_program_becomes_another(run, built, tmp_path, compiled):
    program = run(built(BECOMES), shutil.which("sleep"))
    process = attached(program, tmp_path, "--for", "100")
    (tmp_path / "stop").touch()
    assert process.wait(60) == 0
    assert len(open_trace(tmp_path / "x.hwt").events)


KILLED = """
import os, sys
from heapwright.live.borrow import borrowed
from heapwright.live.process import Process
from heapwright.live.safety import Places
process = Process(int(sys.argv[1]))
with borrowed(process) as thread:
    thread.call(Places(process).libc.address_of("getpid"))
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("source", [THREADS, IDLE, BUSY])
def test_the_program_survives_if_we_are_killed_while_a_thread_is_borrowed(run, built, source):
    program = run(built(source))
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", KILLED, str(program.pid)], check=False)
        assert done.returncode == -signal.SIGKILL
    assert program.end() == "well\n"


# --- refusals


def refused_for(heapwright, program, tmp_path, **options):
    done = heapwright("attach", program, "-o", tmp_path / "x.hwt", **options)
    assert done.returncode == 2 and not (tmp_path / "x.hwt").exists()
    return done.stderr.removeprefix("heapwright: ")


def test_a_static_program(run, built, heapwright, tmp_path):
    program = run(built(IDLE, "-static"))
    said = refused_for(heapwright, program.pid, tmp_path)
    assert said == (
        f"process {program.pid} (program) cannot be recorded: it is statically linked, so nothing can be preloaded\n"
    )
    assert program.end() == "well\n"


def test_a_program_that_is_being_recorded(run, built, heapwright, tmp_path):
    program = run(built(THREADS))
    process = attached(program, tmp_path)
    (tmp_path / "y").mkdir()
    said = refused_for(heapwright, program.pid, tmp_path / "y")
    assert said == f"process {program.pid} (program) cannot be recorded: it is being recorded already\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert program.end() == "well\n"


def test_a_program_under_a_debugger(run, built, heapwright, tmp_path):
    from heapwright.live.pause import SEIZE, call

    program = run(built(IDLE))
    assert call(SEIZE, program.pid, 0)
    said = refused_for(heapwright, program.pid, tmp_path)
    assert f"process {os.getpid()} traces it already" in said
    program.end()


def test_no_such_process(heapwright, tmp_path):
    assert refused_for(heapwright, "4194304", tmp_path) == "there is no process 4194304\n"
