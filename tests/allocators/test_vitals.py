"""The vital statistics that each module declares, measured in the machine."""

from functools import reduce
from math import gcd

import pytest
from heaps import fresh

from heapwright.allocators import ALLOCATORS
from heapwright.describe import describe, describe_all

pytestmark = pytest.mark.long

SIZES = (*range(1, 50), 100, 112, 120, 128, 1000, 1016, 1024, 4080, 4096)


def neighbours(name, size, count):
    """The addresses of blocks of one size on a fresh heap, in order."""
    heap = fresh(name)
    addresses = sorted(heap.alloc(size, 1) for _ in range(count))
    assert all(addresses)
    return addresses


def distance(name, size, count=16):
    """The bytes that a block of a size takes, with what the heap keeps beside it."""
    addresses = neighbours(name, size, count)
    return min(b - a for a, b in zip(addresses, addresses[1:], strict=False))


@pytest.mark.parametrize("name", ALLOCATORS)
def test_the_smallest_block(name):
    assert distance(name, 0, 40) == describe(name).vitals.smallest


@pytest.mark.parametrize("name", ALLOCATORS)
def test_the_overhead_of_a_block(name):
    assert min(distance(name, size, 6) - size for size in SIZES) == describe(name).vitals.overhead


@pytest.mark.parametrize("name", ALLOCATORS)
def test_the_alignment_of_every_block(name):
    addresses = [address for size in (0, 1, 24, 100, 1000) for address in neighbours(name, size, 12)]
    common = reduce(gcd, addresses)
    assert common & -common == describe(name).vitals.align


def test_all_of_them_are_declared():
    for each in describe_all():
        vitals = each.vitals
        assert None not in (vitals.overhead, vitals.smallest, vitals.align), each.name
        assert vitals.alloc_cost and vitals.dealloc_cost and vitals.gives_back, each.name
