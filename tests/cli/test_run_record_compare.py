"""The main job: run a program, record it, and compare allocators on the recording."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

ALLOCATE_THEN_DIE = """
import os, signal
kept = [bytes(2000 + i) for i in range(500)]
os.kill(os.getpid(), signal.SIGKILL)
"""
TWO = "import subprocess; subprocess.run(['ls', '/'])"
FORK_AND_THREADS = """
import os, threading
kept = [bytes(1000 + i) for i in range(300)]
threads = [threading.Thread(target=lambda: [bytes(3000) for _ in range(200)]) for _ in range(3)]
for each in threads: each.start()
for each in threads: each.join()
if os.fork() == 0:
    kept.clear()
    os.execv("/bin/ls", ["ls", "/"])
os.wait()
"""

HELP = """
import sys
from heapwright.cli import main
sys.argv = ["heapwright", "--help"]
try: main()
except SystemExit: pass
print(sorted({"numba", "numpy", "llvmlite", "rich"} & set(sys.modules)))
"""


def test_the_status_is_the_programs_own(heapwright):
    assert heapwright("run", "-a", "kr", "--", "sh", "-c", "exit 7").returncode == 7


def test_a_signal_gives_its_status_and_a_line(heapwright):
    done = heapwright("run", "-a", "kr", "--", "sh", "-c", "kill -SEGV $$")
    assert done.returncode == 128 + 11
    assert done.stderr == "heapwright: sh was ended by SIGSEGV\n"


def test_options_of_the_program_are_its_own(heapwright):
    assert heapwright("run", "-a", "kr", "echo", "--help", "-n", "x").stdout == "--help -n x\n"


def test_system_runs_without_a_library(heapwright):
    assert heapwright("run", "-a", "system", "--", "sh", "-c", "echo $LD_PRELOAD").stdout == "\n"


def test_stats_of_every_process(heapwright):
    done = heapwright("run", "-a", "kr", "--stats", "--json", "--", sys.executable, "-c", TWO)
    processes = json.loads(done.stdout[done.stdout.index("{") :])["processes"]
    assert [each["pid"] for each in processes] == sorted((each["pid"] for each in processes), reverse=True)
    assert len(processes) == 2
    for numbers in processes:
        assert numbers["allocs"] - numbers["deallocs"] == numbers["live_blocks"]
        for name in ("live_blocks", "live_bytes"):
            assert sum(each[name] for each in numbers["classes"]) == numbers[name]
        assert sum(each["requests"] for each in numbers["classes"]) == numbers["allocs"] + numbers["reallocs"]
        assert numbers["live_bytes"] <= numbers["peak_bytes"] <= numbers["peak_heap_bytes"]
        assert numbers["free_bytes"] + numbers["live_bytes"] < numbers["heap_bytes"]


def test_stats_are_a_line_and_a_row_for_each_class(heapwright):
    totals, head, *rows = heapwright("run", "-a", "kr", "--stats", "--", "ls", "/").stderr.splitlines()
    assert totals.startswith("[heapwright kr, process ") and ", shrinks 0, decommits 0" in totals
    assert head.split() == ["size", "up", "to", "live", "blocks", "live", "bytes", "requests"]
    sizes = [int(row.split()[0].replace(",", "")) for row in rows]
    assert sizes[0] == 16
    assert sizes == sorted(size for size in sizes if size.bit_count() == 1)


@pytest.fixture
def recorded(heapwright, tmp_path):
    """Record a Python program; its trace's path and how the recorder ended."""

    def record(source):
        path = tmp_path / "program.hwt"
        return path, heapwright("record", "-o", path, "--", sys.executable, "-c", source, PYTHONMALLOC="malloc")

    return record


@pytest.mark.long
def test_a_recording_compares(heapwright, recorded):
    path, done = recorded("print(len([str(i) for i in range(2000)]))")
    assert (done.returncode, done.stdout) == (0, "2000\n")
    done = heapwright("compare", path, "-a", "kr", "-a", "system", "-n", "2", "--latency", "--json")
    report = json.loads(done.stdout)
    assert report["trace"]["events"] > 5000
    kr, system = report["results"]
    assert (kr["allocator"], system["allocator"]) == ("kr", "system")
    for result in (kr, system):
        assert result["seconds"] > 0
        assert result["failures"] == 0
        assert report["trace"]["peak_live_bytes"] < result["peak_heap_bytes"] * 1.1
        memory = result["memory"]
        assert sum(memory[f"{part}_bytes"] for part in ("requested", "internal", "external")) == memory["held_bytes"]
        assert memory["requested_bytes"] == report["trace"]["peak_live_bytes"]
        assert result["latency"]["free"]["calls"] == 2 * (
            report["trace"]["deallocs"] - report["trace"]["null_deallocs"]
        )
        assert result["utilization"] == pytest.approx(report["trace"]["peak_live_bytes"] / result["peak_heap_bytes"])


def test_the_tables_of_a_comparison(heapwright, tmp_path):
    path = tmp_path / "two.rep"
    path.write_text("0\n2\n4\n1\na 0 100\na 1 5000\nf 1\nf 0\n")
    done = heapwright("compare", path, "-a", "system", "-n", "1", "--memory", "--latency")
    tables = [part.splitlines() for part in done.stdout.split("\n\n")]
    assert [len(lines) for lines in tables] == [4, 6, 5, 4]
    assert tables[0][1] == "4 events of 1 thread; at the peak 5,100 bytes are live in 2 blocks"
    assert [line.split()[1] for line in tables[1][2:]] == ["peak", "worst", "end", "freed"]
    assert tables[1][2].split()[:4] == ["system", "peak", "2", "5,100"]
    assert [line.split()[1:3] for line in tables[2][2:]] == [["peak", "5,100"], ["end", "0"], ["freed", "0"]]
    assert [line.split()[:3] for line in tables[3][2:]] == [["system", "malloc", "2"], ["system", "free", "2"]]


def test_a_killed_program_leaves_its_recording(recorded):
    from heapwright.traces.importers import open_trace

    path, done = recorded(ALLOCATE_THEN_DIE)
    assert done.returncode == 128 + 9
    assert open_trace(path).summary().live_bytes_at_end > 500 * 2000


def test_fork_exec_and_threads_are_told_apart(recorded):
    from heapwright.traces.events import check
    from heapwright.traces.importers import open_trace

    path, _ = recorded(FORK_AND_THREADS)
    trace = open_trace(path)
    parent, child, image = trace.processes
    assert (child.parent, image.pid) == (parent.pid, child.pid)
    assert parent.summary().threads == 4
    assert parent.summary().thread_exits >= 3
    assert child.summary().inherited >= 300
    assert not trace.notes()
    for process in trace.processes:
        check(process.events)


def test_help_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
