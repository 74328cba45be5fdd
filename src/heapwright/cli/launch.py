"""Starting a real program under a library, and telling how it ended."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def launch(command: Sequence[str], library: Path | None, extra: Mapping[str, str]) -> int:
    """Run a program with `library` preloaded; its exit status, or 128+N and a line if signal N ended it."""
    environment = {**os.environ, **extra}
    if library is not None:
        environment["LD_PRELOAD"] = " ".join(filter(None, (str(library), os.environ.get("LD_PRELOAD"))))
    try:
        program = subprocess.Popen(command, env=environment)
    except OSError as error:
        raise click.ClickException(f"cannot run {command[0]}: {error.strerror}") from error
    status = wait(program)
    if status >= 0:
        return status
    click.echo(f"heapwright: {command[0]} was ended by {signal.Signals(-status).name}", err=True)
    return 128 - status


def wait(program: subprocess.Popen[bytes]) -> int:
    """Wait to the end; the terminal's Ctrl-C goes to the program, other signals are passed on."""
    before = {number: signal.signal(number, lambda got, _: program.send_signal(got)) for number in PASSED_ON}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return program.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
