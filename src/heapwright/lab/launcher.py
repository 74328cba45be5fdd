"""A process that starts one program, waits for it and reports its time and memory: JSON in, JSON out.

It imports nothing from heapwright, so that it stays small. Until its exec, a program is a copy of the process that
starts it, and the kernel counts that copy's memory towards the program's peak.

If the request says how often, it samples the resident memory of the program and its descendants, and whether one of
their threads runs. Pages that processes share count once for each.

If the request has delays, a program that frees its memory before it ends can be looked at then. It (or the client of a
server) writes a line to the pipe `drained` and reads its standard input to the end. The launcher reads the resident
memory after each delay and then closes that input. Without delays the input is empty from the start. The time that the
program waits so does not count.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

PAGE = os.sysconf("SC_PAGE_SIZE")
DRAINED = "drained"  # the name of the pipe
MAX_SAMPLES = 4000  # then every other one is dropped, and half as many are taken
RUNNING = b"RD"  # states of a thread that has something to do


def main() -> None:
    request = json.load(sys.stdin)
    os.chdir(request["folder"])
    drain = Drain(request.get("delays"))
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        become(request, drain.input)
    drain.watch(child)
    samples = Samples(child, began, request.get("every", 0.0))
    served = drive(request, child, drain.input) if request["client"] else None
    _, status, usage = os.wait4(child, 0)
    answer = {
        "status": os.waitstatus_to_exitcode(status),
        "seconds": time.monotonic() - began - drain.seconds,
        "served_seconds": served,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "system_seconds": usage.ru_stime,
        "faults": usage.ru_minflt,
        "resident_bytes": usage.ru_maxrss * 1024,
        "drained": drain.resident,
        "samples": samples.taken,
    }
    json.dump(answer, sys.stdout)


def become(request: dict[str, Any], its_input: int) -> None:
    """Become the program. An alarm ends it if it takes too long."""
    command, outputs = request["command"], request.get("outputs", ".")
    os.dup2(its_input, 0)
    for number, name in enumerate(("output", "errors"), 1):
        os.dup2(os.open(os.path.join(outputs, name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    home = {"PATH": os.environ.get("PATH", os.defpath), "HOME": request["folder"], "LC_ALL": "C", "PYTHONHASHSEED": "0"}
    signal.alarm(request["timeout"])
    try:
        os.execvpe(command[0], command, {**home, **request["environment"]})
    finally:
        os._exit(127)


def drive(request: dict[str, Any], child: int, its_input: int) -> float:
    """Run the client; its seconds. If the request has a time to settle, end the program after it."""
    began = time.monotonic()
    shell = ["sh", "-c", request["client"]]
    os.waitpid(os.posix_spawnp("sh", shell, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, its_input, 0)]), 0)
    served = time.monotonic() - began
    if request.get("settle") is not None:
        time.sleep(request["settle"])
        os.kill(child, signal.SIGTERM)  # until it is waited for, the number is the program's
    return served


class Drain:
    """The wait of a program that has freed its memory, and what is resident then; None for delays: nobody looks."""

    def __init__(self, delays: list[float] | None):
        self.resident: list[int] = []  # bytes after each delay
        self.seconds = 0.0  # that the program was made to wait
        self.input = os.open(os.devnull, os.O_RDWR)
        self._delays = delays or []
        if delays is not None:
            self._line = os.open(DRAINED, os.O_RDWR)  # so that no writer waits for a reader
        if self._delays:
            self.input, self._end = os.pipe()

    def watch(self, child: int) -> None:
        if self._delays:
            threading.Thread(target=self._look, args=(child,), daemon=True).start()

    def _look(self, child: int) -> None:
        os.read(self._line, 1)
        began = time.monotonic()
        for delay in self._delays:
            time.sleep(max(0.0, began + delay - time.monotonic()))
            self.resident.append(exact_resident_of(child))
        self.seconds = time.monotonic() - began
        os.close(self._end)


class Samples:
    """Rows of seconds, resident bytes, and whether a thread runs, taken by a thread until the program ends."""

    def __init__(self, child: int, began: float, every: float):
        self.taken: list[tuple[float, int, bool]] = []
        self._child, self._began, self._every = child, began, every
        if every:
            threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        while True:
            pids = [self._child, *descendants(self._child)]
            resident = sum(map(resident_of, pids))
            if not resident:
                return  # a zombie has none
            self.taken.append((time.monotonic() - self._began, resident, any(map(is_running, pids))))
            if len(self.taken) >= MAX_SAMPLES:
                self.taken, self._every = self.taken[::2], 2 * self._every
            time.sleep(self._every)


def descendants(pid: int) -> Iterator[int]:
    for each in children(pid):
        yield each
        yield from descendants(each)


def children(pid: int) -> list[int]:
    found: list[int] = []
    for task in tasks(pid):
        found += map(int, content(f"/proc/{pid}/task/{task}/children").split())
    return found


def tasks(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []


def resident_of(pid: int) -> int:
    words = content(f"/proc/{pid}/statm").split()
    return int(words[1]) * PAGE if len(words) > 1 else 0


def exact_resident_of(pid: int) -> int:
    """The sum over the pages of a process. The counters behind `statm` lag by some pages for each processor."""
    lines = content(f"/proc/{pid}/smaps_rollup").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(b"Rss:")), 0)


def is_running(pid: int) -> bool:
    states = (content(f"/proc/{pid}/task/{task}/stat").rpartition(b")")[2] for task in tasks(pid))
    return any(state[1:2] in RUNNING for state in states if state)


def content(path: str) -> bytes:
    """The content of a file of the kernel's; nothing if its process has gone."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


if __name__ == "__main__":
    main()
