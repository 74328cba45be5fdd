"""Commands that run in bubblewrap: no network, no other processes, no files but those of the system, and limits."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import heapwright
from heapwright.errors import UserError

SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/alternatives")
INSTALL = "install bubblewrap (Debian: apt-get install bubblewrap)"
MIB = 1 << 20
HELD_TO = {"core": 0, "nofile": 256, "nproc": 64}  # limits of every command; nproc does not bind the superuser


class SandboxError(UserError):
    """There is no sandbox, so nothing of the submission is run."""


@dataclass
class Sandbox:
    """What a command sees beyond the system's files, and how much it may use. Paths inside are the keys."""

    readable: dict[str, Path] = field(default_factory=dict)
    writable: dict[str, Path] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    memory_mib: int = 1024
    cpu_seconds: int = 60
    file_mib: int = 1

    def command(self, words: Sequence[str | Path]) -> list[str]:
        """The command line that runs `words` in the sandbox."""
        return [*self.walls(), "--", *self.limits(), "--", *map(str, words)]

    def walls(self) -> list[str]:
        words = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"]
        variables = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", **self.environment}
        words += [word for name, value in variables.items() for word in ("--setenv", name, value)]
        words += [word for place in SYSTEM for word in mounted(Path(place))]
        words += [word for inside, path in self.readable.items() for word in ("--ro-bind", str(path), inside)]
        words += [word for inside, path in self.writable.items() for word in ("--bind", str(path), inside)]
        return [*words, "--chdir", "/", *(["--dev", "/dev"] if self.writable else []), "--remount-ro", "/"]

    def limits(self) -> list[str]:
        bounds = {"as": self.memory_mib * MIB, "cpu": self.cpu_seconds, "fsize": self.file_mib * MIB, **HELD_TO}
        return ["prlimit", *(f"--{name}={bound}" for name, bound in bounds.items())]


def mounted(place: Path) -> list[str]:
    """The words that show one of the system's paths; nothing if there is none."""
    if place.is_symlink():
        return ["--symlink", str(place.readlink()), str(place)]
    return ["--ro-bind", str(place), str(place)] if place.exists() else []


def python_paths() -> dict[str, Path]:
    """The folders that this Python and heapwright run from, for `readable`."""
    roots = {sys.prefix, sys.base_prefix, str(Path(heapwright.__file__).parents[1]), *site_folders()}
    wanted = [Path(root) for root in sorted(roots) if not Path(root).is_relative_to("/usr")]
    return {str(path): path for path in wanted if path.is_dir()}


def site_folders() -> Iterable[str]:
    return (sysconfig.get_path(name) for name in ("purelib", "platlib"))


def require_sandbox() -> None:
    """Raise SandboxError, with what to do, if bubblewrap cannot run a command here."""
    for program in ("bwrap", "prlimit"):
        if not shutil.which(program):
            raise SandboxError(f"grade runs a stranger's code only in a sandbox, and there is no {program}: {INSTALL}")
    done = subprocess.run(Sandbox().command(["true"]), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        why = (done.stderr.strip() or f"it ended with status {done.returncode}").splitlines()[-1]
        hint = "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1), or run it outside the container"
        raise SandboxError(f"grade runs a stranger's code only in a sandbox, and bwrap cannot make one: {why}; {hint}")
