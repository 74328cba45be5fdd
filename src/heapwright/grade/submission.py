"""A submission: a copy of the student's file, compiled in the sandbox to a library that nobody trusts."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from heapwright.errors import UserError
from heapwright.grade.output import last_lines
from heapwright.grade.sandbox import Sandbox, python_paths
from heapwright.native.library import library_of
from heapwright.native.own_sources import CannotBuild

HERE = Path(__file__).parent
DRIVER = HERE / "driver"
INSIDE, OUT = "/submission", "/out"
LAB, MALLOC, SYSTEM = "lab", "malloc", "system"  # the faces of driver.c
LAB_ALIGNMENT, C_ALIGNMENT = 8, 16  # bytes: what the lab asks, and what C's malloc owes on x86-64
WRONG = re.compile(r"error:|:\d+: D\d+: ")  # not `D7 (advice)`
NOTHING = subprocess.DEVNULL
CPU_SECONDS, SECONDS = 180, 900  # to compile
LINES = 400  # of what a command printed


class NotBuilt(Exception):
    """The submission breaks a rule of the dialect or does not compile. The text says why."""


@dataclass(frozen=True)
class Subject:
    """What the driver runs: a submission, or the malloc that it is compared with."""

    name: str
    face: str
    library: Path | None
    alignment: int


def submitted(path: Path) -> Path:
    """The path, if it can be a submission. Raises UserError otherwise."""
    if path.is_symlink():
        raise UserError(f"{path}: is a symbolic link; grade the file itself")
    if not path.exists():
        raise UserError(f"{path}: there is no such file")
    if path.suffix in (".c", ".py") or (path.is_dir() and (path / "__init__.py").is_file()):
        return path
    raise UserError(f"{path}: expected an allocator in Python (FILE.py or FOLDER/), or mm.c of a malloc lab")


def compiled(path: Path, scratch: Path, alignment: int | None, progress: Callable[[str], None]) -> Subject:
    """Copy a submission to `scratch` and compile it there. Raises NotBuilt if that fails."""
    held = scratch / INSIDE[1:]
    held.mkdir()
    (scratch / OUT[1:]).mkdir()
    copy = copied(path, held)
    if path.suffix == ".c":
        progress(f"compiling {path.name}")
        face, usual, command = LAB, LAB_ALIGNMENT, c_command(copy.name)
    else:
        progress(f"reading {path.name}")
        in_sandbox(python("heapwright.dialect", f"{INSIDE}/{copy.name}"), scratch, python_paths())
        progress(f"compiling {path.name}")
        command = python("heapwright", "build", spec_of(copy), "-o", f"{OUT}/heap.so")
        face, usual = MALLOC, C_ALIGNMENT
    in_sandbox(command, scratch, {"/driver": DRIVER} if face == LAB else python_paths())
    return Subject(path.name, face, made(scratch), alignment or usual)


def spec_of(path: Path) -> str:
    """The name of an allocator in Python inside the sandbox."""
    return f"{INSIDE}/{path.resolve().name}" + ("/" if path.is_dir() else "")


def copied(path: Path, folder: Path) -> Path:
    """The copy that is graded: what the student changes later does not count."""
    copy = folder / path.resolve().name
    if path.is_dir():
        shutil.copytree(path, copy, ignore=lambda where, names: [n for n in names if Path(where, n).is_symlink()])
    else:
        shutil.copyfile(path, copy)
    return copy


def c_command(name: str) -> list[str]:
    flags = ["-O2", "-g", "-w", "-shared", "-fPIC", "-fno-builtin", "-DDRIVER", "-I/driver"]
    return ["cc", *flags, "-o", f"{OUT}/heap.so", f"{INSIDE}/{name}", "-lm"]


def python(module: str, *words: str) -> list[str]:
    return [sys.executable, "-m", module, *words]


def in_sandbox(command: Sequence[str], scratch: Path, needed: dict[str, Path]) -> None:
    """Run one step of the compilation, with the folders it needs. Raises NotBuilt if it fails."""
    status, lines = sandboxed(command, scratch, needed)
    if status != 0:
        raise NotBuilt(reason(lines) or f"the compiler ended with status {status}")


def sandboxed(command: Sequence[str], scratch: Path, needed: dict[str, Path]) -> tuple[int, list[str]]:
    """Run a command on the copy of the submission: its status, and its last lines. Raises NotBuilt if it hangs."""
    box = Sandbox(
        readable={INSIDE: scratch / INSIDE[1:], **needed},
        writable={OUT: scratch / OUT[1:]},
        environment={"HOME": OUT, "TMPDIR": OUT, "HEAPWRIGHT_CACHE": f"{OUT}/cache", "PYTHONDONTWRITEBYTECODE": "1"},
        memory_mib=8192,
        cpu_seconds=CPU_SECONDS,
        file_mib=256,
    )
    log, words = scratch / "printed", box.command(command)
    with log.open("wb") as output:
        try:
            done = subprocess.run(words, stdin=NOTHING, stdout=output, stderr=output, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise NotBuilt(f"it is not compiled within {SECONDS} s") from None
    return done.returncode, last_lines(log, LINES)


def advice(path: Path, scratch: Path) -> list[str]:
    """What `heapwright check --quick` prints about an allocator in Python. The submission's own process prints it."""
    try:
        return sandboxed(python("heapwright", "check", spec_of(path), "--quick"), scratch, python_paths())[1]
    except NotBuilt:
        return [f"heapwright check has no result within {SECONDS} s"]


def reason(lines: Sequence[str]) -> str:
    """The line that says what is wrong: a compiler's first error, a rule of the dialect, or else the last line."""
    errors = [line for line in lines if WRONG.search(line)]
    return (errors or lines[-1:] or [""])[0].replace(f"{INSIDE}/", "")


def made(scratch: Path) -> Path:
    """The library. The sandbox wrote the folder, so a link in it is not followed."""
    library = scratch / OUT[1:] / "heap.so"
    if library.is_symlink() or not library.is_file():
        raise NotBuilt("the compilation left no library")
    return library


def reference(name: str) -> Subject:
    """The malloc to compare with: `system`, or an allocator of heapwright."""
    if name == SYSTEM:
        return Subject(name, SYSTEM, None, C_ALIGNMENT)
    return Subject(name, MALLOC, library_of(name), C_ALIGNMENT)


def compiled_driver(scratch: Path) -> Path:
    """The driver, which is heapwright's own: it is compiled outside the sandbox."""
    compiler = next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    if compiler is None:
        raise CannotBuild("there is no C compiler: install one (Debian: apt-get install gcc)")
    sources = [str(path) for path in sorted(DRIVER.glob("*.c"))]
    driver = scratch / "driver"
    done = subprocess.run(
        [compiler, "-O2", "-rdynamic", "-o", driver, *sources, "-ldl"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise CannotBuild(f"{compiler} cannot compile grade's driver: {(done.stderr.splitlines() or ['?'])[0]}")
    return driver
