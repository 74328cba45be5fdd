"""Recordings that start and stop: by `heapwright control`, by the program, and when the trace has its size."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from heapwright.traces import raw
from heapwright.traces.conversion.state import CAPACITY
from heapwright.traces.events import ALLOC, DEALLOC, check
from heapwright.traces.format import TraceFile
from heapwright.traces.importers import open_trace
from heapwright.traces.sampling import requested

pytest.importorskip("numba")

HEAD = "#include <stdlib.h>\n#include <stdio.h>\n#include <pthread.h>\n#include <sys/wait.h>\n#include <unistd.h>\n"
# It allocates 100 blocks in each part. `early` is freed in the second one, when it is unknown.
PARTS = """
#include "recording.h"
static void *kept[100];
static void fill(int size) { for (int i = 0; i < 100; i++) kept[i] = malloc(size); }
static void empty(void) { for (int i = 0; i < 100; i++) free(kept[i]); }
int main(void) {
    void *volatile early = malloc(11), *volatile moved = malloc(12);
    printf("%ld", heapwright_stop());
    fill(100), empty();
    printf(" %ld", heapwright_start());
    printf(" %ld", heapwright_start());
    fill(200), free(early), moved = realloc(moved, 5000);
    printf(" %ld", heapwright_stop());
    empty(), fill(300), empty(), fill(400);
    printf(" %ld", heapwright_start());
    empty(), fill(500);
    printf(" %ld\\n", heapwright_stop());
    return 0;
}
"""
# Threads allocate all the time, while recording starts and stops as often as the argument says.
THREADS = """
#include "recording.h"
static volatile int is_done;
static void *work(void *argument) {
    void *kept[64] = {0};
    unsigned seed = (long)argument;
    while (!is_done) {
        seed = seed * 1664525u + 1013904223u;
        free(kept[seed >> 26]);
        kept[seed >> 26] = malloc(1 + (seed >> 8 & 1023));
        if ((seed >> 8 & 255) == 0) kept[seed >> 26] = realloc(kept[seed >> 26], 4000);
    }
    for (int i = 0; i < 64; i++) free(kept[i]);
    return 0;
}
int main(int count, char **arguments) {
    pthread_t threads[3];
    for (long i = 0; i < 3; i++) pthread_create(threads + i, 0, work, (void *)i);
    for (int i = 0; i < atoi(arguments[1]); i++) { heapwright_start(); usleep(500); heapwright_stop(); usleep(500); }
    is_done = 1;
    for (long i = 0; i < 3; i++) pthread_join(threads[i], 0);
    return 0;
}
"""
FORKS = """
#include "recording.h"
int main(void) {
    void *volatile block = malloc(11);
    if (fork() == 0) {
        heapwright_start();
        free(block), block = malloc(22);
        _exit(0);
    }
    wait(0);
    free(block), block = malloc(33);
    if (fork() == 0) free(block), block = malloc(44), _exit(0);
    wait(0);
    return 0;
}
"""
# Half of the blocks of each part stay until the next part.
SAMPLED = """
#include "recording.h"
static void *kept[100000];
static void ask(int size) {
    for (int i = 0; i < 100000; i++) free(kept[i]), kept[i] = malloc(size), free(malloc(size));
}
int main(void) {
    ask(600), heapwright_start(), ask(500), heapwright_stop();
    ask(700), heapwright_start(), ask(500), heapwright_stop();
    return 0;
}
"""
ENDLESS = 'int main(void) { for (;;) { free(malloc(24)); if (access("stop", F_OK) == 0) return 0; } }\n'


@pytest.fixture
def recorder(heapwright, tmp_path):
    """Record a program with a control file. The trace, and what was said after the summary."""

    def run(*command, options=("--control", "control")):
        done = heapwright("record", *options, "-o", "x.hwt", "--", *command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert not (tmp_path / "control").is_symlink()
        trace = open_trace(tmp_path / "x.hwt")
        for process in trace.processes:
            check(process.events)
        return trace, done

    return run


@pytest.fixture
def with_header(heapwright, compiled, tmp_path):
    """Compile a program that includes the header."""

    def make(source, *options):
        assert heapwright("control", "header", tmp_path / "recording.h").returncode == 0
        return compiled(HEAD + source, "-pthread", f"-I{tmp_path}", *options)

    return make


def sizes(trace, operation=ALLOC):
    events = trace.events
    return events.size[events.op == operation].tolist()


def test_the_program_starts_and_stops_its_recording(recorder, with_header, heapwright, tmp_path):
    trace, done = recorder(with_header(PARTS))
    assert done.stdout == "0 1 0 1 1 1\n"
    assert sizes(trace) == [200] * 100 + [500] * 100
    assert trace.processes[0].notes == {
        "frees of blocks from when nothing was recorded, left out": 101,
        "reallocs of blocks from when nothing was recorded, kept as new blocks": 1,
        "blocks whose end is not known: they were live when recording stopped, and end where it started again": 101,
    }
    assert trace.summary().live_blocks_at_end == 100
    said = [line.strip() for line in done.stderr.splitlines()[1:]]
    assert said[0].startswith("in 2 parts, from ") and said[0].endswith("; blocks from before are unknown")
    shown = heapwright("trace", "info", tmp_path / "x.hwt").stdout
    assert f"  recorded     {said[0]}\n" in shown


def test_a_program_without_the_recorder_is_told(with_header):
    done = subprocess.run([with_header(PARTS)], capture_output=True, text=True, check=True)
    assert done.stdout == "-1 -1 -1 -1 -1 -1\n"


def test_a_recording_without_control_takes_no_orders(recorder, with_header):
    trace, done = recorder(with_header(PARTS), options=())
    assert done.stdout == "-1 -1 -1 -1 -1 -1\n"
    assert {each: sizes(trace).count(each) for each in (100, 200, 300, 400, 500)} == dict.fromkeys(
        range(100, 501, 100), 100
    )
    assert "recorded" not in done.stderr


def test_threads_that_allocate_survive_any_number_of_starts(recorder, with_header):
    trace, done = recorder(with_header(THREADS), "200")
    assert len(trace.events) > 200
    assert "in 200 parts" in done.stderr
    assert "early" not in done.stderr and "damaged" not in done.stderr


def test_forks_in_a_pause_and_in_a_part(recorder, with_header):
    trace, _ = recorder(with_header(FORKS))
    first, second, third = sorted(trace.processes, key=lambda each: each.events.size.max())
    assert first.events.size.tolist() == [22]
    assert second.events.size.tolist() == [33]
    assert [*third.events.size.tolist()] == [33, 0, 44]  # what it inherited, its end, and the next
    assert {first.parent, third.parent} == {second.pid}
    assert {each.command for each in trace.processes} == {second.command}


@pytest.mark.long
def test_orders_from_outside(compiled, heapwright, tmp_path):
    command = [sys.executable, "-m", "heapwright", "record", "--control", "control", "-o", "x.hwt"]
    run = subprocess.Popen([*command, "--", compiled(HEAD + ENDLESS)], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        while not (tmp_path / "control").exists():
            assert run.poll() is None
            time.sleep(0.01)
        said = [heapwright("control", order, tmp_path / "control").stdout for order in ORDERS]
    finally:
        (tmp_path / "stop").touch()
        rest = run.communicate(timeout=100)[1]
    file = tmp_path / "control"
    states = "paused", "recording", "it is being recorded already", "recording", "paused", "it is paused already"
    assert said == [f"{file}: {state}\n" for state in states]
    assert "\n  from " in rest
    trace = open_trace(tmp_path / "x.hwt")
    assert set(sizes(trace)) == {24}
    assert abs(sizes(trace).count(24) - len(trace.events[trace.events.op == DEALLOC])) <= 1


ORDERS = "status", "start", "start", "status", "stop", "stop"


def test_a_run_that_is_never_recorded_says_so(refused, tmp_path):
    line = refused("record", "--control", tmp_path / "control", "-o", tmp_path / "x.hwt", "--", "true")
    assert line == "heapwright: nothing was recorded: true ran to its end before recording was started"


def test_wrong_control_files(refused, tmp_path):
    file = tmp_path / "file"
    assert refused("control", "start", file) == f"heapwright: no recording runs with the control file {file}"
    file.write_bytes(bytes(10))
    assert refused("control", "stop", file) == f"heapwright: no recording runs with the control file {file}"
    file.write_bytes(bytes(raw.HEADER_BYTES))
    assert refused("control", "status", file).startswith(f"heapwright: {file} is not the control file of a recording")
    assert file.read_bytes() == bytes(raw.HEADER_BYTES)
    line = refused("record", "--control", file, "-o", tmp_path / "x.hwt", "--", "true")
    assert line == f"heapwright: {file} exists: name a control file that does not, or remove it"


def test_the_control_file_of_a_killed_recording_is_replaced(recorder, with_header, tmp_path):
    (tmp_path / "control").symlink_to(f"/nowhere/1234{raw.SUFFIX}")
    trace, _ = recorder(with_header(PARTS))
    assert len(trace.events)


# --- Python

PYTHON = """
import heapwright
with heapwright.recording():
    with heapwright.recording():
        first = bytes(100_001)
    second = bytes(100_002)
third = bytes(100_003)
with heapwright.recording():
    fourth = bytes(100_004)
"""


def test_python_records_a_block_of_code(recorder):
    trace, done = recorder(sys.executable, "-c", PYTHON)
    large = [size for process in trace.processes for size in process.events.size.tolist() if size > 100_000]
    assert [size // 10 * 10 for size in large] == [100_030] * 3
    assert [size - large[0] for size in large] == [0, 1, 3]
    assert "  in 2 parts, from " in done.stderr


@pytest.mark.parametrize("options", [None, []])
def test_python_is_told_why_nothing_can_be_recorded(heapwright, tmp_path, options):
    program = sys.executable, "-c", "import heapwright\nwith heapwright.recording(): pass"
    if options is None:
        said = subprocess.run(program, capture_output=True, text=True, check=False).stderr
        assert (
            "UserError: nothing can be recorded: the program runs without the recorder: run the program under" in said
        )
    else:
        said = heapwright("record", "-o", tmp_path / "x.hwt", "--", *program).stderr
        assert "UserError: nothing can be recorded: the recording has ended, or takes no orders: run the" in said


# --- budget


@pytest.mark.long
def test_a_budget_ends_the_recording_not_the_program(recorder, with_header, heapwright, tmp_path):
    program = with_header(
        THREADS.replace("heapwright_start(); usleep(500); heapwright_stop(); usleep(500);", "usleep(1000);")
    )
    trace, done = recorder(program, "1500", options=("--budget", "200K"))
    assert 100 << 10 < (tmp_path / "x.hwt").stat().st_size < (200 << 10) + 4 * CAPACITY
    said = done.stderr.splitlines()[1]
    assert said.startswith("  from 0 s to ") and said.endswith(", until the trace reached its budget of 204,800 bytes")
    assert said.strip() in heapwright("trace", "info", tmp_path / "x.hwt").stdout
    assert not trace.notes()


def test_a_budget_that_suffices_is_not_told(recorder, with_header):
    _, done = recorder(with_header(PARTS), options=("--budget", "10M"))
    assert "budget" not in done.stderr


@pytest.mark.parametrize("size", ["0", "-1", "many", "1.5P", "K"])
def test_wrong_budgets(refused, tmp_path, size):
    line = refused("record", f"--budget={size}", "-o", tmp_path / "x.hwt", "--", "true")
    assert "is no number of bytes such as 500000, 512K, 1.5M or 2G" in line


def test_a_sample_of_some_parts(recorder, with_header, tmp_path):
    """200 million bytes are asked for while recording is on. Frees of blocks from a pause are left out."""
    trace, _ = recorder(with_header(SAMPLED), options=("--sample", "64K", "--control", "control"))
    assert set(trace.events.size[trace.events.op == ALLOC].tolist()) == {500}
    with TraceFile(tmp_path / "x.hwt") as file:
        estimate = requested(file)
    assert abs(estimate.value - 200_000_000) < 5 * estimate.error < 30_000_000
