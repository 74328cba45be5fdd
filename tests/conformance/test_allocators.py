"""Every allocator conforms: allocators × checks."""

import pytest

from heapwright.allocators import ALLOCATORS
from heapwright.conformance import CHECKS, Subject, parametrize_with_checks

HEAVY = ("segregated_storage", "pages_split")  # their runs are large: an interpreter takes its time over each


@parametrize_with_checks(name for name in ALLOCATORS if name not in HEAVY)
def test_conforms(subject, check):
    check(subject)


@pytest.mark.slow
@parametrize_with_checks(HEAVY)
def test_conforms_slowly(subject, check):
    check(subject)


@pytest.mark.parametrize("spec", HEAVY)
def test_theirs_say_what_they_assert(spec):
    CHECKS["numbered_invariants"](Subject(spec))
