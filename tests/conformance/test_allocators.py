"""Every allocator conforms: allocators × checks."""

from heapwright.allocators import ALLOCATORS
from heapwright.conformance import parametrize_with_checks


@parametrize_with_checks(ALLOCATORS)
def test_conforms(subject, check):
    check(subject)
