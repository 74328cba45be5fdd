"""The C face's checks on every allocator: all rows, under LD_PRELOAD."""

from __future__ import annotations

import shutil

import pytest

from heapwright.allocators import ALLOCATORS
from heapwright.conformance import Verdict
from heapwright.conformance.cface import Suite, checks, driver
from heapwright.native.library import cache, library_of

pytestmark = pytest.mark.long

QUICK = [
    "malloc0",
    "free_null",
    "malloc_sizemax",
    "malloc_ptrdiff",
    "calloc_ovf",
    "calloc_zero_dirty",
    "realloc_content",
    "realloc_fail_keep",
    "reallocarray",
    "pm_einval",
    "pm_enomem",
    "pm_aligned",
    "aa_badalign",
    "memalign_odd",
    "usable",
    "free_errno",
    "tls_dtor",
    "fork_nested_free",
    "libc_helpers",
    "ctor_dtor",
    "closed_fds",
    "deepm",
    "aud",
    "dlm",
    "cxx_bad_alloc",
    "cxx_handler",
    "sym_malloc",
    "sym__Znwm",
]


@pytest.fixture(scope="module")
def suite():
    if shutil.which("cc") is None or shutil.which("c++") is None:
        pytest.skip("the C face's checks need a C and a C++ compiler")
    return Suite(cache() / "cface")


@pytest.mark.parametrize("spec", ALLOCATORS)
def test_the_quick_rows(spec, suite):
    chosen = [check for check in checks() if check.id in QUICK]
    assert len(chosen) == len(QUICK)
    assert refused(suite, spec, chosen) == []


@pytest.mark.long
@pytest.mark.parametrize("spec", ALLOCATORS)
def test_every_row(spec, suite):
    assert refused(suite, spec, checks()) == []


def refused(suite, spec, chosen):
    """The checks that do not hold, with their reasons."""
    library, bad = library_of(spec), []
    for check in chosen:
        outcome = suite.run(check, library)
        if outcome.verdict is Verdict.FAILS and not check.informational:
            bad.append((check.id, outcome.reason))
    return bad


ENDINGS = {
    "exit 0": (Verdict.HOLDS, ""),
    "exit 1": (Verdict.FAILS, "it gave no reason"),
    "echo first >&2; echo why >&2; exit 1": (Verdict.FAILS, "why"),
    "echo no tool >&2; exit 77": (Verdict.SKIPPED, "no tool"),
    "exit 3": (Verdict.FAILS, "exit status 3"),
    "echo here >&2; kill -SEGV $$": (Verdict.FAILS, "SIGSEGV: here"),
    "kill -ALRM $$": (Verdict.FAILS, "it did not end in time"),
    "exec sleep 60": (Verdict.FAILS, "it did not end in time"),
}


@pytest.mark.parametrize("script", ENDINGS)
def test_how_a_program_ends_is_what_it_showed(script, tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "build", lambda cache: tmp_path)
    check = checks()[0]
    program = tmp_path / check.program
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    outcome = Suite(tmp_path).run(check, timeout=0.5)
    assert (outcome.verdict, outcome.reason) == ENDINGS[script]
