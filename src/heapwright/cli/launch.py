"""Start a real program with a library preloaded, and report how it ended."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from heapwright import elf
from heapwright.cli.terminal import tell
from heapwright.preload import dies_of_preloading, preloaded

SHELL = "/bin/sh"  # runs a script that names no interpreter, as execvp does
NOT_FOUND, NOT_EXECUTABLE = 127, 126  # the exit statuses of env, timeout and shells
PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def launch(command: Sequence[str], library: Path | None, extra: Mapping[str, str]) -> int:
    """Run a program with `library` preloaded. Returns its exit status, or 128+N with a message if signal N ended it.

    If the program does not exist or cannot be executed, prints a message and raises SystemExit with 127 or 126. A
    program that root starts may become another user, so the library is then readable by all users.
    """
    environment = {**os.environ, **extra}
    libraries = [] if library is None or dies_of_preloading(command[0]) else [library]
    with preloaded(*libraries, by_all_users=os.geteuid() == 0) as value:
        if value:
            environment["LD_PRELOAD"] = " ".join(filter(None, (value, os.environ.get("LD_PRELOAD"))))
        status = wait(start(command, environment))
    if status >= 0:
        return status
    tell(f"heapwright: {command[0]} was ended by {signal_name(-status)}")
    return 128 - status


def start(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(command, env=environment)
    except OSError as error:
        path = shutil.which(command[0])
        if error.errno == errno.ENOEXEC and path and not elf.read(path):
            return start((SHELL, path, *command[1:]), environment)
        tell(f"heapwright: cannot run {command[0]}: {error.strerror}")
        raise SystemExit(NOT_FOUND if error.errno == errno.ENOENT else NOT_EXECUTABLE) from error


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most of the real-time signals have no name
        return f"signal {number}"


def wait(program: subprocess.Popen[bytes]) -> int:
    """Wait until the program ends. The terminal sends Ctrl-C to the program itself; other signals are passed on."""
    before = {number: signal.signal(number, lambda got, _: program.send_signal(got)) for number in PASSED_ON}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return program.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
