"""What each defect of the kernels does, on and off."""

import inspect
import re

import pytest

from heapwright.machine import DEFECTS, SEMANTICS, Fault, KernelPanic, Process, boot
from heapwright.machine.page_table import V, X
from heapwright.machine.space import Space
from heapwright.machine.xv6rs import FlawedSpace

PAGE = 4096


def process(**options):
    return Process.start(boot(**{"frames": 256, **options}))


def grown(n, **options):
    """A process whose heap has `n` bytes."""
    running = process(**options)
    assert running.sbrk(n) == running.heap_start
    return running


def test_defects_and_kernels_have_names():
    assert SEMANTICS["xv6rs"].defects == set(DEFECTS)
    with pytest.raises(ValueError, match="S99"):
        boot(defects={"S99"})
    with pytest.raises(ValueError, match="exact, xv6, xv6rs"):
        boot(semantics="linux")


def test_the_defects_are_those_of_the_errata(root):
    rows = dict(re.findall(r"^\| (S\d+) \| (.*?) \|", (root / "docs" / "errata.md").read_text(), re.M))
    assert rows == DEFECTS


def test_each_defect_replaces_a_method():
    """Where a kernel does not have a defect, its marked methods are those of `Space`."""
    source = inspect.getsource(FlawedSpace)
    marked = re.findall(r'@defect\("(S\d+)"\)\n    def (\w+)', source)
    assert {name for name, _ in marked} == set(DEFECTS)
    assert all(hasattr(Space, method) for _, method in marked)


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_comes_without_the_others(defect):
    """A growth that has room, and a shrink to the end of a page above the heap's start, are as they should be."""
    running = grown(3 * PAGE, defects={defect})
    assert running.sbrk(-PAGE) == running.heap_start + 3 * PAGE
    assert running.brk == running.heap_start + 2 * PAGE
    running.check()


def failed_growth(defects):
    running = grown(100, defects=defects)
    running.kernel.frames.failures.at(3, once=True)
    assert running.sbrk(5 * PAGE) == -1
    return running


def test_s1_a_failed_growth_leaves_its_frames_mapped():
    running = failed_growth({"S1"})
    with pytest.raises(AssertionError, match="V2"):
        running.check()
    assert running.sbrk(5 * PAGE) == -1, "remap, for ever"
    with pytest.raises(KernelPanic, match="leaf"):
        running.exit()
    fine = failed_growth(())
    fine.check()
    assert fine.sbrk(5 * PAGE) != -1
    fine.exit()


def test_s1_breaks_v4():
    running = failed_growth({"S1"})
    assert running.space.broken[0].startswith("V4 sbrk(20480) failed")


def test_s2_a_shrink_makes_the_process_bigger():
    for defects, size in (({"S2"}, 12288), ((), 8242)):
        running = grown(8292, defects=defects)
        running.sbrk(-50)
        assert running.brk - running.heap_start == size


def test_s3_a_shrink_below_zero_succeeds():
    for defects, result in (({"S3"}, 0), ((), -1)):
        running = grown(100, defects=defects)
        old = running.brk
        assert running.sbrk(-old - 1) == (old if result == 0 else -1)
        assert running.brk == old


def test_s4_only_remap_stops_the_heap():
    running = process(defects={"S4"}, maxva=64 * PAGE)
    mapping = running.mmap(PAGE)
    with pytest.raises(KernelPanic, match="remap"):
        running.sbrk(mapping - running.brk + 1)


def test_s5_the_heap_is_executable():
    for defects in ({"S5"}, ()):
        running = grown(1, defects=defects)
        entry = running.space.table.entry(running.heap_start)
        assert entry & V and bool(entry & X) == bool(defects)


def with_hole(defects):
    running = grown(4 * PAGE, defects=defects)
    running.space._release_page(running.heap_start + 2 * PAGE)
    return running


def test_s6_a_shrink_stops_at_a_hole():
    running = with_hole({"S6"})
    old = running.brk
    assert running.sbrk(-3 * PAGE) == -1 and running.brk == old
    assert running.space.table.entry(running.heap_start + PAGE) == 0, "and yet a page is gone"
    running = with_hole(())
    assert running.sbrk(-3 * PAGE) == old and running.brk == old - 3 * PAGE


def test_s7_a_shrink_may_unmap_the_program():
    running = process(defects={"S7"})
    assert running.sbrk(-running.brk) == running.heap_start
    assert running.brk == 0
    with pytest.raises(Fault, match="unmapped"):
        running.user.load(running.space.data, 8)
    running.exit()


def test_s8_a_fault_outside_every_mapping_panics_the_kernel():
    for defects, raised in (({"S8"}, KernelPanic), ((), Fault)):
        with pytest.raises(raised):
            process(defects=defects).memory.load(1 << 30, 8)


def test_s8_an_mapping_ends_one_page_late():
    for defects in ({"S8"}, ()):
        running = process(defects=defects)
        running.mmap(PAGE)
        mapping = running.mmap(PAGE)
        running.munmap(mapping + PAGE, PAGE)
        if defects:
            assert running.memory.load(mapping + PAGE, 8) == 0
            assert running.space.table.entry(mapping + PAGE) & X
        else:
            with pytest.raises(Fault, match="unmapped"):
                running.memory.load(mapping + PAGE, 8)


@pytest.mark.parametrize(
    ("n", "moved"), [((1 << 32) - 1, -1), (1 << 31, 0), (1 << 32, 0), ((1 << 32) + 4096, 4096), (3 << 30, 0)]
)
def test_s9_the_argument_is_cut_to_32_bits(n, moved):
    running = grown(100, defects={"S9", "S3"})
    old = running.brk
    assert running.sbrk(n) == old
    assert running.brk == old + moved
    assert grown(100).sbrk(n) == -1


def test_s10_the_child_inherits_no_mapping():
    for defects in ({"S10"}, ()):
        running = process(defects=defects)
        mapping = running.mmap(PAGE)
        running.memory.store(mapping, 8, 5)
        child = running.fork()
        assert child.mappings == ([] if defects else running.mappings)
        child.check()


def test_s10_fork_panics_at_a_page_without_a_frame():
    running = process(defects={"S10"}, lazy=True)
    running.sbrk(PAGE)
    with pytest.raises(KernelPanic, match="uvmcopy"):
        running.fork()
