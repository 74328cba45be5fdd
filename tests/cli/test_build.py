"""`heapwright build`: a library to keep, and the texts on the way to it."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess

import pytest

pytestmark = pytest.mark.long

pytest.importorskip("numba")

ASSEMBLY = """
malloc:
	.cfi_startproc
	pushq	%rax
	callq	_ZN10heapwright18allocators_5bkr_5d8take_fitB3v20B52c8tJTIeFIjxB2IKSgI4Cr
.LBB0_1:
	retq
.Lfunc_end0:
	.size	malloc, .Lfunc_end0-malloc
_ZN10heapwright18allocators_5bkr_5d8take_fitB3v20B52c8tJTIeFIjxB2IKSgI4Cr:
	retq
.Lfunc_end1:
"""


def test_a_library_to_keep(heapwright, tmp_path):
    place = tmp_path / "kr.so"
    done = heapwright("build", "kr", "-o", place)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{place}: library of locked(kr), ")
    assert [path.name for path in tmp_path.iterdir()] == ["kr.so"]
    assert ctypes.CDLL(str(place)).heapwright_alloc
    ran = subprocess.run(["echo", "hi"], env={**os.environ, "LD_PRELOAD": str(place)}, capture_output=True, check=True)
    assert (ran.stdout, ran.stderr) == (b"hi\n", b"")


def test_what_was_written_as_json(heapwright, tmp_path):
    place = tmp_path / "kr.so"
    facts = json.loads(heapwright("build", "kr", "-o", place, "--json").stdout)
    assert facts == {"file": str(place), "emit": "library", "stack": "locked(kr)", "bytes": place.stat().st_size}


@pytest.mark.long
def test_an_archive_to_link(heapwright, tmp_path):
    place = tmp_path / "libkr.a"
    done = heapwright("build", "kr", "--emit", "archive", "-o", place)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{place}: archive of locked(kr), ")
    assert place.read_bytes().startswith(b"!<arch>\n")


def test_a_header_alone(heapwright, tmp_path):
    place = tmp_path / "heapwright.h"
    done = heapwright("build", "kr", "--header", place)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{place}: C header\n", "")
    assert "heapwright_alloc(size_t size, size_t align);" in place.read_text()


def test_a_crate_is_made_anew_and_nothing_else_is_overwritten(heapwright, refused, tmp_path):
    place = tmp_path / "heap"
    for _ in range(2):
        facts = json.loads(heapwright("build", "kr", "--crate", place, "--json").stdout)
        assert facts == {"stack": "locked(kr)", "crate": str(place)}
    names = {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}
    assert names == {"Cargo.toml", "build.rs", "src/lib.rs", "libheapwright_heap.a"}
    (place / "Cargo.toml").write_text("[package]\nname = 'mine'\n")
    assert "holds something other than a heapwright crate" in refused("build", "kr", "--crate", place)
    assert (place / "Cargo.toml").read_text() == "[package]\nname = 'mine'\n"
    assert "there is no folder" in refused("build", "kr", "--crate", tmp_path / "no" / "heap")


@pytest.mark.long
def test_assembler_text_of_one_function(heapwright):
    done = heapwright("build", "kr", "--emit", "asm", "--function", "malloc")
    assert done.returncode == 0, done.stderr
    first, *lines, last = done.stdout.splitlines()
    assert first == "malloc:"
    assert last == f"# {sum(line.startswith(chr(9)) for line in lines)} instructions"
    assert any(line == "\tretq" for line in lines)
    assert "_ZN10heapwright" not in done.stdout


def test_functions_in_a_text():
    from heapwright.native.assembly import functions, instructions, named

    assert list(functions(ASSEMBLY)) == ["malloc", "allocators[kr].take_fit"]
    [malloc] = named(ASSEMBLY, "malloc")
    assert malloc == "malloc:\n\tpushq\t%rax\n\tcallq\tallocators[kr].take_fit\n.LBB0_1:\n\tretq"
    assert instructions(malloc) == 3
    assert named(ASSEMBLY, "take_fit") == ["allocators[kr].take_fit:\n\tretq"]
    assert named(ASSEMBLY, "fit") == []


def test_wrong_use(heapwright, refused, tmp_path):
    assert "did you mean 'kr'" in refused("build", "krr", "-o", tmp_path / "a.so")
    assert "there is no folder" in refused("build", "kr", "-o", tmp_path / "no" / "a.so")
    for arguments in (["kr"], ["kr", "-o", "a.so", "--function", "malloc"], ["kr", "--emit", "asm", "--json"]):
        done = heapwright("build", *arguments)
        assert done.returncode == 2
        assert "-o FILE" in done.stderr or "add --emit asm" in done.stderr
