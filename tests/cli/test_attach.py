"""`heapwright attach`: programs that run already, and run on as before."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from heapwright.traces.events import check
from heapwright.traces.importers import open_trace

pytest.importorskip("numba")

HEAD = "#include <stdlib.h>\n#include <stdio.h>\n#include <unistd.h>\n#include <pthread.h>\n#include <sys/wait.h>\n"
# Threads allocate most of the time, and print a line at the end if all was well.
THREADS = """
static void *work(void *argument) {
    void *kept[64] = {0};
    unsigned seed = (long)argument;
    while (access("stop", F_OK)) {
        for (int i = 0; i < 1000; i++) {
            seed = seed * 1664525u + 1013904223u;
            free(kept[seed >> 26]);
            kept[seed >> 26] = malloc(1 + (seed >> 8 & 1023));
        }
        usleep(2000);
    }
    for (int i = 0; i < 64; i++) free(kept[i]);
    return 0;
}
int main(void) {
    pthread_t threads[3];
    for (long i = 0; i < 3; i++) pthread_create(threads + i, 0, work, (void *)i);
    for (long i = 0; i < 3; i++) pthread_join(threads[i], 0);
    puts("well");
    return 0;
}
"""
IDLE = 'int main(void) { while (access("stop", F_OK)) { free(malloc(100)); sleep(1); } puts("well"); return 0; }\n'
BUSY = """
int main(void) {
    volatile double sum = 0;
    for (long i = 1; i % 10000000 || access("stop", F_OK); i++) {
        sum += 1.0 / i;
        if (i % 1000000 == 0) free(malloc(77));
    }
    puts(sum > 10 ? "well" : "wrong");
    return 0;
}
"""
FORKS = """
int main(void) {
    while (access("stop", F_OK)) {
        usleep(10000);
        void *volatile block = malloc(33);
        if (fork() == 0) { free(block), block = malloc(44); _exit(0); }
        wait(0), free(block);
    }
    puts("well");
    return 0;
}
"""
LOADS = """
#include <dlfcn.h>
int main(int count, char **arguments) {
    void *library = 0;
    while (access("stop", F_OK)) {
        if (!library && !access("load", F_OK)) library = dlopen(arguments[1], RTLD_LAZY);
        if (library) ((void (*)(void))dlsym(library, "ask"))();
        free(malloc(55));
        usleep(1000);
    }
    puts("well");
    return 0;
}
"""
BECOMES = """
int main(int count, char **arguments) {
    while (access("stop", F_OK)) free(malloc(88)), usleep(1000);
    return execl(arguments[1], "sleep", "100", (char *)0);
}
"""
ASKS = "#include <stdlib.h>\nvoid ask(void) { static void *volatile block; free(block); block = malloc(66); }\n"
PYTHON = """
import os, time
class Row: pass
def load_rows():
    return [bytes(3000 + n) for n in range(100)]
while not os.path.exists("stop"):
    load_rows()
    time.sleep(0.001)
print("well")
"""


class Running:
    """A program that runs until it is told to stop, in a folder."""

    def __init__(self, folder, *command, **options):
        self.folder = folder
        self.process = subprocess.Popen(
            list(map(str, command)), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
        )
        self.pid = self.process.pid

    def end(self):
        """Stop it; what it printed."""
        (self.folder / "stop").touch()
        return self.process.communicate(timeout=60)[0]

    def words_of_malloc(self):
        """Whether a module of the program still leads to the recorder."""
        from heapwright.lab.attach import MALLOC
        from heapwright.live.process import Process
        from heapwright.live.slots import Slots

        process = Process(self.pid)
        recorder = next((each for each in process.modules() if "recorder-" in each.path), None)
        if recorder is None:
            return []
        slots = Slots(frozenset(MALLOC))
        return [
            (module.path, slot.name)
            for module in process.modules()
            for slot in slots.of(module)
            if int.from_bytes(process.read(module.bias + slot.address, 8), "little") == recorder.address_of(slot.name)
        ]


@pytest.fixture
def run(tmp_path):
    """Start a program."""
    started = []

    def start(*command, **options):
        started.append(Running(tmp_path, *command, **options))
        time.sleep(0.2)
        return started[-1]

    yield start
    for each in started:
        with suppress(ProcessLookupError):
            each.process.kill()
        each.process.wait()


@pytest.fixture
def attach(heapwright, tmp_path):
    """Record a running program; the trace, and what was said."""

    def record(program, *options, status=0):
        done = heapwright("attach", program.pid, "-o", tmp_path / "x.hwt", *(options or ("--for", "1")))
        assert done.returncode == status, done.stderr
        trace = open_trace(tmp_path / "x.hwt")
        for each in trace.processes:
            check(each.events)
        return trace, done.stderr

    return record


@pytest.fixture
def built(compiled):
    return lambda source, *options: compiled(HEAD + source, "-pthread", *options)


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


# --- ends


def attached(program, tmp_path, *options):
    """Attach in the background. The process, when it records."""
    command = [sys.executable, "-m", "heapwright", "attach", str(program.pid), "-o", str(tmp_path / "x.hwt"), *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not program.words_of_malloc():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    time.sleep(0.3)
    return process


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
