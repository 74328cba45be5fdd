"""A heap at work: right allocators run, and every wrong thing that an allocator or a program does is a fault."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heapwright import allocator
from heapwright.layout import Struct, Word
from heapwright.machine import BrokenInvariant, Fault, Heap, Kernel, Kind, Process, start
from heapwright.spans import FREE, USED

PAGE = 4096
KR = allocator.load("kr")


class Bump(Struct):
    """The words of a toy: it hands out sbrk memory from the bottom up, 16 bytes of header before each block."""

    first: Word
    last: Word


class Header(Struct):
    size: Word
    state: Word


def bump_alloc(heap, size, align):
    if size < 0 or size > 1 << 40:
        return 0
    room = (size + 15) // 16 * 16 + 16
    place = heap.memory.sbrk(room)
    if place == -1:
        return 0
    header = Header(heap.memory, place)
    header.size, header.state = room, USED
    return place + 16


def bump_dealloc(heap, address, size, align):
    Header(heap.memory, address - 16).state = FREE


def bump_realloc(heap, address, size, align, new_size):
    target = bump_alloc(heap, new_size, align)
    if target:
        heap.memory.copy(target, address, min(size, new_size))
        bump_dealloc(heap, address, size, align)
    return target


def bump_zeroed(heap, size, align):
    address = bump_alloc(heap, size, align)
    if address:
        heap.memory.fill(address, size, 0)
    return address


def bump_walk(heap, start, end):
    while start < end:
        header = Header(heap.memory, start)
        yield start, header.size, header.state
        start += header.size


def bump(**changes):
    """The toy, with some of its functions replaced by wrong ones."""
    functions = dict(
        Heap=Bump,
        alloc=bump_alloc,
        dealloc=bump_dealloc,
        realloc=bump_realloc,
        alloc_zeroed=bump_zeroed,
        usable_size=lambda heap, address: Header(heap.memory, address - 16).size - 16,
        walk=bump_walk,
        check=lambda heap, start, end: None,
        trim=lambda heap: 0,
        thread_exit=lambda heap: None,
        fork_prepare=lambda heap: None,
        fork_parent=lambda heap: None,
        fork_child=lambda heap: None,
    )
    return SimpleNamespace(**{**functions, **changes})


def fault(call, *arguments, **options):
    with pytest.raises(Fault) as caught:
        call(*arguments, **options)
    return caught.value


# --- what works


@pytest.mark.parametrize("which", [bump(), KR])
def test_a_program_runs(which):
    heap = start(which)
    first, second = heap.alloc(40), heap.alloc(100)
    heap.user.store(first, 8, 7)
    heap.check()
    first = heap.realloc(first, 400)
    assert heap.user.load(first, 8) == 7
    assert [block.address for block in heap.leaks()] == sorted([first, second])
    heap.dealloc(first)
    heap.dealloc(second)
    heap.check()
    heap.trim()
    heap.thread_exit()
    assert heap.leaks() == []


def test_a_block_knows_where_it_was_allocated():
    heap = start(bump())
    block = heap.live[heap.alloc(40, 8)]
    assert (block.size, block.align, block.number) == (40, 8, 1)
    assert block.allocated.text == "block = heap.live[heap.alloc(40, 8)]"


def test_payload_is_junk_that_nobody_wrote():
    heap = start(bump())
    address = heap.alloc(24)
    assert heap.process.peek(address, 24) == b"\xa5" * 24
    assert fault(heap.user.load, address, 8).kind == Kind.UNWRITTEN
    heap.dealloc(address)
    assert heap.process.peek(address, 24) == b"\xdb" * 24
    quiet = start(bump(), junk=False)
    assert quiet.process.peek(quiet.alloc(24), 24) == bytes(24)


def test_zeroed_payload_counts_as_written():
    heap = start(bump())
    assert heap.user.load(heap.alloc_zeroed(24), 8) == 0


def test_the_allocator_has_the_block_it_is_given_back():
    heap = start(bump(dealloc=lambda heap, address, size, align: heap.memory.store(address, 8, size)))
    address = heap.alloc(40)
    heap.dealloc(address)
    assert heap.memory.load(address, 8) == 40
    assert fault(heap.user.load, address, 8).kind == Kind.FREED, "links in a freed block are still a freed block"


def test_realloc_keeps_what_was_never_written():
    heap = start(bump())
    address = heap.alloc(32)
    heap.user.store(address + 8, 8, 3)
    address = heap.realloc(address, 64)
    assert heap.user.load(address + 8, 8) == 3
    for offset in (0, 16, 40):
        assert fault(heap.user.load, address + offset, 8).kind == Kind.UNWRITTEN


@pytest.mark.parametrize("new_size", [8, 40, 64])
def test_realloc_in_place(new_size):
    heap = start(bump(alloc=lambda heap, size, align: bump_alloc(heap, size + 64, align),
                      realloc=lambda heap, address, size, align, new_size: address))  # fmt: skip
    address = heap.alloc(40)
    heap.user.store(address, 8, 9)
    assert heap.realloc(address, new_size) == address
    assert heap.user.load(address, 8) == 9 and heap.live[address].size == new_size
    heap.user.store(address + new_size - 8, 8, 1)
    assert fault(heap.user.store, address + new_size, 8, 1).kind in (Kind.FOREIGN, Kind.FREED)
    heap.check()


def test_a_realloc_in_place_may_put_its_remainder_into_the_tail():
    def shrink(heap, address, size, align, new_size):
        heap.memory.store(address + new_size, 8, 77)
        return address

    heap = start(bump(realloc=shrink))
    address = heap.alloc(64)
    heap.realloc(address, 16)
    assert heap.memory.load(address + 16, 8) == 77


def test_asking_for_the_usable_size_gives_the_rest():
    heap = start(bump())
    address = heap.alloc(40)
    assert fault(heap.user.store, address + 40, 8, 1).kind == Kind.FOREIGN
    assert heap.usable_size(address) == 48
    heap.user.store(address + 40, 8, 1)
    heap.check()


def test_blocks_of_no_bytes_have_spans():
    heap = start(bump())
    empty = [heap.alloc(0), heap.alloc(16), heap.alloc(0)]
    heap.check()
    heap.dealloc(empty[0])
    heap.check()


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_failing_sbrk_is_a_null_result(k):
    heap = start(bump())
    heap.process.kernel.calls.at(k)
    results = [heap.alloc(16) for _ in range(4)]
    assert [bool(result) for result in results] == [i < k for i in range(1, 5)]
    heap.check()
    heap.process.check()


def test_a_failing_realloc_leaves_the_block():
    heap = start(bump())
    address = heap.alloc(16)
    heap.user.store(address, 8, 5)
    heap.process.kernel.calls.at(1)
    assert heap.realloc(address, 100) == 0
    assert heap.user.load(address, 8) == 5 and heap.live[address].size == 16
    assert fault(heap.memory.load, address, 8).kind == Kind.LIVE


def test_a_child_has_its_own_heap():
    heap = start(KR)
    address = heap.alloc(40)
    heap.user.store(address, 8, 1)
    child = heap.fork()
    assert child.user.load(address, 8) == 1
    child.dealloc(address)
    extra = child.alloc(5000)
    assert heap.user.load(address, 8) == 1 and extra not in heap.live and len(heap.live) == 1
    child.check()
    heap.check()
    child.process.exit(123)
    assert heap.process.wait() == (child.process.pid, 123)


def test_a_heap_cannot_fork_without_frames():
    heap = start(bump(), frames=14)
    heap.alloc(5)
    assert heap.fork() is None
    assert heap.alloc(6)


@pytest.mark.parametrize("page", [4096, 16384, 65536])
@pytest.mark.parametrize("semantics", ["exact", "xv6", "xv6rs"])
def test_heaps_on_other_machines(page, semantics):
    heap = start(KR, page=page, semantics=semantics)
    addresses = [heap.alloc(size) for size in (1, 100, 5000, 70000)]
    for address in addresses:
        heap.user.store(address, 1, 1)
        heap.dealloc(address)
    heap.check()
    heap.process.check()


def test_memory_that_the_user_asks_for_is_no_stretch():
    heap = start(bump())
    heap.alloc(16)
    mine, area = heap.user.sbrk(64), heap.user.mmap(PAGE)
    heap.alloc(16)
    heap.user.store(mine, 8, 1)
    heap.user.store(area, 8, 1)
    begin = heap.process.heap_start
    assert heap.stretches() == [(begin, begin + 32), (begin + 96, begin + 128)]
    heap.check()
    assert fault(heap.memory.store, mine, 8, 1).kind == Kind.LIVE


def test_an_area_full_of_payload_is_a_stretch():
    heap = start(bump(alloc=lambda heap, size, align: heap.memory.mmap(size),
                      walk=lambda heap, start, end: [(start, end - start, USED)]))  # fmt: skip
    address = heap.alloc(PAGE)
    assert heap.stretches() == [(address, address + PAGE)]
    heap.check()


def test_a_walk_may_show_blocks_that_touch_as_one():
    def whole(heap, start, end):
        yield start, end - start, USED

    heap = start(bump(walk=whole, WALK="stretches"))
    heap.alloc(40)
    heap.alloc(40)
    heap.check()


def test_the_statistics_of_a_heap():
    heap = start(KR)
    heap.dealloc(heap.alloc(70000))
    heap.alloc(100)
    found = heap.survey()
    size = heap.process.brk - heap.process.heap_start
    assert found["heap_bytes"] == found["peak_heap_bytes"] == size
    assert (found["live_blocks"], found["live_bytes"], found["growths"]) == (1, 128, 1)
    assert found["live_bytes"] + found["free_bytes"] == size


def test_the_account_of_what_the_kernel_gave():
    heap = start(bump())
    memory = heap.memory
    assert (memory.held(), memory.stretch_start(), memory.stretch_end()) == (0, 0, 0)
    begin, area = memory.sbrk(100), memory.mmap(2 * PAGE)
    heap.user.sbrk(50)
    assert memory.held() == 100 + 2 * PAGE and memory.growths() == 2
    assert (memory.stretch_start(), memory.stretch_end()) == (begin, begin + 100)
    area = memory.mremap(area, 2 * PAGE, 3 * PAGE, 1)
    memory.munmap(area + PAGE, PAGE)
    assert (memory.held(), memory.most_held(), memory.growths()) == (100 + 2 * PAGE, 100 + 3 * PAGE, 3)
    child = heap.fork()
    assert (child.memory.held(), child.memory.most_held()) == (memory.held(), memory.most_held())


def test_records_and_errno_belong_to_process_and_thread():
    heap = start(allocator.load("traced(kr)"))
    address = heap.alloc(40)
    heap.memory.set_errno(12)
    assert heap.process.thread.errno == 12
    assert heap.process.records[0][3:] == (address, 0, 40)
    child = heap.fork()
    assert child.process.records == [] != heap.process.records


# --- what the user's program does wrong


def test_double_free():
    heap = start(bump())
    address = heap.alloc(40)
    heap.dealloc(address)
    found = fault(heap.dealloc, address)
    assert found.kind == Kind.MISUSE and found.what == f"double free: dealloc({address:#x})"
    assert "freed at test_machine_heap.py:" in str(found)


def test_interior_and_foreign_pointers():
    heap = start(bump())
    address = heap.alloc(40)
    assert "a pointer into the inside of a block" in fault(heap.dealloc, address + 8).what
    assert "no block was ever there" in fault(heap.dealloc, 0).what
    assert "no block was ever there" in fault(heap.realloc, address + 400, 8).what
    heap.dealloc(address)
    assert fault(heap.realloc, address, 8).what == f"realloc({address:#x}) of a freed block"


def test_the_allocator_may_get_to_see_a_double_free():
    def dealloc(heap, address, size, align):
        if Header(heap.memory, address - 16).state != USED:
            heap.memory.fault("double free", address)
        bump_dealloc(heap, address, size, align)

    heap = start(bump(dealloc=dealloc))
    address = heap.alloc(40)
    heap.dealloc(address)
    found = fault(heap.dealloc, address, unchecked=True)
    assert found.call == f"dealloc({address:#x}, 40, 16)" and found.place.function == "dealloc"


def test_use_after_free():
    heap = start(bump())
    address = heap.alloc(40)
    heap.dealloc(address)
    found = fault(heap.user.load, address + 8, 8)
    assert found.kind == Kind.FREED
    assert f"is 8 bytes into the freed block #1 of 40 bytes at {address:#x}" in str(found)


# --- what an allocator does wrong


def test_touching_live_payload():
    def dealloc(heap, address, size, align):
        heap.memory.store(address + 64, 8, 0)

    heap = start(bump(dealloc=dealloc))
    first, second = heap.alloc(40), heap.alloc(40)
    found = fault(heap.dealloc, first)
    assert found.kind == Kind.LIVE and found.block.address == second
    assert f"during dealloc({first:#x}, 40, 16)" in str(found)
    assert "in dealloc: heap.memory.store(address + 64, 8, 0)" in str(found)


BAD_RESULTS = [
    (lambda place: place + 8, "no multiple of 16"),
    (lambda place: -1, "the result is 0"),
    (lambda place: None, "returned None, which is no address"),
    (lambda place: True, "returned True, which is no address"),
    (lambda place: place + (1 << 30), "not all mapped"),
    (lambda place: place + 48, "not all mapped"),
    (lambda place: 4096, "not in the heap"),
    (lambda place: -16, "not in the heap"),
]


@pytest.mark.parametrize(("result", "what"), BAD_RESULTS)
def test_results_that_are_no_blocks(result, what):
    heap = start(bump(alloc=lambda heap, size, align: result(bump_alloc(heap, size, align))))
    found = fault(heap.alloc, 40)
    assert found.kind == Kind.RESULT and what in found.what


def test_results_that_overlap():
    def same(heap, size, align):
        if not heap.first:
            heap.first = bump_alloc(heap, 64, align)
        return heap.first + heap.last

    heap = start(bump(alloc=same))
    address = heap.alloc(40)
    assert "where a live block lies" in fault(heap.alloc, 40).what
    heap.memory.store(heap.words + 8, 8, 16)
    assert f"which overlap a live block at {address + 16:#x}" in fault(heap.alloc, 40).what


def test_zeroed_memory_that_is_not_zero():
    heap = start(bump(alloc_zeroed=bump_alloc))
    heap.memory.fill(heap.memory.sbrk(80), 80, 1)
    heap.process.sbrk(-64)  # leaves ones in a page that stays mapped
    found = fault(heap.alloc_zeroed, 64)
    assert found.kind == Kind.RESULT and "not zero at" in found.what


@pytest.mark.parametrize("fails", [False, True])
def test_a_realloc_that_loses_contents(fails):
    def realloc(heap, address, size, align, new_size):
        heap.memory.store(address, 8, 0)
        return 0 if fails else address

    heap = start(bump(realloc=realloc))
    address = heap.alloc(40)
    heap.user.store(address, 8, 0x0100)
    found = fault(heap.realloc, address, 32)
    assert found.kind == Kind.RESULT and "changed byte 1 of the" in found.what


def test_a_usable_size_that_is_too_small_or_too_large():
    for says, what in ((8, "says 8 of a block of 40 bytes"), (4000, "not all mapped")):
        heap = start(bump(usable_size=lambda heap, address, says=says: says))
        assert what in fault(heap.usable_size, heap.alloc(40)).what


def test_an_endless_loop_is_a_fault():
    def alloc(heap, size, align):
        while heap.first == 0:
            pass

    heap = start(bump(alloc=alloc), budget=1000)
    found = fault(heap.alloc, 40)
    assert found.kind == Kind.BUDGET and found.call == "alloc(40, 16)"
    assert found.place.text == "while heap.first == 0:"


def test_an_endless_recursion_is_a_fault():
    def alloc(heap, size, align):
        return alloc(heap, size, align)

    assert "calls itself without end" in fault(start(bump(alloc=alloc)).alloc, 40).what


def failing_check(heap, start, end):
    assert heap.first == 1, "I1  the first is one"


WALKS = [
    (lambda heap, start, end: [(start, end - start, FREE)], "U9 a free span"),
    (lambda heap, start, end: [(start, end - start, USED)], "U3 the used span"),
    (lambda heap, start, end: list(bump_walk(heap, start, end))[:-1], "U5 walk tiles the stretch: it ends at"),
    (lambda heap, start, end: list(bump_walk(heap, start, end))[1:], "U5 walk tiles the stretch: expected a span"),
    (lambda heap, start, end: [(start, 40, USED), (start + 40, end - start - 40, USED)], "U2 the live block"),
    (lambda heap, start, end: [(start, 16, USED), (start + 16, end - start - 16, USED)], "U9 the used span of 16"),
    (lambda heap, start, end: [(start, end - start, 7)], "U5 walk tiles"),
]


@pytest.mark.parametrize(("walk", "what"), WALKS)
def test_a_walk_that_lies(walk, what):
    heap = start(bump(walk=walk))
    heap.alloc(40)
    heap.alloc(40)
    with pytest.raises(BrokenInvariant) as caught:
        heap.check()
    assert caught.value.kind == Kind.INVARIANT and what in caught.value.what


def test_a_block_that_no_stretch_holds():
    heap = start(bump(alloc=lambda heap, size, align: heap.memory.mmap(size), walk=lambda heap, start, end: []))
    area = heap.alloc(PAGE)
    heap.process.space.areas.cut(area, area + PAGE)
    with pytest.raises(AssertionError, match="U9 no used span holds the live block #1"):
        heap.check()


def test_an_invariant_that_does_not_hold():
    heap = start(bump(check=failing_check))
    heap.alloc(8)
    with pytest.raises(AssertionError, match="broken invariant: I1  the first is one"):
        heap.check()


def test_a_check_that_reads_what_is_not_there_is_a_fault():
    heap = start(bump(check=lambda heap, start, end: heap.memory.load(end, 8)))
    heap.alloc(8)
    assert fault(heap.check).kind == Kind.UNMAPPED


# --- both together, at random


@given(st.lists(st.tuples(st.sampled_from("adrz"), st.integers(0, 300), st.integers(0, 30)), max_size=60))
@settings(max_examples=60, deadline=None)
def test_random_programs_on_a_right_allocator(steps):
    heap = start(KR, frames=60)
    for name, size, which in steps:
        live = sorted(heap.live)
        if name == "a":
            heap.alloc(size, 16 << which % 4)
        elif name == "z":
            heap.alloc_zeroed(size)
        elif live and name == "d":
            heap.dealloc(live[which % len(live)])
        elif live:
            heap.realloc(live[which % len(live)], size)
    heap.check()
    heap.process.check()
    for address in list(heap.live):
        heap.dealloc(address)
    heap.check()
    heap.process.exit()
    heap.process.check()


def test_two_heaps_share_a_process():
    process = Process.start(Kernel(), data=PAGE)
    first, second = Heap(process, KR), Heap(process, bump())
    a, b = first.alloc(10), second.alloc(10)
    first.dealloc(a)
    second.dealloc(b)
    assert first.words != second.words
