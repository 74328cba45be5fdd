"""Requests that cannot be met give 0 and change nothing, in the allocators that live on `sbrk` alone."""

import random

import pytest

from heapwright import allocator
from heapwright.machine import DEFECTS, Fault, KernelPanic, start

KIB = 1 << 10


@pytest.fixture(params=["kr", "linked_list"])
def design(request):
    return allocator.load(request.param)


@pytest.fixture
def heap(design):
    return start(design)


def state_of(heap):
    """The break, the bytes and the blocks of a heap: its own words may change when the first call opens it."""
    process = heap.process
    return process.brk, process.peek(process.heap_start, process.brk - process.heap_start), list(heap.spans())


def sbrk_calls(heap):
    """A list that grows by the argument of each call."""
    calls = []
    heap.process.observe(call=lambda name, given, result, who: calls.append(given[0]))
    return calls


def story(heap, steps=60):
    """Requests that make the heap grow often; yields the state before each, and what it returned."""
    rng = random.Random(3)
    for _ in range(steps):
        choice, before = rng.random(), state_of(heap)
        if choice < 0.6 or not heap.live:
            yield before, heap.alloc(rng.randrange(40 * KIB), 1 << rng.randrange(13))
        elif choice < 0.8:
            yield before, heap.realloc(rng.choice(list(heap.live)), rng.randrange(60 * KIB))
        else:
            heap.dealloc(rng.choice(list(heap.live)))


@pytest.mark.parametrize("once", [True, False], ids=["once", "from then on"])
@pytest.mark.parametrize("k", range(1, 7))
def test_growth_that_fails_the_kth_time(heap, k, once):
    heap.process.kernel.calls.at(k, once)
    failed = 0
    for before, address in story(heap):
        if address == 0:
            failed += 1
            assert state_of(heap) == before
        heap.check()
    assert failed == 1 if once else failed >= 1


def test_memory_that_is_all_used_up(design):
    """No injected failure: the machine has 100 frames."""
    heap = start(design, frames=100)
    while heap.alloc(10 * KIB):
        pass
    before = state_of(heap)
    assert heap.alloc(128 * KIB) == 0
    assert state_of(heap) == before
    heap.dealloc(max(heap.live))
    assert heap.alloc(10 * KIB) != 0
    heap.check()


@pytest.mark.parametrize("size", [-(1 << 63), -1, (1 << 62) - 1, 1 << 62, (1 << 63) - 16, (1 << 63) - 1])
@pytest.mark.parametrize("align", [16, 4096, 1 << 30, 1 << 62])
def test_sizes_that_are_absurd(heap, size, align):
    heap.alloc(16)
    before, calls = state_of(heap), sbrk_calls(heap)
    assert heap.alloc(size, align) == 0
    assert state_of(heap) == before
    assert calls == []


@pytest.mark.parametrize("size", [1 << 31, (1 << 32) + 4096, 1 << 40, (1 << 62) - (1 << 20)])
def test_sizes_that_no_machine_of_this_kind_has(heap, size):
    heap.alloc(16)
    before = state_of(heap)
    assert heap.alloc(size) == 0
    assert heap.alloc(size, 1 << 20) == 0
    assert state_of(heap) == before


@pytest.mark.parametrize("size", [1 << 31, 3 << 30, 1 << 32, (1 << 32) + 4096])
def test_sizes_that_a_kernel_with_s9_cuts(design, size):
    """No allocator can know that sbrk lies about its success; the machine reports the first access that shows it."""
    heap = start(design, defects={"S9", "S3"})
    heap.alloc(16)
    with pytest.raises((Fault, KernelPanic)):
        heap.alloc(size)


@pytest.mark.parametrize("shift", range(21))
@pytest.mark.parametrize("foreign", [0, 1, 16, 4095])
def test_an_alignment_takes_at_most_two_kernel_calls(heap, shift, foreign):
    heap.process.user.sbrk(foreign)
    calls = sbrk_calls(heap)
    address = heap.alloc(4096, 1 << shift)
    assert address % (1 << shift) == 0 != address
    assert len(calls) <= 2
    heap.check()


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_of_the_kernel(design, defect):
    """With requests below 2 GiB: see S9 above."""
    heap = start(design, defects={defect})
    for _ in story(heap):
        heap.check()
