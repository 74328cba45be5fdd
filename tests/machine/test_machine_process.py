"""The image, mappings, fork, exit and wait, observers and threads."""

import pytest

from heapwright.layout import Array, Struct, Word
from heapwright.machine import Fault, Kernel, Kind, Process
from heapwright.machine.accesses import access_at_work
from heapwright.machine.checkpoint import Checkpoint
from heapwright.machine.page_table import R, U, V, W, X

PAGE = 4096


@pytest.fixture
def running():
    return Process.start(Kernel(frames=256))


def taken(running):
    return running.kernel.frames.taken


def test_what_is_mapped_is_memory_that_the_heap_or_the_program_has(running):
    memory = running.memory
    heap, mapping = memory.sbrk(100), running.user.mmap(PAGE)
    assert all(map(memory.is_mapped, (heap, heap + 99, mapping, mapping + PAGE - 1, running.space.data)))
    nowhere = (0, heap + 100, mapping - 1, mapping + PAGE, running.space.guard, 1 << 50, -1)
    assert not any(map(memory.is_mapped, nowhere))
    memory.sbrk(-100)
    assert not memory.is_mapped(heap)


# --- the image


def test_the_image_is_text_data_guard_stack_and_then_the_heap(running):
    flags = [entry & (V | R | W | X | U) for _, entry in running.space.table.pages()]
    assert flags[:4] == [V | R | X | U, V | R | W | U, V | R | W, V | R | W | U]
    assert [address for address, _ in running.space.table.pages()][-2:] == [(1 << 38) - 2 * PAGE, (1 << 38) - PAGE]
    assert running.heap_start == running.brk == 4 * PAGE
    running.check()


def test_the_image_may_be_larger():
    running = Process.start(Kernel(), text=3 * PAGE, data=PAGE + 1, stack=PAGE)
    assert running.heap_start == 7 * PAGE
    running.check()


@pytest.mark.parametrize("frames", range(1, 11))
def test_too_few_frames_for_a_process(frames):
    kernel = Kernel(frames=frames)
    with pytest.raises(MemoryError):
        Process.start(kernel)
    assert kernel.frames.taken == 1
    Process.start(Kernel(frames=11))


def test_room_for_the_allocators_words_is_zeroed_data(running):
    words = running.reserve(40)
    assert words == running.space.data and running.memory.load(words + 32, 8) == 0
    assert running.reserve(8) == words + 48
    with pytest.raises(MemoryError, match="data=4096 or more"):
        running.reserve(PAGE)


# --- mappings


def test_mappings_are_placed_from_the_top_down(running):
    first, second = running.mmap(1), running.mmap(2 * PAGE)
    assert first == (1 << 38) - 3 * PAGE and second == first - 2 * PAGE
    assert running.munmap(first, PAGE) == 0
    assert running.mmap(PAGE) == first, "the highest gap with room"
    running.check()


def test_an_mapping_reads_as_zero_and_takes_frames_when_touched(running):
    mapping, before = running.mmap(3 * PAGE), taken(running)
    assert running.kernel.frames.reserved == 3
    assert running.memory.load(mapping + PAGE, 8) == 0
    assert taken(running) == before + 1 and running.kernel.frames.reserved == 2


@pytest.mark.parametrize("size", [0, -1, 1 << 40, 300 * PAGE])
def test_mappings_that_cannot_be(running, size):
    before = taken(running)
    assert running.mmap(size) == -1
    assert (taken(running), running.kernel.frames.reserved, running.mappings) == (before, 0, [])


def test_an_mapping_without_levels_of_the_page_table_promises_nothing():
    running = Process.start(Kernel(frames=2048))
    before, frames = taken(running), running.kernel.frames
    assert running.mmap(frames.available * PAGE) == -1
    assert (taken(running), frames.reserved, running.mappings) == (before, 0, [])
    running.check()


def test_touching_a_promised_page_cannot_fail(running):
    mapping = running.mmap(2 * PAGE)
    running.kernel.frames.failures.at(1)
    running.memory.store(mapping, 8, 1)
    assert running.mmap(PAGE) == -1


def test_the_middle_of_an_mapping_can_be_unmapped(running):
    mapping = running.mmap(5 * PAGE)
    assert running.munmap(mapping + 2 * PAGE, PAGE) == 0
    assert running.mappings == [(mapping, mapping + 2 * PAGE), (mapping + 3 * PAGE, mapping + 5 * PAGE)]
    assert running.munmap(mapping, 5 * PAGE) == 0 and running.mappings == []
    running.check()


def test_munmap_of_several_mappings_at_once(running):
    running.mmap(PAGE)
    running.mmap(PAGE)
    lowest = running.mmap(PAGE)
    assert running.munmap(lowest, 2 * PAGE) == 0
    assert running.mappings == [(lowest + 2 * PAGE, lowest + 3 * PAGE)]


def test_munmap_refuses_the_heap_and_odd_addresses(running):
    running.sbrk(PAGE)
    mapping = running.mmap(PAGE)
    for address, size in ((running.heap_start, PAGE), (mapping + 8, PAGE), (mapping, 0), (mapping, 1 << 40)):
        assert running.munmap(address, size) == -1
    assert running.munmap(1 << 30, PAGE) == 0, "nothing was mapped there"


def test_mremap_shrinks_and_grows_in_place(running):
    first = running.mmap(4 * PAGE)
    assert running.mremap(first, 4 * PAGE, 2 * PAGE) == first
    assert running.mappings == [(first, first + 2 * PAGE)]
    assert running.mremap(first, 2 * PAGE, 4 * PAGE, 0) == first
    assert running.mappings == [(first, first + 4 * PAGE)]
    running.check()


def test_mremap_moves_frames_and_owners(running):
    running.mmap(PAGE)
    mapping = running.mmap(2 * PAGE)
    running.memory.store(mapping, 8, 55)
    before = taken(running)
    assert running.mremap(mapping, 2 * PAGE, 3 * PAGE, 0) == -1
    moved = running.mremap(mapping, 2 * PAGE, 3 * PAGE)
    assert moved not in (-1, mapping) and taken(running) == before
    assert [running.memory.load(moved + i * PAGE, 8) for i in range(3)] == [55, 0, 0]
    with pytest.raises(Fault, match="unmapped"):
        running.memory.load(mapping, 8)
    running.check()


@pytest.mark.parametrize("frames", range(13, 20))
def test_mremap_without_frames_changes_nothing(frames):
    running = Process.start(Kernel(frames=frames))
    mapping = running.mmap(PAGE)
    before = taken(running), running.kernel.frames.reserved, running.mappings
    if mapping != -1 and running.mremap(mapping, PAGE, 7 * PAGE) == -1:
        assert (taken(running), running.kernel.frames.reserved, running.mappings) == before
    running.check()


def test_decommit_gives_frames_back_and_zeros(running):
    running.sbrk(3 * PAGE)
    running.memory.fill(running.heap_start, PAGE + 8, 7)
    before = taken(running)
    assert running.decommit(running.heap_start + PAGE, PAGE) == 0
    assert taken(running) == before - 1
    assert running.memory.load(running.heap_start + PAGE, 8) == 0
    assert running.memory.load(running.heap_start + PAGE + 8, 8) == 0  # nobody wrote it but the kernel
    assert running.memory.load(running.heap_start, 1) == 7
    running.check()


@pytest.mark.parametrize(("offset", "size"), [(8, PAGE), (0, 100), (0, 5 * PAGE), (0, -PAGE)])
def test_decommit_refuses_parts_of_pages_and_other_pages(running, offset, size):
    running.sbrk(3 * PAGE)
    assert running.decommit(running.heap_start + offset, size) == -1


# --- fork, exit, wait


def test_a_child_has_its_own_memory(running):
    start, mapping = running.sbrk(2 * PAGE), running.mmap(2 * PAGE)
    running.memory.store(start, 8, 1)
    running.memory.store(mapping, 8, 2)
    before = taken(running)
    child = running.fork()
    assert taken(running) > before
    assert (child.memory.load(start, 8), child.memory.load(mapping, 8)) == (1, 2)
    child.memory.store(start, 8, 10)
    child.memory.store(mapping, 8, 20)
    running.memory.store(start + 8, 8, 3)
    assert (running.memory.load(start, 8), running.memory.load(mapping, 8)) == (1, 2)
    with pytest.raises(Fault, match="never written"):
        child.memory.load(start + 8, 8)
    child.sbrk(-2 * PAGE)
    assert running.brk == start + 2 * PAGE
    child.check()
    running.check()


def test_wait_gives_the_childs_exit_code(running):
    before = taken(running)
    child = running.fork()
    with pytest.raises(Fault, match="never exits") as caught:
        running.wait()
    assert caught.value.kind == Kind.DEADLOCK
    child.exit(123)
    assert taken(running) == before
    assert running.wait() == (child.pid, 123)
    assert running.wait() == (-1, -1)


def test_exit_gives_every_frame_back():
    kernel = Kernel(frames=512)
    running = Process.start(kernel)
    running.sbrk(100 * PAGE)
    running.memory.store(running.mmap(10 * PAGE), 8, 1)
    running.exit(0)
    running.check()
    assert kernel.frames.taken == 1 and kernel.frames.reserved == 0
    with pytest.raises(Fault, match="unmapped"):
        running.memory.load(running.heap_start, 8)


@pytest.mark.parametrize("frames", range(14, 34))
def test_a_fork_without_frames_takes_none(frames):
    running = Process.start(Kernel(frames=frames))
    running.sbrk(PAGE)
    running.mmap(PAGE)
    before = taken(running), running.kernel.frames.reserved
    child = running.fork()
    if child is None:
        assert (taken(running), running.kernel.frames.reserved) == before and running.children == []
    else:
        child.exit()
        assert (taken(running), running.kernel.frames.reserved) == before
    running.check()


# --- threads, random numbers, observers


def test_the_threads_words_are_its_own(running):
    memory = running.memory
    assert [memory.local(slot) for slot in range(8)] == [0] * 8
    memory.set_local(3, -5)
    first, running.thread = running.thread, running.new_thread()
    assert memory.local(3) == 0 and memory.thread_id() != first.id
    assert memory.single_threaded() == 0
    with pytest.raises(Fault, match="64 bits"):
        memory.set_local(0, 1 << 63)


def test_a_process_begins_with_one_thread(running):
    assert running.memory.single_threaded() == 1 and running.memory.thread_id() > 0


def test_the_childs_thread_keeps_its_words(running):
    running.memory.set_local(1, 7)
    child = running.fork()
    child.memory.set_local(2, 8)
    assert (child.memory.local(1), running.memory.local(2)) == (7, 0)
    assert child.memory.thread_id() != running.memory.thread_id()


def test_random_numbers_repeat_with_the_seed():
    def numbers(seed):
        memory = Process.start(Kernel(seed=seed)).memory
        return [memory.random() for _ in range(4)]

    assert numbers(1) == numbers(1) != numbers(2)
    assert all(0 <= n < 1 << 63 for n in numbers(3))


def test_the_clock_stands_still_until_somebody_sets_it(running):
    assert running.memory.clock() == running.memory.clock() == 0
    before = Checkpoint(running)
    running.clock = 5
    assert running.memory.clock() == running.user.clock() == 5
    before.restore()
    assert running.memory.clock() == 0


def test_a_child_has_its_parents_clock(running):
    running.clock = 5
    assert running.fork().memory.clock() == 5


def test_observers_see_accesses_and_calls_until_they_stop(running):
    accesses, calls = [], []
    stop = running.observe(lambda *what: accesses.append(what), lambda *what: calls.append(what))
    start = running.sbrk(64)
    running.memory.store(start, 8, -9)
    running.memory.load(start, 8)
    running.memory.fill(start, 16, 1)
    running.memory.copy(start + 16, start, 8)
    stop()
    running.memory.load(start, 8)
    running.sbrk(0)
    assert calls == [("sbrk", (64,), start, "allocator")]
    assert accesses == [
        ("store", start, 8, -9, "allocator"),
        ("load", start, 8, -9, "allocator"),
        ("fill", start, 16, 1, "allocator"),
        ("copy", start + 16, 8, start, "allocator"),
    ]


class Variant(Struct):
    missing: Array[Word, 0]  # as in a variant that has no such field
    present: Word


def test_a_field_behind_one_without_room_is_called_by_its_own_name(running):
    fields = []
    stop = running.observe(lambda *what: fields.append(access_at_work(0, *what[:3], depth=3).field), lambda *what: None)
    Variant(running.memory, running.sbrk(64)).present = 1
    stop()
    assert fields == ["present"]


class Recorder:
    """A scheduler that only takes notes."""

    def __init__(self):
        self.steps = []

    def step(self, operation, address, size):
        self.steps.append((operation, size))

    def wait(self, address, value):
        self.steps.append(("wait", value))

    def wake(self, address):
        self.steps.append(("wake", 0))

    def relax(self):
        self.steps.append(("relax", 0))


def test_a_scheduler_sees_each_shared_access_and_each_atomic_operation_once(running):
    start, scheduler = running.sbrk(64), Recorder()
    running.scheduler = scheduler
    memory = running.memory
    memory.store(start, 8, 1)
    assert memory.exchange(start, 2) == 1
    assert memory.add(start, 5) == 2
    assert memory.compare_exchange(start, 7, 0) and not memory.compare_exchange(start, 7, 1)
    memory.wait(start, 0)
    memory.wake(start)
    memory.relax()
    assert [name for name, _ in scheduler.steps] == [
        "store", "load", "load", "load", "load", "load", "wait", "wake", "relax"
    ]  # fmt: skip
    running.scheduler = None
    memory.load(start, 8)
    assert len(scheduler.steps) == 9


def test_atomic_operations(running):
    start, memory = running.sbrk(64), running.memory
    memory.store(start, 8, (1 << 63) - 1)
    assert memory.add(start, 1) == (1 << 63) - 1
    assert memory.load(start, 8) == -(1 << 63), "the hardware wraps"
    assert memory.exchange(start, 3) == -(1 << 63)
    assert not memory.compare_exchange(start, 4, 5)
    assert memory.compare_exchange(start, 3, 5) and memory.load(start, 8) == 5


@pytest.mark.parametrize("at", range(8))
def test_the_tail_of_a_word(running, at):
    start, memory, data = running.sbrk(16), running.memory, bytes(range(0x81, 0x89))
    memory.store(start, 8, 0)
    memory.store_tail(start + at, int.from_bytes(data, "little", signed=True))
    assert running.peek(start, 8) == bytes(at) + data[at:]
    running.poke(start, data)
    assert memory.load_tail(start + at) % (1 << 64) == int.from_bytes(bytes(at) + data[at:], "little")


def test_the_bytes_before_a_tail_may_be_unwritten(running):
    start, memory = running.sbrk(16), running.memory
    memory.store_tail(start + 3, -1)
    assert memory.load_tail(start + 3) == -1 << 24
    with pytest.raises(Fault):
        memory.load(start, 8)
