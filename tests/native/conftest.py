"""C programs on a compiled malloc."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from heapwright.native.library import library_of

PROGRAMS = Path(__file__).parent / "programs"
SECONDS = 30


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """Compile `programs/NAME.c`, once in a session, and give the program's path. NAME may lead to another folder."""
    folder, made = tmp_path_factory.mktemp("programs"), {}

    def compile_program(name, *options):
        if shutil.which("cc") is None:
            pytest.skip("there is no C compiler (Debian: apt-get install gcc)")
        if (name, options) not in made:
            output = folder / f"{Path(name).name}{len(made)}"
            command = ["cc", "-O1", "-g", "-fno-builtin", "-pthread", PROGRAMS / f"{name}.c", "-o", output, *options]
            subprocess.run(command, check=True)
            made[name, options] = output
        return made[name, options]

    return compile_program


@cache
def library(spec):
    return library_of(spec)


@pytest.fixture
def preloaded(compiled):
    """Run a C program on an allocator's library: `preloaded("kr", "twice", 24)`.

    `preload` are libraries before it, `options` the C compiler's, `under` is a command that runs the program.
    """

    def run(spec, name, *arguments, preload=(), options=(), under=(), **environment):
        libraries = " ".join(map(str, (*preload, library(spec))))
        return subprocess.run(
            [*under, compiled(name, *options), *map(str, arguments)],
            env={**os.environ, "LD_PRELOAD": libraries, **environment},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    return run
