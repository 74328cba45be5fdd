"""Pages divided into equal blocks: classes and their waste, maps, runs that come and go, and large blocks."""

import ctypes
import random
import threading
from pathlib import Path

import pytest

from heapwright import allocator
from heapwright.allocators import pages_split as split
from heapwright.allocators.pages_split import CLASSES, MOST_SMALL, RUN, class_of, size_of
from heapwright.machine import Fault, start
from heapwright.native.heap import NativeHeap
from heapwright.spans import FREE, OWN, UNUSED, USED

SPEC = split.__file__
DESIGN = allocator.load(SPEC)
PAGE, KIB, MIB = 4096, 1 << 10, 1 << 20


@pytest.fixture
def heap():
    return start(DESIGN)


def run_of(heap, address):
    return split.run_of(heap.state, address)


def runs(heap):
    return len(split.entries(heap.state.runs))


def kinds(heap):
    sums = dict.fromkeys((FREE, USED, OWN, UNUSED), 0)
    for _, size, kind in heap.spans():
        sums[kind] += size
    return sums


# --- classes


def test_classes_are_total_and_monotone():
    sizes = [size_of(k) for k in range(CLASSES)]
    assert sizes[:10] == [16, 32, 48, 64, 80, 96, 112, 128, 144, 160]
    assert sizes == sorted(set(sizes)) and sizes[-1] == MOST_SMALL
    assert [class_of(size) for size in sizes] == list(range(CLASSES))
    assert all(size_of(class_of(size) - 1) < size <= size_of(class_of(size)) for size in range(17, MOST_SMALL + 1))


@pytest.mark.parametrize("size_class", range(CLASSES))
def test_full_runs_cost_at_most_22_percent_more(heap, size_class):
    run = run_of(heap, heap.alloc(size_of(size_class)))
    least = size_of(size_class - 1) + (1 if size_of(size_class) > 1024 else 16) if size_class else 16
    assert RUN / run.blocks <= 1.22 * least


@pytest.mark.parametrize("page", [4096, 16384, 65536])
def test_a_byte_does_not_cost_a_page(page):
    heap = start(DESIGN, page=page)
    for _ in range(4000):
        heap.alloc(1)
    assert runs(heap) == 1
    heap.check()


@pytest.mark.parametrize("align", [1 << k for k in range(21)])
def test_every_alignment(heap, align):
    for size in (0, 1, 48, align - 1, align, align + 1, 3 * align, 5000, 70_000):
        first, second = heap.alloc(size, align), heap.alloc(size, align)
        assert first and second and first != second
        heap.dealloc(first)
    heap.check()


# --- blocks


def test_blocks_lie_side_by_side_and_the_lowest_free_one_is_next(heap):
    blocks = [heap.alloc(100) for _ in range(100)]
    run = run_of(heap, blocks[0])
    assert run.address % RUN == 0
    assert blocks == [run.address + run.first + 112 * i for i in range(100)]
    for i in (70, 3, 40):
        heap.dealloc(blocks[i])
    assert [heap.alloc(112), heap.alloc(97), heap.alloc(111), heap.alloc(100)] == [
        blocks[3],
        blocks[40],
        blocks[70],
        blocks[99] + 112,
    ]
    heap.check()


def test_free_blocks_are_neither_read_nor_written(heap):
    blocks = [heap.alloc(64) for _ in range(20)]
    inside = []
    heap.process.observe(access=lambda what, at, *rest: inside.append(at) if at >= blocks[0] else None)
    for block in blocks:
        heap.dealloc(block)
    heap.alloc(64)
    assert not [at for at in inside if at < blocks[0] + 20 * 64]


# --- runs


def test_an_empty_run_is_spared_for_any_class_and_a_second_goes_back(heap):
    first = heap.alloc(16)
    start_of_first = run_of(heap, first).address
    heap.dealloc(first)
    other = heap.alloc(1000)
    assert run_of(heap, other).address == start_of_first
    more = heap.alloc(16)
    heap.dealloc(other)
    heap.dealloc(more)
    assert runs(heap) == 1
    heap.check()


def test_an_empty_run_goes_back(heap):
    blocks = [heap.alloc(1000) for _ in range(1000)]
    most = heap.memory.held()
    assert most >= 1000 * 1000
    for block in blocks:
        heap.dealloc(block)
    heap.check()
    assert heap.memory.held() == RUN + PAGE  # the spare one, and the table
    assert heap.trim() == RUN + PAGE
    assert heap.memory.held() == 0


def test_one_block_that_comes_and_goes_takes_no_kernel_calls(heap):
    heap.dealloc(heap.alloc(40))
    seen = []
    heap.process.observe(call=lambda name, *rest: seen.append(name))
    for _ in range(50):
        heap.dealloc(heap.alloc(40))
    assert seen == []


def test_a_run_that_cannot_be_unmapped_serves_again(heap, monkeypatch):
    small, large = heap.alloc(16), heap.alloc(1000)
    monkeypatch.setattr(heap.process.memory, "munmap", lambda address, size: -1)
    heap.dealloc(small)
    heap.dealloc(large)
    assert heap.state.runs.pages.kept_bytes >= RUN
    heap.alloc(16)
    heap.alloc(1000)
    heap.check()


# --- realloc and zeros


def test_a_block_stays_while_it_is_half_full(heap):
    block = heap.alloc(1000)
    assert heap.realloc(block, 1024) == block and heap.realloc(block, 512) == block
    assert heap.realloc(block, 100) != block
    heap.check()


def test_blocks_move_between_runs_and_pages(heap):
    block = heap.alloc(100)
    heap.user.fill(block, 100, 7)
    for size in (20_000, 300_000, 5000, 100):
        block = heap.realloc(block, size)
        assert heap.process.peek(block, 100) == bytes([7]) * 100
        heap.check()


def test_used_blocks_are_cleared_and_fresh_pages_are_not(heap):
    heap.dealloc(heap.alloc(100))
    fills = []
    heap.process.observe(access=lambda what, at, size, *rest: fills.append(size) if what == "fill" else None)
    heap.alloc_zeroed(100)
    heap.alloc_zeroed(100_000)
    assert fills == [100]


# --- failure and misuse


@pytest.mark.parametrize("once", [True, False], ids=["once", "from then on"])
@pytest.mark.parametrize("k", range(1, 9))
def test_a_kernel_call_that_fails_the_kth_time(heap, k, once):
    heap.process.kernel.calls.at(k, once)
    rng, failed = random.Random(3), 0
    for _ in range(60):
        choice = rng.random()
        if choice < 0.6 or not heap.live:
            address = heap.alloc(rng.choice((40, 1000, 20_000)), 1 << rng.randrange(15))
        elif choice < 0.8:
            address = heap.realloc(rng.choice(list(heap.live)), rng.randrange(30 * KIB))
        else:
            heap.dealloc(rng.choice(list(heap.live)))
            continue
        if address == 0:
            failed += 1
            heap.check()
    heap.check()
    assert failed <= 1 if once else failed >= 1


@pytest.mark.parametrize("size", [-(1 << 63), -1, (1 << 62) - 1, 1 << 62, (1 << 63) - 1])
@pytest.mark.parametrize("align", [16, 4096, 1 << 30, 1 << 62])
def test_sizes_that_are_absurd(heap, size, align):
    block = heap.alloc(16)
    assert heap.alloc(size, align) == 0 and heap.realloc(block, size) == 0
    heap.check()


@pytest.mark.parametrize("offset", [8, 16, 112 * 600, -64])
def test_what_is_no_block_is_noticed(heap, offset):
    block = heap.alloc(112)
    with pytest.raises(Fault, match="not a live block"):
        DESIGN.dealloc(heap.state, block + offset, 16, 16)


def test_a_second_free_is_noticed(heap):
    first, _ = heap.alloc(100), heap.alloc(100)
    heap.dealloc(first)
    with pytest.raises(Fault, match="double free"):
        heap.dealloc(first, unchecked=True)


# --- check


def gain(heap, run):
    run.free += 1


def skip(heap, run):
    run.lowest = 2


def unlist(heap, run):
    split.unlink(heap.state, run)


def empty(heap, run):
    split.put_back(run, 0)


def lose(heap, run):
    heap.state.large.pages.kept_bytes = PAGE


@pytest.mark.parametrize(
    ("invariant", "damage"), [("I1", gain), ("I2", skip), ("I3", unlist), ("I4", empty), ("P5", lose)]
)
def test_check_finds_what_breaks_an_invariant(heap, invariant, damage):
    damage(heap, run_of(heap, heap.alloc(16)))
    with pytest.raises(AssertionError, match=invariant):
        DESIGN.check(heap.state, *heap.stretches()[0])


def test_each_invariant_of_the_docstring_is_checked():
    text = Path(SPEC).read_text()
    assert all(text.count(f"I{n}  ") >= 2 for n in range(1, 5))


# --- compiled


@pytest.mark.slow
def test_200_000_live_objects():
    heap = NativeHeap(SPEC)
    blocks = [heap.alloc(1 + i % 100, 16) for i in range(200_000)]
    assert len(set(blocks)) == len(blocks) and all(blocks)
    assert heap.stats()["heap_bytes"] < 200_000 * 80
    for i, block in enumerate(blocks):
        heap.dealloc(block, 1 + i % 100, 16)
    heap.trim()
    assert heap.stats()["heap_bytes"] == 0
    heap.close()


def test_threads_share_it_under_a_lock():
    heap, spoilt = NativeHeap(SPEC), []

    def work(number):
        rng, live = random.Random(number), []
        for _ in range(2000):
            if live and rng.random() < 0.5:
                address, size = live.pop(rng.randrange(len(live)))
                spoilt.append(bytes_at(address, size) != bytes([number]) * size)
                heap.dealloc(address, size, 16)
            else:
                size = rng.choice((rng.randrange(300), rng.randrange(20_000)))
                live.append((heap.alloc(size, 16), size))
                fill_bytes(*live[-1], number)

    crew = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for each in crew:
        each.start()
    for each in crew:
        each.join()
    assert spoilt and not any(spoilt)
    heap.close()


def bytes_at(address, size):
    return ctypes.string_at(address, size)


def fill_bytes(address, size, number):
    ctypes.memset(address, number, size)
