"""The layer `guarded`, compiled: the report, the end by SIGSEGV, and the program's own handlers."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
from call_graph import ANYTHING, call_graph

from heapwright.native.library import library_of

ALL = "guarded[RATE=1,RIGHT=100](kr)"  # each request, at the right end of its page
PAGE, SLACK = 4096, 12  # bytes; the slack is that of 100 bytes
SIGNALLED = -signal.SIGSEGV
INSIDE_MALLOC = {
    "__libc_single_threaded": "data",
    "__libc_stack_end": "data",
    "__errno_location": "the address of a word that each thread has from its start",
    "__sigaction": "a system call",
    "_dl_find_object": "made for unwinders: it takes no lock, and may be called in a signal handler",
    "madvise": "a system call",
    "abort": "as in tests/native/test_imports.py",
    "memcpy": "bytes",
    "memmove": "bytes",
    "memset": "bytes",
    "mmap": "a system call",
    "mprotect": "a system call",
    "munmap": "a system call",
    "pthread_getcpuclockid": "a word of the C library's record of the thread",
    "pthread_self": "a register",
    "raise": "a system call, in the handler, whose address malloc takes",
    ANYTHING: "the program's handler, which ours calls",
    "pthread_setspecific": "as in tests/native/test_imports.py",
    "sbrk": "a system call, and a word of the C library",
    "syscall": "a system call",
}


@pytest.fixture
def guarded(preloaded):
    """Run the C program; its exit status, the addresses that it printed, and the lines of the report."""

    def run(*steps, size=100, **options):
        done = preloaded(ALL, "guarded", size, *steps, **options)
        return done.returncode, re.findall(r"^(\w+) (\S+)", done.stdout, re.M), done.stderr.splitlines()

    return run


def place_of(block, offset):
    return f"{int(block, 16) + offset:#x}"


def report_of(lines):
    """The report without the lines of call stacks, and the program's own places in these."""
    told = [line.removeprefix("heapwright: kr: ") for line in lines]
    return [line for line in told if line[0] != " "], [line.strip() for line in told if line[0] == " "]


# --- the report


@pytest.mark.parametrize("step", ["read", "write"])
@pytest.mark.parametrize(
    ("offset", "told"),
    [
        (100 + SLACK, f"overflow: {{}}: {SLACK} bytes after the end of the"),
        (100 + SLACK + PAGE - 1, f"overflow: {{}}: {SLACK + PAGE - 1} bytes after the end of the"),
        (100 + SLACK - PAGE - 1, "underflow: {}: 3985 bytes before the"),
    ],
)
def test_an_access_beside_a_block(guarded, step, offset, told):
    status, [(_, block)], lines = guarded(f"{step}:{offset}")
    heads, places = report_of(lines)
    assert status == SIGNALLED
    assert heads[0] == f"{told.format(place_of(block, offset))} block at {block} (100 bytes)"
    assert [re.sub(r"\d+", "N", head) for head in heads[1:]] == ["accessed by thread N", "allocated by thread N"]
    assert sum("/guarded" in place for place in places) >= 4  # take, follow and main; main


@pytest.mark.parametrize("offset", [0, 99, 100, -(PAGE - 112)])
def test_an_access_to_a_freed_block(guarded, offset):
    status, [(_, block)], lines = guarded("free:0", f"write:{offset}")
    heads, _ = report_of(lines)
    assert status == SIGNALLED
    assert heads[0].startswith(f"use after free: {place_of(block, offset)}: ")
    assert [head.partition(" ")[0] for head in heads[1:]] == ["accessed", "allocated", "freed"]


def test_a_block_of_a_page_of_a_byte_and_of_none(guarded):
    for size, offset, told in ((PAGE, PAGE, "0 bytes after"), (1, 16, "15 bytes after"), (0, 16, "16 bytes after")):
        status, _, lines = guarded(f"write:{offset}", size=size)
        assert status == SIGNALLED
        assert told in lines[0]


def test_each_thread_is_named(guarded):
    _, _, lines = guarded("thread", "free:0", "thread", "read:3")
    heads, places = report_of(lines)
    threads = [head.rpartition(" ")[2] for head in heads[1:]]
    assert len(threads) == len(set(threads)) == 3
    assert any("libc" in place for place in places)


def test_the_places_are_the_programs_lines(guarded, compiled):
    if shutil.which("addr2line") is None:
        pytest.skip("addr2line (binutils) is not installed")
    _, _, lines = guarded("free:0", "read:0")
    _, places = report_of(lines)
    program = str(compiled("guarded"))
    own = [place.rpartition("+")[2] for place in places if place.startswith(program)]
    done = subprocess.run(["addr2line", "-f", "-e", program, *own], capture_output=True, text=True, check=True)
    functions = done.stdout.splitlines()[::2]
    assert functions[0] == "take"
    assert functions.count("main") >= 3
    assert len(own) == len(functions)


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        (["free:0", "free:0"], "double free: {} (100 bytes)"),
        (["free:16"], "no block begins here: {}"),
        ([f"free:{PAGE}"], "not a block of this heap: {}"),
    ],
)
def test_what_is_freed_wrongly_is_reported(guarded, steps, told):
    status, [(_, block)], lines = guarded(*steps)
    offset = int(steps[-1].partition(":")[2])
    assert (status, lines[0]) == (-signal.SIGABRT, f"heapwright: kr: {told.format(place_of(block, offset))}")


def test_a_double_free_names_who_allocated_and_who_freed_first(guarded):
    status, _, lines = guarded("thread", "free:0", "thread", "free:0")
    heads, places = report_of(lines)
    assert status == -signal.SIGABRT
    assert [re.sub(r"\d+$", "N", head) for head in heads[1:]] == [
        "called by thread N", "allocated by thread N", "freed by thread N",
    ]  # fmt: skip
    assert len({head.rpartition(" ")[2] for head in heads[1:]}) == 3
    assert sum("/guarded" in place for place in places) >= 6  # in each thread: the step, and what called it


def test_a_free_inside_a_live_block_names_who_allocated_it(guarded):
    heads, _ = report_of(guarded("free:16")[2])
    assert [head.partition(" ")[0] for head in heads[1:]] == ["called", "allocated"]


def test_a_free_beside_all_blocks_names_nobody(guarded):
    assert len(guarded(f"free:{PAGE}")[2]) == 1


# --- what is missed


@pytest.mark.parametrize("steps", [["write:111"], ["read:-3984"], ["calloc:5000", "write:5000"]])
def test_what_is_missed(guarded, steps):
    status, _, lines = guarded(*steps)
    assert (status, lines) == (0, [])


def test_a_system_call_fails_and_is_not_reported(guarded):
    assert guarded(f"pass:{100 + SLACK + 1}")[1][1] == ("pass", "EFAULT")


# --- the program's own handlers


@pytest.mark.parametrize(("kind", "status"), [("info", 42), ("plain", 42), ("signal", 42)])
@pytest.mark.parametrize("where", [[], ["thread"], ["fork"]])
def test_the_programs_handler_runs_after_the_report(guarded, kind, status, where):
    found, told, lines = guarded(kind, *where, "write:112")
    assert found == status
    assert "12 bytes after the end" in lines[0]
    assert told[1] == ("handler", place_of(told[0][1], 112) if kind == "info" else "(nil)")
    assert len(told) == 2


@pytest.mark.parametrize("kind", ["info", "plain", "signal"])
@pytest.mark.parametrize("step", ["own", "raise"])
def test_the_programs_handler_has_the_other_faults_alone(guarded, kind, step):
    status, _, lines = guarded(kind, step)
    assert (status, lines) == (42, [])


@pytest.mark.parametrize("step", ["own", "raise"])
@pytest.mark.parametrize("kinds", [[], ["info", "default"]])
def test_without_a_handler_the_program_ends(guarded, kinds, step):
    status, _, lines = guarded(*kinds, step)
    assert (status, lines) == (SIGNALLED, [])


def test_an_ignored_signal_is_ignored_and_a_fault_is_not(guarded):
    assert guarded("ignore", "raise")[0] == 0
    assert guarded("ignore", "own")[0] == SIGNALLED
    status, _, lines = guarded("ignore", "write:112")
    assert status == SIGNALLED
    assert lines


def test_a_handler_for_once_runs_once(guarded):
    """It returns; the access faults again, now by default."""
    status, told, lines = guarded("once", "write:112")
    assert (status, [name for name, _ in told]) == (SIGNALLED, ["block", "handler"])
    assert sum("overflow" in line for line in lines) == 1


def test_a_handler_that_jumps_away_may_do_so_again(guarded):
    status, told, lines = guarded("jump", "write:112", "write:113", "own", "read:0")
    assert (status, [name for name, _ in told]) == (0, ["block", "handler", "handler", "handler", "read"])
    assert sum("overflow" in line for line in lines) == 2


def test_the_program_finds_its_own_handler(guarded):
    _, told, _ = guarded("kept", "info", "kept", "plain", "kept", "ignore", "kept", "default", "kept")
    assert [name for what, name in told if what == "kept"] == ["default", "info", "plain", "ignore", "default"]


# --- the library


def test_it_calls_only_what_is_safe():
    graph = call_graph(library_of(ALL))
    for export in ("malloc", "free", "calloc", "realloc", "memalign", "heapwright_on_fault"):
        assert graph.imports(export) <= set(INSIDE_MALLOC)


PYTHON = """
import faulthandler, json, sqlite3, subprocess, threading
faulthandler.enable()
def work():
    base = sqlite3.connect(":memory:")
    base.execute("create table t (a, b)")
    base.executemany("insert into t values (?, ?)", [(i, "x" * (i % 90)) for i in range(3000)])
    assert base.execute("select count(*), sum(length(b)) from t").fetchone()[0] == 3000
    assert json.loads(json.dumps({"a": list(range(1000))}))["a"][-1] == 999
threads = [threading.Thread(target=work) for _ in range(3)]
for each in threads: each.start()
for each in threads: each.join()
assert subprocess.run(["true"]).returncode == 0
print("unharmed")
"""


SPECS = ("guarded[RATE=1](hoard)", "guarded[RATE=1](ptmalloc)")


@pytest.mark.parametrize("spec", [ALL, *(pytest.param(spec, marks=pytest.mark.slow) for spec in SPECS)])
def test_python_and_sqlite_run_unharmed(spec):
    environment = {**os.environ, "LD_PRELOAD": str(library_of(spec)), "PYTHONMALLOC": "malloc"}
    done = subprocess.run([sys.executable, "-c", PYTHON], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "unharmed\n", "")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
@pytest.mark.parametrize("spec", [ALL, *SPECS])
def test_redis_runs_unharmed(spec, tmp_path):
    """It installs a handler of SIGSEGV itself."""
    socket = tmp_path / "s"
    command = ["redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--dir", tmp_path]
    environment = {**os.environ, "LD_PRELOAD": str(library_of(spec))}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        next(line for line in server.stdout if "Ready to accept" in line or "ready to accept" in line)
        load = ["redis-benchmark", "-s", socket, "-q", "-n", "3000", "-t", "set,get,lpush,lpop,sadd,hset", "-d", "200"]
        done = subprocess.run(load, capture_output=True, text=True, check=False)
        subprocess.run(["redis-cli", "-s", socket, "shutdown", "nosave"], check=True, capture_output=True)
        assert server.wait(20) == 0
    assert done.returncode == 0
