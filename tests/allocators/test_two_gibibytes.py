"""Requests of 2 GiB and more, also where sbrk takes a C `int`, as on xv6: null, or a block that is all there."""

import pytest
from heaps import fresh, kernel_calls

from heapwright.allocators import ALLOCATORS
from heapwright.machine import SEMANTICS

pytestmark = pytest.mark.long

GIB = 1 << 30
INT = 1 << 31  # what an `int` does not hold any more
SIZES = (INT - 1, INT, INT + 4096, 3 * GIB, 2 * INT - 4096, 2 * INT, 2 * INT + 24, 1 << 40, 1 << 62, (1 << 63) - 1)
GROW_BY_SBRK = ("kr", "linked_list", "segregated_fits", "tlsf", "dlmalloc", "ptmalloc")
VAST = {"page": 1 << 16, "frames": 1 << 10, "lazy": True, "junk": False}  # room for gibibytes that nobody touches


def marked(heap, sizes):
    """Live blocks, and in each its own address."""
    blocks = [heap.alloc(size) for size in sizes]
    for block in blocks:
        heap.user.store(block, 8, block)
    return blocks


def use_ends(heap, block, size):
    if block != 0:
        heap.user.store(block, 1, 1)
        heap.user.store(block + size - 1, 1, 1)


def go_on(heap, blocks):
    """All is as it was, and the heap serves small requests; where a failed growth takes all frames, those it can."""
    heap.check()
    small = [heap.alloc(40) for _ in range(20)]
    assert all(small) or "S1" in getattr(heap.process.kernel, "defects", ())
    assert [heap.user.load(block, 8) for block in blocks] == blocks
    for block in filter(None, [*small, *blocks]):
        heap.dealloc(block)
    heap.trim()
    heap.check()


WAYS = {
    "alloc": lambda heap, block, size: heap.alloc(size),
    "alloc_zeroed": lambda heap, block, size: heap.alloc_zeroed(size),
    "aligned": lambda heap, block, size: heap.alloc(size, 1 << 21),
    "realloc": lambda heap, block, size: heap.realloc(block, size),
}


@pytest.mark.parametrize("name", ALLOCATORS)
@pytest.mark.parametrize("semantics", SEMANTICS)
def test_too_much_is_null_and_all_goes_on(name, semantics):
    """Each way begins with another size: where the first growth that fails takes all frames, no later one matters."""
    for turn, way in enumerate(WAYS):
        heap = fresh(name, semantics=semantics, frames=1 << 12)
        blocks = marked(heap, (16, 100, 5000))
        for size in (*SIZES[2 * turn :], *SIZES[: 2 * turn]):
            block = WAYS[way](heap, blocks[1], size)
            use_ends(heap, block, size)
            assert block == 0, "there are 16 MiB"
        go_on(heap, blocks)


@pytest.mark.long
@pytest.mark.parametrize("name", GROW_BY_SBRK)
def test_gibibytes_are_served_and_given_back(name):
    """Blocks whose sum passes 2 GiB, one of which does alone, and a shrink by more than that."""
    heap = fresh(name, semantics="xv6", **VAST)
    blocks = marked(heap, (16, 100, 5000))
    sizes = GIB, 3 * GIB, GIB // 2
    large = [heap.alloc(size) for size in sizes]
    assert all(large)
    for block, size in zip(large, sizes, strict=True):
        use_ends(heap, block, size)
        heap.user.store(block + INT // 8, 8, block)
    assert [heap.user.load(block + INT // 8, 8) for block in large] == large
    for block in large:
        heap.dealloc(block)
    go_on(heap, blocks)
    assert heap.memory.held() < 1 << 20 or name == "kr", "kr never lowers the break"


# --- steps that fail, where a step is at most a mebibyte


def narrow(name, semantics):
    """A heap that takes all its memory by sbrk, of which a step is less than a mebibyte."""
    heap = fresh(name, semantics=semantics)
    heap.memory.MAX_SBRK = (1 << 20) - 1
    heap.process.space.mmap = lambda size, own: -1
    return heap


def refuse(kernel, k):
    kernel.calls.at(k)


def refuse_and_keep(kernel, k):
    kernel.calls.at(k)
    kernel.returns.at(1)


def intrude(kernel, k):
    kernel.intrusions.at(k, once=True)


@pytest.mark.parametrize("name", GROW_BY_SBRK)
@pytest.mark.parametrize(
    ("semantics", "plan"),
    [("xv6", refuse), ("xv6rs", refuse), ("exact", refuse_and_keep), ("xv6", refuse_and_keep), ("exact", intrude)],
)
@pytest.mark.parametrize("foreign", [0, 5, 2000])
@pytest.mark.parametrize("sizes", [(), (16, 100, 5000)])
def test_a_step_that_fails(name, semantics, plan, foreign, sizes):
    """The kernel refuses a step and perhaps takes nothing back either, or somebody else moves the break in between."""
    for k in (1, 2, 3):
        heap = narrow(name, semantics)
        blocks = marked(heap, sizes)
        heap.user.sbrk(foreign)
        kernel = heap.process.kernel
        plan(kernel, k)
        use_ends(heap, heap.alloc(5 << 19), 5 << 19)
        heap.check()
        for failures in (kernel.calls, kernel.returns, kernel.intrusions):
            failures.never()
        assert heap.alloc(100_000) != 0
        go_on(heap, blocks)


@pytest.mark.parametrize("name", GROW_BY_SBRK)
def test_what_needs_steps_lies_where_one_call_would_put_it(name):
    def story(heap):
        heap.process.space.mmap = lambda size, own: -1
        given = [heap.alloc(size, align) for size, align in ((40, 16), (3 << 20, 16), (100, 4096), (2 << 20, 1 << 16))]
        heap.dealloc(given[1])
        heap.dealloc(given[3])
        return [*given, heap.trim(), heap.alloc(5 << 20), heap.process.brk]

    assert story(narrow(name, "exact")) == story(fresh(name))


@pytest.mark.parametrize("name", GROW_BY_SBRK)
@pytest.mark.parametrize("semantics", ["exact", "xv6"])
def test_what_an_int_holds_is_one_call(name, semantics):
    heap = fresh(name, semantics=semantics)
    heap.process.space.mmap = lambda size, own: -1
    heap.alloc(40)
    calls = kernel_calls(heap)
    assert heap.alloc(20 << 20) != 0
    assert len([n for what, n in calls if what == "sbrk" and n > 0]) == 1
