"""How many mappings a process may have, and what a program may not take away from its heap."""

from pathlib import Path

import pytest
from heaps import fresh

from heapwright.allocators import ALLOCATORS
from heapwright.machine import Fault, Kernel, Kind, Process, boot
from heapwright.machine.kernel import MAX_MAPPINGS

PAGE = 4096
SPECIMENS = Path(__file__).parent.parent / "specimens"


def process(**options):
    return Process.start(boot(**{"frames": 1 << 12, **options}))


def state(running):
    return running.mappings, running.kernel.frames.taken, running.kernel.frames.reserved


def punched(limit):
    """A process at its limit of mappings, which are the odd pages of one mapping."""
    running = process(max_mappings=limit)
    mapping = running.mmap((2 * limit + 5) * PAGE)
    for page in range(1, 2 * limit - 1, 2):
        assert running.munmap(mapping + page * PAGE, PAGE) == 0
    assert len(running.mappings) == limit
    return running, mapping


# --- the number of mappings


def test_the_limit_is_that_of_linux():
    assert MAX_MAPPINGS == 65530 == Kernel().max_mappings


def test_at_the_limit_what_needs_one_more_fails_and_changes_nothing():
    running, mapping = punched(10)
    before, last = state(running), running.mappings[-1]
    assert running.user.mmap(PAGE) == -1
    assert running.munmap(last[0] + PAGE, PAGE) == -1, "it would split a mapping"
    assert running.mremap(last[0] + PAGE, PAGE, 20 * PAGE) == -1, "so would this"
    assert state(running) == before
    running.check()
    assert running.munmap(mapping, PAGE) == 0
    assert running.user.mmap(PAGE) != -1


def test_at_the_limit_a_hole_can_be_filled():
    running, mapping = punched(10)
    assert running.mmap(PAGE) == mapping + 17 * PAGE
    assert len(running.mappings) == 9
    running.check()


def test_at_the_limit_an_end_can_be_unmapped_and_the_break_moves():
    running, _ = punched(10)
    first, last = running.mappings[-1]
    assert running.munmap(last - PAGE, PAGE) == running.munmap(first, PAGE) == 0
    assert len(running.mappings) == 10
    assert running.sbrk(PAGE) != -1
    running.check()


def test_mappings_that_touch_are_one():
    running = process(max_mappings=2)
    mappings = [running.mmap(PAGE) for _ in range(20)]
    assert running.mappings == [(mappings[-1], mappings[0] + PAGE)]
    assert running.mremap(mappings[10], PAGE, PAGE) == mappings[10]
    assert running.munmap(mappings[5], PAGE) == 0 and running.munmap(mappings[7], PAGE) == -1
    assert running.mappings == [(mappings[19], mappings[5]), (mappings[4], mappings[0] + PAGE)]
    assert running.mmap(PAGE) == mappings[5]
    assert running.mappings == [(mappings[19], mappings[0] + PAGE)]
    running.check()


def test_what_program_and_allocator_map_is_not_joined():
    running = process()
    mine, theirs = running.memory.mmap(PAGE), running.user.mmap(PAGE)
    assert running.mappings == [(theirs, theirs + PAGE), (mine, mine + PAGE)]
    assert (running.memory.held(), running.user.held()) == (PAGE, PAGE)


def test_xv6rs_has_places_for_100():
    running = process(semantics="xv6rs")
    assert [running.mmap(PAGE) != -1 for _ in range(101)] == [True] * 100 + [False]
    assert len(running.mappings) == 100, "its mappings stay apart where they touch"


@pytest.mark.parametrize("name", [name for name in ALLOCATORS if name != "pages"])
def test_three_times_as_many_live_objects_as_mappings(name):
    """As 200,000 objects on Linux, in miniature; with holes, which a heap must not unmap one by one."""
    heap = fresh(name, max_mappings=100, frames=1 << 13)
    sizes = 24, 100, 3000
    blocks = [heap.alloc(sizes[i % 3]) for i in range(300)]
    assert all(blocks) and len(set(blocks)) == 300
    for block in blocks[::2]:
        heap.dealloc(block)
    heap.check()
    assert all(heap.alloc(sizes[i % 3]) for i in range(150))
    heap.check()
    heap.process.check()


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["pages_split", str(SPECIMENS / "page_allocator.py")])
def test_200_000_live_objects(spec):
    """A mapping for each object is less bad than it looks: the kernel joins those that touch."""
    heap = fresh(spec, frames=1 << 18, junk=False)
    blocks = [heap.alloc(1 + i % 100) for i in range(200_000)]
    assert all(blocks) and len(set(blocks)) == len(blocks)
    assert len(heap.process.mappings) < 10


def test_pages_goes_on_at_the_limit_of_mappings():
    """Each of its blocks has pages of its own: holes need mappings. Those that the kernel refuses to make are kept."""
    heap = fresh("pages", max_mappings=40, junk=False)
    blocks = [heap.alloc(100) for _ in range(300)]
    assert all(blocks)
    for block in blocks[::2]:
        heap.dealloc(block)
    assert len(heap.process.mappings) == 40
    heap.check()
    again = [heap.alloc(100) for _ in range(100)]
    assert all(again) and len(heap.process.mappings) <= 40, "what was kept serves again"
    heap.check()


# --- what a program may not take away


def reported(call, *arguments):
    with pytest.raises(Fault) as caught:
        call(*arguments)
    assert caught.value.kind == Kind.MISUSE and caught.value.who == "user"
    return str(caught.value)


@pytest.mark.parametrize("semantics", ["exact", "xv6", "xv6rs"])
def test_a_shrink_below_live_blocks_is_a_misuse_with_names(semantics):
    heap = fresh("linked_list", semantics=semantics)
    heap.alloc(16)
    block = heap.alloc(30_000)
    before = heap.process.brk
    text = reported(heap.user.sbrk, block + 100 - before)
    assert f"sbrk({block + 100 - before}) takes the live block #2 of 30000 bytes at {block:#x} away" in text
    assert "allocated at test_machine_limits.py:" in text
    assert heap.process.brk == before
    heap.check()


def test_so_is_one_that_takes_what_the_heap_keeps_free():
    heap = fresh("linked_list")
    block = heap.alloc(16)
    assert "takes memory of the heap away" in reported(heap.user.sbrk, -PAGE)
    heap.user.sbrk(100)
    heap.user.sbrk(-100)
    reported(heap.user.sbrk, -8)
    assert heap.user.sbrk(0) == heap.process.brk > block


def test_so_is_one_by_a_number_that_c_cuts_to_a_negative_one():
    heap = fresh("linked_list", semantics="xv6")
    heap.alloc(30_000)
    assert "sbrk(4294934528) takes" in reported(heap.user.sbrk, (1 << 32) - (1 << 15))
    assert fresh("linked_list").user.sbrk((1 << 32) - (1 << 15)) == -1


@pytest.mark.parametrize("call", ["munmap", "mremap"])
def test_a_mapping_of_the_heap_is_not_the_programs(call):
    heap = fresh("pages")
    block = heap.alloc(5 * PAGE)
    more = (PAGE, 1) if call == "mremap" else ()
    text = reported(getattr(heap.user, call), block, 5 * PAGE, *more)
    assert f"takes the live block #1 of {5 * PAGE} bytes at {block:#x} away" in text
    mine = heap.user.mmap(PAGE)
    assert heap.user.munmap(mine, PAGE) == 0


def test_a_program_may_discard_what_is_in_its_blocks():
    heap = fresh("pages")
    block = heap.alloc(PAGE)
    heap.user.store(block, 8, 7)
    assert heap.user.decommit(block, PAGE) == 0
    assert heap.user.load(block, 8) == 0


def test_numbers_of_more_than_64_bits_are_none():
    for semantics in ("exact", "xv6"):
        for n in (1 << 63, -(1 << 63) - 1, 1 << 64):
            with pytest.raises(Fault, match="more than 64 bits") as caught:
                process(semantics=semantics).user.sbrk(n)
            assert caught.value.kind == Kind.NUMBER


def test_the_type_of_the_argument():
    """`intptr_t`, as in sbrk(2); on the kernels of the notes an `int`, to which C and Rust cut it without a word."""
    assert process().user.MAX_SBRK == (1 << 63) - 1
    cut = process(semantics="xv6")
    assert cut.user.MAX_SBRK == (1 << 31) - 1
    assert cut.user.sbrk((1 << 32) + 48) == cut.heap_start and cut.brk == cut.heap_start + 48
    whole = process()
    assert whole.user.sbrk((1 << 32) + 48) == -1 and whole.brk == whole.heap_start
