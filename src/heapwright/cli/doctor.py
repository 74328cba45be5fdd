"""`heapwright doctor`: what this machine has, and what is missing."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import click

from heapwright.errors import Mendable

LEAST_PYTHON = (3, 11)
LEAST_GLIBC = (2, 34)  # where dlsym and pthread_key_create moved into libc itself, which every program has
PACKAGES = ("numba", "llvmlite", "numpy", "click", "rich", "greenlet", "hypothesis")
FEATURES = ("sse4_2", "popcnt")  # that compiled code takes for granted: x86-64-v2
PROGRAMS = {  # that tests run, and the Debian packages that bring them
    "g++": "g++",
    "git": "git",
    "perl": "perl",
    "sqlite3": "sqlite3",
    "redis-server": "redis-server",
    "lua5.4": "lua5.4",
}


class Finding(NamedTuple):
    """One thing looked for: what was found, and what to do if it is not as it should be."""

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
@click.option("--quick", is_flag=True, help="Leave out the self-test, which compiles an allocator: some seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
def command(quick: bool, as_json: bool) -> None:
    """Say what this machine has of what heapwright needs, and of what it can make use of.

    Exit status: 0 all that is needed is there, 1 something is missing, and its line says what to do.

    \b
    heapwright doctor
    heapwright doctor --quick --json
    """
    findings = [*needed(), *useful()]
    if not quick:
        findings.append(self_test())
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        for finding in findings:
            click.echo(line(finding))
    raise click.exceptions.Exit(1 if any(each.is_needed and not each.is_good for each in findings) else 0)


def line(finding: Finding) -> str:
    remedy = "" if finding.is_good else f"  ({finding.remedy})"
    return f"{finding.verdict:<8} {finding.name:<26} {finding.value}{remedy}"


# --- needed


def needed() -> Iterator[Finding]:
    yield Finding("Python", platform.python_version(), sys.version_info >= LEAST_PYTHON, "install Python 3.11 or later")
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
    value = f"{system} {platform.release()}, {machine}, {cores} cores"
    if (system, machine) != ("Linux", "x86_64"):
        return Finding("machine", value, False, "compiled code is for Linux on x86-64; `simulate` and `check` work")
    flags = Path("/proc/cpuinfo").read_text().split()
    lacking = [feature for feature in FEATURES if feature not in flags]
    return Finding("machine", value, not lacking, f"compiled code needs a processor with {', '.join(lacking)}")


def glibc() -> Finding:
    name, number = platform.libc_ver()
    enough = name == "glibc" and tuple(map(int, number.split("."))) >= LEAST_GLIBC
    least = ".".join(map(str, LEAST_GLIBC))
    value = f"{name} {number}".strip() or "unknown"
    return Finding("C library", value, enough, f"compiled code needs glibc {least} or later")


def linker() -> Finding:
    from heapwright.native.library import find_linker

    try:
        driver = find_linker()[0]
    except Mendable as error:
        return Finding("linker", "none", False, str(error))
    return Finding("linker", shutil.which(driver) or driver)


def cache_folder() -> Finding:
    from heapwright.native.library import cache

    folder = cache()
    files = [path for path in folder.glob("*") if path.is_file()] if folder.is_dir() else []
    size = sum(path.stat().st_size for path in files)
    value = f"{folder}, {len(files)} files, {size / (1 << 20):.1f} MiB"
    return Finding("cache", value, is_writable(folder), "set HEAPWRIGHT_CACHE to a folder that you own")


def is_writable(folder: Path) -> bool:
    """Whether the folder can be written to, or made where there is none."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            return True
    except OSError:
        return False


# --- useful


def useful() -> Iterator[Finding]:
    from heapwright.lab.machine_facts import PEERS, locate

    for peer in PEERS.values():
        yield optional(peer.library, locate(peer.library), peer.debian)
    for name, debian in PROGRAMS.items():
        yield optional(name, shutil.which(name), debian)


def optional(name: str, place: str | Path | None, debian: str) -> Finding:
    return Finding(
        name, str(place or "not installed"), bool(place), f"Debian: apt-get install {debian}", is_needed=False
    )


# --- the self-test


def self_test() -> Finding:
    """Compile the simplest allocator, past the cache, and run a program on it."""
    try:
        with tempfile.TemporaryDirectory(prefix="heapwright-") as work:
            trouble = run_true(build(Path(work)))
    except (Mendable, ImportError, OSError) as error:
        trouble = str(error)
    name = "self-test"
    return Finding(name, "failed", False, trouble) if trouble else Finding(name, "`true` runs on a compiled allocator")


def build(work: Path) -> Path:
    from heapwright.native.library import find_linker, make, stack_for

    make(["heap", stack_for("kr").spec], find_linker(), work, work / "kr.so")
    return work / "kr.so"


def run_true(library: Path) -> str:
    """What went wrong, if anything: the loader only warns of a library that it cannot load."""
    environment = {**os.environ, "LD_PRELOAD": str(library)}
    done = subprocess.run(["true"], env=environment, capture_output=True, text=True, timeout=60, check=False)
    return done.stderr.strip() or (f"`true` ended with status {done.returncode}" if done.returncode else "")
