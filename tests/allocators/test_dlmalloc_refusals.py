"""dlmalloc where the kernel does not take memory back: nothing is lost, and the footprint tells the truth."""

from random import Random

import pytest

from heapwright import allocator
from heapwright.allocators.dlmalloc.inspect import segments_of
from heapwright.allocators.dlmalloc.segments import FROM_BREAK, MAPPED
from heapwright.machine import start

DLMALLOC = allocator.load("dlmalloc")
KIB = 1 << 10


def opened():
    """A heap that has top: only then are large requests mapped."""
    h = start(DLMALLOC)
    h.dealloc(h.alloc(1))
    return h


def refusing(h, *names):
    """Let the kernel refuse to take memory back; what to call to let it be kind again."""
    space = h.process.space
    kept = {name: getattr(space, name) for name in names}
    for name, real in kept.items():
        setattr(
            space, name, lambda *given, name=name, real=real: -1 if name != "sbrk" or given[0] < 0 else real(*given)
        )
    return lambda: [setattr(space, name, real) for name, real in kept.items()]


@pytest.mark.parametrize("align", [16, 64 * KIB])
def test_a_mapping_that_the_kernel_does_not_take_serves_requests(align):
    h = opened()
    block, held = h.alloc(300 * KIB, align), h.memory.held()
    relent = refusing(h, "munmap")
    h.dealloc(block)
    h.check()
    assert h.state.footprint == h.memory.held() == held
    [_, kept] = segments_of(h.state)
    assert kept.origin == MAPPED and kept.start < h.alloc(200 * KIB) < kept.start + kept.size
    h.check()
    assert h.memory.held() == held, "nothing new was asked for"
    relent()


def test_a_mapping_is_offered_again():
    h = opened()
    blocks = [h.alloc(300 * KIB) for _ in range(3)]
    relent = refusing(h, "munmap")
    for address in blocks:
        h.dealloc(address)
        h.check()
    held = h.memory.held()
    h.trim()
    h.check()
    assert h.state.footprint == h.memory.held() == held > 900 * KIB
    relent()
    assert h.trim() > 900 * KIB
    h.check()
    assert h.state.footprint == h.memory.held() and not h.process.mappings


def test_a_refused_trim_changes_nothing():
    h = opened()
    h.dealloc(h.alloc(250 * KIB))
    relent = refusing(h, "sbrk")
    before = h.state.footprint, h.state.top_size
    h.trim()
    h.check()
    assert (h.state.footprint, h.state.top_size) == before and h.state.footprint == h.memory.held()
    relent()
    assert h.trim() > 200 * KIB
    h.check()
    assert h.state.footprint == h.memory.held()


def test_an_extent_that_is_too_small_and_cannot_go_back_serves_others():
    h = opened()
    h.user.sbrk(100)
    relent = refusing(h, "sbrk")
    h.process.kernel.calls.at(2, True)
    block = h.alloc(20 * KIB)
    h.check()
    first, _, kept = segments_of(h.state)
    assert first.origin == MAPPED and first.start < block, "the break is given up"
    assert h.state.footprint == h.memory.held() and kept.origin == FROM_BREAK
    assert kept.start < h.alloc(15 * KIB) < kept.start + kept.size
    relent()
    h.check()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_all_goes_well_with_a_kernel_that_takes_nothing_back(seed):
    random, h = Random(seed), opened()
    relent = refusing(h, "munmap", "mremap", "sbrk")
    for step in range(300):
        live = [*h.live]
        if live and random.random() < 0.5:
            h.dealloc(random.choice(live))
        elif live and random.random() < 0.3:
            assert h.realloc(random.choice(live), random.randrange(600 * KIB))
        else:
            assert h.alloc(random.randrange(600 * KIB), 1 << random.randrange(4, 17))
        if step % 20 == 0:
            h.check()
            assert h.state.footprint == h.memory.held()
    relent()
    for address in [*h.live]:
        h.dealloc(address)
    h.trim()
    h.check()
    assert h.state.footprint == h.memory.held() and not h.process.mappings
