"""Pages for each block: lengths, alignments, mremap, zeros that nobody wrote, and a kernel that takes nothing back."""

import random
import subprocess
import sys

import pytest
from heaps import kernel_calls, spans

from heapwright import allocator
from heapwright.allocators import pages
from heapwright.machine import Fault, start
from heapwright.native.heap import NativeHeap
from heapwright.spans import FREE, OWN, USED

SPEC = pages.__file__
DESIGN = allocator.load(SPEC)
PAGE, KIB, MIB = 4096, 1 << 10, 1 << 20
ENTRIES = PAGE // 16  # of the first table


def stick(heap, monkeypatch):
    """From now on the kernel refuses to unmap anything, as when that would need one mapping too many."""
    monkeypatch.setattr(heap.process.memory, "munmap", lambda address, size: -1)


# --- lengths and alignments


@pytest.mark.parametrize("page", [4096, 16384, 65536])
def test_a_block_has_whole_pages_of_any_size_of_page(page):
    heap = start(DESIGN, page=page)
    for size, length in ((0, page), (1, page), (page, page), (page + 1, 2 * page), (10 * page - 1, 10 * page)):
        address = heap.alloc(size)
        assert address % page == 0
        assert heap.usable_size(address) == length
    heap.check()


@pytest.mark.parametrize("shift", range(21))
def test_every_alignment_and_not_a_page_too_many(heap, shift):
    blocks = [heap.alloc(size, 1 << shift) for size in (1, 5000, 70_000)]
    assert all(address % (1 << shift) == 0 != address for address in blocks)
    assert heap.memory.held() == PAGE * (1 + 1 + 2 + 18)  # the table first
    heap.check()


def test_64_of_64_are_aligned_to_64_kib(heap):
    blocks = [heap.alloc(100, 1 << 16) for _ in range(64)]
    assert not any(address % (1 << 16) for address in blocks)


def test_a_block_takes_one_call_and_its_end_another(heap):
    heap.alloc(1)
    calls = kernel_calls(heap)
    heap.dealloc(heap.alloc(264 * KIB))
    assert [name for name, _ in calls] == ["mmap", "munmap"]


# --- zeros


def test_kept_pages_read_as_zero_again(heap, monkeypatch):
    heap.alloc(1)
    block = heap.alloc(100_000)
    stick(heap, monkeypatch)
    heap.dealloc(block)
    assert heap.alloc_zeroed(50_000) == block
    heap.check()


# --- realloc


def test_within_its_pages_a_block_stays_without_a_call(heap):
    block = heap.alloc(1)
    calls = kernel_calls(heap)
    assert heap.realloc(block, PAGE) == block and heap.realloc(block, 0) == block
    assert calls == []


def test_a_block_that_shrinks_gives_its_tail_back(heap):
    block = heap.alloc(10 * PAGE)
    assert heap.realloc(block, PAGE + 1) == block
    assert heap.memory.held() == 3 * PAGE
    heap.check()


def test_a_block_that_grows_moves_its_pages_not_its_bytes(heap):
    block = heap.alloc(10 * PAGE)
    heap.alloc(1)
    copies = []
    heap.process.observe(access=lambda what, *rest: copies.append(what) if what == "copy" else None)
    heap.user.fill(block, 10 * PAGE, 7)
    moved = heap.realloc(block, MIB)
    assert heap.process.peek(moved, 10 * PAGE) == bytes([7]) * 10 * PAGE
    assert copies == []
    heap.check()


def test_an_aligned_block_keeps_its_alignment_when_it_grows(heap):
    block = heap.alloc(10, 1 << 18)
    heap.user.fill(block, 10, 7)
    moved = heap.realloc(block, 1 << 19)
    assert moved % (1 << 18) == 0
    assert heap.process.peek(moved, 10) == bytes([7]) * 10
    heap.check()


def test_a_vector_of_a_mebibyte_moves_no_bytes(heap):
    vector = heap.alloc(16)
    for size in (2**k for k in range(5, 21)):
        heap.alloc(1)
        vector = heap.realloc(vector, size)
    assert heap.usable_size(vector) == MIB


# --- a kernel that does not take back


def test_what_cannot_be_unmapped_is_kept_and_counted(heap, monkeypatch):
    first, block = heap.alloc(1), heap.alloc(10 * PAGE)
    stick(heap, monkeypatch)
    heap.dealloc(block)
    assert heap.state.pages.kept_bytes == 10 * PAGE
    assert spans(heap, FREE) == [(block, 10 * PAGE)]
    heap.check()
    assert heap.trim() == 0
    monkeypatch.undo()
    assert heap.trim() == 10 * PAGE
    assert spans(heap, USED) == [(first, PAGE)] and heap.state.pages.kept_bytes == 0
    heap.check()


def test_what_is_kept_serves_the_next_request_in_parts(heap, monkeypatch):
    block = heap.alloc(10 * PAGE)
    stick(heap, monkeypatch)
    heap.dealloc(block)
    calls = kernel_calls(heap)
    assert [heap.alloc(4 * PAGE), heap.alloc(6 * PAGE)] == [block, block + 4 * PAGE]
    assert calls == [] and heap.state.pages.kept_bytes == 0
    heap.check()


def test_a_tail_that_cannot_be_unmapped_is_kept(heap, monkeypatch):
    block = heap.alloc(10 * PAGE)
    stick(heap, monkeypatch)
    assert heap.realloc(block, PAGE) == block
    assert heap.usable_size(block) == PAGE
    assert spans(heap, FREE) == [(block + PAGE, 9 * PAGE)]
    heap.check()


def test_a_misfit_that_cannot_be_unmapped_is_kept(heap, monkeypatch):
    heap.alloc(1)
    stick(heap, monkeypatch)
    assert heap.alloc(1, 1 << 16) % (1 << 16) == 0
    heap.check()
    assert heap.memory.held() == 3 * PAGE + heap.state.pages.kept_bytes


# --- the table


def test_the_table_grows_and_fits_again_after_trim(heap):
    blocks = [heap.alloc(1) for _ in range(1000)]
    assert spans(heap, OWN)[0][1] == 2048 * 16
    heap.check()
    for block in blocks[5:]:
        heap.dealloc(block)
    heap.check()
    assert heap.trim() == 2048 * 16 - PAGE
    heap.check()
    for block in blocks[:5]:
        heap.dealloc(block)
    assert heap.trim() == PAGE
    assert heap.memory.held() == 0


def test_the_table_is_at_most_three_quarters_full(heap):
    for blocks in range(1, 800):
        heap.alloc(1)
        if blocks in (3 * ENTRIES // 4, 3 * ENTRIES // 4 + 1):
            heap.check()
    for left in (500, 385, 384, 200, 193, 192):
        while len(heap.live) > left:
            heap.dealloc(next(iter(heap.live)))
        heap.trim()
        heap.check()


def test_removal_leaves_every_other_block_to_be_found(heap):
    rng = random.Random(5)
    for _ in range(1500):
        if heap.live and rng.random() < 0.49:
            heap.dealloc(rng.choice(list(heap.live)))
        else:
            heap.alloc(1)
    heap.check()
    assert all(heap.usable_size(address) == PAGE for address in list(heap.live))


# --- misuse


def test_a_page_inside_a_block_is_no_block(heap):
    block = heap.alloc(2 * PAGE)
    with pytest.raises(Fault, match="not a live block"):
        DESIGN.dealloc(heap.state, block + PAGE, 16, 16)


# --- compiled


CROWD = """
import ctypes
c = ctypes.CDLL(None)
c.malloc.restype, c.malloc.argtypes, c.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
large = [c.malloc(264 << 10) for _ in range(70_000)]
print(all(large))
for each in large:
    c.free(each)
small = [c.malloc(1) for _ in range(150_000)]
for each in small[::2]:  # more holes than the kernel allows mappings
    c.free(each)
again = [c.malloc(1) for _ in range(75_000)]
print(all(again), len(set(again) - set(small[::2])) < 10_000)
"""


@pytest.mark.slow
def test_more_blocks_and_more_holes_than_the_kernel_allows_mappings():
    command = [sys.executable, "-m", "heapwright", "run", "-a", SPEC, "--", sys.executable, "-c", CROWD]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "True"]


@pytest.mark.slow
def test_70_000_blocks_of_264_kib_work_or_fail_cleanly():
    heap = NativeHeap(SPEC, 0, 1 << 36)
    blocks = [heap.alloc(264 * KIB, 16) for _ in range(70_000)]
    served = [block for block in blocks if block]
    assert len(set(served)) == len(served) > 10_000
    assert not blocks[-1] or len(served) == 70_000
    for block in served:
        heap.dealloc(block, 264 * KIB, 16)
    assert heap.alloc(264 * KIB, 16)
    heap.close()
