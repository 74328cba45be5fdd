"""The layer `guarded`, interpreted: what it chooses, where it puts blocks, and what its protected pages catch."""

from __future__ import annotations

import math
import re
from functools import partial
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heapwright import guards
from heapwright.allocator import load
from heapwright.conformance import CHECKS, NotApplicable, Subject
from heapwright.errors import AllocatorError
from heapwright.machine import Fault, start
from heapwright.machine.fault import Kind
from heapwright.spans import CACHED, OWN, UNUSED, USED

PAGE = 4096
SLOTS = 16
ALL = "guarded[RATE=1,RIGHT=100](kr)"  # each request, at the right end of its page
LEFT = "guarded[RATE=1,RIGHT=0](kr)"
ALLOCATORS = ["kr", "linked_list", "hoard", "ptmalloc", "sized(buddy)"]


def opened(spec=ALL, **options):
    return start(load(spec), **options)


def in_pool(heap, address):
    """Whether a block lies in the pool, which is the machine's first mapping: at the top of the address space."""
    end = heap.state.end.load()
    return end - (2 * SLOTS + 1) * PAGE <= address < end


def fault_of(action, *arguments):
    with pytest.raises(Fault) as raised:
        action(*arguments)
    return raised.value


def explained(fault):
    """The layer's explanation; "" where the page is open and only the machine noticed."""
    return fault.what.partition("; guarded: ")[2]


# --- which requests


@pytest.mark.parametrize("rate", [1, 2, 10])
def test_one_request_in_so_many_is_chosen(rate):
    """Gaps have the variance (rate^2 - rate) / 3: the number of chosen requests is within five standard deviations."""
    heap, rounds = opened(f"guarded[RATE={rate}](kr)"), 1000
    found = 0
    for _ in range(rounds):
        block = heap.alloc(40)
        found += in_pool(heap, block)
        heap.dealloc(block)
    spread = math.sqrt(rounds * (rate * rate - rate) / 3 / rate**3)
    assert abs(found - rounds / rate) <= 5 * spread


def test_each_thread_counts_for_itself_and_a_child_anew():
    heap = opened("guarded[RATE=1000](kr)")
    layer, first = heap.allocator.parts[0], heap.process.thread
    heap.dealloc(heap.alloc(40))
    heap.process.thread = heap.process.new_thread()
    heap.dealloc(heap.alloc(40))
    child = heap.fork()
    assert child.process.thread.words[layer.LEFT] == 0
    child.alloc(40)
    heap.alloc(40)
    words = [each.words[layer.LEFT] for each in (first, heap.process.thread, child.process.thread)]
    assert len(set(words)) == 3
    assert all(0 < word < 2000 for word in words)


@pytest.mark.parametrize(("size", "align", "is_chosen"), [(4096, 4096, 1), (4097, 16, 0), (8, 8192, 0), (0, 16, 1)])
def test_what_fits_a_page_is_chosen(size, align, is_chosen):
    heap = opened()
    assert in_pool(heap, heap.alloc(size, align)) == is_chosen


def test_a_full_pool_and_a_kernel_that_refuses_leave_it_to_the_allocator():
    heap = opened()
    blocks = [heap.alloc(40) for _ in range(SLOTS + 2)]
    assert [in_pool(heap, block) for block in blocks] == [True] * SLOTS + [False] * 2
    heap.dealloc(blocks[3])
    heap.process.kernel.calls.at(1, once=True)
    assert not in_pool(heap, heap.alloc(40))
    assert in_pool(heap, heap.alloc(40))
    heap.check()


def test_without_a_pool_nothing_is_chosen():
    heap = opened()
    heap.process.kernel.calls.at(1)
    assert heap.alloc(40) == heap.state.end.load() == 0
    heap.process.kernel.calls.never()
    assert in_pool(heap, heap.alloc(40))


def test_a_pool_that_cannot_be_protected_is_given_back():
    heap = opened()
    heap.process.kernel.calls.at(2)
    assert heap.alloc(40) == heap.state.end.load() == 0
    assert heap.process.mappings == []


# --- where blocks lie


@pytest.mark.parametrize(("size", "align", "end"), [(100, 16, 112), (100, 4, 100), (1, 1, 1), (0, 1, 1), (48, 16, 48)])
def test_at_the_right_end_up_to_the_alignment(size, align, end):
    assert opened().alloc(size, align) % PAGE == PAGE - end


def test_at_the_left_end():
    assert opened(LEFT).alloc(100) % PAGE == 0


def test_at_either_end_at_random():
    """Half of 200: beyond five standard deviations lies one run in two million."""
    heap, right = opened("guarded[RATE=1](kr)"), 0
    for _ in range(200):
        block = heap.alloc(100)
        right += block % PAGE != 0
        heap.dealloc(block)
    assert abs(right - 100) < 5 * math.sqrt(50)


def test_slots_are_used_again_in_the_order_of_their_frees():
    heap = opened()
    pages = [heap.alloc(40) // PAGE for _ in range(SLOTS)]
    order = Random(1).sample(sorted(heap.live), SLOTS)
    for block in order:
        heap.dealloc(block)
    assert [heap.alloc(40) // PAGE for _ in range(SLOTS)] == [block // PAGE for block in order]
    assert len(set(pages)) == SLOTS


# --- what is caught


@pytest.mark.parametrize(
    ("spec", "freed", "offset", "told"),
    [
        (ALL, False, 112, "overflow: 12 bytes after the end of the"),
        (ALL, False, 112 + PAGE - 8, "overflow: 4,100 bytes after the end of the"),
        (ALL, False, 112 - PAGE - 8, "underflow: 3,992 bytes before the"),
        (LEFT, False, -8, "underflow: 8 bytes before the"),
        (LEFT, False, PAGE, "overflow: 3,996 bytes after the end of the"),
        (ALL, True, 0, "use after free: 0 bytes into the"),
        (ALL, True, 99, "use after free: 99 bytes into the"),
        (ALL, True, 112, "use after free: 12 bytes after the end of the"),
    ],
)
@pytest.mark.parametrize("operation", ["load", "store"])
def test_a_protected_page_tells_of_its_block(spec, freed, offset, told, operation):
    heap = opened(spec)
    block = heap.alloc(100)
    if freed:
        heap.dealloc(block)
    address = block + offset
    fault = fault_of(getattr(heap.user, operation), address, 1, *([7] if operation == "store" else []))
    assert fault.kind == Kind.PERMISSION
    by = ", allocated by thread 1" + (", freed by thread 1" if freed else "")
    assert explained(fault) == f"{told} block at {block:#x} (100 bytes){by}"


def test_the_nearer_of_two_blocks_is_told_and_a_live_one_first():
    heap = opened()
    first, second = heap.alloc(16), heap.alloc(16)
    guard = (first // PAGE + 1) * PAGE
    assert "overflow" in explained(fault_of(heap.user.load, guard, 1))
    heap.dealloc(first)
    told = explained(fault_of(heap.user.load, guard, 1))
    assert told.startswith("underflow")
    assert f"{second:#x}" in told


def test_what_the_program_frees_wrongly_is_reported():
    heap = opened()
    block, page = heap.alloc(100), heap.state.end.load() - PAGE
    told = fault_of(lambda: heap.dealloc(block + 16, unchecked=True)).what
    assert told == f"no block begins here: {block + 16:#x}; guarded: allocated by thread 1"
    for place in (page, page - PAGE):
        told = fault_of(lambda place=place: heap.dealloc(place, unchecked=True)).what
        assert told == f"not a block of this heap: {place:#x}"
    heap.process.thread = heap.process.new_thread()
    heap.dealloc(block)
    for call in (heap.dealloc, partial(heap.realloc, new_size=8)):
        told = fault_of(lambda call=call: call(block, unchecked=True)).what
        assert told == f"double free: {block:#x} (100 bytes); guarded: allocated by thread 1, freed by thread 2"
    heap.check()


def test_a_slot_forgets_who_freed_its_last_block():
    heap = opened("guarded[RATE=1,SLOTS=1](kr)")
    heap.dealloc(heap.alloc(100))
    heap.alloc(100)
    slot = heap.state.slots[0]
    assert (slot.allocated.thread, slot.freed.thread) == (1, 0)


def test_what_is_missed_the_machine_alone_notices():
    """The slack behind a block, the rest of a left page, a slot that is used again, and blocks outside the sample."""
    heap = opened()
    block = heap.alloc(100)
    assert explained(fault_of(heap.user.store, block + 104, 8, 7)) == ""
    heap = opened(LEFT)
    block = heap.alloc(100)
    assert explained(fault_of(heap.user.store, block + 104, 8, 7)) == ""
    heap = opened("guarded[RATE=1,SLOTS=1](kr)")
    old = heap.alloc(4096)
    heap.dealloc(old)
    assert heap.alloc(4096) == old
    heap.user.store(old, 8, 7)
    heap = opened("guarded[RATE=1000000000](kr)")
    block = heap.alloc(100)
    heap.dealloc(block)
    assert explained(fault_of(heap.user.load, block, 8)) == ""


# --- the calls


def test_a_realloc_leaves_the_pool_and_enters_it():
    heap = opened("guarded[RATE=1,RIGHT=100,SLOTS=1](kr)")
    block = heap.alloc(24)
    for offset in (0, 8, 16):
        heap.user.store(block + offset, 8, offset)
    out = heap.realloc(block, 5000)
    assert not in_pool(heap, out) or out > heap.state.end.load()
    back = heap.realloc(out, 16)
    assert back % PAGE == PAGE - 16
    assert [heap.user.load(back + offset, 8) for offset in (0, 8)] == [0, 8]
    assert heap.usable_size(back) == 16
    heap.check()


def test_a_realloc_that_fails_keeps_the_block():
    heap = opened()
    block = heap.alloc(24)
    heap.user.store(block, 8, 7)
    heap.process.kernel.calls.at(1, once=False)
    assert heap.realloc(block, 1 << 30) == 0
    assert heap.user.load(block, 8) == 7
    heap.check()


def test_memory_that_was_used_is_zeroed():
    heap = opened("guarded[RATE=1,SLOTS=1](kr)")
    heap.dealloc(heap.alloc(4096))
    heap.alloc_zeroed(4096)


def test_the_walk_tells_of_each_page():
    heap = opened()
    blocks = [heap.alloc(40) for _ in range(3)]
    heap.alloc(9000)
    heap.dealloc(blocks[1])
    kinds = [kind for start, size, kind in heap.spans() if in_pool(heap, start)]
    assert kinds == [OWN, USED, OWN, CACHED, OWN, USED, OWN, *[UNUSED, OWN] * (SLOTS - 3)]


def test_the_survey_counts_the_pool_as_mapped():
    heap = opened("guarded[RATE=1](linked_list)")
    blocks = [heap.alloc(size) for size in (40, 40, 40, 5000)]
    heap.dealloc(blocks[0])
    told = heap.survey()
    assert told["mapped_blocks"] == 2
    assert told["mapped_bytes"] == (2 * SLOTS + 1) * PAGE
    assert told["arena_bytes"] == told["heap_bytes"] - told["mapped_bytes"]


def test_a_child_has_the_pool_and_its_protection():
    heap = opened()
    block, freed = heap.alloc(100), heap.alloc(100)
    heap.user.store(block, 8, 7)
    heap.dealloc(freed)
    child = heap.fork()
    assert child.user.load(block, 8) == 7
    assert "use after free" in explained(fault_of(child.user.load, freed, 1))
    assert "overflow" in explained(fault_of(child.user.store, block + 112, 8, 1))
    child.dealloc(block)
    heap.user.store(block, 8, 8)
    child.check()
    heap.check()


@pytest.mark.parametrize("kind", ["live", "queue"])
def test_check_finds_a_broken_pool(kind):
    heap = opened()
    blocks = [heap.alloc(40), heap.alloc(40)]
    heap.dealloc(blocks[0])
    heap.check()
    slot = heap.state.slots[1]
    if kind == "live":
        slot.block = slot.page + PAGE
    else:
        slot.state.store(guards.FREED)
    name = "G1" if kind == "live" else "G2"
    assert re.search(name, str(fault_of(heap.check)))


calls = st.lists(st.tuples(st.sampled_from("azrrdd"), st.integers(0, 300) | st.integers(0, 6000)), max_size=40)


@pytest.mark.long
@pytest.mark.parametrize("name", ALLOCATORS)
def test_a_heap_is_a_heap_under_it(name):
    """The machine checks each result, and `check` the whole heap. A kernel call in ten fails."""

    @settings(max_examples=10)
    @given(calls, st.integers(0, 1000))
    def holds(calls, seed):
        heap = opened(f"guarded[RATE=2,SLOTS=3]({name})", seed=seed, frames=500)
        for number, (call, size) in enumerate(calls):
            if number % 10 == 9:
                heap.process.kernel.calls.at(1, once=True)
            live = sorted(heap.live)
            if call == "d" and live:
                heap.dealloc(live[size % len(live)])
            elif call == "r" and live:
                heap.realloc(live[size % len(live)], size)
            elif call in "az":
                {"a": heap.alloc, "z": heap.alloc_zeroed}[call](size)
            heap.check()

    holds()


def test_its_addresses_are_not_compared_between_the_worlds():
    with pytest.raises(NotApplicable, match="it draws at random"):
        CHECKS["same_addresses"](Subject("guarded(kr)"))


# --- variants of a layer


def test_a_layer_has_tunables():
    layer = load("counted(guarded[RATE=7,SLOTS=3](locked(kr)))").parts[1]
    assert (layer.RATE, layer.SLOTS, layer.RIGHT) == (7, 3, 50)
    assert load("guarded(kr)").parts[0].RATE == 5000


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("guarded[RATE=0](kr)", "RATE of guarded is 1 to 1073741823, not 0"),
        ("guarded[RAET=5](kr)", "guarded has no tunable 'RAET': did you mean 'RATE'?"),
        ("locked[RATE=5](kr)", "locked has no tunables, and so no variants"),
    ],
)
def test_a_wrong_tunable_of_a_layer_is_refused(spec, told):
    with pytest.raises(AllocatorError, match=re.escape(told)):
        load(spec)
