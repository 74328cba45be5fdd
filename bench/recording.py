"""What a recording costs: programs bare, under `heapwright record`, whole and as a sample, and under others, in turns.

    python bench/recording.py [ROUNDS] [EVENTS] [PERCENT] > bench/results/recording.json

PERCENT makes the programs' work smaller, for a busy machine; the fixed costs then count for more.
Each row has the best wall-clock seconds of a program, end to end, from the command to the complete trace, and its
ratios to the bare program. `cpu_x` is the ratio of processor times, which a busy machine disturbs less. `fixed_s` is
what a recorder adds to a program that does nothing; each row contains it. heaptrack records call stacks too, which it
cannot leave out, and no child processes: so each process that g++ starts has a heaptrack of its own. Of redis, each
recorder records the server only. memray records Python programs, with its own stacks. Needs heaptrack, sqlite3,
redis-server, redis-benchmark and gcc; memray is run if it is installed beside Python.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from heapwright.traces.format import TraceFile

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # users have heapwright's bytecode; to compile it takes 0.1 s

PYTHON = """
import json
import sys
count = 1000 * int(sys.argv[2])
rows = [{"id": i, "name": f"item{i}", "tags": [str(i), str(i + 1)], "value": i * 1.5} for i in range(count)]
for _ in range(int(sys.argv[1])):
    rows = json.loads(json.dumps(rows))
"""
SQL = """
create table t(a integer primary key, b text, c real);
with recursive n(x) as (select 1 union all select x + 1 from n where x < COUNT)
insert into t select x, 'row ' || x, x * 1.5 from n;
create index i on t(b);
select count(*), sum(c) from t where b like 'row 1%';
select b, count(*) from t group by substr(b, 1, 6) order by 2 limit 3;
"""
REDIS = """
$UNDER redis-server --port 7399 --save '' --daemonize no >/dev/null & pid=$!
until redis-cli -p 7399 ping >/dev/null 2>&1; do sleep 0.02; done
redis-benchmark -p 7399 -q -n $COUNT -P 16 -t set,lpush,hset -r 100000 >/dev/null
redis-cli -p 7399 shutdown nosave >/dev/null 2>&1
wait $pid
"""
SOURCE = "#include <map>\n#include <string>\n#include <regex>\n"
LONG, TRACE = "python3, long", "trace.hwt"
MEMRAY = Path(sys.executable).with_name("memray")
LOOP = r"""
#include <stdlib.h>
int main(int count, char **arguments) {
    static void *volatile kept[4096];
    unsigned seed = 1;
    for (long i = atol(arguments[1]); i; i--) {
        seed = seed * 1664525u + 1013904223u;
        free(kept[seed >> 20]);
        kept[seed >> 20] = malloc(16 + (seed >> 8) % 500);
    }
}
"""


def workloads(folder: Path, percent: int = 100) -> dict[str, tuple[list[str], dict[str, str]]]:
    """The programs, each with its environment, with a part of the usual work."""
    maps = "".join(f"std::map<std::string, std::regex> m{i};\n" for i in range(40 * percent // 100))
    (folder / "work.py").write_text(PYTHON)
    (folder / "work.sql").write_text(SQL.replace("COUNT", str(6000 * percent)))
    (folder / "work.cpp").write_text(SOURCE + maps)
    python = [os.path.realpath(sys.executable), str(folder / "work.py")]
    return {
        "python3": ([*python, "5", str(percent)], {}),
        "python3, PYTHONMALLOC=malloc": ([*python, "5", str(percent)], {"PYTHONMALLOC": "malloc"}),
        LONG: ([*python, "16", str(percent)], {}),
        "sqlite3": (["sqlite3", ":memory:", f".read {folder}/work.sql"], {}),
        "redis-server": (["sh", "-c", REDIS], {"COUNT": str(1000 * percent)}),
        "redis-server, long": (["sh", "-c", REDIS], {"COUNT": str(10_000 * percent)}),
        "gcc": (["g++", "-O1", "-c", str(folder / "work.cpp"), "-o", str(folder / "work.o")], {}),
    }


def seconds(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """The wall-clock time of a command, and the processor time of its processes."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command} ended with status {done.returncode}: {done.stderr}")
    took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def under(recorder: list[str], command: list[str]) -> list[str]:
    """The command that runs a program under a recorder."""
    if command[-1] == REDIS:
        return ["env", f"UNDER={' '.join(recorder)}", *command]
    if command[0] == "g++" and recorder[0] == "heaptrack":
        return [*command, "-wrapper", ",".join(recorder)]
    return [*recorder, *command]


def runs(command: list[str], environment: dict[str, str], folder: Path) -> dict[str, list[str]]:
    """The commands that run a program: alone, and under each recorder."""
    record = [sys.executable, "-m", "heapwright", "record"]
    found = {
        "bare": command,
        "record": under([*record, "-o", str(folder / TRACE), "--"], command),
        "sample": under([*record, "--sample", "512K", "-o", str(folder / "sample.hwt"), "--"], command),
        "heaptrack": under(["heaptrack", "-o", str(folder / "heaptrack")], command),
    }
    if MEMRAY.exists() and command[0] == os.path.realpath(sys.executable):
        small = ["--trace-python-allocators"] if environment else []
        found["memray"] = [str(MEMRAY), "run", "-q", "-f", *small, "-o", str(folder / "memray"), *command[1:]]
    return found


def best(commands: dict[str, list[str]], environment: dict[str, str], rounds: int) -> dict[str, tuple[float, float]]:
    """The best wall-clock and processor time of each command. They run in turns."""
    for label in {"record", "sample"} & set(commands):
        seconds(commands[label], environment)  # compiles the library
    times = [{label: seconds(each, environment) for label, each in commands.items()} for _ in range(rounds)]
    return {label: (min(each[label][0] for each in times), min(each[label][1] for each in times)) for label in commands}


def measure(name: str, command: list[str], environment: dict[str, str], folder: Path, rounds: int) -> dict[str, object]:
    """The row of one program."""
    found = best(runs(command, environment, folder), environment, rounds)
    with TraceFile(folder / TRACE) as file:
        events = len(file)
    return {
        "program": name,
        "events": events,
        **{f"{label}_s": round(wall, 3) for label, (wall, _) in found.items()},
        **{f"{label}_x": round(wall / found["bare"][0], 2) for label, (wall, _) in found.items() if label != "bare"},
        **{f"{label}_cpu_x": round(cpu / found["bare"][1], 2) for label, (_, cpu) in found.items() if label != "bare"},
        "bytes_per_event": round((folder / TRACE).stat().st_size / events, 3),
    }


def fixed(folder: Path, rounds: int) -> dict[str, float]:
    """The seconds that each recorder adds to a program that does next to nothing."""
    commands = runs(["ls", "/"], {}, folder)
    del commands["sample"]  # which has nothing of so few requests
    found = best(commands, {}, 3 * rounds)
    return {label: round(wall - found["bare"][0], 3) for label, (wall, _) in found.items() if label != "bare"}


def long_run(folder: Path, events: int) -> dict[str, object]:
    """A loop of many calls: how much memory its recording takes."""
    (folder / "loop.c").write_text(LOOP)
    subprocess.run(["gcc", "-O2", str(folder / "loop.c"), "-o", str(folder / "loop")], check=True)
    command = [sys.executable, "-m", "heapwright", "record", "-o", str(folder / "long.hwt"), "--"]
    began = time.perf_counter()
    recorder = subprocess.Popen([*command, str(folder / "loop"), str(events // 2)], stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(recorder.pid, 0)
    size, took = (folder / "long.hwt").stat().st_size, time.perf_counter() - began
    with TraceFile(folder / "long.hwt") as file:
        found, notes = len(file), [each["notes"] for each in file.header["processes"]]
    return {
        "events": found,
        "notes": notes,
        "status": status,
        "seconds": round(took, 1),
        "collector_peak_bytes": usage.ru_maxrss * 1024,
        "trace_bytes": size,
    }


def main(rounds: int = 3, events: int = 500_000_000, percent: int = 100) -> None:
    needed = [each for each in ("heaptrack", "sqlite3", "redis-server", "gcc") if not shutil.which(each)]
    if needed:
        sys.exit(f"install {', '.join(needed)}")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        before = os.getloadavg()
        result = {
            "command": ["python", "bench/recording.py", *sys.argv[1:]],
            "date": datetime.now(UTC).isoformat("T", "seconds"),
            "python": platform.python_version(),
            "rounds": rounds,
            "percent": percent,
            "fixed_s": fixed(folder, rounds),
            "programs": [measure(name, *each, folder, rounds) for name, each in workloads(folder, percent).items()],
            "long": long_run(folder, events),
            "load": [before, os.getloadavg()],
        }
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
