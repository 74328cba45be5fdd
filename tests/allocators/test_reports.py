"""After the report of a misuse the heap is whole and no lock is held: the program's handler of SIGABRT may go on."""

from random import Random

import pytest
from heaps import fresh

from heapwright import allocator
from heapwright.allocators import ALLOCATORS
from heapwright.machine import Fault, Heap, Kind
from heapwright.machine.shadow import ALLOCATOR, USER, WRITTEN

SIZES = (24, 1000, 5000, 60_000)


def declared(spec):
    """The misuses that an allocator says it reports, the double free of what was freed last among them."""
    words = getattr(allocator.load(spec), "DETECTS", ())
    return {"double free at once" if word.startswith("double free") else word for word in words}


def threaded(spec):
    loaded = allocator.load(spec)
    return spec if loaded.is_threaded else f"locked({spec})"


def twice(heap, block):
    heap.dealloc(block)
    return block


def inside(heap, block):
    open_to_the_allocator(heap, block, heap.live[block].size)
    return block + 16


def foreign(heap, block):
    address = heap.process.user.mmap(1 << 18)
    open_to_the_allocator(heap, address, 1 << 18)
    return address + (1 << 17) + 32


def open_to_the_allocator(heap, address, size):
    """Zeros that the allocator may read: it looks there for a header."""
    heap.process.poke(address, bytes(size))
    heap.process.space.shadow.add_bits(address, size, ALLOCATOR | USER | WRITTEN)


MISUSES = {"double free at once": twice, "interior": inside, "foreign": foreign}
DECLARED = [(spec, word) for spec in ALLOCATORS for word in sorted(declared(spec))]


@pytest.mark.parametrize(("layers", "size"), [*(("{}", size) for size in SIZES), ("counted({})", 5000)])
@pytest.mark.parametrize(("spec", "word"), DECLARED)
def test_a_heap_goes_on_after_a_report(spec, word, size, layers):
    heap = fresh(layers.format(threaded(spec)), frames=1 << 12)
    blocks = [heap.alloc(size) for _ in range(6)]
    heap.dealloc(blocks.pop(3))
    address = MISUSES[word](heap, blocks.pop(1))
    with pytest.raises(Fault) as caught:
        heap.dealloc(address, unchecked=True)
    assert caught.value.kind == Kind.MISUSE
    goes_on(heap)


@pytest.mark.parametrize("kept", [0, 3], ids=["in the depot", "of the thread"])
@pytest.mark.parametrize("size", SIZES)
def test_slab_goes_on_after_a_report_while_it_empties_magazines(size, kept):
    heap = fresh("slab", frames=1 << 12)
    for other in (16, 64, 300, 4000):  # caches before and behind that of the misuse
        for block in [heap.alloc(other) for _ in range(40)]:
            heap.dealloc(block)
    block, *_ = [heap.alloc(size) for _ in range(1 + kept)]  # the more live, the more room in the magazine
    heap.dealloc(block)
    with pytest.raises(Fault, match="double free"):
        heap.dealloc(block, unchecked=True)  # a large block is refused here
        heap.trim()
    goes_on(heap, invariants)  # what was left of the magazine is lost


def test_hoard_goes_on_after_a_report_in_a_superblock():
    heap = fresh("hoard", frames=1 << 12)
    for _ in range(20):  # the buffer is warm then
        heap.dealloc(heap.alloc(5000))
    block, other = heap.alloc(5000), heap.alloc(5000)
    heap.dealloc(block)
    heap.dealloc(other)
    heap.dealloc(block, unchecked=True)  # now the buffer is a circle
    with pytest.raises(Fault, match="double free"):
        heap.trim()
    goes_on(heap)


def goes_on(heap, check=Heap.check):
    """A story of random requests, each of which the machine checks, after what compiled code does before it aborts."""
    heap.call("release_held", heap.allocator.module.release_held)
    child = heap.fork()  # which waits for every lock
    assert child.alloc(100)
    check(heap)
    random = Random(1)
    for _ in range(60):
        if heap.live and random.random() < 0.5:
            heap.dealloc(random.choice(sorted(heap.live)))
        else:
            assert heap.alloc(random.choice((16, 24, 300, 1000, 5000, 60_000, 200_000)))
    check(heap)
    for block in sorted(heap.live):
        heap.dealloc(block)
    heap.trim()
    check(heap)


def invariants(heap):
    """The allocator's own, whether or not a block was lost."""
    for start, end in heap.extents():
        heap.allocator.module.check(heap.state, start, end)
