"""Real programs that the bench times as whole processes, with generated inputs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heapwright.errors import UserError
from heapwright.lab.contestant import Contestant
from heapwright.lab.launcher import DRAINED
from heapwright.lab.sample import RunError, Sample, ending, too_long
from heapwright.lab.share import Share, recorded
from heapwright.preload import preloaded

LAUNCHER = Path(__file__).with_name("launcher.py")
C_LIBRARY = "libc.so.6"
DELAYS = (1.0, 5.0)  # seconds after a drain at which resident memory is read
EVERY = 0.02  # seconds between samples of a program that does not drain
END = "end"


class InputError(UserError):
    """The inputs of a program cannot be generated, in one line."""


@dataclass(frozen=True)
class Program:
    """A command that runs in a folder with its inputs. A server has a client, which also stops it.

    If it drains, it frees its memory before it ends and then does as `launcher` says. Its output must be the same under
    every malloc, unless it prints times and the like.
    """

    name: str
    needs: tuple[str, ...]
    debian: str  # the packages that bring these
    command: tuple[str, ...]
    prepare: Callable[[Path, float], None]
    client: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    drains: bool = False
    repeats_its_output: bool = True
    group: str = "programs"

    @property
    def is_installed(self) -> bool:
        return all(shutil.which(each) for each in self.needs)


class PreparedProgram:
    """A program and the folder with its inputs: a row of the bench. Raises InputError if these cannot be written."""

    threads = 0
    timeout = 120.0  # seconds of one run; a busy machine may need ten times what a quiet one does

    def __init__(self, program: Program, folder: Path, scale: float):
        self.program, self.folder = program, folder / program.name
        self.name = self.title = program.name
        self.group = program.group
        self._expected = ""  # the digest of the output, and the malloc of the first run
        self._first = ""
        try:
            self.folder.mkdir()
            os.mkfifo(self.folder / DRAINED)
            program.prepare(self.folder, scale)
        except subprocess.CalledProcessError as error:
            raise InputError(
                f"no inputs for {program.name}: {ending(error.returncode, error.stderr or b'')}"
            ) from error
        except OSError as error:
            raise InputError(f"no inputs for {program.name} in {self.folder}: {error.strerror}") from error

    def parameters(self) -> dict[str, Any]:
        return {"command": " ".join((Path(self.program.command[0]).name, *self.program.command[1:]))}

    def run(self, contestant: Contestant, timeout: float, repeat: int = 0) -> Sample:
        """Run it once on the malloc. All repeats do the same; the first also reads the memory after a drain.

        For the C library's malloc, that library itself is preloaded, because some programs link another malloc.
        Raises RunError if it fails or prints something else than on the malloc that ran it first.
        """
        is_watched = repeat == 0
        watch: dict[str, Any] = {"delays": [], "every": 0.0}
        if is_watched:
            watch = {"delays": DELAYS} if self.program.drains else {"delays": [], "every": EVERY}
        answer = self._answer(contestant, timeout, watch)
        self._compare_output(contestant)
        return Sample(
            seconds=answer["seconds"],
            cpu_seconds=answer["cpu_seconds"],
            resident_bytes=answer["resident_bytes"],
            system_seconds=answer["system_seconds"],
            faults=answer["faults"],
            after=after(answer) if is_watched else {},
        )

    def share(self, contestant: Contestant) -> Share:
        """Run it once more under `perf`; the malloc's share of its processor time. Raises RunError if that fails."""
        data = self.folder / "perf.data"
        self._answer(contestant, self.timeout, {"delays": []}, recorded(data))
        return Share.of(data, contestant.library)

    def _answer(
        self,
        contestant: Contestant,
        timeout: float,
        watch: dict[str, Any],
        wrapper: Sequence[str] = (),
    ) -> dict[str, Any]:
        """What the launcher says about one run that succeeded."""
        environment = {**self.program.environment, **contestant.environment}
        command = self.program.command
        with preloaded(*filter(None, [contestant.library])) as value:
            preload = {"LD_PRELOAD": value or C_LIBRARY}
            if wrapper:  # which does not run on the malloc itself
                command = (*wrapper, "env", f"LD_PRELOAD={preload['LD_PRELOAD']}", *command)
            request = {
                "command": command,
                "client": self.program.client,
                "folder": str(self.folder),
                "environment": environment if wrapper else {**environment, **preload},
                "timeout": int(timeout),
                **watch,
            }
            returncode, output, errors = launch(request)
        if returncode != 0:
            raise RunError(ending(returncode, errors))
        answer: dict[str, Any] = json.loads(output)
        if answer["status"] == -signal.SIGALRM:
            raise RunError(too_long(timeout))
        if answer["status"] != 0:
            raise RunError(ending(answer["status"], (self.folder / "errors").read_bytes()))
        return answer

    def _compare_output(self, contestant: Contestant) -> None:
        if not self.program.repeats_its_output:
            return
        found = hashlib.sha256((self.folder / "output").read_bytes()).hexdigest()
        if not self._expected:
            self._expected, self._first = found, contestant.name
        if found != self._expected:
            raise RunError(f"printed something else than on {self._first}")


def after(answer: dict[str, Any]) -> dict[str, int]:
    """Resident bytes by moment: after each delay, or in the last sample before the end."""
    if answer["drained"]:
        return {f"{delay:.0f} s": resident for delay, resident in zip(DELAYS, answer["drained"], strict=True)}
    return {END: answer["samples"][-1][1]} if answer["samples"] else {}


def launch(request: dict[str, Any]) -> tuple[int, bytes, bytes]:
    """Have a small process start the program. Its answer is JSON. Ctrl-C ends all processes of the run at once."""
    launcher = [sys.executable, "-I", "-S", str(LAUNCHER)]
    pipe = subprocess.PIPE
    with subprocess.Popen(launcher, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True) as process:
        try:
            output, errors = process.communicate(json.dumps(request).encode())
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, output, errors
