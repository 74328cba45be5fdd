"""What cannot be read is said in one line that names the wall and what to do."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

import heapwright.live.look as look_module
from heapwright.lab.inspect import inspect
from heapwright.live.findings import Options
from heapwright.live.process import Process
from heapwright.live.walls import Facts, reason

pytestmark = pytest.mark.long

FREE = Facts(1000, False, False, 1000, 1000, True, 0)
ROOT = os.getuid() == 0


@pytest.mark.parametrize(
    ("facts", "wall", "remedy"),
    [
        (FREE._replace(scope=1), "ptrace_scope is 1", "sysctl"),
        (FREE._replace(scope=2), "ptrace_scope is 2", "run as root"),
        (FREE._replace(scope=3, has_capability=True, reader=0), "ptrace_scope is 3", "next boot"),
        (FREE._replace(owner=7, shown_owner=7), "belongs to user 7", "as that user"),
        (FREE._replace(shown_owner=0), "not dumpable", "as root"),
        (FREE._replace(same_namespace=False), "another user namespace", "on the host"),
        (FREE._replace(reader_is_filtered=True), "seccomp", "--cap-add=SYS_PTRACE"),
        (FREE._replace(reader=0, owner=0, shown_owner=0), "lacks CAP_SYS_PTRACE", "--cap-add=SYS_PTRACE"),
        (FREE._replace(reader=0, has_capability=True), "security module", "dmesg"),
        (FREE, "the kernel refuses", "as root"),
    ],
)
def test_each_wall_has_a_name_and_a_remedy(facts, wall, remedy):
    assert wall in reason(facts)
    assert remedy in reason(facts)
    assert "\n" not in reason(facts)


def one_line(done, *words):
    """The command ended with status 2 and one line that has these words."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr
    return done.stderr


def test_a_process_that_is_not_there(heapwright):
    one_line(heapwright("inspect", 4194303), "there is no process 4194303")


def test_a_name_that_nobody_has(heapwright):
    one_line(heapwright("inspect", "no-such-program"), "no process named 'no-such-program'")


def test_a_name_that_several_have(heapwright):
    name = shutil.copy(shutil.which("cat"), "/tmp/heapwright-cat")
    started = [subprocess.Popen([name], stdin=subprocess.PIPE) for _ in range(2)]
    try:
        one_line(heapwright("inspect", "heapwright-cat"), "2 processes are named", str(started[0].pid))
    finally:
        for each in started:
            each.kill()
            each.wait()
            each.stdin.close()
        os.unlink(name)


def test_a_process_goes_before_a_file_of_its_name(heapwright, tmp_path):
    name = shutil.copy(shutil.which("cat"), tmp_path / "heapwright-dog")
    running = subprocess.Popen([name], stdin=subprocess.PIPE)
    time.sleep(0.2)
    done = heapwright("inspect", "heapwright-dog", cwd=tmp_path)
    running.communicate()
    assert (done.returncode, done.stderr) == (0, "")
    assert f"(process {running.pid})" in done.stdout
    one_line(heapwright("inspect", "heapwright-dog", cwd=tmp_path), "not a core file")


def test_a_process_that_has_ended_but_was_not_waited_for(heapwright):
    process = subprocess.Popen(["true"])
    time.sleep(0.3)
    one_line(heapwright("inspect", process.pid), "ended")
    process.wait()


@pytest.mark.skipif(not os.path.exists("/proc/2/comm"), reason="kernel threads are not seen from here")
def test_a_kernel_thread(heapwright):
    assert heapwright("inspect", 2).returncode == 2


def inspect_as_nobody(target):
    """The command as user nobody, who need not be allowed to read this project's folder: it is loaded before."""
    code = (
        "import heapwright.cli.inspect, heapwright.lab.inspect, heapwright.pictures.memory, os, sys\n"
        "from heapwright.cli import main\n"
        "os.setgid(65534); os.setuid(65534); sys.argv = ['heapwright', 'inspect', sys.argv[1]]; main()"
    )
    return subprocess.run([sys.executable, "-c", code, str(target)], capture_output=True, text=True, check=False)


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
def test_somebody_elses_process():
    running = subprocess.Popen(["sleep", "60"])
    try:
        one_line(inspect_as_nobody(running.pid), "may not be read", "belongs to user 0")
    finally:
        running.kill()
        running.wait()


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
def test_a_process_that_is_not_dumpable():
    running = subprocess.Popen(["sleep", "60"], user=65534, group=65534)
    undumpable = subprocess.Popen(
        ["/usr/bin/python3", "-c", "import ctypes, time; ctypes.CDLL(None).prctl(4, 0); time.sleep(60)"],
        user=65534,
        group=65534,
    )
    try:
        time.sleep(1)
        one_line(inspect_as_nobody(undumpable.pid), "not dumpable", "run as root")
    finally:
        for each in (running, undumpable):
            each.kill()
            each.wait()


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
def test_a_reader_in_a_user_namespace_of_its_own():
    if not shutil.which("unshare") or subprocess.run(["unshare", "-Ur", "true"], check=False).returncode:
        pytest.skip("the kernel refuses new user namespaces")
    running = subprocess.Popen(["sleep", "60"], user=65534, group=65534)
    command = ["unshare", "-Ur", sys.executable, "-m", "heapwright", "inspect", str(running.pid)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        one_line(done, "may not be read", "another user namespace than heapwright", "on the host")
    finally:
        running.kill()
        running.wait()


def test_a_cache_that_may_not_be_read_does_not_matter(monkeypatch, tmp_path):
    """As with sudo, which may leave $HOME as it was: the heap is walked by the interpreter then."""
    library = tmp_path / "chunks.so"  # the loader refuses an empty file as it does one that may not be read
    library.touch()
    monkeypatch.setattr("heapwright.lab.inspect.has_functions_library", lambda module: True)
    monkeypatch.setattr("heapwright.lab.inspect.functions_library", lambda module: library)
    running = subprocess.Popen(["sleep", "60"])
    try:
        time.sleep(0.2)
        assert inspect(running.pid).heaps[0].library.endswith("libc.so.6")
    finally:
        running.kill()
        running.wait()


# --- files that are no cores


def test_a_file_that_is_no_core(heapwright, tmp_path):
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty").touch()
    one_line(heapwright("inspect", tmp_path / "text"), "is not an ELF file")
    one_line(heapwright("inspect", tmp_path / "empty"), "it is empty")
    one_line(heapwright("inspect", tmp_path / "missing"), "cannot be read", "No such file")
    one_line(heapwright("inspect", sys.executable), "not a core file")


def test_a_core_of_another_machine(heapwright, tmp_path):
    header = bytearray(64)
    header[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<HH", header, 16, 4, 183)
    (tmp_path / "arm.core").write_bytes(header)
    one_line(heapwright("inspect", tmp_path / "arm.core"), "AArch64", "64-bit x86 only")
    header[4] = 1
    struct.pack_into("<HH", header, 16, 4, 3)
    (tmp_path / "old.core").write_bytes(header)
    one_line(heapwright("inspect", tmp_path / "old.core"), "32-bit x86")


@pytest.fixture
def core(tmp_path, python):
    """A core of the example with threads, made by the kernel or by gcore."""
    if not shutil.which("gcore"):
        pytest.skip("gcore is not installed (Debian: gdb)")
    running = python("threads.py", PYTHONMALLOC="malloc")
    subprocess.run(["gcore", "-o", tmp_path / "core", str(running.pid)], capture_output=True, check=True, cwd=tmp_path)
    return running, tmp_path / f"core.{running.pid}"


def test_a_core_tells_the_same_as_the_process(core, heapwright):
    import json

    running, path = core
    live = json.loads(heapwright("inspect", running.pid, "--json").stdout)
    dead = json.loads(heapwright("inspect", path, "--json").stdout)
    assert dead["pid"] == running.pid
    assert dead["resident_bytes"] is None and dead["returnable_bytes"] is None
    assert dead["parts"]["free_pages"] is None
    for part in ("live", "mapped", "cached", "overhead"):
        assert dead["parts"][part] == live["table"][part]["virtual"]
    assert len(dead["arenas"]) == len(live["arenas"]) == 5
    assert bytes_objects(dead) == bytes_objects(live)
    assert not dead["damage"]
    size = path.stat().st_size
    os.truncate(path, size // 2)
    one_line(heapwright("inspect", path), "is truncated", f"{size // 2:,} bytes")


def bytes_objects(report):
    return {group["size_class"]: group["blocks"] for group in report["pins"] if group["kind"] == "Python bytes"}


# --- nothing changes


def test_looking_brings_no_page_in(program, compiled, heapwright):
    text = (
        "#include <stdio.h>\n#include <stdlib.h>\nint main(void) { char *p = malloc(100 << 20), *q = malloc(60000);\n"
        'p[50 << 20] = q[0] = 1; puts("ready"); fflush(stdout); return getchar(); }\n'
    )
    running = program(compiled("sparse.c", text))

    def resident():
        with open(f"/proc/{running.pid}/smaps_rollup") as lines:
            return next(line for line in lines if line.startswith("Rss"))

    while state_of(running.pid) != "S":  # it reads its first line, for which it touches a page
        time.sleep(0.05)
    before = resident()
    assert heapwright("inspect", running.pid).returncode == 0
    assert resident() == before


def test_a_program_runs_on_when_the_onlooker_dies(python):
    running = python("arenas.py")
    code = (
        "import sys, time; from heapwright.live.process import Process; from heapwright.live.pause import Pauses\n"
        "with Pauses(Process(int(sys.argv[1]))).paused():\n    print('held', flush=True); time.sleep(60)"
    )
    onlooker = subprocess.Popen([sys.executable, "-c", code, str(running.pid)], stdout=subprocess.PIPE, text=True)
    onlooker.stdout.readline()
    assert state_of(running.pid) == "t"
    onlooker.send_signal(signal.SIGKILL)
    onlooker.wait()
    onlooker.stdout.close()
    assert int(running.ask("trim")) >= 0
    assert state_of(running.pid) != "t"


def state_of(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def test_without_pause_nothing_stops(python, heapwright):
    import json

    running = python("arenas.py")
    found = json.loads(heapwright("inspect", running.pid, "--no-pause", "--json").stdout)
    assert found["pause"] is None
    assert found["python"]["arenas"] > 10


BUSY = """
import sys
print("ready", flush=True)
kept = []
while True:
    kept.append(bytes(3000))
    if len(kept) > 30000:
        kept = kept[::2]
"""


def test_a_busy_heap_is_read_whole_under_a_pause_and_told_as_changed_without(program, heapwright):
    running = program(sys.executable, "-c", BUSY, PYTHONMALLOC="malloc")
    time.sleep(0.5)
    for _ in range(3):
        done = heapwright("inspect", running.pid)
        assert done.returncode == 0, done.stdout
        assert "damaged" not in done.stdout
    unpaused = heapwright("inspect", running.pid, "--no-pause")
    assert "stood still" not in unpaused.stdout
    assert unpaused.returncode in (0, 1)


def test_a_process_that_is_traced_already_is_read_without_a_pause(python, heapwright):
    running = python("arenas.py")
    code = (
        "import sys; from heapwright.live.pause import SEIZE, call\n"
        "print(call(SEIZE, int(sys.argv[1]), 0), flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(running.pid)]
    tracer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert tracer.stdout.readline() == "True\n"
    done = heapwright("inspect", running.pid)
    assert f"note: process {tracer.pid} traces it already, so it was not paused" in done.stdout
    tracer.communicate()


def test_neither_numba_nor_a_compiler_is_needed(python):
    code = (
        "import sys; sys.modules['numba'] = sys.modules['llvmlite'] = None\n"
        "from heapwright.lab.inspect import inspect; print(inspect(sys.argv[1]).python.arenas)"
    )
    command = [sys.executable, "-c", code, str(python("arenas.py").pid)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10


# --- a heap in use


def test_what_changed_under_a_look_without_a_pause_is_told(program, compiled, monkeypatch):
    running = program(compiled("leak.c"))
    look_once = look_module.look_once

    def look_and_go_on(*arguments):
        look = look_once(*arguments)
        running.ask("more")
        return look

    monkeypatch.setattr(look_module, "look_once", look_and_go_on)
    said = "main arena changed while it was read: its top moved, and it grew by"
    look = look_module.look_at(Process(running.pid), options=Options(pause=False))
    assert [note for note in look.notes if note.startswith(said)] and look.pauses.count == 0
    assert not look_module.look_at(Process(running.pid)).notes


@pytest.mark.skipif(not ROOT, reason="only root may write another process's memory without tracing it")
@pytest.mark.parametrize("is_let_go", [True, False])
def test_a_locked_arena_is_read_once_it_is_let_go(is_let_go, program, compiled, monkeypatch):
    """The program stands still only while the lock is looked at; then it runs on, and has some time to let go."""
    running = program(compiled("leak.c"))
    running.ask("more")  # with its first line it gets a buffer too
    whole = look_module.look_at(Process(running.pid))
    mutex = whole.chunks[0].arena.address
    waits = []

    def lock(value):
        with open(f"/proc/{running.pid}/mem", "r+b", buffering=0) as memory:
            memory.seek(mutex)
            memory.write(struct.pack("<i", value))

    def wait(seconds):
        waits.append(state_of(running.pid))
        if is_let_go and len(waits) == 2:
            lock(0)

    lock(1)
    monkeypatch.setattr("heapwright.live.glibc.heap.time", SimpleNamespace(sleep=wait))
    look = look_module.look_at(Process(running.pid))
    lock(0)
    assert waits and "t" not in waits
    assert look.arenas[0].was_held != is_let_go
    assert (look.pauses.count == len(waits) + 1) and (len(waits) == 2) == is_let_go
    assert any("main arena was locked" in note for note in look.notes) != is_let_go
    assert look.arenas[0].live_bytes == whole.arenas[0].live_bytes
