"""Real programs that the bench times as whole processes, with generated inputs."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from heapwright.lab import inputs
from heapwright.lab.contestant import Contestant
from heapwright.lab.sample import RunError, Sample, ending, too_long
from heapwright.preload import preloaded

LAUNCHER = Path(__file__).with_name("launcher.py")
C_LIBRARY = "libc.so.6"
REDIS_TOOLS = ("redis-server", "redis-benchmark", "redis-cli")


@dataclass(frozen=True)
class Program:
    """A command that runs in a folder with its inputs. A server has a client, which also stops it."""

    name: str
    needs: tuple[str, ...]
    command: tuple[str, ...]
    prepare: Callable[[Path, float], None]
    client: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    group: str = "programs"

    @property
    def is_installed(self) -> bool:
        return all(shutil.which(each) for each in self.needs)


PROGRAMS = (
    Program("python", (), (sys.executable, "-I", "work.py"), inputs.python_script),
    Program("python_malloc", (), (sys.executable, "work.py"), inputs.python_script, "", {"PYTHONMALLOC": "malloc"}),
    Program("perl", ("perl",), ("perl", "work.pl"), inputs.perl_script),
    Program("lua", ("lua5.4",), ("lua5.4", "work.lua"), inputs.lua_script),
    Program("sqlite", ("sqlite3",), ("sqlite3", "-init", "work.sql", ":memory:", ".quit"), inputs.sqlite_script),
    Program("gcc", ("gcc",), ("gcc", "-O2", "-c", "-o", "work.o", "work.c"), inputs.c_source),
    Program("git_log", ("git",), ("git", "-C", "repository", "log", "--stat", "-p"), inputs.git_repository),
    Program("redis", REDIS_TOOLS, ("redis-server", "redis.conf"), inputs.redis_files, "sh client.sh"),
)


class PreparedProgram:
    """A program and the folder with its inputs: a row of the bench."""

    threads = 0

    def __init__(self, program: Program, folder: Path, scale: float):
        self.program, self.folder = program, folder / program.name
        self.name = self.title = program.name
        self.group = program.group
        self.folder.mkdir()
        program.prepare(self.folder, scale)

    def parameters(self) -> dict[str, Any]:
        return {"command": " ".join((Path(self.program.command[0]).name, *self.program.command[1:]))}

    def run(self, contestant: Contestant, timeout: float, repeat: int = 0) -> Sample:
        """Run it once on the malloc. All repeats do the same. Raises RunError if it fails.

        For the C library's malloc, that library itself is preloaded, because some programs link another malloc.
        """
        environment = {**self.program.environment, **contestant.environment}
        with preloaded(*filter(None, [contestant.library])) as value:
            done = self.launch({**environment, "LD_PRELOAD": value or C_LIBRARY}, timeout)
        if done.returncode != 0:
            raise RunError(ending(done.returncode, done.stderr.encode()))
        answer = json.loads(done.stdout)
        if answer["status"] == -signal.SIGALRM:
            raise RunError(too_long(timeout))
        if answer["status"] != 0:
            raise RunError(ending(answer["status"], (self.folder / "errors").read_bytes()))
        return Sample(answer["seconds"], answer["cpu_seconds"], answer["resident_bytes"])

    def launch(self, environment: dict[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
        """Have a small process start the program. Its answer is JSON."""
        request = {
            "command": self.program.command,
            "client": self.program.client,
            "folder": str(self.folder),
            "environment": environment,
            "timeout": int(timeout),
        }
        launcher = [sys.executable, "-I", "-S", str(LAUNCHER)]
        return subprocess.run(launcher, input=json.dumps(request), capture_output=True, text=True, check=False)
