"""Pages divided into equal blocks: classes and their waste, maps, runs that come and go, and large blocks."""

import pytest
from heaps import kernel_calls

from heapwright import allocator
from heapwright.allocators import pages
from heapwright.allocators import pages_split as split
from heapwright.allocators.pages_split import CLASSES, MAX_SMALL, RUN, class_of, size_of
from heapwright.machine import Fault, start

SPEC = split.__file__
DESIGN = allocator.load(SPEC)
PAGE, KIB, MIB = 4096, 1 << 10, 1 << 20


def run_of(heap, address):
    return split.run_of(heap.state, address)


def runs(heap):
    return len(pages.entries(heap.state.runs))


# --- classes


def test_classes_are_total_and_monotone():
    sizes = [size_of(k) for k in range(CLASSES)]
    assert sizes[:10] == [16, 32, 48, 64, 80, 96, 112, 128, 144, 160]
    assert sizes == sorted(set(sizes)) and sizes[-1] == MAX_SMALL
    assert [class_of(size) for size in sizes] == list(range(CLASSES))
    assert all(size_of(class_of(size) - 1) < size <= size_of(class_of(size)) for size in range(17, MAX_SMALL + 1))


@pytest.mark.parametrize("size_class", range(CLASSES))
def test_full_runs_cost_at_most_22_percent_more(heap, size_class):
    run = run_of(heap, heap.alloc(size_of(size_class)))
    minimum = size_of(size_class - 1) + (1 if size_of(size_class) > 1024 else 16) if size_class else 16
    assert RUN / run.blocks <= 1.22 * minimum


@pytest.mark.parametrize("page", [4096, 16384, 65536])
def test_a_byte_does_not_cost_a_page(page):
    heap = start(DESIGN, page=page)
    for _ in range(4000):
        heap.alloc(1)
    assert runs(heap) == 1
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
    maximum = heap.memory.held()
    assert maximum >= 1000 * 1000
    for block in blocks:
        heap.dealloc(block)
    heap.check()
    assert heap.memory.held() == RUN + PAGE  # the spare one, and the table
    assert heap.trim() == RUN + PAGE
    assert heap.memory.held() == 0


def test_one_block_that_comes_and_goes_takes_no_kernel_calls(heap):
    heap.dealloc(heap.alloc(40))
    calls = kernel_calls(heap)
    for _ in range(50):
        heap.dealloc(heap.alloc(40))
    assert calls == []


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


# --- failure and misuse


@pytest.mark.parametrize("offset", [8, 16, 112 * 600, -64])
def test_what_is_no_block_is_noticed(heap, offset):
    block = heap.alloc(112)
    with pytest.raises(Fault, match="not a live block"):
        DESIGN.dealloc(heap.state, block + offset, 16, 16)
