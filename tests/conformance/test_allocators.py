"""Every allocator conforms: allocators × checks."""

import pytest

from heapwright.allocators import ALLOCATORS
from heapwright.conformance import Subject, parametrize_with_checks
from heapwright.conformance.registry import Check
from heapwright.machine import arithmetic
from heapwright.machine.arithmetic import functions_of

LONG = (
    *("exhaustive", "lint", "double_free_at_once", "interior_free", "kept_memory_serves"),
    *("U7_nothing_taken_back", "U7_break_moves", "U8_free_memory"),
)


@parametrize_with_checks(ALLOCATORS, marks=dict.fromkeys(LONG, pytest.mark.long))
def test_conforms(subject, check):
    check(subject)


def test_a_checks_time_begins_when_the_allocators_numbers_are_looked_at():
    looking = []

    def function(subject):
        looking.extend(arithmetic.FIT in each.__code__.co_varnames for each in functions_of(subject.allocator.parts))

    Check("mine", "", function, frozenset(), is_slow=False)(Subject("kr"))
    assert any(looking)
