"""The bounds of the vital statistics, in counted accesses: the machine sees each load and each store of a request.

A heap of n blocks is made that suits a search badly, for n that doubles and doubles. Then come requests of random sizes
and frees, and none of them, or on average none, may cost more than its design promises for that n.
"""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random
from statistics import mean
from typing import NamedTuple

import pytest
from heaps import fresh

from heapwright.allocators import ALLOCATORS
from heapwright.describe import describe

pytestmark = pytest.mark.long

SIZES = (1 << 6, 1 << 8, 1 << 10)
LARGE = 1 << 12
PROBES = 300
MIN_ORDER, MAP_ORDER, ARENA_ORDER = 5, 17, 22  # a new arena of buddy's has a free block of each order from 17 to 21


class Bound(NamedTuple):
    """The most accesses of one request beside those that call the kernel, or of all requests on average."""

    constant: int
    doubling: int = 0  # what each doubling of n may add
    is_average: bool = False

    def at(self, n: int) -> int:
        return self.constant + self.doubling * int(math.log2(n))


BOUNDS = {
    "pages": Bound(30, is_average=True),  # a table that doubles is filled anew
    "segregated_storage": Bound(40),
    "buddy": Bound(120),  # 17 orders
    "slab": Bound(200, is_average=True),  # a depot that is reaped, a slab that is made
    "pages_split": Bound(340),  # 128 words of a map
    "tlsf": Bound(60),
    "dlmalloc": Bound(60, doubling=8),  # a trie has at most a level for each bit
    "hoard": Bound(120, is_average=True),  # a superblock that is made, a buffer that is flushed
    "wright": Bound(120, is_average=True),  # a refill carves a page, a purge looks at all segments
}
SEARCHES = ("kr", "linked_list")  # one list of all that is free
FREES = ("segregated_fits",)  # a promise about frees: a request searches the list of its class
CACHES = ("ptmalloc",)  # a promise about what its cache serves


# --- heaps that suit a search badly


def comb(heap, n, rng):
    """Blocks of mixed sizes, every second one free."""
    blocks = [heap.alloc(size_of(rng)) for _ in range(n)]
    for block in blocks[::2]:
        heap.dealloc(block)
    return blocks[1::2]


def ladder(heap, n, rng):
    """Free blocks of n sizes, each between blocks in use."""
    pairs = [(heap.alloc(600 + 16 * i), heap.alloc(16)) for i in range(n)]
    for block, _ in pairs:
        heap.dealloc(block)
    return [wall for _, wall in pairs]


def crowd(heap, n, rng):
    """Blocks of one size, most of them freed in any order."""
    blocks = [heap.alloc(48) for _ in range(n)]
    rng.shuffle(blocks)
    for block in blocks[n // 8 :]:
        heap.dealloc(block)
    return blocks[: n // 8]


SHAPES = (comb, ladder, crowd)


def size_of(rng):
    return rng.randrange(1, rng.choice((300, 1500, 6000)))


# --- counting


def counted(heap):
    """A function that makes a request, and says how many accesses it took and whether it called the kernel."""
    seen, calls = [], []
    heap.process.observe(access=lambda *_: seen.append(1), call=lambda *_: calls.append(1))

    def cost_of(request, *arguments):
        seen.clear()
        calls.clear()
        result = request(*arguments)
        return result, len(seen), bool(calls)

    return cost_of


def costs(name, shape, n):
    """Of each request and free: the accesses, and whether the kernel was called."""
    rng, heap = Random(n), fresh(name, frames=1 << 17, junk=False)
    blocks, cost_of = shape(heap, n, rng), counted(heap)
    for _ in range(PROBES):
        if blocks and rng.random() < 0.5:
            yield cost_of(heap.dealloc, blocks.pop(rng.randrange(len(blocks))))[1:]
        else:
            block, *cost = cost_of(heap.alloc, size_of(rng))
            blocks.append(block)
            yield cost


def worst(name, shape, n):
    return max((accesses for accesses, calls in costs(name, shape, n) if not calls), default=0)


def average(name, shape, n):
    return mean(accesses for accesses, _ in costs(name, shape, n))


def within_bounds(name, n):
    bound = BOUNDS[name]
    measure = average if bound.is_average else worst
    return {shape.__name__: measure(name, shape, n) for shape in SHAPES if measure(name, shape, n) > bound.at(n)}


@pytest.mark.parametrize("n", [*SIZES, pytest.param(LARGE, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", BOUNDS)
def test_no_request_costs_more_than_is_promised(name, n):
    assert within_bounds(name, n) == {}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_of_a_list_is_seen_to_be_one(name):
    """What these two promise grows with the number of free blocks: the count above would show it."""
    few, many = (worst(name, comb, n) for n in (1 << 6, 1 << 9))
    assert many > 4 * few


def test_every_promise_is_counted():
    costs = {name: describe(name).vitals.alloc_cost + describe(name).vitals.dealloc_cost for name in ALLOCATORS}
    promises = {name for name, cost in costs.items() if "O(1)" in cost or "O(log" in cost}
    others = {*FREES, *CACHES}
    assert promises <= {*BOUNDS, *others} and set(ALLOCATORS) == {*BOUNDS, *SEARCHES, *others}


# --- segregated fits: a search to allocate, none to free


def shelf(heap, n, rng):
    """Free blocks in the list of a class, and requests of that class that none of them fits."""
    pairs = [(heap.alloc(1040 - 16), heap.alloc(16)) for _ in range(n)]
    for block, _ in pairs:
        heap.dealloc(block)
    return [wall for _, wall in pairs]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("shape", [*SHAPES, shelf])
def test_a_free_of_segregated_fits_costs_the_same_whatever_is_free(shape, n):
    rng, heap = Random(n), fresh("segregated_fits", frames=1 << 17, junk=False)
    blocks, cost_of = shape(heap, n, rng), counted(heap)
    rng.shuffle(blocks)
    assert max(cost_of(heap.dealloc, block)[1] for block in blocks) <= 80


def test_a_request_of_segregated_fits_searches_the_list_of_its_class_and_no_other():
    """Two accesses for each block of the class; of other classes there may be any number, for one access a list."""
    found = {}
    for n in SIZES:
        heap = fresh("segregated_fits", junk=False)
        shelf(heap, n, Random(n))
        heap.dealloc(heap.alloc(1040))  # what lies behind fits both
        cost_of = counted(heap)
        found[n] = [cost_of(heap.alloc, size)[1] for size in (1280 - 16, 1281)]
    searched, passed = ([each[i] for each in found.values()] for i in range(2))
    assert all(2 * n <= accesses <= 2 * n + 100 for n, accesses in zip(SIZES, searched, strict=True))
    assert max(passed) <= 100


# --- what depends on the size alone


def test_buddy_splits_and_merges_once_for_each_order():
    """Where the only free block is of order k, a block of the least order splits it, and its free makes it whole."""
    heap = fresh("buddy", frames=1 << 12, junk=False)
    for order in range(MAP_ORDER + 1, ARENA_ORDER):
        heap.alloc(1 << order)
    cost_of, split, merged = counted(heap), [], []
    for order in range(MAP_ORDER, MIN_ORDER, -1):
        block, accesses, _ = cost_of(heap.alloc, 1)
        split.append(accesses)
        merged.append(cost_of(heap.dealloc, block)[1])
        heap.alloc(1 << order - 1)
    assert all(0 < more - fewer <= 10 for each in (split, merged) for more, fewer in pairwise(each))


def test_a_free_into_a_long_list_of_buddies_searches_nothing():
    heap = fresh("buddy", frames=1 << 12, junk=False)
    blocks = [heap.alloc(32) for _ in range(4096)]
    cost_of = counted(heap)
    frees = [cost_of(heap.dealloc, block)[1] for block in blocks[::2]]
    assert max(frees[-100:]) <= max(frees[:100])


@pytest.mark.parametrize("n", SIZES)
def test_ptmalloc_s_cache_costs_the_same_whatever_is_in_the_bins(n):
    rng, heap = Random(n), fresh("ptmalloc", frames=1 << 15, junk=False)
    ladder(heap, n, rng)
    cost_of, taken = counted(heap), []
    for size in range(1, 1032, 50):
        block, *_ = cost_of(heap.alloc, size)
        _, freed, _ = cost_of(heap.dealloc, block)
        same, again, _ = cost_of(heap.alloc, size)
        assert same == block
        taken += freed, again
    assert max(taken) <= 20
