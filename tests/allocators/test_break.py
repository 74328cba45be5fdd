"""The allocators that live on `sbrk` alone: what they ask for, what others took, and kernels with defects."""

import pytest
from heaps import fresh, kernel_calls

from heapwright.conformance import Subject
from heapwright.conformance.kernel import hungry
from heapwright.conformance.story import Play
from heapwright.machine import DEFECTS, Fault, KernelPanic

NAMES = ("kr", "linked_list", "tlsf")


@pytest.mark.parametrize("name", ["kr", "linked_list"])
@pytest.mark.parametrize("size", [1 << 31, 3 << 30, 1 << 32, (1 << 32) + 4096])
def test_sizes_that_a_kernel_with_s9_cuts(name, size):
    """These two cannot know that sbrk lies about its success; the machine reports the first access that shows it."""
    heap = fresh(name, defects={"S9", "S3"})
    heap.alloc(16)
    with pytest.raises((Fault, KernelPanic)):
        heap.alloc(size)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_of_the_kernel(name, defect):
    """With requests below 2 GiB: see S9 above."""
    heap = fresh(name, defects={defect})
    play = Play(heap)
    for step in hungry(Subject(name)):
        play.take(step)
    heap.check()
    play.end()
    heap.trim()
    heap.check()


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
def test_trim_leaves_what_somebody_else_took_behind(name):
    heap = fresh(name)
    heap.dealloc(heap.alloc(16))
    heap.process.user.sbrk(16)
    before = heap.stretches()
    assert heap.trim() == 0 and heap.stretches() == before
    heap.check()
