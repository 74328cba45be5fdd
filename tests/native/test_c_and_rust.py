"""C programs with the header and Rust programs with the crate, linked with a compiled heap: the heap serves them.

Each heap is under the layer `counted`, and the programs compare its counts with their own requests.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from heapwright.native import exports
from heapwright.stats import SizeClass, Stats

HERE = Path(__file__).parent
STACKS = {"hoard": "counted(hoard)", "kr": "counted(locked(kr))", "tlsf": "counted(locked(tlsf))"}
STRICT = ("-Wall", "-Wextra", "-Werror", "-fno-builtin")
OFFERED = {**exports.STACK, "stats": 1, "limit": 1}  # the header's functions, with their numbers of arguments

pytestmark = pytest.mark.timeout(300)


def needs(program: str, debian: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (Debian: apt-get install {debian})")


def ran(*command, timeout=90, **environment):
    """A command's output; it must succeed and write nothing to standard error."""
    done = subprocess.run(
        [str(each) for each in command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


@pytest.fixture(
    scope="module", params=[each if each == "kr" else pytest.param(each, marks=pytest.mark.long) for each in STACKS]
)
def built(request, tmp_path_factory):
    """The header, and the crate with its archive, as a user builds them; the folder."""
    folder = tmp_path_factory.mktemp(request.param)
    shutil.copytree(HERE / "rust", folder / "program")
    build(request.param, "--header", folder / "heapwright.h", "--crate", folder / "program" / "heap")
    return folder


@pytest.fixture(scope="module")
def shared(built):
    """A shared library beside them, of one allocator alone: it is compiled apart."""
    build("kr", "-o", built / "libheap.so")
    return built


ONE = pytest.mark.parametrize("built", ["kr"], indirect=True)


def build(name, *files):
    ran(sys.executable, "-m", "heapwright", "build", STACKS[name], *files, timeout=280)


# --- C


@pytest.fixture
def compiled(built):
    """Compile the C program; its path."""

    def make(*options, compiler=("cc", "-std=c99")):
        needs(compiler[0], "g++")
        program = built / "program.out"
        ran(*compiler, *STRICT, "-I", built, HERE / "programs" / "header.c", "-o", program, *options)
        return program

    return make


@pytest.mark.parametrize("static", [(), ("-static",)], ids=["dynamic", "static"])
def test_a_program_with_the_header(built, compiled, static):
    assert ran(compiled("-L", built / "program" / "heap", "-lheapwright_heap", *static)) == "0\n"


@ONE
@pytest.mark.parametrize("compiler", [("cc", "-std=c99"), ("g++", "-std=c++11", "-x", "c++")], ids=["C", "C++"])
def test_a_program_with_the_header_and_a_shared_library(shared, compiled, compiler):
    assert ran(compiled("-L", shared, "-lheap", f"-Wl,-rpath,{shared}", compiler=compiler)) == "0\n"


@ONE
def test_a_program_that_runs_under_other_mallocs_too(shared, compiled):
    program = compiled("-DHEAPWRIGHT_OPTIONAL")
    assert ran(program, LD_PRELOAD=str(shared / "libheap.so")) == "0\n"
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "another malloc\n")


@ONE
def test_the_header_has_the_structs_of_the_heap(compiled):
    sizes, *places = ran(compiled("-DHEAPWRIGHT_OPTIONAL"), "layout").splitlines()
    assert sizes == f"{Stats.SIZE} {SizeClass.SIZE}"
    assert places == [f"{field.name} {field.offset}" for struct in (SizeClass, Stats) for field in struct]


@ONE
def test_the_header_has_every_function_and_no_other(built):
    text = re.sub(r"/\*.*?\*/", "", (built / "heapwright.h").read_text(), flags=re.S)
    declared = dict(re.findall(r"^HEAPWRIGHT_API .*?heapwright_(\w+)\((.*)\);", text, re.M))
    assert {name: arguments.count(",") + 1 for name, arguments in declared.items()} == OFFERED


# --- Rust


def test_a_program_with_the_crate(built):
    needs("cargo", "cargo")
    target = built / "target"
    command = "cargo", "build", "--quiet", "--release", "--offline", "--manifest-path", built / "program" / "Cargo.toml"
    ran(*command, CARGO_TARGET_DIR=str(target))
    allocs, deallocs = map(int, ran(target / "release" / "on-heapwright").split())
    assert allocs >= deallocs > 20_000


def test_a_program_without_cargo(built):
    """The crate is one source file and one archive."""
    needs("rustc", "rustc")
    heap = built / "program" / "heap"
    options = "--edition", "2021", "-O", "-L", heap, "--out-dir", built
    ran("rustc", *options, "--crate-type", "rlib", "--crate-name", "heapwright", heap / "src" / "lib.rs")
    extern = "--extern", f"heapwright={built / 'libheapwright.rlib'}"
    ran("rustc", *options, *extern, "--crate-name", "alone", built / "program" / "src" / "main.rs")
    assert re.fullmatch(r"\d+ \d+\n", ran(built / "alone"))
