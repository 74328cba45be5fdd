"""The C functions that one allocator alone has: in the library, in its header, and called by a C program."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pool_replay
import pytest
import space_replay
from native_functions import NativeProgram

from heapwright import allocator
from heapwright.cli.interfaces import INTERFACE, header_text
from heapwright.native.library import library_of, stack_for

SOURCES = Path(__file__).parent / "programs"
OWN = ("dlmalloc", "tlsf")
WITH_HEADER = (*OWN, "slab")
STRICT = ("-Wall", "-Wextra", "-Werror", "-fno-builtin", "-pthread")

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("name", WITH_HEADER)
def test_the_header_has_every_function_and_no_other(name):
    text = re.sub(r"/\*.*?\*/", "", (INTERFACE / f"{name}.h").read_text(), flags=re.S)
    declared = re.findall(r"^HEAPWRIGHT_API ([\w ]+?[ *]+)(\w+)\((.*?)\);", text, re.M | re.S)
    counts = {function: arity(result, arguments) for result, function, arguments in declared}
    assert counts == dict(allocator.load(name).interface.EXPORTS)


def arity(result, arguments):
    """The number of words that a C function takes, the place of a returned struct included."""
    plain = re.sub(r"\(\*(\w+)\)\([^)]*\)", r"\1", arguments)
    is_struct = result.startswith("struct") and not result.endswith("*")
    return is_struct + (plain != "void") + plain.count(",")


def test_other_libraries_have_none_of_them():
    assert stack_for("kr").interface is None
    assert header_text(stack_for("kr")) == (INTERFACE / "heapwright.h").read_bytes()


@pytest.mark.parametrize("compiler", [("cc", "-std=gnu99"), ("g++", "-std=c++11", "-x", "c++")], ids=["C", "C++"])
@pytest.mark.parametrize("name", OWN)
def test_a_program_that_calls_all_of_them(name, compiler, tmp_path):
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"{compiler[0]} is not installed (Debian: apt-get install g++)")
    shutil.copy(library_of(name), tmp_path / "libheap.so")
    (tmp_path / "heapwright.h").write_bytes(header_text(stack_for(name)))
    program = tmp_path / "program"
    linked = "-L", tmp_path, f"-Wl,-rpath,{tmp_path}"
    source = SOURCES / f"{name}.c"
    subprocess.run([*compiler, *STRICT, f"-I{tmp_path}", source, "-o", program, *linked, "-lheap"], check=True)
    done = subprocess.run([program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("0\n", "", 0)


@pytest.mark.parametrize(
    "text", [text for text in space_replay.PROGRAMS if "\nb " not in text], ids=["limits", "random"]
)
def test_compiled_spaces_give_what_the_original_gave(text):
    """Programs that lend no memory: beside a region, it lies elsewhere than in the machine."""
    program = NativeProgram("dlmalloc")
    try:
        assert space_replay.differences(program, text) == []
    finally:
        program.close()


@pytest.mark.parametrize("text", pool_replay.PROGRAMS, ids=range(len(pool_replay.PROGRAMS)))
def test_compiled_pools_give_what_the_original_gave(text):
    program = NativeProgram("tlsf")
    try:
        assert pool_replay.differences(program, text) == []
    finally:
        program.close()


def test_the_end_of_a_space_of_several_mappings_frees_all_of_them():
    """Its segment grows downwards, mapping by mapping; one call unmaps them all."""
    program = NativeProgram("dlmalloc")
    first = program.call("create_mspace", 0, 0)
    for _ in range(50):
        assert program.call("mspace_malloc", first, 3000)
    assert program.call("destroy_mspace", first) > 150_000
    other = program.call("create_mspace", 100_000, 0)
    assert other + program.call("mspace_footprint", other) == first + 4096, "where the mappings of the first lay"
    program.close()
