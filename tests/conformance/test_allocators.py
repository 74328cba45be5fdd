"""Every allocator conforms: allocators × checks."""

import pytest

from heapwright.allocators import ALLOCATORS
from heapwright.conformance import parametrize_with_checks

LONG = (
    "U7_nothing_taken_back",
    "kept_memory_serves",
    "double_free_at_once",
    "exhaustive",
    "U7_break_moves",
    "interior_free",
)


@parametrize_with_checks(ALLOCATORS, marks=dict.fromkeys(LONG, pytest.mark.long))
def test_conforms(subject, check):
    check(subject)
