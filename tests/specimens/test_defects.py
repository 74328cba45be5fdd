"""Each defect of xv6rs's UserAllocator: a scenario that fails on the specimen, as is said, and passes on ours.

A scenario states the good outcome. D21, the need for a nightly compiler, left nothing that could be tested.
"""

import ast
import random
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from heapwright import allocator
from heapwright.machine import Fault, start
from heapwright.spans import FREE, USED

SPECIMEN = allocator.load(str(Path(__file__).with_name("user_allocator.py")))
LINKED_LIST = allocator.load("linked_list")
KR = allocator.load("kr")

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
INTERFACE = {"alloc", "dealloc", "realloc", "alloc_zeroed", "usable_size", "trim", "survey", "walk", "check"}


@dataclass(frozen=True)
class Defect:
    number: int
    scenario: Callable
    shows: str  # how the scenario fails on the specimen
    passes: tuple

    def __str__(self):
        return f"D{self.number}-{self.scenario.__name__}"


DEFECTS = []


def defect(number, shows, passes=(LINKED_LIST, KR)):
    """Register a scenario: `shows` is in the text of its failure on the specimen; the `passes` are without it."""

    def register(scenario):
        DEFECTS.append(Defect(number, scenario, shows, passes))
        return scenario

    return register


# --- what scenarios observe


def kernel_calls(heap):
    """A list that grows by the argument of each call of sbrk."""
    calls = []
    heap.process.observe(call=lambda name, arguments, result, who: calls.append(arguments[0]))
    return calls


def heap_bytes(heap):
    return heap.process.brk - heap.process.heap_start


def bytes_of_kind(heap, wanted):
    return sum(size for _, size, kind in heap.spans() if kind == wanted)


def fill(heap, size):
    """Blocks of one size until the first growth is used up."""
    blocks = [heap.alloc(size, 8), heap.alloc(size, 8)]
    cost = abs(blocks[1] - blocks[0])
    while len(blocks) < heap_bytes(heap) // cost:
        blocks.append(heap.alloc(size, 8))
    return blocks


def free_all(heap):
    for address in list(heap.live):
        heap.dealloc(address)


def push_to_a_mebibyte(heap):
    """A `Vec<u8>` that doubles; return how often it moved."""
    address, size, moves = heap.alloc(8, 1), 8, 0
    while size < MIB:
        size *= 2
        moved = heap.realloc(address, size)
        moves += moved != address
        address = moved
    return moves


def some_story(heap, steps=200):
    """Allocations of many sizes and alignments; about half of them are freed."""
    rng = random.Random(1)
    for _ in range(steps):
        if heap.live and rng.random() < 0.4:
            heap.dealloc(rng.choice(list(heap.live)))
        else:
            heap.alloc(rng.randrange(600), 1 << rng.randrange(11))


def state_of(heap):
    """All that a call which fails must leave alone."""
    words = heap.process.peek(heap.words, heap.allocator.Heap.SIZE)
    return heap.process.brk, words, heap.process.peek(heap.process.heap_start, heap_bytes(heap))


# --- the scenarios


@defect(1, "store of 8 bytes at 0x0, near null")
def a_first_growth_that_fails_gives_0(design):
    heap = start(design)
    heap.process.kernel.calls.at(1)
    assert heap.alloc(100) == 0
    assert heap.process.peek(0, heap.process.space.data) == bytes(heap.process.space.data)


@defect(2, "store of 8 bytes at 0x0, near null")
def a_later_growth_that_fails_gives_0_and_changes_nothing(design):
    heap = start(design)
    heap.alloc(100)
    before = state_of(heap)
    heap.process.kernel.calls.at(1)
    assert heap.alloc(MIB) == 0
    assert state_of(heap) == before


@defect(3, "asked the kernel for more")
def small_blocks_that_were_freed_serve_a_large_one(design):
    heap = start(design)
    calls = kernel_calls(heap)
    fill(heap, 64)
    free_all(heap)
    assert heap.alloc(heap_bytes(heap) // 2) != 0
    assert sum(n > 0 for n in calls) == 1, "asked the kernel for more"


@defect(3, "a heap of 512 KiB for 64 KiB")
def phases_of_larger_and_larger_blocks_share_their_memory(design):
    heap = start(design)
    for phase in range(8):
        for _ in range(1024 >> phase):
            heap.alloc(64 << phase)
        free_all(heap)
    assert heap_bytes(heap) <= 192 * KIB, f"a heap of {heap_bytes(heap) // KIB} KiB for 64 KiB"


@defect(4, "asked the kernel for more")
def a_hole_of_32_bytes_serves_24(design):
    heap = start(design)
    calls = kernel_calls(heap)
    heap.dealloc(fill(heap, 32)[1])
    assert heap.alloc(24, 8) != 0
    assert sum(n > 0 for n in calls) == 1, "asked the kernel for more"


@defect(5, "1008 bytes are lost")
def the_padding_in_front_of_an_aligned_block_stays_free(design):
    heap = start(design)
    first = heap.alloc(16)
    heap.alloc(1024, 1024)
    heap.dealloc(first)
    free_all(heap)
    lost = heap_bytes(heap) - bytes_of_kind(heap, FREE)
    assert lost == 0, f"{lost} bytes are lost"


@defect(6, "alloc runs 2 deep")
def growth_calls_nothing_again(design):
    heap = start(design)
    deepest = 0

    def measure(*_):
        nonlocal deepest
        deepest = max(deepest, depth_of("alloc", source_of(design)))

    heap.process.observe(access=measure)
    heap.alloc(2 * heap.process.memory.PAGE)
    assert deepest == 1, f"alloc runs {deepest} deep"


def source_of(design):
    return Path(design.parts[-1].__file__)


def depth_of(function, file):
    """How many frames of the stack are calls of one function."""
    depth, frame = 0, sys._getframe()
    while frame:
        depth += frame.f_code.co_name == function and frame.f_code.co_filename == str(file)
        frame = frame.f_back
    return depth


@defect(7, "store of 8 bytes at 0x0, near null")
def every_alignment_takes_at_most_two_kernel_calls(design, foreign=0):
    for shift in reversed(range(21)):
        heap = start(design, frames=2048)
        heap.process.user.sbrk(foreign)
        calls = kernel_calls(heap)
        assert heap.alloc(4096, 1 << shift) != 0
        assert len(calls) <= 2, f"{len(calls)} calls of sbrk"


@defect(7, "store of 8 bytes at 0x0, near null")
def a_misaligned_break_takes_no_more(design):
    every_alignment_takes_at_most_two_kernel_calls(design, foreign=1)


@defect(8, "which are not all mapped")
def requests_beyond_31_bits_fail(design):
    for size in (4 * GIB + 4 * KIB, 4 * GIB, 3 * GIB, 2 * GIB, 2 * GIB - 1):
        heap = start(design)
        heap.alloc(16)
        before = state_of(heap)
        assert heap.alloc(size, 8) == 0
        assert state_of(heap) == before


@defect(9, "alloc calls itself without end")
def requests_near_the_largest_number_fail(design):
    for size in (1 << 63) - 8, (1 << 63) - 4096, 1 << 62, (1 << 62) - 1:
        for align in 1, 8, 16, 4096, 1 << 30:
            heap = start(design)
            if size <= (1 << 63) - align:  # D12 is about the others
                assert heap.alloc(size, align) == 0
                assert heap_bytes(heap) == 0


@defect(10, "live payload touched by the allocator")
def two_threads_get_two_blocks(design):
    for switch in range(1, 60):
        heap = start(for_threads(design))
        heap.dealloc(heap.alloc(64))
        heap.process.new_thread()
        heap.process.scheduler = second = Second(heap, switch)
        first = heap.alloc(16)
        heap.process.scheduler = None
        second.run()
        assert first != second.address != 0


def for_threads(design):
    """The design itself if it says that threads may call it, else under a lock."""
    return design if design.is_threaded else allocator.load(f"locked({design.spec})")


class Asleep(Exception):
    """A thread that waits for a lock."""


class Second:
    """A second thread, which runs at one access of the first, and again when the first has ended if it had to wait."""

    def __init__(self, heap, switch):
        self.heap, self.left, self.address = heap, switch, 0

    def step(self, operation, address, size):
        self.left -= 1
        if self.left == 0:
            self.run()

    def run(self):
        if self.address == 0:
            with suppress(Asleep):
                self.address = self.heap.alloc(16)

    def wait(self, address, value):
        raise Asleep

    def wake(self, address):
        pass

    def relax(self):
        pass


@defect(11, "nobody calls add_free_region, find_region, grow_heap")
def every_function_is_called(design):
    bodies = {f.name: f for f in ast.parse(source_of(design).read_text()).body if isinstance(f, ast.FunctionDef)}
    reached, waiting = set(), [name for name in bodies if name in INTERFACE]
    while waiting:
        name = waiting.pop()
        reached.add(name)
        names = {node.id for node in ast.walk(bodies[name]) if isinstance(node, ast.Name)}
        waiting += (names & bodies.keys()) - reached
    dead = sorted(bodies.keys() - reached)
    assert not dead, f"nobody calls {', '.join(dead)}"


@defect(12, "adjusting alignment failed")
def no_request_raises(design):
    heap = start(design)
    for size in (1 << 63) - 1, (1 << 63) - 8:
        for align in 8, 16, 1 << 30:
            assert heap.alloc(size, align) == 0


@defect(13, "bytes are lost")
def every_byte_is_free_when_all_is_freed(design):
    heap = start(design)
    some_story(heap)
    free_all(heap)
    lost = heap_bytes(heap) - bytes_of_kind(heap, FREE)
    assert lost == 0, f"{lost} bytes are lost"


@defect(14, "a loop that does not end", passes=(LINKED_LIST,))
def freeing_twice_is_noticed(design):
    heap = start(design, budget=10_000)
    address = heap.alloc(40)
    heap.dealloc(address)
    try:
        heap.dealloc(address, unchecked=True)
    except Fault as fault:
        assert fault.what == f"double free: {address:#x}"
    else:
        heap.alloc(MIB)  # a search of the whole list


@defect(15, "1028 KiB are kept", passes=(LINKED_LIST,))
def memory_goes_back_when_all_is_freed(design):
    heap = start(design)
    for _ in range(16):
        heap.alloc(64 * KIB)
    free_all(heap)
    assert heap_bytes(heap) <= 192 * KIB, f"{heap_bytes(heap) // KIB} KiB are kept"
    heap.trim()
    assert heap_bytes(heap) <= heap.process.memory.PAGE


@defect(16, "moved 17 times", passes=(LINKED_LIST,))
def a_vector_at_the_end_of_the_heap_grows_in_place(design):
    moves = push_to_a_mebibyte(start(design))
    assert moves == 0, f"moved {moves} times"


@defect(17, "took the block freed last", passes=(LINKED_LIST,))
def the_lowest_hole_is_taken_first(design):
    heap = start(design)
    low, _, high, _ = (heap.alloc(64) for _ in range(4))
    heap.dealloc(low)
    heap.dealloc(high)
    taken = heap.alloc(64)
    assert taken == low, "took the block freed last"


@defect(18, "24 bytes cost 2032", passes=(LINKED_LIST,))
def an_alignment_costs_no_bytes_behind_the_block(design):
    for align in 16, 1024:
        heap = start(design)
        heap.dealloc(heap.alloc(16))
        before = bytes_of_kind(heap, FREE)
        heap.alloc(24, align)
        cost = before - bytes_of_kind(heap, FREE)
        assert cost <= 32, f"24 bytes cost {cost}"


@defect(19, "bytes are in use, by blocks of", passes=(LINKED_LIST,))
def what_walk_says_is_in_use_is_what_live_blocks_take(design):
    heap = start(design)
    some_story(heap)
    units = [8 if design is SPECIMEN else 16, 16]  # sizes are rounded up to the first, and at least the second
    taken = sum(max(-(-block.size // units[0]) * units[0], units[1]) for block in heap.live.values())
    used = bytes_of_kind(heap, USED)
    assert used == taken, f"{used} bytes are in use, by blocks of {taken}"


@defect(20, "a heap of 2048 KiB", passes=(LINKED_LIST,))
def a_vector_of_a_mebibyte_ends_in_little_more(design):
    heap = start(design)
    push_to_a_mebibyte(heap)
    assert heap_bytes(heap) <= 1.25 * MIB, f"a heap of {heap_bytes(heap) // KIB} KiB"


# --- and what they show


@pytest.mark.parametrize("defect", DEFECTS, ids=str)
def test_the_specimen_has_it(defect):
    with pytest.raises((AssertionError, Fault)) as failure:
        defect.scenario(SPECIMEN)
    assert defect.shows in str(failure.value)


@pytest.mark.parametrize(
    ("design", "defect"),
    [pytest.param(d, defect, id=f"{d.spec}-{defect}") for defect in DEFECTS for d in defect.passes],
)
def test_ours_has_not(design, defect):
    defect.scenario(design)


def test_each_defect_has_its_scenario():
    assert {defect.number for defect in DEFECTS} == set(range(1, 21))
