"""Kernels with defects: xv6, xv6rs, and any single defect of theirs.

Source: mit-pdos/xv6-riscv of 2022 (kernel/proc.c, kernel/vm.c, kernel/sysproc.c); kazukousen/xv6rs 3da9904, its
translation to Rust (kernel/src/proc.rs, kernel/src/proc/syscall.rs, kernel/src/page_table.rs, kernel/src/trap.rs).

Each defect has its row in docs/errata.md. A kernel with some of them gives its processes a `FlawedSpace`: where it has
a defect, the method marked with the defect's id replaces that of `Space`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import wraps
from itertools import takewhile
from typing import Any, TypeVar, cast

from heapwright.machine.frames import KernelPanic
from heapwright.machine.kernel import Kernel
from heapwright.machine.page_table import R, U, V, W, X
from heapwright.machine.shadow import ALLOCATOR, USER, WRITTEN
from heapwright.machine.space import HEAP, Space

DEFECTS = {
    "S1": "a growth that fails leaves its frames mapped above the break",
    "S2": "a shrink rounds the break up to a page, which may raise it",
    "S3": "a shrink by more than the process has succeeds and does nothing",
    "S4": "a growth into mapped memory is not refused, and maps a page twice",
    "S5": "the heap is executable",
    "S6": "a shrink stops at the first page that is missing, and the break stays",
    "S7": "a shrink may go below the heap's start and unmap stack, data and text",
    "S8": "a fault outside every mapping panics the kernel; a mapping ends a page late",
    "S9": "the argument of sbrk is an int: larger values are cut to 32 bits",
    "S10": "fork panics at a page without a frame; the child inherits no mapping",
}


@dataclass(frozen=True)
class Semantics:
    """One kernel: its description, its defects, and the options of `Kernel` that it sets."""

    what: str
    defects: frozenset[str] = frozenset()
    options: dict[str, Any] = field(default_factory=dict)


SEMANTICS = {
    "exact": Semantics("no defects: sbrk is exact, and a call that fails changes nothing"),
    "xv6": Semantics("xv6 of 2022, in C: S3, S4, S7 and S9", frozenset({"S3", "S4", "S7", "S9"})),
    "xv6rs": Semantics(  # vm_mapping in kernel/src/proc.rs has 100 places, and mmap takes one each time
        "xv6rs, in Rust: all defects, and at most 100 mappings",
        frozenset(DEFECTS),
        {"max_mappings": 100, "merges": False},
    ),
}


def boot(*, semantics: str = "exact", defects: Iterable[str] = (), **options: Any) -> Kernel:
    """A machine that runs one of the kernels of SEMANTICS, plus the named DEFECTS; `Kernel` has the options."""
    if semantics not in SEMANTICS:
        raise ValueError(f"no kernel is named '{semantics}': there are {', '.join(SEMANTICS)}")
    unknown = set(defects) - DEFECTS.keys()
    if unknown:
        raise ValueError(f"no defect is named '{min(unknown)}': there are {', '.join(DEFECTS)}")
    kernel = SEMANTICS[semantics]
    flaws, options = kernel.defects.union(defects), {**kernel.options, **options}
    return FlawedKernel(flaws, **options) if flaws else Kernel(**options)


class FlawedKernel(Kernel):
    """A machine whose kernel has some of DEFECTS."""

    def __init__(self, defects: frozenset[str], **options: Any):
        super().__init__(**options)
        self.defects = defects


def space_for(kernel: Kernel, owner: int) -> Space:
    """The address space of a new process."""
    return FlawedSpace(kernel, owner) if isinstance(kernel, FlawedKernel) else Space(kernel, owner)


Method = TypeVar("Method", bound=Callable[..., Any])


def defect(name: str) -> Callable[[Method], Method]:
    """Mark a method that replaces that of `Space` in kernels with one defect."""

    def mark(flawed: Method) -> Method:
        sound = getattr(Space, flawed.__name__)

        @wraps(flawed)
        def method(self: FlawedSpace, *arguments: Any) -> Any:
            return (flawed if name in self.defects else sound)(self, *arguments)

        return cast("Method", method)

    return mark


class FlawedSpace(Space):
    """The memory of a process on a kernel with defects."""

    def __init__(self, kernel: FlawedKernel, owner: int):
        self.defects = kernel.defects
        super().__init__(kernel, owner)
        if "S9" in self.defects:
            self.MAX_SBRK = (1 << 31) - 1

    @defect("S1")
    def _roll_back(self, first: int, last: int) -> None:
        """The roll-back has its arguments swapped, so it does nothing."""

    @defect("S1")
    def _map_new(self, address: int, flags: int) -> bool:
        """Fail at a page that a failed growth left behind, where xv6 panics with "remap"."""
        return not self.table.entry(address) and super()._map_new(address, flags)

    def _is_hopeless(self, first: int, last: int) -> bool:
        """Never with S1, which takes the frames in vain; with S4 a mapped page may come before the frames run out."""
        return "S1" not in self.defects and super()._is_hopeless(first, min(last, self.mappings.bottom))

    @defect("S2")
    def _break_after(self, new: int) -> int:
        """The break after a shrink: the size passed to the page table, rounded up."""
        return self.round_up(new)

    @defect("S3")
    def _shrink(self, n: int, own: int) -> bool:
        """Do nothing if the new size wraps below zero, because it then looks larger than the old one."""
        return self.brk + n < 0 or super()._shrink(n, own)

    @defect("S4")
    def may_grow_to(self, new: int) -> bool:
        """Always true: nothing compares the new size with the mappings."""
        return True

    @defect("S5")
    def _map_heap(self, first: int, last: int, flags: int = HEAP) -> bool:
        """Map the heap's pages with the flag X, too."""
        return super()._map_heap(first, last, flags | X)

    @defect("S6")
    def _release(self, first: int, last: int) -> bool:
        """Fail at a missing page, after the pages before it are already unmapped."""
        for address in range(first, last, self.page):
            if not self.table.entry(address):
                return False
            self._release_page(address)
        return True

    @defect("S7")
    def may_shrink_to(self, new: int) -> bool:
        """Allow any size of 0 or more: nothing compares it with the heap's start."""
        return new >= 0

    @defect("S8")
    def meet_unmapped(self, address: int) -> None:
        """Panic: the fault handler finds no mapping for the address and does not end the process."""
        raise KernelPanic(f"page fault outside every mapping at {address:#x}")

    @defect("S8")
    def _touch(self, address: int) -> int:
        """Map a page R, W and X on a fault, even one page past a mapping: `<=` stands where `<` was meant."""
        if not self.table.entry(address) and self.mappings.find(address - 1):
            self._map_new(address, R | W | X | U)
            self.shadow.fill(address, self.page, USER | ALLOCATOR | WRITTEN)
        return super()._touch(address)

    @defect("S9")
    def sbrk_argument(self, n: int) -> int:
        """The argument as an `int`: C truncates a larger number silently."""
        return (n + (1 << 31)) % (1 << 32) - (1 << 31)

    @defect("S10")
    def _inherited(self) -> Iterator[tuple[int, int]]:
        """The pages that fork copies: those below the break. Fork expects a frame behind each."""
        for address, entry in takewhile(lambda page: page[0] < self.mappings.bottom, self.table.pages()):
            if not entry & V:
                raise KernelPanic("uvmcopy: page not present")
            yield address, entry

    @defect("S10")
    def _copy_mappings(self, child: Space) -> None:
        """Copy nothing: the child has no mappings, and their addresses are unmapped."""
        child.shadow.drop_from(self.round_up(self.brk) // self.page)
