"""Compile the check programs, once, into a cache that the caller names."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCES = Path(__file__).parent

_FRAME = ("check", "torture")
_LIBRARIES = ("dso", "audit")
_COMMON = ("-O1", "-g", "-fno-builtin", "-Wall", "-Wextra", "-Wno-alloc-size-larger-than", "-pthread")
"""-fno-builtin: the compiler must not reason about malloc or leave out calls."""
_C = ("-std=c11", "-Werror=implicit-function-declaration", *_COMMON)
_CXX = ("-std=c++17", *_COMMON)


def build(cache: Path) -> Path:
    """Return the folder of compiled programs below ``cache``, compiling when needed.

    For a program ``NAME`` that cannot be compiled here, a file ``NAME.missing``
    says why.  Several processes may build at once.
    """
    c, cxx = shutil.which("cc"), shutil.which("c++")
    target = cache / _fingerprint(c, cxx)
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=cache))
        _compile_all(scratch, c, cxx)
        _publish(scratch, target)
    return target


def _source_files() -> list[Path]:
    return sorted(path for path in SOURCES.iterdir() if path.suffix in {".c", ".cc", ".h"})


def _fingerprint(*compilers: str | None) -> str:
    digest = hashlib.sha256(repr((_C, _CXX)).encode())
    for path in _source_files():
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    for compiler in compilers:
        digest.update(_version(compiler) if compiler else b"none")
    return digest.hexdigest()[:16]


def _version(compiler: str) -> bytes:
    return subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout


def _publish(scratch: Path, target: Path) -> None:
    try:
        scratch.rename(target)
    except OSError:  # another process was faster; its result is as good
        shutil.rmtree(scratch)


def _compile_all(folder: Path, c: str | None, cxx: str | None) -> None:
    frame = [folder / f"{name}.o" for name in _FRAME]
    if c:
        for source, output in zip(_FRAME, frame, strict=True):
            _compile(folder, source, [c, *_C, "-c", str(SOURCES / f"{source}.c")], output)
    commands = list(_commands(c, cxx, [str(path) for path in frame]))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda item: _compile(folder, item[0], item[1], folder / item[2]), commands))


def _commands(c: str | None, cxx: str | None, frame: list[str]) -> Iterator[tuple[str, list[str], str]]:
    """Yield name, command without its output, and output of everything except the frame."""
    for path in _source_files():
        name, source = path.stem, str(path)
        if path.suffix == ".h" or name in _FRAME:
            continue
        if name in _LIBRARIES:
            yield name, [c or "", *_C, "-shared", "-fPIC", source], f"{name}.so"
        elif path.suffix == ".cc":
            yield name, [cxx if c and cxx else "", *_CXX, source, *frame, "-ldl"], name
        else:
            yield name, [c or "", *_C, source, *frame, "-ldl"], name


def _compile(folder: Path, name: str, command: list[str], output: Path) -> None:
    reason = _attempt([*command, "-o", str(output)])
    if reason:
        (folder / f"{name}.missing").write_text(reason + "\n")


def _attempt(command: list[str]) -> str:
    """Run a command; return why it failed, or nothing."""
    if not command[0]:
        return "no C or C++ compiler was found"
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode == 0:
        return ""
    errors = [line for line in result.stderr.splitlines() if "error" in line]
    return f"it does not compile: {errors[0] if errors else result.stderr.strip()[:200]}"
