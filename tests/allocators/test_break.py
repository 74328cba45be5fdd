"""The allocators that live on `sbrk` alone: what they ask for, what others took, and kernels with defects."""

import pytest
from heaps import fresh, kernel_calls

from heapwright.conformance import Subject
from heapwright.conformance.kernel import hungry
from heapwright.conformance.story import Play
from heapwright.machine import DEFECTS

NAMES = ("kr", "linked_list", "segregated_fits", "tlsf")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_of_the_kernel(name, defect):
    """With requests below 2 GiB: for others see test_two_gibibytes.py."""
    heap = fresh(name, defects={defect})
    play = Play(heap)
    for step in hungry(Subject(name)):
        play.take(step)
    heap.check()
    play.end()
    heap.trim()
    heap.check()


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("foreign", [0, 1, 16, 4095])
def test_an_alignment_takes_at_most_two_kernel_calls(name, foreign):
    for align in (1 << log2 for log2 in range(21)):
        heap = fresh(name)
        heap.process.user.sbrk(foreign)
        calls = kernel_calls(heap)
        address = heap.alloc(4096, align)
        assert address % align == 0 != address
        assert len(calls) <= 2
        heap.check()


@pytest.mark.parametrize("name", NAMES)
def test_a_break_that_somebody_misaligned_and_a_growth_that_fails_once(name):
    """The second growth does not begin at the break that the first one expected, nor end at a multiple of 16."""
    heap = fresh(name)
    heap.alloc(40)
    heap.process.user.sbrk(5)
    heap.process.kernel.calls.at(1, once=True)
    assert heap.alloc(100_000) != 0 or heap.alloc(100_000) != 0
    heap.check()


@pytest.mark.parametrize("name", NAMES)
def test_trim_leaves_what_somebody_else_took_behind(name):
    heap = fresh(name)
    heap.dealloc(heap.alloc(16))
    heap.process.user.sbrk(16)
    before, calls = heap.extents(), kernel_calls(heap)
    heap.trim()
    assert heap.extents() == before and {name for name, _ in calls} <= {"sbrk", "decommit"}
    heap.check()
