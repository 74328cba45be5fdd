"""Layout has Rust's rules, and what GlobalAlloc's contract forbids is a fault at the caller's line."""

import pytest

from heapwright.collections import Layout, LayoutError, alloc, alloc_zeroed, dealloc, realloc, u8, u32
from heapwright.machine import Fault, Kind

LARGEST = (1 << 63) - 1  # isize::MAX


def test_what_is_a_layout():
    assert Layout.from_size_align(10, 8) == Layout(10, 8)
    assert Layout.new(u32) == Layout(4, 4) and Layout.array(u32, 10) == Layout(40, 4)
    assert Layout(0, 4096).size == 0 and Layout(LARGEST - 7, 8).size % 8 == 0


@pytest.mark.parametrize(
    ("size", "align"), [(10, 3), (10, 0), (10, -8), (-1, 8), (LARGEST - 6, 8), (LARGEST + 1, 1), (1, 1 << 63)]
)
def test_what_is_none(size, align):
    with pytest.raises(LayoutError, match=rf"from_size_align: {size} bytes aligned to {align}$"):
        Layout.from_size_align(size, align)


def test_an_array_that_is_too_large():
    assert Layout.array(u8, LARGEST).size == LARGEST
    with pytest.raises(LayoutError):
        Layout.array(u32, 1 << 61)


def test_layouts_of_several_fields():
    """The results are those of Rust 1.95."""
    layout = Layout(10, 8)
    assert layout.extend(Layout(4, 4)) == (Layout(16, 8), 12)
    assert layout.extend(Layout(3, 16)) == (Layout(19, 16), 16)
    assert layout.repeat(3) == (Layout(42, 8), 16) and layout.repeat(0) == (Layout(0, 8), 16)
    assert layout.pad_to_align() == Layout(16, 8)
    assert (layout.align_to(16), layout.align_to(2)) == (Layout(10, 16), layout)
    for wrong in (
        lambda: layout.align_to(3),
        lambda: layout.repeat(1 << 60),
        lambda: layout.extend(Layout(LARGEST, 1)),
    ):
        with pytest.raises(LayoutError):
            wrong()


def test_raw_memory(runtime, requests):
    layout = Layout.array(u32, 4)
    address, zeros = alloc(layout), alloc_zeroed(layout)
    runtime.memory.store(address, 4, 7)
    assert runtime.memory.load(zeros + 12, 4) == 0
    moved = realloc(address, layout, 64)
    assert runtime.memory.load(moved, 4) == 7
    dealloc(moved, Layout(64, 4))
    dealloc(zeros, layout)
    assert requests == ["16@4", "zeroed 16@4", "16@4 -> 64", "free 64@4", "free 16@4"]


def test_no_memory_is_null(runtime):
    layout = Layout(64, 16)
    address = alloc(layout)
    assert alloc(Layout(1 << 50, 8)) == 0 and realloc(address, layout, 1 << 50) == 0
    assert runtime.live_bytes == 64
    dealloc(address, layout)


@pytest.mark.parametrize("wrong", [Layout(16, 8), Layout(24, 4), Layout(16, 16)], ids=str)
@pytest.mark.parametrize(
    "call", [dealloc, lambda address, layout: realloc(address, layout, 99)], ids=["dealloc", "realloc"]
)
def test_g1_another_layout_is_a_fault(heap, call, wrong):
    address = alloc(Layout(24, 8))
    with pytest.raises(Fault, match="the block was allocated with 24 bytes aligned to 8") as fault:
        call(address, wrong)
    assert (fault.value.kind, fault.value.who, fault.value.place.file) == (Kind.MISUSE, "user", __file__)
    assert address in heap.live
    dealloc(address, Layout(24, 8))


@pytest.mark.parametrize(
    "call", [alloc, alloc_zeroed, lambda layout: realloc(alloc(Layout(8, 8)), Layout(8, 8), 0)], ids="abc"
)
def test_g2_no_bytes_is_a_fault(heap, call):
    with pytest.raises(Fault, match="without bytes") as fault:
        call(Layout(0, 8))
    assert (fault.value.kind, fault.value.place.file) == (Kind.MISUSE, __file__)


@pytest.mark.parametrize("align", [3, 0, -8, 24])
@pytest.mark.parametrize("name", ["alloc", "alloc_zeroed"])
def test_an_alignment_that_is_no_power_of_two(heap, name, align):
    with pytest.raises(Fault, match=rf"{name}\(10, {align}\): an alignment of {align} is not a power of two") as fault:
        getattr(heap, name)(10, align)
    assert (fault.value.kind, fault.value.who) == (Kind.MISUSE, "user")
    assert fault.value.place.file == __file__ and "(10, align)" in fault.value.place.text


def test_the_layout_is_checked_in_the_machine_too(heap):
    address = heap.alloc(40, 8)
    for wrong in ((41, 8), (40, 16)):
        with pytest.raises(Fault, match="allocated with 40 bytes aligned to 8"):
            heap.dealloc(address, *wrong)
        with pytest.raises(Fault, match="allocated with 40 bytes aligned to 8"):
            heap.realloc(address, 80, *wrong)
    heap.dealloc(heap.realloc(address, 80, 40, 8), 80, 8)
