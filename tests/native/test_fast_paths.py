"""The common malloc and free of a thread-cached size: few instructions, no call, no lock."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from heapwright.native.library import library_of
from heapwright.native.slow_paths import matcher

MOST = 25
CACHING = ("ptmalloc", "ptmalloc[VERSION=236]", "hoard", "slab")
LIMITS_OF_WRIGHT = {"malloc": 14, "free": 22}


def straight_path(library, function):
    """The instructions from a function's first to its first ret, as the processor runs them when no test fails."""
    symbols = subprocess.run(["nm", "-D", str(library)], capture_output=True, text=True, check=True).stdout
    start = int(re.search(rf"^(\w+) T {function}$", symbols, re.M)[1], 16)
    command = ["objdump", "-d", "--no-show-raw-insn", f"--start-address={start}", str(library)]
    command.append(f"--stop-address={start + 300}")
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^\s+[0-9a-f]+:\s+(\S.*)$", text, re.M)
    end = next(i for i, instruction in enumerate(found) if instruction.startswith("ret"))
    return found[: end + 1]


@pytest.mark.skipif(shutil.which("objdump") is None, reason="objdump (binutils) is not installed")
@pytest.mark.parametrize("function", ["malloc", "free"])
@pytest.mark.parametrize("spec", CACHING)
def test_few_instructions(spec, function):
    path = straight_path(library_of(spec), function)
    assert len(path) <= MOST
    assert not [each for each in path if each.startswith(("call", "lock", "xchg"))]


@pytest.mark.skipif(shutil.which("objdump") is None, reason="objdump (binutils) is not installed")
@pytest.mark.parametrize("function", ["malloc", "free"])
def test_fewer_in_wright(function):
    path = straight_path(library_of("wright"), function)
    assert len(path) <= LIMITS_OF_WRIGHT[function]
    assert not [each for each in path if each.startswith(("call", "lock", "xchg"))]


def test_a_version_has_nothing_of_the_other():
    """The constants are folded, and what they switch off is not compiled."""
    texts = [library_of(spec).read_bytes() for spec in ("ptmalloc", "ptmalloc[VERSION=236]")]
    assert [b"corrupted fast bin" in text for text in texts] == [False, True]


def test_a_slow_path_may_name_its_module():
    names = [f"_ZN10heapwright10allocators4tlsf{module}4growB2v1B38c8tJTIeFIjxB2Ik" for module in ("5pools", "6breaks")]
    assert [bool(matcher(["pools.grow"]).search(name)) for name in names] == [True, False]
    assert all(matcher(["grow"]).search(name) for name in names)
