"""`heapwright doctor`: check whether this machine has what heapwright needs."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import click

from heapwright.cli.terminal import is_width_known
from heapwright.errors import UserError
from heapwright.preload import preloaded
from heapwright.wording import counted

INDENT = 9  # columns of a verdict
BLANK = " " * INDENT
MIN_PYTHON = (3, 11)
MIN_GLIBC = (2, 34)  # dlsym and pthread_key_create are in libc itself since then, so every program has them
PACKAGES = ("numba", "llvmlite", "numpy", "click", "rich", "greenlet", "hypothesis")
FEATURES = ("sse4_2", "popcnt")  # of x86-64-v2, which compiled code requires
PROGRAMS = {  # programs that `grade` and tests run, with their Debian packages
    "bwrap": "bubblewrap",
    "g++": "g++",
    "git": "git",
    "perl": "perl",
    "sqlite3": "sqlite3",
    "redis-server": "redis-server",
    "lua5.4": "lua5.4",
}


class Finding(NamedTuple):
    """One thing that was checked: what was found, and what to do if it is missing or wrong."""

    name: str
    value: str
    is_good: bool = True
    remedy: str = ""
    is_needed: bool = True

    @property
    def verdict(self) -> str:
        if self.is_good:
            return "ok"
        return "missing" if self.is_needed else "-"


@click.command()
@click.option("--quick", is_flag=True, help="Skip the self-test, which compiles an allocator and takes some seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(quick: bool, as_json: bool) -> None:
    """Check whether this machine has what heapwright needs, and which optional programs are installed.

    \b
    heapwright doctor --quick

    If something is missing, its line says how to get it. The exit status is 1 if something necessary is missing.
    """
    findings = [*needed(), *useful()]
    if not quick:
        findings.append(self_test())
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        for finding in findings:
            click.echo(folded(line(finding)))
    raise click.exceptions.Exit(1 if any(each.is_needed and not each.is_good for each in findings) else 0)


def line(finding: Finding) -> str:
    remedy = "" if finding.is_good else f"  ({finding.remedy})"
    return f"{finding.verdict:<8} {finding.name:<26} {finding.value}{remedy}"


def folded(text: str) -> str:
    """A line, folded to the width of the terminal."""
    width = shutil.get_terminal_size().columns if is_width_known(sys.stdout) else len(text)
    if len(text) <= width:
        return text
    return textwrap.fill(" ".join(text[INDENT:].split()), width, initial_indent=text[:INDENT], subsequent_indent=BLANK)


# --- needed


def needed() -> Iterator[Finding]:
    yield Finding("Python", platform.python_version(), sys.version_info >= MIN_PYTHON, "install Python 3.11 or later")
    yield from map(package, PACKAGES)
    if sys.version_info < (3, 14):
        yield package("backports.zstd")
    yield processor()
    yield glibc()
    yield linker()
    yield cache_folder()


def package(name: str) -> Finding:
    try:
        return Finding(name, version(name))
    except PackageNotFoundError:
        return Finding(name, "not installed", False, f"pip install {name}")


def processor() -> Finding:
    system, machine = platform.system(), platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    value = f"{system} {platform.release()}, {machine}, {counted(cores or 1, 'cores')}"
    if (system, machine) != ("Linux", "x86_64"):
        return Finding("machine", value, False, "compiled code is for Linux on x86-64; `simulate` and `check` work")
    flags = Path("/proc/cpuinfo").read_text().split()
    lacking = [feature for feature in FEATURES if feature not in flags]
    return Finding("machine", value, not lacking, f"compiled code needs a processor with {', '.join(lacking)}")


def glibc() -> Finding:
    name, number = platform.libc_ver()
    enough = name == "glibc" and tuple(map(int, number.split("."))) >= MIN_GLIBC
    minimum = ".".join(map(str, MIN_GLIBC))
    value = f"{name} {number}".strip() or "unknown"
    return Finding("C library", value, enough, f"compiled code needs glibc {minimum} or later")


def linker() -> Finding:
    from heapwright.native.library import find_linker

    try:
        driver = find_linker()[0]
    except UserError as error:
        return Finding("linker", "none", False, str(error))
    return Finding("linker", shutil.which(driver) or driver)


def cache_folder() -> Finding:
    from heapwright.native.library import cache

    folder = cache()
    files = [path for path in folder.glob("*") if path.is_file()] if folder.is_dir() else []
    size = sum(path.stat().st_size for path in files)
    value = f"{folder}, {counted(len(files), 'files')}, {size / (1 << 20):.1f} MiB"
    return Finding("cache", value, is_writable(folder), "set HEAPWRIGHT_CACHE to a folder that you own")


def is_writable(folder: Path) -> bool:
    """Whether the folder can be written to, or created if it does not exist."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            return True
    except OSError:
        return False


# --- useful


def useful() -> Iterator[Finding]:
    from heapwright.lab.machine_facts import PEERS, locate

    for name, peer in PEERS.items():
        yield optional(name, locate(name), peer.debian)
    for name, debian in PROGRAMS.items():
        yield optional(name, shutil.which(name), debian)


def optional(name: str, place: str | Path | None, debian: str) -> Finding:
    return Finding(
        name, str(place or "not installed"), bool(place), f"Debian: apt-get install {debian}", is_needed=False
    )


# --- the self-test


def self_test() -> Finding:
    """Compile the simplest allocator afresh, in the cache folder, and run a program on it from there."""
    from heapwright.native.library import cache

    try:
        cache().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="doctor-", dir=cache()) as work:
            trouble = run_true(build(Path(work)))
    except (UserError, ImportError, OSError) as error:
        trouble = str(error)
    name = "self-test"
    return Finding(name, "failed", False, trouble) if trouble else Finding(name, "`true` runs on a compiled allocator")


def build(work: Path) -> Path:
    from heapwright.native.library import find_linker, make, stack_for

    return make(["heap", stack_for("kr").spec], "library", find_linker(), work)


def run_true(library: Path) -> str:
    """Run `true` on a library. Returns what went wrong, or "": the loader only warns if it cannot load a library."""
    with preloaded(library, by_all_users=os.geteuid() == 0) as value:
        environment = {**os.environ, "LD_PRELOAD": value}
        done = subprocess.run(["true"], env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done.stderr.strip() or (f"`true` ended with status {done.returncode}" if done.returncode else "")
