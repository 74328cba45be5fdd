"""Every kind of fault, with what it says."""

import pytest

from heapwright.layout import Struct, Word
from heapwright.machine import Fault, Kernel, Kind, Process
from heapwright.machine.shadow import USER

PAGE = 4096


@pytest.fixture
def running():
    """A process whose heap has 4096 bytes, of which [0, 64) were written and [128, 192) are a live block."""
    running = Process.start(Kernel())
    start = running.sbrk(PAGE)
    running.memory.fill(start, 64, 1)
    running.space.shadow.fill(start + 128, 64, USER)
    running.blocks.add(start + 128, 64, 16, None)
    return running


def fault(call, *arguments):
    with pytest.raises(Fault) as caught:
        call(*arguments)
    return caught.value


def test_unmapped(running):
    found = fault(running.memory.load, running.brk + PAGE, 8)
    assert found.kind == Kind.UNMAPPED
    assert found.what == f"allocator load of 8 bytes at {running.brk + PAGE:#x}, above the break {running.brk:#x}"
    assert (found.address, found.operation, found.who) == (running.brk + PAGE, "load of 8 bytes", "allocator")


def test_beyond_the_break_in_a_mapped_page(running):
    running.sbrk(-1000)
    assert fault(running.memory.store, running.brk, 8, 0).kind == Kind.UNMAPPED


@pytest.mark.parametrize("address", [-8, 1 << 38, 1 << 62])
def test_outside_every_address_space(running, address):
    found = fault(running.memory.load, address, 8)
    assert found.kind == Kind.UNMAPPED and "outside every address space" in found.what


def test_null_lies_in_the_text(running):
    found = fault(running.memory.load, 8, 8)
    assert found.kind == Kind.PERMISSION and "near null" in found.what


def test_text_guard_and_kernel_pages_are_closed(running):
    space = running.space
    for address, where in ((space.guard, "guard page"), (space.trapframe, "kernel's pages")):
        found = fault(running.user.store, address, 8, 1)
        assert found.kind == Kind.PERMISSION and where in found.what
    running = Process.start(Kernel(), text=2 * PAGE)
    assert "in the program's text" in fault(running.user.store, PAGE, 8, 1).what


def test_the_allocator_may_not_touch_the_stack(running):
    running.user.store(running.heap_start - 8, 8, 1)
    found = fault(running.memory.store, running.heap_start - 8, 8, 1)
    assert found.kind == Kind.LIVE and "on the stack" in found.what


@pytest.mark.parametrize(("offset", "size"), [(1, 2), (2, 4), (4, 8), (1, 8)])
def test_misaligned(running, offset, size):
    address = running.heap_start + offset
    for call, extra in ((running.memory.load, ()), (running.memory.store, (0,))):
        found = fault(call, address, size, *extra)
        assert found.kind == Kind.MISALIGNED
        assert f"of {size} bytes at {address:#x}, which is not a multiple of {size}" in found.what


def test_live_payload(running):
    address = running.heap_start + 136
    for call in (
        lambda: running.memory.load(address, 8),
        lambda: running.memory.store(address, 1, 0),
        lambda: running.memory.fill(address - 16, 32, 0),
        lambda: running.memory.copy(running.heap_start, address, 8),
        lambda: running.memory.copy(address, running.heap_start, 8),
    ):
        found = fault(call)
        assert found.kind == Kind.LIVE
        assert found.block is running.blocks.live[running.heap_start + 128]


def test_the_first_bad_byte_is_named(running):
    found = fault(running.memory.fill, running.heap_start + 120, 32, 0)
    assert found.address == running.heap_start + 128
    assert "is 0 bytes into the live block #1 of 64 bytes" in str(found)


@pytest.mark.parametrize("call", ["sbrk", "munmap", "mremap", "decommit"])
def test_live_payload_may_not_be_taken_away(running, call):
    mapping = running.mmap(PAGE)
    running.space.shadow.fill(mapping, 8, USER)
    arguments = {
        "sbrk": (running.memory.sbrk, -PAGE),
        "munmap": (running.memory.munmap, mapping, PAGE),
        "mremap": (running.memory.mremap, mapping, PAGE, 2 * PAGE, 1),
        "decommit": (running.memory.decommit, running.heap_start, PAGE),
    }
    found = fault(*arguments[call])
    assert found.kind == Kind.LIVE and found.what.startswith(call) and "away" in found.what


def test_allocators_bytes(running):
    for offset in (0, 120, 192):
        found = fault(running.user.store, running.heap_start + offset, 8, 1)
        assert found.kind == Kind.FOREIGN
    assert "is 0 bytes after the end of the live block #1" in str(found)


def test_never_written(running):
    found = fault(running.memory.load, running.heap_start + 64, 8)
    assert found.kind == Kind.UNWRITTEN and found.what.startswith("allocator load of 8 bytes")
    assert fault(running.user.load, running.heap_start + 128, 1).kind == Kind.UNWRITTEN
    running.memory.store(running.heap_start + 64, 4, 1)
    assert fault(running.memory.load, running.heap_start + 64, 8).address == running.heap_start + 68


def test_never_written_can_be_allowed():
    running = Process.start(Kernel(unwritten=False))
    assert running.memory.load(running.sbrk(64), 8) == 0


def test_copies_keep_what_was_never_written(running):
    start = running.heap_start
    running.memory.store(start + 64, 8, 5)
    running.memory.copy(start + 256, start + 64, 16)
    assert running.memory.load(start + 256, 8) == 5
    assert fault(running.memory.load, start + 264, 8).kind == Kind.UNWRITTEN


def test_copies_may_overlap(running):
    start = running.heap_start
    for i in range(8):
        running.memory.store(start + 8 * i, 8, i)
    running.memory.copy(start + 8, start, 56)
    assert [running.memory.load(start + 8 * i, 8) for i in range(8)] == [0, 0, 1, 2, 3, 4, 5, 6]


def test_ranges_may_cross_pages(running):
    start = running.heap_start
    running.sbrk(2 * PAGE)
    running.memory.fill(start + PAGE - 8, PAGE + 16, 9)
    running.memory.copy(start + PAGE, start + PAGE - 8, PAGE)
    assert running.memory.load(start + 2 * PAGE, 4) == 0x09090909
    running.memory.fill(0, 0, 0)


@pytest.mark.parametrize(
    ("size", "value"), [(8, 1 << 63), (8, -(1 << 63) - 1), (4, 1 << 32), (4, -1), (2, 65536), (1, 256), (1, -1)]
)
def test_numbers_that_do_not_fit(running, size, value):
    found = fault(running.memory.store, running.heap_start, size, value)
    assert found.kind == Kind.NUMBER and str(value) in found.what


@pytest.mark.parametrize(("size", "values"), [(8, (-(1 << 63), (1 << 63) - 1)), (4, (0, (1 << 32) - 1)), (1, (0, 255))])
def test_numbers_that_fit(running, size, values):
    for value in values:
        running.memory.store(running.heap_start, size, value)
        assert running.memory.load(running.heap_start, size) == value


def test_addresses_and_ranges_that_do_not_fit(running):
    assert "more than 64 bits" in fault(running.memory.load, 1 << 64, 8).what
    assert fault(running.memory.fill, running.heap_start, -1, 0).kind == Kind.NUMBER
    with pytest.raises(ValueError, match="1, 2, 4 or 8"):
        running.memory.load(running.heap_start, 3)


def test_the_access_budget(running):
    running.memory.left = 10
    with pytest.raises(Fault, match="a loop that does not end") as caught:
        while True:
            running.memory.load(running.heap_start, 8)
    assert caught.value.kind == Kind.BUDGET
    running.memory.left = 10
    assert "access budget" in str(fault(lambda: [running.memory.relax() for _ in range(11)]))


def test_misuse_found_by_the_allocator(running):
    found = fault(running.memory.fault, "double free", running.heap_start + 128)
    assert found.kind == Kind.MISUSE and found.what == f"double free: {running.heap_start + 128:#x}"


def test_deadlock(running):
    start = running.heap_start
    running.memory.store(start, 4, 2)
    running.memory.wait(start, 1)
    found = fault(running.memory.wait, start, 2)
    assert found.kind == Kind.DEADLOCK and "no other thread" in found.what
    running.memory.wake(start)


class Pair(Struct):
    first: Word
    second: Word


def read_second(pair):
    return pair.second


def test_the_line_at_work_is_named(running):
    found = fault(read_second, Pair(running.memory, running.heap_start + 128))
    assert found.place.function == "read_second" and found.place.text == "return pair.second"
    assert "at test_machine_faults.py:" in str(found)


def test_the_neighbourhood_is_drawn(running):
    start = running.heap_start
    running.memory.store(start + 112, 8, 0x0102)
    running.user.store(start + 136, 2, 0xBEEF)
    found = fault(running.memory.load, start + 136, 8)
    dashes = " ".join(["--"] * 8)
    assert found.picture.splitlines()[1:4] == [
        f"  {start + 112:#x}  02 01 00 00 00 00 00 00  {dashes}   aaaaaaaa aaaaaaaa",
        f"> {start + 128:#x}  {dashes}  ef be -- -- -- -- -- --   LLLLLLLL LLLLLLLL",
        f"  {start + 144:#x}  {dashes}  {dashes}   LLLLLLLL LLLLLLLL",
    ]
    assert found.picture.endswith("-- never written")


def test_a_picture_at_the_edge_of_the_world(running):
    assert fault(running.memory.load, 0, 8).picture.startswith(">")
    assert fault(running.memory.load, 1 << 45, 8).picture == ""
