"""The C face's checks on every allocator: all rows, under LD_PRELOAD."""

from __future__ import annotations

import shutil

import pytest

from heapwright.allocators import ALLOCATORS
from heapwright.conformance.cface.driver import Suite, Verdict
from heapwright.conformance.cface.table import checks
from heapwright.native.library import cache, library_of

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


@pytest.mark.slow
@pytest.mark.parametrize("spec", ALLOCATORS)
def test_every_row(spec, suite):
    assert refused(suite, spec, checks()) == []


def refused(suite, spec, chosen):
    """The checks that do not hold, with their reasons."""
    library, bad = library_of(spec), []
    for check in chosen:
        outcome = suite.run(check, library)
        if outcome.verdict not in (Verdict.HOLDS, Verdict.SKIPPED) and not check.informational:
            bad.append((check.id, outcome.verdict.value, outcome.reason))
    return bad
