"""The layer `sampled`, interpreted: what it chooses, and what it records of that."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heapwright.allocator import load
from heapwright.machine import start
from heapwright.options import SAMPLE_BYTES
from heapwright.traces.raw import (
    ALLOC,
    ALLOC_ZEROED,
    CROWDED,
    DEALLOC,
    FORK,
    REALLOC_AWAY,
    REALLOC_FROM,
    REALLOC_TO,
    THREAD_EXIT,
)
from heapwright.traces.sampling import chances, variances, weights

STACK = load("sampled(linked_list)")
LAYER = STACK.parts[0]


def opened(rate, seed=1):
    heap = start(STACK, seed=seed)
    heap.process.settings[SAMPLE_BYTES] = rate
    return heap


def records(heap):
    return [record[1:] for record in heap.process.records]


class Draws:
    """As much of a memory as the generator needs."""

    def __init__(self, seed):
        self.words = {LAYER.STATE: seed}

    def local(self, slot):
        return self.words[slot]

    def set_local(self, slot, value):
        self.words[slot] = value


def gaps(rate, count):
    memory = Draws(LAYER.mixed(rate) | 1)
    return np.array([LAYER.next_gap(memory, rate) for _ in range(count)])


# --- which requests


@pytest.mark.parametrize("rate", [1, 7, 4096, 1 << 19, 1 << 30])
def test_gaps_are_exponential(rate):
    """In each of 16 ranges that are equally likely: the sum of squares is above 56 once in a million."""
    found = gaps(rate, 8000)
    edges = np.unique(np.ceil(-rate * np.log1p(-np.arange(1, 16) / 16)).astype(np.int64))
    below = np.append(-np.expm1(-edges / rate), 1)
    expected = len(found) * np.diff(below, prepend=0)
    counts = np.bincount(np.searchsorted(edges, found + 1), minlength=len(expected))
    assert ((counts - expected) ** 2 / expected).sum() < 56


def test_gaps_do_not_depend_on_the_one_before():
    found = gaps(1000, 8000) > 693
    pairs = Counter(zip(found[:-1].tolist(), found[1:].tolist(), strict=True))
    assert all(abs(count - 2000) < 5 * math.sqrt(1500) for count in pairs.values())


def test_without_a_rate_nothing_is_chosen():
    heap = opened(0)
    heap.dealloc(heap.alloc(1 << 16))
    assert records(heap) == []


@pytest.mark.parametrize("size", [1, 40, 256, 1500])
def test_the_chance_of_a_request_depends_on_its_size_alone(size):
    """Others in between change nothing. Beyond five standard deviations lies one run in two million."""
    rate, rounds = 256, 600
    heap, chance = opened(rate), float(chances([size], rate)[0])
    for number in range(rounds):
        heap.dealloc(heap.alloc(1 + number * 37 % 400))
        heap.dealloc(heap.alloc(size, 32))
    found = sum(record[0] == ALLOC and record[1] == 5 for record in records(heap))
    assert abs(found - rounds * chance) < 5 * math.sqrt(rounds * chance * (1 - chance) + 1)


def test_totals_are_unbiased_and_their_errors_right():
    """Over many runs: the mean of the estimates is the true total, and its spread is the one that each run names."""
    rate, runs, work = 2000, 40, [Random(3).choice([0, 8, 24, 100, 700, 5000]) for _ in range(100)]
    bytes_found, blocks_found, errors = [], [], []
    for seed in range(runs):
        heap = opened(rate, seed)
        for size in work:
            heap.dealloc(heap.alloc(size))
        sizes = np.array([record[4] for record in records(heap) if record[0] == ALLOC])
        bytes_found.append((sizes * weights(sizes, rate)).sum())
        blocks_found.append(weights(sizes, rate).sum())
        errors.append(variances(sizes, rate).sum())
    assert abs(np.mean(bytes_found) - sum(work)) < 4 * np.std(bytes_found) / math.sqrt(runs)
    assert abs(np.mean(blocks_found) - len(work)) < 4 * np.std(blocks_found) / math.sqrt(runs)
    assert 0.5 < np.mean(errors) / np.var(bytes_found) < 2


def test_each_thread_and_each_child_chooses_for_itself():
    heap = opened(1000)
    first = heap.process.thread
    heap.alloc(1)
    heap.process.thread = heap.process.new_thread()
    heap.alloc(1)
    second = heap.process.thread
    child = heap.fork()
    assert records(heap)[-1][0] == FORK
    assert child.process.thread.words[LAYER.LEFT] == 0
    child.alloc(1)
    heap.alloc(1)
    states = [each.words[LAYER.STATE] for each in (first, second, child.process.thread)]
    assert len(set(states)) == 3


# --- what is recorded


def test_all_is_recorded_at_a_rate_of_a_byte():
    """A block of 100 bytes is left out once in 10^43."""
    heap = opened(1)
    first = heap.alloc(100, 64)
    second = heap.realloc(first, 5000)
    third = heap.alloc_zeroed(300)
    heap.dealloc(second)
    heap.thread_exit()
    assert records(heap) == [
        (ALLOC, 6, first, 0, 100),
        (REALLOC_FROM, 0, first, 0, 5000),
        (REALLOC_TO, 0, second, first, 5000),
        (ALLOC_ZEROED, 0, third, 1, 300),
        (DEALLOC, 0, second, 0, 0),
        (THREAD_EXIT, 0, 0, 0, 0),
    ]


def test_a_thread_that_recorded_nothing_ends_unrecorded():
    heap = opened(1 << 30)
    heap.dealloc(heap.alloc(8))
    heap.thread_exit()
    assert records(heap) == []


@pytest.fixture
def choosing():
    """A heap whose next requests are chosen or not, as told."""
    heap = opened(1)
    heap.dealloc(heap.alloc(100))
    heap.process.records.clear()

    def choose(is_chosen):
        heap.process.thread.words[LAYER.LEFT] = 0 if is_chosen else 1 << 40
        return heap

    return choose


def test_a_block_that_leaves_the_sample(choosing):
    block = choosing(True).alloc(100)
    moved = choosing(False).realloc(block, 5000)
    heap = choosing(False)
    heap.dealloc(moved)
    assert records(heap) == [
        (ALLOC, 0, block, 0, 100),
        (REALLOC_FROM, 0, block, 0, 5000),
        (REALLOC_AWAY, 0, moved, block, 5000),
    ]


def test_a_block_that_joins_the_sample(choosing):
    block = choosing(False).alloc(100)
    moved = choosing(True).realloc(block, 5000)
    heap = choosing(False)
    heap.dealloc(moved)
    assert records(heap) == [(REALLOC_TO, 0, moved, 0, 5000), (DEALLOC, 0, moved, 0, 0)]


def test_a_failed_realloc_keeps_its_block_in_the_sample(choosing):
    block = choosing(True).alloc(100)
    assert choosing(False).realloc(block, 1 << 60) == 0
    heap = choosing(False)
    heap.dealloc(block)
    assert records(heap)[1:] == [
        (REALLOC_FROM, 0, block, 0, 1 << 60),
        (REALLOC_TO, 0, 0, block, 1 << 60),
        (DEALLOC, 0, block, 0, 0),
    ]


def test_failed_requests_are_not_recorded(choosing):
    heap = choosing(True)
    assert heap.alloc(1 << 60) == 0
    assert heap.alloc(-1) == 0
    assert records(heap) == []


# --- the table


def at_home(home, high):
    """An address whose home is this place, in the 4 MiB with this number."""
    address = high << 22 | home << LAYER.LOG2_GRAIN
    assert LAYER.home_of(address) == home
    return address


ADDRESSES = [at_home(home, high) for home in (5, 6, 7, LAYER.PLACES - 1) for high in (1, 2, 3, 0x1FC0000)]
steps = st.lists(st.sampled_from(ADDRESSES), max_size=60)


@settings(max_examples=40)
@given(steps)
def test_the_table_is_a_set_of_addresses(addresses):
    heap = opened(1)
    heap.dealloc(heap.alloc(8))
    state, kept = heap.state, set()
    for address in addresses:
        if address in kept:
            LAYER.forget(state, address)
        else:
            assert LAYER.keep(state, address)
        kept ^= {address}
        assert {each for each in ADDRESSES if LAYER.is_kept(state, each)} == kept
    for address in kept:
        LAYER.forget(state, address)
    homes = {LAYER.home_of(address) for address in ADDRESSES}
    places = {home + step for home in homes for step in range(LAYER.PROBES)}
    assert not any(LAYER.place_at(state, place).word.load() for place in places)


def test_what_the_table_has_no_room_for_is_counted(choosing, monkeypatch):
    monkeypatch.setattr(LAYER, "PROBES", 0)
    heap = choosing(True)
    block = heap.alloc(100)
    heap.dealloc(block)
    assert records(heap) == [(CROWDED, 0, 0, 0, 100)]


def test_a_sample_that_begins_in_a_process_that_runs():
    """As in a program that `heapwright attach` finds. Blocks of an earlier sample are forgotten."""
    heap = opened(rate=1)
    old = heap.alloc(100)
    assert [op for op, *_ in records(heap)] == [ALLOC]
    assert LAYER.begin_sample(heap.state, 1) == 0
    heap.dealloc(old)
    new = heap.alloc(100)
    heap.dealloc(new)
    assert [op for op, *_ in records(heap)] == [ALLOC, ALLOC, DEALLOC]


def test_blocks_that_lie_elsewhere_are_forgotten_too_when_a_sample_begins():
    heap = opened(rate=1)
    state, crowd = heap.state, [at_home(9, high) for high in range(1, 4)]
    assert all(LAYER.keep(state, each) for each in crowd)
    LAYER.begin_sample(state, 1)
    assert not any(LAYER.is_kept(state, each) for each in crowd)
    for each in crowd:  # a thread that found it before
        LAYER.forget(state, each)
    LAYER.count_down(LAYER.place_at(state, 9))
    assert not any(state.table[number] for number in range(9, 12))


def test_null_is_no_block_where_blocks_lie_elsewhere():
    heap = opened(rate=1)
    state, crowd = heap.state, [at_home(0, high) for high in range(1, 3)]
    assert all(LAYER.keep(state, each) for each in crowd)
    LAYER.forget(state, crowd[0])
    assert state.table[0] == 1 << LAYER.COUNT
    assert not LAYER.is_kept(state, 0)


def test_there_is_room_for_many_blocks_of_one_home():
    """Huge blocks are often aligned to 4 MiB."""
    heap = opened(rate=1)
    crowd = [at_home(2, high) for high in range(1, 1001)]
    assert all(LAYER.keep(heap.state, each) for each in crowd)
    assert all(LAYER.is_kept(heap.state, each) for each in (crowd[0], crowd[500], crowd[-1]))
