"""Compiled, with as many threads and blocks as no interpreter could serve."""

import ctypes
import os
import threading
from random import Random

import pytest

from heapwright import allocator
from heapwright.allocators import ALLOCATORS
from heapwright.native.heap import EXPORTS, NativeHeap

THREADED = [name for name in ALLOCATORS if allocator.load(name).is_threaded]
PLACES, STEPS, CREW = 64, 3000, 6


class Board:
    """Places for blocks, where each thread finds what another one left: (address, size), filled with size & 255."""

    def __init__(self, heap):
        self.heap, self.lock = heap, threading.Lock()
        self.blocks, self.spoilt, self.freed = [None] * PLACES, [], 0

    def work(self, seed):
        rng = Random(seed)
        for _ in range(STEPS):
            block, place = self.made(rng), rng.randrange(PLACES)
            with self.lock:
                self.blocks[place], block = block, self.blocks[place]
            if block is not None:
                self.pass_on(block, rng)
        self.heap.thread_exit(0)

    def made(self, rng):
        size, is_zeroed = size_of(rng), rng.random() < 0.1
        address = (self.heap.alloc_zeroed if is_zeroed else self.heap.alloc)(size, 16)
        if is_zeroed:
            self.expect(address, bytes(size))
        ctypes.memset(address, size & 255, size)
        return address, size

    def pass_on(self, block, rng):
        """Free what another thread left, one in five after it was resized."""
        address, size = block
        self.expect(address, bytes([size & 255]) * size)
        if rng.random() < 0.2:
            new_size = size_of(rng)
            address = self.heap.realloc(address, size, 16, new_size)
            self.expect(address, bytes([size & 255]) * min(size, new_size))
            size = new_size
        self.heap.dealloc(address, size, 16)
        self.freed += 1

    def expect(self, address, data):
        if ctypes.string_at(address, len(data)) != data:
            self.spoilt.append((address, len(data)))


def size_of(rng):
    return rng.choice((rng.randrange(1, 300), rng.randrange(1, 6000), rng.randrange(1, 40_000)))


@pytest.fixture
def native(request):
    """With the exports that are no methods of a NativeHeap: for threads that end, and for fork."""
    heap = NativeHeap(request.param)
    for name in ("thread_exit", "fork_prepare", "fork_parent"):
        setattr(heap, name, heap.export(name, EXPORTS[name]))
    yield heap
    heap.close()


@pytest.mark.parametrize("native", [*THREADED, "pages_split"], indirect=True)
def test_threads_free_each_others_blocks(native):
    """Beside a thread that trims, and makes ready to fork. pages_split is under a lock, as every other design."""
    board = Board(native)
    crew = [threading.Thread(target=board.work, args=(seed,)) for seed in range(CREW)]
    for each in crew:
        each.start()
    while any(each.is_alive() for each in crew):
        native.fork_prepare()
        native.fork_parent()
        native.trim()
        crew[0].join(0.001)
    assert board.freed > CREW * STEPS * 0.9
    assert board.spoilt == []


@pytest.mark.parametrize("name", THREADED)
def test_a_process_forks_when_its_heap_is_closed(name):
    heap = NativeHeap(name)
    for block in [heap.alloc(size, 16) for size in (24, 500, 3000)]:
        heap.dealloc(block, 0, 16)
    heap.close()
    child = os.fork()
    if child == 0:
        os._exit(0)
    assert os.waitpid(child, 0) == (child, 0)


@pytest.mark.slow
@pytest.mark.parametrize(("native", "kept"), [("pages_split", 0), ("slab", 1 << 16)], indirect=["native"])
def test_200_000_live_objects(native, kept):
    blocks = [native.alloc(1 + i % 100, 16) for i in range(200_000)]
    assert len(set(blocks)) == len(blocks) and all(blocks)
    assert native.stats()["heap_bytes"] < 200_000 * 80
    for i, block in enumerate(blocks):
        native.dealloc(block, 1 + i % 100, 16)
    native.trim()
    assert native.stats()["heap_bytes"] == kept
