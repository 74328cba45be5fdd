"""Heaps of slabs that tests use: what their parts are, and threads that have long been busy, or are at their end."""

from copy import copy

from heapwright import allocator
from heapwright.allocators.slab import caches, magazines, sizes

SPEC = "slab"
DESIGN = allocator.load(SPEC)
SLAB_MODULE = DESIGN.parts[-1]
LARGEST = sizes.MAX_SMALL
BYTE = 0x2A  # an object is full of it when it is constructed


def cache_of(heap, size, align=16):
    return sizes.cache_for(heap.state, size, align)


def thread_of(heap):
    return magazines.thread_of(heap.state)


def slabs_of(cache, *which):
    lists = which or (caches.EMPTY, caches.PARTIAL, caches.FULL)
    found = []
    for each in lists:
        slab = cache.lists[each]
        while slab:
            found.append(slab.at(slab.address))
            slab = slab.next
    return found


def busy(heap, *sizes):
    """The running thread has long used the caches of these sizes."""
    thread = SLAB_MODULE.open_thread(heap.state)
    for size in sizes:
        thread.uses[cache_of(heap, size).number] = 4 * caches.MAX_ROUNDS


def unbuffered(heap):
    """Objects come straight from the slabs, as for a thread at its end."""
    heap.alloc(16)
    heap.thread_exit()
    return heap


class Objects:
    """A cache of constructed objects: they are full of one byte. `log` has each construction and each destruction."""

    def __init__(self, heap, size, align=16, name="", constructs=True, destructs=True):
        self.heap, self.size, self.align, self.log = heap, size, align, []
        functions = (self.construct, constructs), (self.destruct, destructs)
        given = [heap.process.function(function) if wanted else 0 for function, wanted in functions]
        self.address = heap.call("cache_create", SLAB_MODULE.cache_create, text(heap, name), size, align, *given)

    def over(self, heap):
        """The same cache in a forked child; the log is the same, too."""
        twin = copy(self)
        twin.heap = heap
        return twin

    @property
    def cache(self):
        """The allocator's words for it."""
        return caches.Cache(self.heap.memory, self.address)

    def construct(self, memory, address, size):
        self.log.append(("construct", address))
        memory.fill(address, size, BYTE)

    def destruct(self, memory, address, size):
        self.log.append(("destruct", address))
        memory.load(address, 8)

    def alloc(self):
        return self.heap.alloc_by(lambda state: SLAB_MODULE.cache_alloc(state, self.address), self.size, self.align)

    def free(self, address):
        self.heap.dealloc_by(lambda state: SLAB_MODULE.cache_free(state, self.address, address), address)

    def reap(self):
        return self.heap.call("cache_reap", SLAB_MODULE.cache_reap, self.address)

    def destroy(self):
        return self.heap.call("cache_destroy", SLAB_MODULE.cache_destroy, self.address)

    def constructed(self):
        return [address for what, address in self.log if what == "construct"]

    def destructed(self):
        return [address for what, address in self.log if what == "destruct"]


def is_as_constructed(kind, address):
    return kind.heap.process.peek(address, kind.size) == bytes([BYTE]) * kind.size


def alloc_and_free(kind, count):
    objects = [kind.alloc() for _ in range(count)]
    for each in objects:
        kind.free(each)
    return objects


def text(heap, name):
    """The address of a C string that the allocator may read; 0 for none."""
    if not name:
        return 0
    place = heap.process.reserve(len(name) + 1)
    heap.process.poke(place, name.encode() + b"\0")
    return place
