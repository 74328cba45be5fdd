"""Recordings of programs with threads, replayed on real threads: `heapwright compare --threads`, kept as raw results.

    python bench/replay_on_threads.py -o bench/results/replay_on_threads.json [TRACE ...]

Three programs are recorded first: Python with a pool of threads, redis-server with an I/O thread, and
a C program whose two threads never share a block. A recording whose largest process has one thread is refused.

For each trace the result says how much of it had to be ordered, and what the order allows: `at_best` is the number of
events divided by the longest chain of events that need each other. For each malloc there are the time on the wall and
on the processor, and that of the same threads and waits without a call of malloc (`idle`). The load of the machine is
noted before and after each trace.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from heapwright.cli.compare import default_mallocs
from heapwright.cli.compare_threads import replayed_on_threads
from heapwright.lab.machine_facts import machine_facts
from heapwright.lab.naming import contestants
from heapwright.lab.processes import choose
from heapwright.traces.events import Process
from heapwright.traces.importers import open_trace

POOL = """
import json
from concurrent.futures import ThreadPoolExecutor
def work(seed):
    rows = [{"key": i * seed % 9973, "text": "x" * (i % 60)} for i in range(2000)]
    return sum(len(each["text"]) for each in json.loads(json.dumps(rows)))
with ThreadPoolExecutor(4) as pool:
    print(sum(pool.map(work, range(1, 25))))
"""
SERVE = """
redis-server --unixsocket s --port 0 --save '' --io-threads 4 --io-threads-do-reads yes &
until redis-cli -s s ping >/dev/null 2>&1; do sleep 0.1; done
redis-benchmark -s s -q -n 15000 -c 20 -P 8 -t set,get,lpush,lpop -d 300 -r 5000 >/dev/null
redis-cli -s s shutdown nosave
wait
"""
APART = """
#include <pthread.h>
#include <stdlib.h>
static void *work(void *seed) {
    void *blocks[500] = {0};
    unsigned long state = (unsigned long)seed;
    for (int i = 0; i < 60000; i++) {
        state = state * 6364136223846793005ul + 1442695040888963407ul;
        void **block = &blocks[(state >> 33) % 500];
        free(*block);
        *block = malloc(16 + (state >> 45) % 500);
    }
    for (int i = 0; i < 500; i++)
        free(blocks[i]);
    return NULL;
}
int main(void) {
    pthread_t threads[2];
    for (long i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, work, (void *)(i + 1));
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}
"""


class Case(NamedTuple):
    """A program to record: its command, and the files that it needs. A C source is compiled to `program`."""

    name: str
    command: tuple[str, ...]
    files: dict[str, str]
    needs: str


CASES = (
    Case("python", (os.path.realpath(sys.executable), "pool.py"), {"pool.py": POOL}, sys.executable),
    Case("redis", ("sh", "serve.sh"), {"serve.sh": SERVE}, "redis-server"),
    Case("apart", ("./program",), {"program.c": APART}, "cc"),
)


def recorded(case: Case, folder: Path) -> Path:
    """Record a case."""
    for name, text in case.files.items():
        (folder / name).write_text(text)
        if name.endswith(".c"):
            subprocess.run(["cc", "-O1", "-pthread", "-o", folder / "program", folder / name], check=True)
    trace = folder / f"{case.name}.hwt"
    words = [sys.executable, "-m", "heapwright", "record", "-o", str(trace), "--", *case.command]
    environment = {**os.environ, "PYTHONMALLOC": "malloc"}
    subprocess.run(words, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)
    return trace


def processes(paths: list[Path], folder: Path) -> Iterator[tuple[str, Process]]:
    """The recordings to replay, each with its name."""
    for path in paths:
        yield path.name, choose(open_trace(path), None)[0].process
    for case in CASES:
        if shutil.which(case.needs):
            yield case.name, choose(open_trace(recorded(case, folder)), None)[0].process


def refuse_one_thread(name: str, process: Process) -> None:
    if len(set(process.events.thread.tolist())) == 1:
        sys.exit(f"{name}: its largest process has one thread")


def measured(process: Process, mallocs: tuple[str, ...], repeats: int) -> dict[str, Any]:
    """One recording on each malloc."""
    before = os.getloadavg()[0]
    found = replayed_on_threads(process, contestants(mallocs), repeats)
    order, events = found["order"], len(process.events) - int(process.events.failed.sum())
    order["at_best"] = round(events / order["held_chain"], 2)
    return {"events": events, "load": [before, os.getloadavg()[0]], **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("traces", nargs="*", type=Path)
    parser.add_argument("-a", dest="mallocs", action="append", help="a malloc; by default those of compare, and wright")
    parser.add_argument("-n", dest="repeats", type=int, default=5)
    parser.add_argument("-o", dest="output", type=Path, required=True)
    options = parser.parse_args()
    mallocs = tuple(options.mallocs or (*default_mallocs(), "wright"))
    report: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine_facts(),
        "repeats": options.repeats,
        "traces": {},
    }
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name, process in processes(options.traces, folder):
            sys.stderr.write(f"{name}\n")
            refuse_one_thread(name, process)
            report["traces"][name] = measured(process, mallocs, options.repeats)
            options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
