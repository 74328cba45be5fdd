"""The simulated machine: its frames, and which kernel it runs.

`exact` is the kernel that an allocator may rely on: `sbrk` moves the break by the byte, releases whole frames,
and a call that fails returns -1 and changes nothing. `xv6` is mit-pdos/xv6-riscv of 2022 (growproc in
kernel/proc.c), `xv6rs` its translation to Rust; what they do otherwise is a set of named defects, each of which
can also be switched on alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

from heapwright.machine.frames import Failures, Frames

DEFECTS = {
    "S1": "a growth that fails leaves its frames mapped above the break",
    "S2": "a shrink leaves the break rounded up to a page, which may be higher than it was",
    "S3": "a shrink by more than there is succeeds and does nothing",
    "S4": "a growth into the mapped areas is not refused but maps a page twice",
    "S5": "the heap is executable",
    "S6": "a shrink stops at the first page that is missing, with the break unchanged",
    "S7": "a shrink may go below the heap's start and unmap stack, data and text",
    "S8": "a fault outside every area panics the kernel, and an area ends one page late, executable",
    "S9": "the argument of sbrk is cut to 32 bits",
    "S10": "fork panics at a page without a frame, and the child inherits no mapped area",
}
SEMANTICS = {
    "exact": frozenset[str](),
    "xv6": frozenset({"S3", "S4", "S7", "S9"}),
    "xv6rs": frozenset(DEFECTS),
}
FRAMES = 32768  # 128 MiB of 4096 bytes: PHYSTOP in xv6 kernel/memlayout.h
MAXVA = 1 << 38  # one bit less than Sv39 allows, so that no address needs sign extension (kernel/riscv.h)


class Kernel:
    """One machine.

    frames      how many frames of physical memory there are
    page        bytes in a page and in a frame: 4096, 16384 or 65536
    semantics   `exact`, `xv6` or `xv6rs`
    defects     names of DEFECTS to have besides
    maxva       addresses end here; the top two pages are the kernel's
    lazy        sbrk maps pages that get their frame when touched, as SBRK_LAZY in xv6 kernel/vm.h
    unwritten   report loads of bytes that were never written
    seed        of the random numbers that processes ask for
    """

    def __init__(
        self,
        *,
        frames: int = FRAMES,
        page: int = 4096,
        semantics: str = "exact",
        defects: Iterable[str] = (),
        maxva: int = MAXVA,
        lazy: bool = False,
        unwritten: bool = True,
        seed: int = 0,
    ):
        self.defects = defects_of(semantics, frozenset(defects))
        self.frames = Frames(frames, page)
        self.calls = Failures()  # which sbrk and mmap calls that ask for memory fail
        self.breaks = Failures()  # which sbrk calls of these, as where something lies beyond the break
        self.intrusions = Failures()  # before which of them somebody else moves the break by some bytes
        self.returns = Failures()  # which calls that give some back fail: munmap, decommit, sbrk and mremap by less
        self.page, self.maxva, self.lazy = page, maxva, lazy
        self.unwritten, self.seed = unwritten, seed
        self._pids, self._threads = count(1), count(1)
        self.trampoline = self.frames.take(0)  # the page of kernel text that every process maps
        if not self.trampoline:
            raise MemoryError("a machine has at least one frame")

    def next_pid(self) -> int:
        return next(self._pids)

    def next_thread(self) -> int:
        return next(self._threads)

    def has(self, defect: str) -> bool:
        return defect in self.defects


def defects_of(semantics: str, more: frozenset[str]) -> frozenset[str]:
    if semantics not in SEMANTICS:
        raise ValueError(f"no kernel is named '{semantics}': there are {', '.join(SEMANTICS)}")
    unknown = more - DEFECTS.keys()
    if unknown:
        raise ValueError(f"no defect is named '{min(unknown)}': there are {', '.join(DEFECTS)}")
    return SEMANTICS[semantics] | more
