"""A process that starts one program, waits for it and reports its time and memory: JSON in, JSON out.

It imports nothing from heapwright, so that it stays small. Until its exec, a program is a copy of the process that
starts it, and the kernel counts that copy's memory towards the program's peak.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any


def main() -> None:
    request = json.load(sys.stdin)
    os.chdir(request["folder"])
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        become(request)
    if request["client"]:
        os.waitpid(os.spawnlp(os.P_NOWAIT, "sh", "sh", "-c", request["client"]), 0)
    _, status, usage = os.wait4(child, 0)
    answer = {
        "status": os.waitstatus_to_exitcode(status),
        "seconds": time.monotonic() - began,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "resident_bytes": usage.ru_maxrss * 1024,
    }
    json.dump(answer, sys.stdout)


def become(request: dict[str, Any]) -> None:
    """Become the program. An alarm ends it if it takes too long."""
    command = request["command"]
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(os.open("output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
    os.dup2(os.open("errors", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
    home = {"PATH": os.environ.get("PATH", os.defpath), "HOME": request["folder"], "LC_ALL": "C", "PYTHONHASHSEED": "0"}
    signal.alarm(request["timeout"])
    try:
        os.execvpe(command[0], command, {**home, **request["environment"]})
    finally:
        os._exit(127)


if __name__ == "__main__":
    main()
