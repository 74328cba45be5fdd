"""Heaps that tests use: ways to begin one, to look at it, and to call it from several threads."""

from contextlib import contextmanager

from heapwright import allocator
from heapwright.machine import start
from heapwright.spans import KINDS


def fresh(spec, **options):
    """A heap of an allocator in a machine of its own."""
    return start(allocator.load(spec), **options)


def spans(heap, wanted):
    """The (start, size) of each span of a kind, in address order."""
    return sorted((begin, size) for begin, size, kind in heap.spans() if kind == wanted)


def bytes_by_kind(heap):
    sums = dict.fromkeys(range(len(KINDS)), 0)
    for _, size, kind in heap.spans():
        sums[kind] += size
    return sums


def kernel_calls(heap):
    """A list that grows by the name and the first argument of each call."""
    calls = []
    heap.process.observe(call=lambda name, given, result, who: calls.append((name, given[0])))
    return calls


@contextmanager
def on(heap, thread):
    """Inside, calls come from another thread."""
    before, heap.process.thread = heap.process.thread, thread
    try:
        yield
    finally:
        heap.process.thread = before


class Blocks:
    """Blocks of a random story: all that were given, and the living ones; those of larger alignments apart."""

    def __init__(self, heap, random):
        self.heap, self.random = heap, random
        self.given, self.plain, self.aligned = [], [], []

    def give(self, size, align=16):
        blocks = self.plain if align == 16 else self.aligned
        blocks.append(self.heap.alloc(size, align))
        self.given.append(blocks[-1])

    def resize(self, i, size):
        """A plain one alone: dlmalloc forgets larger alignments."""
        self.plain[i] = self.heap.realloc(self.plain[i], size)
        self.given.append(self.plain[i])

    def free_one(self, blocks):
        self.heap.dealloc(blocks.pop(self.random.randrange(len(blocks))))

    def all(self):
        """The given and the living ones, once no request has failed."""
        assert all(self.given)
        return self.given, self.plain + self.aligned
