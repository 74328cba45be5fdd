"""The simulated machine: its frames, its limits, and the requests that it refuses.

An allocator may rely on this kernel: `sbrk` moves the break by the byte and releases whole frames. A call that fails
returns -1 and changes nothing. `heapwright.machine.xv6rs` boots this kernel and those with defects.
"""

from __future__ import annotations

from itertools import count

from heapwright.machine.frames import Failures, Frames

FRAMES = 32768  # 128 MiB of 4096 bytes: PHYSTOP in xv6 kernel/memlayout.h
MAX_MAPPINGS = 65530  # DEFAULT_MAX_MAP_COUNT in Linux include/linux/mm.h, the default of vm.max_map_count
MAXVA = 1 << 38  # one bit less than Sv39 allows, so that no address needs sign extension (kernel/riscv.h)


class Kernel:
    """One machine.

    frames        the number of frames of physical memory
    page          bytes in a page and in a frame: 4096, 16384 or 65536
    maxva         addresses end here; the top two pages are the kernel's
    max_mappings  mappings that one process may have: an `mmap`, `mremap` or `munmap` that needs more fails
    merges        whether mappings of one owner that touch are joined, as on Linux; if not, each `mmap` adds one
    lazy          whether sbrk maps pages that get a frame when they are touched, as SBRK_LAZY in xv6 kernel/vm.h
    unwritten     whether to report loads of bytes that were never written
    seed          the seed of the random numbers that processes ask for
    """

    def __init__(
        self,
        *,
        frames: int = FRAMES,
        page: int = 4096,
        maxva: int = MAXVA,
        max_mappings: int = MAX_MAPPINGS,
        merges: bool = True,
        lazy: bool = False,
        unwritten: bool = True,
        seed: int = 0,
    ):
        self.frames = Frames(frames, page)
        self.calls = Failures()  # refused requests for memory, by sbrk and mmap, and for other rights to pages
        self.breaks = Failures()  # refused requests of sbrk alone, as if something lay beyond the break
        self.intrusions = Failures()  # requests of sbrk before which somebody else moves the break by some bytes
        self.returns = Failures()  # refused calls that return memory: munmap, decommit, sbrk and mremap to less
        self.page, self.maxva, self.lazy = page, maxva, lazy
        self.max_mappings, self.merges = max_mappings, merges
        self.unwritten, self.seed = unwritten, seed
        self._pids, self._threads = count(1), count(1)
        self.trampoline = self.frames.take(0)  # the page of kernel text that every process maps
        if not self.trampoline:
            raise MemoryError("a machine has at least one frame")

    def next_pid(self) -> int:
        return next(self._pids)

    def next_thread(self) -> int:
        return next(self._threads)
