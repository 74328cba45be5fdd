"""What recording call stacks costs, beside heaptrack and memray in the same run, at one depth.

    python bench/call_sites.py -o bench/results/call_sites.json

Each program runs bare and under each recorder in turn, and all of that several times. The figure is CPU time, the
program's own and the whole one with that of the helpers: heapwright's collector and the conversion to a trace,
heaptrack's interpreter. A busy machine disturbs wall time more. It needs heaptrack, perl and a C++ compiler; memray is
run if `--memray` names it, and takes Python's calls only.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from heapwright.lab.collector import Collector, is_clock_common
from heapwright.native.clock import processor_clock
from heapwright.native.library import recorder_library
from heapwright.traces.raw_stacks import USUAL_DEPTH, VARIABLE

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # users have heapwright's bytecode; to compile it takes 0.1 s

HEAPTRACK = "/usr/lib/heaptrack/libheaptrack_preload.so"
PERL = """
my %h; for my $r (1..3) { for my $i (1..60000) { $h{"key$i"} = [split /,/, "a,b,c,$i"]; } %h = (); }
sub deeper { my $n = shift; return $n ? deeper($n - 1) : join(",", map { "x$_" x 20 } 1..50) }
my @l; push @l, deeper(12) for 1..3000;
"""
PYTHON = """
import json
data = [{"id": i, "name": f"n{i}", "tags": [str(i + j) for j in range(5)]} for i in range(12000)]
for _ in range(3):
    json.loads(json.dumps(data))
"""
CXX = """
#include <map>
#include <memory>
#include <string>
#include <vector>
struct Node { std::vector<std::unique_ptr<Node>> kids; std::string name; };
std::unique_ptr<Node> build(int depth, int fan) {
    auto node = std::make_unique<Node>();
    node->name = std::string(40, 'a' + depth);
    for (int i = 0; depth && i < fan; i++) node->kids.push_back(build(depth - 1, fan));
    return node;
}
int main() {
    for (int round = 0; round < 4; round++) {
        auto root = build(8, 4);
        std::map<std::string, int> map;
        for (int i = 0; i < 100000; i++) map["some key that is long " + std::to_string(i)] = i;
    }
}
"""
Runner = Callable[[list[str]], None]


def programs(folder: Path) -> dict[str, list[str]]:
    """The commands, by name."""
    (folder / "a.pl").write_text(PERL)
    (folder / "a.py").write_text(PYTHON)
    (folder / "a.cpp").write_text(CXX)
    subprocess.run(["c++", "-O2", "-g", folder / "a.cpp", "-o", folder / "cxx"], check=True)
    python = os.path.realpath(sys.executable)
    return {"perl": ["perl", f"{folder}/a.pl"], "python3": [python, f"{folder}/a.py"], "C++": [f"{folder}/cxx"]}


def run(command: list[str], **environment: str) -> None:
    whole = {**os.environ, "PYTHONMALLOC": "malloc", **environment}
    done = subprocess.run(command, env=whole, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command} ended with status {done.returncode}: {done.stderr}")


def runners(folder: Path, memray: str) -> dict[str, Runner]:
    """Each recorder: alone, only what happens in the program; and whole, as a user runs it."""
    clock = processor_clock() if is_clock_common() else None

    def heapwright_alone(command: list[str], depth: int = USUAL_DEPTH) -> None:
        with (folder / "b.hwt").open("w+b") as trace, Collector(folder, trace, False, clock, depth=depth) as collector:
            ours = {"LD_PRELOAD": str(recorder_library()), "HEAPWRIGHT_RECORD": str(collector.path)}
            run(command, **ours, **({VARIABLE: str(depth)} if depth else {}))

    def heapwright(command: list[str]) -> None:
        record = [sys.executable, "-m", "heapwright", "record", "--call-sites", str(USUAL_DEPTH), "-o"]
        run([*record, f"{folder}/a.hwt", "--", *command])

    def heaptrack_alone(command: list[str]) -> None:
        run(command, LD_PRELOAD=HEAPTRACK, DUMP_HEAPTRACK_OUTPUT=f"{folder}/raw")

    found: dict[str, Runner] = {
        "bare": run,
        "heapwright, without stacks, in the program": lambda command: heapwright_alone(command, 0),
        "heapwright, in the program": heapwright_alone,
        "heaptrack, in the program": heaptrack_alone,
        "heapwright, whole": heapwright,
        "heaptrack, whole": lambda command: run(["heaptrack", "-o", f"{folder}/heaptrack", *command]),
    }
    if memray:
        options = ["run", "--native", "--trace-python-allocators", "-q", "-f", "-o", f"{folder}/memray"]
        found["memray, whole"] = lambda command: run([memray, *options, *command[1:]])
    return found


def seconds(runner: Runner, command: list[str]) -> float:
    """The CPU time of the processes that a run starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    runner(command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(folder: Path, memray: str, repeats: int) -> dict[str, dict[str, list[float]]]:
    times: dict[str, dict[str, list[float]]] = {}
    commands = programs(folder)
    for _ in range(repeats):
        for name, command in commands.items():
            for label, runner in runners(folder, memray).items():
                if label.startswith("memray") and name != "python3":
                    continue
                times.setdefault(name, {}).setdefault(label, []).append(round(seconds(runner, command), 3))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("-n", "--repeats", type=int, default=5)
    parser.add_argument("--memray", default="", help="memray's command")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        times = measure(Path(folder), options.memray, options.repeats)
    told: dict[str, Any] = {"command": ["python", "bench/call_sites.py", *sys.argv[1:]], "depth": USUAL_DEPTH}
    told["date"] = datetime.now(UTC).isoformat("T", "seconds")
    options.output.write_text(json.dumps({**told, "cpu_seconds": times}, indent=1) + "\n")
    for name, rows in times.items():
        for label, row in rows.items():
            ratio = median(a / b for a, b in zip(row, rows["bare"], strict=True))
            sys.stdout.write(f"{name:10}{label:45}{median(row):8.2f} s{ratio:8.2f} x\n")


if __name__ == "__main__":
    main()
