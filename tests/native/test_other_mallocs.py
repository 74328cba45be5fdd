"""Programs that bring a malloc of their own, and checkers that replace it: no block goes to a heap it is not of."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from heapwright.allocators import ALLOCATORS

FINE = 42
EACH = pytest.mark.parametrize("spec", ALLOCATORS)
SOME = pytest.mark.parametrize("spec", ["kr", "ptmalloc", "hoard"])  # the library's part is the same in all


def assert_fine(done):
    assert done.returncode == FINE, (done.returncode, done.stderr[-2000:])


@EACH
def test_a_program_with_a_malloc_of_its_own(spec, preloaded):
    assert_fine(preloaded(spec, "own"))


@SOME
def test_a_library_that_wraps_malloc(spec, preloaded, compiled):
    wrapper = compiled("wrapper", "-shared", "-fPIC")
    assert_fine(preloaded(spec, "checked", preload=[wrapper]))


@SOME
def test_without_a_checker(spec, preloaded):
    assert_fine(preloaded(spec, "checked"))


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
@SOME
def test_valgrind_finds_nothing(spec, preloaded):
    done = preloaded(spec, "checked", under=("valgrind", "-q", "--leak-check=full", "--error-exitcode=9"))
    assert_fine(done)
    assert done.stderr == ""


@SOME
def test_the_address_sanitizer_finds_nothing(spec, preloaded):
    sanitized = ("-fsanitize=address", "-static-libasan")
    try:
        done = preloaded(spec, "checked", options=sanitized)
    except subprocess.CalledProcessError:
        pytest.skip("the C compiler has no static library of the address sanitizer")
    assert_fine(done)
