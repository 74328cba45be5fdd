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
from heapwright.traces.format import TraceFile
from heapwright.traces.importers import open_trace
from heapwright.traces.sampling import live_figures, requested

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
# On each word it asks for 200,000 blocks of 500 bytes, half of which it keeps until the next one.
ROUNDS = """
int main(void) {
    static void *kept[100000];
    char name[] = "go0", done[] = "done0";
    while (access("stop", F_OK)) {
        usleep(1000);
        if (access(name, F_OK)) continue;
        for (int i = 0; i < 100000; i++) free(kept[i]), kept[i] = malloc(500), free(malloc(500));
        fclose(fopen(done, "w"));
        name[2]++, done[4]++;
    }
    puts("well");
    return 0;
}
"""
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
        modules = process.modules()
        recorders = [each for each in modules if "recorder-" in each.path or "sampler-" in each.path]
        slots = Slots(frozenset(MALLOC))
        return [
            (module.path, slot.name)
            for module in modules
            for recorder in recorders
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


# --- other users

NOBODY = 65534
ASKING = "import os, time\nwhile os.getppid() == {}:\n    block = bytes(100_000)\n    time.sleep(0.001)\n"
AS_NOBODY = """
import os, sys
from heapwright import cli
import heapwright.cli.attach, heapwright.lab.attach, heapwright.lab.collector, heapwright.lab.inspect
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


def wait_for(path):
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


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
