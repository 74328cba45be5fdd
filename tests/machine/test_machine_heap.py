"""A heap at work: right allocators run, alone, in children, and on machines of other kinds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import bump, bump_alloc, fault

from heapwright import allocator
from heapwright.machine import Heap, Kernel, Kind, Process, start
from heapwright.spans import USED

PAGE = 4096
KR = allocator.load("kr")


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


def test_memory_that_the_user_asks_for_is_no_extent():
    heap = start(bump())
    heap.alloc(16)
    mine, mapping = heap.user.sbrk(64), heap.user.mmap(PAGE)
    heap.alloc(16)
    heap.user.store(mine, 8, 1)
    heap.user.store(mapping, 8, 1)
    begin = heap.process.heap_start
    assert heap.extents() == [(begin, begin + 32), (begin + 96, begin + 128)]
    heap.check()
    assert fault(heap.memory.store, mine, 8, 1).kind == Kind.LIVE


def test_an_mapping_full_of_payload_is_an_extent():
    heap = start(bump(alloc=lambda heap, size, align: heap.memory.mmap(size),
                      walk=lambda heap, start, end: [(start, end - start, USED)]))  # fmt: skip
    address = heap.alloc(PAGE)
    assert heap.extents() == [(address, address + PAGE)]
    heap.check()


def test_a_walk_may_show_blocks_that_touch_as_one():
    def whole(heap, start, end):
        yield start, end - start, USED

    heap = start(bump(walk=whole, WALK="extents"))
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
    assert (found["live_blocks"], found["live_bytes"], found["growths"]) == (None, 128, 1)
    assert found["live_bytes"] + found["free_bytes"] == size


def account(memory):
    return memory.held(), memory.peak_held(), memory.growths(), memory.shrinks(), memory.decommits()


def test_the_account_of_what_the_kernel_gave():
    heap = start(bump())
    memory = heap.memory
    assert (memory.held(), memory.extent_start(), memory.extent_end()) == (0, 0, 0)
    begin, mapping = memory.sbrk(100), memory.mmap(2 * PAGE)
    heap.user.sbrk(50)
    assert account(memory) == (100 + 2 * PAGE, 100 + 2 * PAGE, 2, 0, 0)
    assert (memory.extent_start(), memory.extent_end()) == (begin, begin + 100)
    mapping = memory.mremap(mapping, 2 * PAGE, 3 * PAGE, 1)
    memory.munmap(mapping + PAGE, PAGE)
    assert account(memory) == (100 + 2 * PAGE, 100 + 3 * PAGE, 3, 1, 0)
    heap.user.sbrk(-50)
    memory.sbrk(-50)
    memory.decommit(mapping, PAGE)
    assert memory.decommit(0, PAGE) == -1
    assert account(memory) == (50 + 2 * PAGE, 100 + 3 * PAGE, 3, 2, 1)
    assert account(heap.fork().memory) == account(memory)


def test_records_and_errno_belong_to_process_and_thread():
    heap = start(allocator.load("traced(kr)"))
    address = heap.alloc(40)
    heap.memory.set_errno(12)
    assert heap.process.thread.errno == 12
    assert heap.process.records[0][3:] == (address, 0, 40)
    child = heap.fork()
    assert child.process.records == [] != heap.process.records


# --- both together, at random


@given(st.lists(st.tuples(st.sampled_from("adrz"), st.integers(0, 300), st.integers(0, 30)), max_size=60))
@settings(max_examples=60)
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
