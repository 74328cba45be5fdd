"""Heaps of wright that tests use: what their parts are, threads beside the first, and blocks that a trim can mesh."""

import random
from contextlib import contextmanager

from heaps import on

from heapwright.allocators.wright import homes, records


def home_of(heap):
    """The running thread's home."""
    return homes.this_home(heap.state)


def slab_of(heap, address):
    """The record of the slab that a block lies in."""
    return records.head_of(records.record_of(heap.state, address))


def list_of(heap, size_class):
    """The addresses in the running thread's list of a class."""
    found, block = [], home_of(heap).hot[size_class].first
    while block:
        found.append(block.address)
        block = block.next
    return found


@contextmanager
def elsewhere(heap):
    """Inside, calls come from a new thread, which has another home."""
    with on(heap, heap.process.new_thread()):
        yield home_of(heap)


# --- meshed ones


class Told:
    """The live blocks of a heap, with contents that are compared whenever somebody asks."""

    def __init__(self, heap, blocks=()):
        self.heap, self.contents = heap, {}
        for block in blocks:
            self.write(block)

    def write(self, block, word=0):
        word = word or block * 7 % (1 << 60)
        for place in range(0, self.heap.live[block].size // 8 * 8, 8):
            self.heap.user.store(block + place, 8, word)
        self.contents[block] = word

    def compare(self):
        for block, word in self.contents.items():
            for place in range(0, self.heap.live[block].size // 8 * 8, 8):
                assert self.heap.user.load(block + place, 8) == word

    def churn(self, rng, times, sizes):
        for _ in range(times):
            if self.contents and rng.random() < 0.5:
                block = rng.choice(list(self.contents))
                del self.contents[block]
                self.heap.dealloc(block)
            else:
                self.write(self.heap.alloc(rng.choice(sizes)))


def scattered(heap, keep=8, sizes=(256,), count=12 * 64, seed=1):
    """Blocks of which one in `keep` stays, by lot."""
    rng = random.Random(seed)
    blocks = [heap.alloc(rng.choice(sizes)) for _ in range(count)]
    rng.shuffle(blocks)
    told = Told(heap, blocks[: count // keep])
    for block in blocks[count // keep :]:
        heap.dealloc(block)
    return told


def merged(heap):
    """The number of frames that meshing saves."""
    return heap.state.meshes.pages - heap.state.meshes.frames
