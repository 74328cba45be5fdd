"""Every allocator conforms: allocators × checks."""

import pytest

from heapwright.allocators import ALLOCATORS
from heapwright.conformance import parametrize_with_checks

LONG = (
    *("exhaustive", "lint", "double_free_at_once", "interior_free", "kept_memory_serves"),
    *("U7_nothing_taken_back", "U7_break_moves", "U8_free_memory"),
)


@parametrize_with_checks(ALLOCATORS, marks=dict.fromkeys(LONG, pytest.mark.long))
def test_conforms(subject, check):
    check(subject)
