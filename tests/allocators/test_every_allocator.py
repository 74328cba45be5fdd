"""What is asked of every allocator, beyond what `heapwright check` has the time for."""

from random import Random

import pytest
from heaps import fresh

from heapwright.allocator import find, load
from heapwright.allocators import ALLOCATORS
from heapwright.allocators.buddy import MAX_BLOCK
from heapwright.conformance.kernel import sound
from heapwright.conformance.story import Play, Step
from heapwright.dialect.source import CALLED_FROM_OUTSIDE, INTERFACE, Program
from heapwright.spans import USED

KIB, MIB = 1 << 10, 1 << 20
LINES = 40  # of a story that are told


@pytest.fixture(params=ALLOCATORS)
def heap(request):
    return fresh(request.param, frames=1 << 15)


def test_a_new_heap_is_sound_and_holds_nothing(heap):
    heap.check()
    assert heap.trim() == 0 == heap.memory.held()
    survey = heap.survey()
    assert survey.pop("free_blocks") <= 1  # as glibc, ptmalloc counts a top that is not there yet
    assert not list(heap.spans()) and not any(survey.values())


@pytest.mark.parametrize("name", ALLOCATORS)
def test_slow_paths_are_functions_that_requests_reach(name):
    design = load(name)
    reached = Program(find(name, is_layer=False)).reached({*INTERFACE, *CALLED_FROM_OUTSIDE})
    known = {key.name for key in reached} | {f"{key.path.stem}.{key.name}" for key in reached}
    assert design.slow_paths - known == set()


@pytest.mark.parametrize("name", sorted({*ALLOCATORS} - {"kr", "linked_list", "segregated_fits", "tlsf", "hoard"}))
def test_fresh_mappings_are_not_cleared_again(name):
    heap, stores = fresh(name), []
    heap.dealloc(heap.alloc(100))
    heap.process.observe(access=lambda operation, address, size, *rest: stores.append(size))
    assert heap.alloc_zeroed(3 * MIB) != 0
    assert sum(stores) < 5000


# --- a kernel that takes nothing back

MAPPED = {  # sizes that are mappings of their own
    "pages": (300 * KIB, 300 * KIB),
    "segregated_storage": (300 * KIB, 300 * KIB),
    "pages_split": (300 * KIB, 300 * KIB),
    "buddy": (MAX_BLOCK, MAX_BLOCK, 3 * MIB),
}


@pytest.mark.long
@pytest.mark.parametrize("once", [True, False], ids=["once", "from then on"])
@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("name", MAPPED)
def test_a_mapping_that_the_kernel_does_not_take_back_serves_again_or_goes_later(name, k, once):
    heap, held = fresh(name), []
    heap.process.kernel.returns.at(k, once)
    for _ in range(4):
        for size in MAPPED[name]:
            assert heap.alloc_zeroed(size)  # the machine compares
        held.append(heap.memory.held())
        for block in list(heap.live):
            heap.dealloc(block)
            heap.check()
    assert held[-1] == held[-2]
    heap.process.kernel.returns.never()
    kept = heap.memory.held()
    assert heap.trim() == kept
    assert heap.memory.held() == 0


# --- a long story


def steps(rng, count):
    for _ in range(count):
        choice, which = rng.random(), rng.randrange(1000)
        if choice < 0.4:
            yield Step("free", which)
        elif choice < 0.5:
            yield Step("realloc", which, size_of(rng))
        elif choice < 0.6:
            yield Step("zeroed", 0, size_of(rng))
        elif choice < 0.62:
            yield Step("foreign", 0, rng.choice([1, 16, 24, 4096, 5001]))
        else:
            yield Step("alloc", 0, size_of(rng), 16 if choice < 0.9 else 1 << rng.randrange(4, 18))


def size_of(rng):
    return rng.randrange(100) if rng.random() < 0.6 else int(rng.paretovariate(0.5)) % 200_000


@pytest.mark.long
def test_a_long_story(heap):
    """Of three threads, where the allocator has them: it stays sound, and all comes back."""
    rng, play = Random(3), Play(heap)
    for number, step in enumerate(steps(rng, 500)):
        if heap.allocator.is_threaded:
            play.take(Step("thread", rng.randrange(3)))
        play.take(step)
        play.lines = play.lines[-LINES:]
        if number % 50 == 0:
            heap.check()
    assert all(play.results)
    sound(play)
    for number in range(len(play.threads)):
        play.go_on(number)
        heap.thread_exit()
    heap.trim()
    heap.check()
    assert not [span for span in heap.spans() if span[2] == USED]
