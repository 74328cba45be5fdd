"""dlmalloc with footers: the choices of the original compiled so, and what the heap's mark gives away."""

import subprocess
import sys
from random import Random
from zlib import crc32

import pytest
from heaps import Blocks

from heapwright import allocator
from heapwright.conformance import Subject, Verdict, checks_for, run
from heapwright.machine import Fault, start

SPEC = "dlmalloc[FOOTERS=1]"
KIB = 1 << 10
DISTANCE = 1 << 40  # from the machine's addresses to the compiled heap's


@pytest.fixture(scope="module")
def footed():
    return allocator.load(SPEC)


def story(h, seed, n, maximum):
    """Random calls: the blocks that were handed out, and the living ones."""
    random = Random(seed)
    blocks = Blocks(h, random)
    for _ in range(n):
        choice, size = random.random(), random.choice([random.randrange(200), random.randrange(maximum)])
        if blocks.plain and choice < 0.3:
            blocks.free_one(blocks.plain)
        elif blocks.aligned and choice < 0.36:
            blocks.free_one(blocks.aligned)
        elif blocks.plain and choice < 0.5:
            blocks.resize(random.randrange(len(blocks.plain)), size)
        elif choice < 0.6:
            blocks.give(size, 1 << random.randrange(5, 13))
        else:
            blocks.give(size)
    return blocks.all()


# crc32 of the addresses that malloc.c 2.8.6 with FOOTERS=1 gives in `story`, from the first page of its heap on
ORIGINAL = {1: 2474217663, 2: 3943233671, 3: 596703539, 4: 4032593848, 5: 2206362816}


@pytest.mark.parametrize("seed", ORIGINAL)
def test_addresses_are_those_of_the_original(footed, seed):
    h = start(footed)
    given, _ = story(h, seed, 600, 5000)
    h.check()
    assert crc32(" ".join(str(address - h.process.heap_start) for address in given).encode()) == ORIGINAL[seed]


@pytest.mark.long
@pytest.mark.parametrize("options", [{}, {"page": 65536}, {"lazy": True}])
def test_the_invariants_hold(footed, options):
    h = start(footed, **options)
    _, live = story(h, 6, 400, 600 * KIB)
    h.check()
    for address in live:
        h.dealloc(address)
        h.check()
    h.trim()
    h.check()
    assert not h.leaks()


@pytest.mark.slow
def test_it_conforms():
    assert [each for each in run(Subject(SPEC), checks_for(slow=False)) if each.verdict is Verdict.FAILS] == []


def test_a_chunk_in_use_costs_two_words(footed):
    h, plain = start(footed), start(allocator.load("dlmalloc"))
    assert [footed.usable_size(h.state, h.alloc(size)) for size in (0, 16, 17, 33)] == [16, 16, 32, 48]
    assert plain.usable_size(plain.alloc(17)) == 24
    assert footed.Heap.SIZE == plain.state.SIZE + 8, "a heap without footers has no word for them"


def test_each_heap_has_a_mark_of_its_own(footed):
    heaps = [start(footed, seed=seed) for seed in (1, 2)]
    marks = [h.memory.load(h.alloc(48) + 48, 8) for h in heaps]
    assert marks[0] != marks[1]
    assert all(mark == h.words ^ h.state.magic[0] for mark, h in zip(marks, heaps, strict=True))


# --- misuse


def misuse(call, *arguments, **options):
    with pytest.raises(Fault) as caught:
        call(*arguments, **options)
    return str(caught.value)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (0, 2, 1)])
@pytest.mark.parametrize("size", [24, 1000])
def test_a_second_free_is_noticed_after_merging(footed, order, size):
    h = start(footed)
    blocks = [h.alloc(size) for _ in range(3)]
    h.alloc(20)
    for i in order:
        h.dealloc(blocks[i])
        h.check()
    for address in blocks:
        what = misuse(h.dealloc, address, unchecked=True)
        assert "double free" in what or "not a block of this heap" in what


def test_a_block_of_another_heap_is_foreign(footed):
    here, there = start(footed, seed=1), start(footed, seed=2)
    address = here.alloc(40)
    assert there.alloc(40) == address
    there.process.poke(address - 16, here.process.peek(address - 16, 16 + 48 + 8))
    assert "not a block of this heap" in misuse(there.dealloc, address)
    assert "not a block of this heap" in misuse(footed.realloc, there.state, address, 40, 16, 80)


@pytest.mark.parametrize("size", [40, 300 * KIB])
def test_who_writes_behind_the_end_is_noticed(footed, size):
    h = start(footed)
    h.alloc(1)
    address = h.alloc(size)
    h.process.poke(address + footed.usable_size(h.state, address), b"\0")
    with pytest.raises(Fault, match="DL11"):
        h.check()
    assert "somebody wrote behind its end" in misuse(h.dealloc, address)


# --- compiled

CRASH = """
from heapwright.native.heap import NativeHeap
heap = NativeHeap({spec!r})
first, second, third = (heap.alloc(100, 16) for _ in range(3))
heap.dealloc(first, 100, 16)
heap.dealloc(second, 100, 16)
heap.dealloc(second, 100, 16)
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_compiled_it_gives_the_same_addresses_and_notices_the_same():
    from heapwright.native.heap import NativeHeap
    from heapwright.native.library import stack_for

    machine = start(stack_for(SPEC), frames=1 << 16)
    bottom = machine.process.heap_start
    native = NativeHeap(SPEC, DISTANCE + bottom, machine.process.space.mappings.top - bottom)
    try:
        given, live = story(machine, 7, 3000, 5000)
        assert [address - DISTANCE for address in story(Plain(native), 7, 3000, 5000)[0]] == given
        assert native.usable_size(live[0] + DISTANCE) == machine.usable_size(live[0])
    finally:
        native.close()
    done = subprocess.run([sys.executable, "-c", CRASH.format(spec=SPEC)], capture_output=True, text=True, check=False)
    assert done.returncode == -6 and "double free" in done.stderr


class Plain:
    """A compiled heap that is called as the machine's is."""

    def __init__(self, native):
        self.native, self.asked = native, {}

    def alloc(self, size, align=16):
        address = self.native.alloc(size, align)
        self.asked[address] = size, align
        return address

    def dealloc(self, address):
        self.native.dealloc(address, *self.asked.pop(address))

    def realloc(self, address, new_size):
        size, align = self.asked.pop(address)
        target = self.native.realloc(address, size, align, new_size)
        self.asked[target] = new_size, align
        return target
