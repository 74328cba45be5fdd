"""What a trim leaves resident of a fragmented heap, where pages with disjoint live blocks share frames.

    python bench/meshed.py wright=PATH meshed=PATH -o bench/results/meshed.json

The paths are libraries of `wright` and `wright[MESHED=1]` (`heapwright build`); the C library's malloc is always
measured. Each figure is the least of three runs (redis: of one), in KiB: the proportional set size of anonymous and of
shared memory (`Pss_Anon`, `Pss_Shmem`), so a frame counts once however many pages lead to it. `VmRSS` counts it for
each of them.

    patterns    bench/meshed.c: Robson's adversary with and without addresses, and blocks that are freed by lot
    python      a dictionary of strings, most of which are dropped by lot, with PYTHONMALLOC=malloc
    redis       a server with `activedefrag no` and its own threads, most of whose keys are dropped by lot

It needs a C compiler, and redis-server and redis-cli for redis. After the trim, each byte, string and key is compared
with what it was, redis's also in the child that writes its file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

SOURCE = Path(__file__).parent / "meshed.c"
RUNS, MIB = 3, 32
PATTERNS = (
    ("robson", MIB),
    ("halves", MIB),
    *(("lot", MIB, size, keep) for size, keep in ((16, 32), (32, 10), (32, 4), (64, 10), (64, 4), (256, 10), (256, 4))),
)
LOG2_SIZES = 8  # from 16 to 4096 bytes
PYTHON = """
import ctypes, random, sys
def held():
    lines = open('/proc/self/smaps_rollup').read().splitlines()
    found = {line.split(':')[0]: int(line.split()[1]) for line in lines[1:]}
    return found['Pss_Anon'] + found['Pss_Shmem'], found['Rss']
chance = random.Random(1)
text = lambda key: f'{key:x}' * (1 + key % 8)
kept = {key: text(key) for key in range(int(sys.argv[1]))}
for key in list(kept):
    if chance.random() > float(sys.argv[2]):
        del kept[key]
before = held()[0]
ctypes.CDLL(None).malloc_trim(0)
after, resident = held()
assert all(kept[key] == text(key) for key in kept)
print(0, before, after, resident)
"""
SHIM = """
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
static void trim(int number) { (void)number; malloc_trim(0); }
__attribute__((constructor)) static void start(void) { signal(SIGUSR2, trim); }
"""
FILL = "for i = 1, tonumber(ARGV[1]) do redis.call('SET', 'key:' .. i, string.rep('v', 8 + i % 48)) end"
DROP = """math.randomseed(1)
for i = 1, tonumber(ARGV[1]) do if math.random() > tonumber(ARGV[2]) then redis.call('DEL', 'key:' .. i) end end"""
KEYS, PORT = 300_000, 7171
HELD = "Pss_Anon", "Pss_Shmem"


# --- one run


def run(command: list[str], library: str, **environment: str) -> list[int]:
    environment = {**os.environ, "LD_PRELOAD": library, **environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [int(each) for each in done.stdout.split()]


def rollup(process: int) -> dict[str, int]:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) for line in lines}


def held(process: int) -> int:
    return sum(rollup(process)[name] for name in HELD)


@contextmanager
def redis(library: str, shim: Path, folder: Path) -> Iterator[int]:
    """A server; its process id."""
    options = ["--port", str(PORT), "--save", "", "--dir", str(folder), "--enable-debug-command", "yes"]
    options += ["--activedefrag", "no", "--jemalloc-bg-thread", "no"]
    environment = {**os.environ, "LD_PRELOAD": f"{library} {shim}"}
    server = subprocess.Popen(["redis-server", *options], env=environment, stdout=subprocess.DEVNULL)
    try:
        while subprocess.run(cli("PING"), capture_output=True, check=False).stdout != b"PONG\n":
            time.sleep(0.1)
        yield server.pid
    finally:
        server.kill()
        server.wait()


def cli(*command: str) -> list[str]:
    return ["redis-cli", "-p", str(PORT), *command]


def ask(*command: str) -> str:
    return subprocess.run(cli(*command), capture_output=True, text=True, check=True).stdout.strip()


def run_redis(library: str, shim: Path, folder: Path, keep: float) -> list[int]:
    """The figures of a server that drops keys, and whose memory is trimmed while it waits for commands."""
    with redis(library, shim, folder) as process:
        ask("EVAL", FILL, "0", str(KEYS))
        ask("EVAL", DROP, "0", str(KEYS), str(keep))
        digest, before = ask("DEBUG", "DIGEST"), held(process)
        os.kill(process, 12)
        time.sleep(2)
        after, resident = held(process), rollup(process)["Rss"]
        ask("BGSAVE")
        while "rdb_bgsave_in_progress:1" in ask("INFO", "persistence"):
            time.sleep(0.2)
        if "rdb_last_bgsave_status:ok" not in ask("INFO", "persistence") or ask("DEBUG", "DIGEST") != digest:
            raise SystemExit("the server's data changed")
        ask("DEBUG", "RELOAD", "NOSAVE")
        if ask("DEBUG", "DIGEST") != digest:
            raise SystemExit("the data that the child wrote are not the server's")
    return [0, before, after, resident]


# --- all of them


def row(mallocs: dict[str, str], measure: object, count: int = RUNS) -> dict[str, dict[str, int]]:
    found = {}
    for name, library in mallocs.items():
        runs = [measure(library) for _ in range(count)]  # type: ignore[operator]
        live, before, after, resident = min(runs, key=lambda each: each[2])
        found[name] = {"before": before, "trimmed": after, "VmRSS": resident} | ({"live": live >> 10} if live else {})
    return found


def rows(mallocs: dict[str, str], folder: Path) -> Iterator[tuple[str, dict[str, dict[str, int]]]]:
    program = folder / "meshed"
    subprocess.run(["cc", "-O1", "-fno-builtin", SOURCE, "-o", program], check=True)
    for pattern in PATTERNS:
        command = [str(program), *map(str, pattern)]
        yield " ".join(map(str, pattern)), row(mallocs, lambda library, command=command: run(command, library))
    for keep in (0.25, 0.1, 0.05):
        command = [sys.executable, "-c", PYTHON, str(KEYS), str(keep)]
        name = f"python, {keep:.0%} of the keys stay"
        yield name, row(mallocs, lambda library, command=command: run(command, library, PYTHONMALLOC="malloc"))
    if shutil.which("redis-server"):
        yield from redis_rows(mallocs, folder)


def redis_rows(mallocs: dict[str, str], folder: Path) -> Iterator[tuple[str, dict[str, dict[str, int]]]]:
    source, shim = folder / "shim.c", folder / "shim.so"
    source.write_text(SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", source, "-o", shim], check=True)
    for keep in (0.25, 0.1, 0.05):
        name = f"redis, {keep:.0%} of the keys stay"
        yield name, row(mallocs, lambda library, keep=keep: run_redis(library, shim, folder, keep), 1)


def bound() -> float:
    """Robson's bound in KiB: what some requests need in blocks that never move, if at most MIB are live."""
    units, largest = (MIB << 20) // 16, 1 << LOG2_SIZES
    return ((units * (LOG2_SIZES + 2) // 2) - largest + 1) * 16 / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="What a trim leaves resident where pages share frames.")
    parser.add_argument("mallocs", nargs="*", metavar="NAME=LIBRARY")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args()
    named = dict(each.split("=", 1) for each in options.mallocs)
    mallocs = {"system": "libc.so.6"} | {name: str(Path(library).resolve()) for name, library in named.items()}
    command = [Path(sys.argv[0]).name, *(f"{name}={Path(library).name}" for name, library in mallocs.items())]
    facts = {"command": command, "date": datetime.now(UTC).isoformat(timespec="seconds"), "unit": "KiB"}
    facts |= {"libc": " ".join(platform.libc_ver()), "kernel": platform.release(), "bound": bound()}
    with tempfile.TemporaryDirectory() as folder:
        facts["rows"] = {}
        for name, figures in rows(mallocs, Path(folder)):
            facts["rows"][name] = figures
            options.output.write_text(json.dumps(facts, indent=1) + "\n")
            trimmed = ", ".join(f"{each} {found['trimmed']:,}" for each, found in figures.items())
            sys.stderr.write(f"{name}: {trimmed}\n")


if __name__ == "__main__":
    main()
