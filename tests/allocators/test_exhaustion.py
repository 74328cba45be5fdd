"""Requests that cannot be met give 0 and change nothing, whatever the allocator."""

import math

import pytest

from heapwright import allocator
from heapwright.allocators import ALLOCATORS
from heapwright.conformance import CHECKS, Subject
from heapwright.conformance.kernel import compare, pages_of
from heapwright.machine import start

pytestmark = pytest.mark.long

KIB, MIB = 1 << 10, 1 << 20
REFUSALS = ("U7_failure_atomicity", "U7_words_unchanged")
MANY_CALLS = ("slab", "pages_split", "hoard")  # of the kernel, and more than ten seconds to refuse each of them
SLOW = pytest.mark.slow


@pytest.fixture(params=ALLOCATORS)
def design(request):
    return allocator.load(request.param)


@pytest.mark.long
@pytest.mark.parametrize("check", REFUSALS)
@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW if name in MANY_CALLS else ()) for name in ALLOCATORS])
def test_a_kernel_that_refuses_at_every_call(name, check):
    """Each call by itself, and from each call on."""
    CHECKS[check](Subject(name, seconds=math.inf))


@pytest.mark.parametrize("check", REFUSALS)
@pytest.mark.parametrize("name", ALLOCATORS)
def test_a_kernel_that_refuses_at_some_calls_for_large_blocks(name, check):
    """At full effort, with requests that are larger than any arena."""
    CHECKS[check](Subject(name, is_quick=False, seconds=0.2))


@pytest.mark.slow
@pytest.mark.parametrize("check", REFUSALS)
@pytest.mark.parametrize("name", ALLOCATORS)
def test_a_kernel_that_refuses_at_every_call_for_large_blocks(name, check):
    CHECKS[check](Subject(name, is_quick=False, seconds=math.inf))


def test_memory_that_is_all_used_up(design):
    """No injected failure: the machine has few frames. Freed, they serve again, in the heap or by way of the kernel."""
    heap = start(design, frames=3000)
    for size in (20 * KIB, 128 * KIB):
        while heap.alloc(size):
            pass
    heap.check()
    before = pages_of(heap)
    assert heap.alloc(128 * KIB) == 0
    compare(before, pages_of(heap))
    heap.dealloc(next(iter(heap.live)))
    assert heap.alloc(20 * KIB) != 0
    for block in list(heap.live):
        heap.dealloc(block)
    heap.check()
    heap.trim()
    assert heap.alloc(20 * KIB) != 0
    heap.check()


VAST = [(1 << log2) + d for log2 in (31, 32, 40, 45, 47, 61, 62) for d in (-4096, -1, 0, 1)]
LARGEST = [(1 << 63) - d for d in (4096, 100, 16, 1)]
NEGATIVE = [-1, -16, -(1 << 62), -(1 << 63)]


@pytest.mark.parametrize("align", [16, 4096, 1 << 20, 1 << 30, 1 << 45, 1 << 62])
def test_sizes_that_no_machine_has(design, align):
    heap = start(design)
    block = heap.alloc(100)
    heap.alloc(1 << 40)  # which may tidy up
    before = pages_of(heap)
    for size in VAST + LARGEST + NEGATIVE:
        assert heap.alloc(size, align) == 0 == heap.alloc_zeroed(size, align)
        assert heap.realloc(block, size) == 0
    compare(before, pages_of(heap))
    heap.check()


def test_a_large_block_cannot_become_vast(design):
    heap = start(design)
    block = heap.alloc(3 * MIB)
    before = pages_of(heap)
    for size in (-1, 1 << 40, 1 << 62, (1 << 63) - 1):
        assert heap.realloc(block, size) == 0
    compare(before, pages_of(heap))
