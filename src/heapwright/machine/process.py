"""One process: its parts, its two views of memory, fork, exit and wait."""

from __future__ import annotations

import weakref

from heapwright.machine.callbacks import Function, enter_function
from heapwright.machine.fault import Fault, Kind
from heapwright.machine.kernel import Kernel
from heapwright.machine.memory import View
from heapwright.machine.page_table import U, V
from heapwright.machine.shadow import ALLOCATOR, USER, WRITTEN
from heapwright.machine.space import Space
from heapwright.machine.state import ProcessState, Thread
from heapwright.machine.xv6rs import space_for


class Process(ProcessState):
    """A running program: `memory` is its memory with the allocator's rights, `user` with the program's.

    A kernel call returns -1 on failure. A `Fault` ends the process.
    """

    def __init__(self, kernel: Kernel, space: Space, parent: Process | None = None):
        super().__init__(kernel, space)
        self.parent = parent
        self.weak = weakref.ref(self)
        self.children: list[Process] = []
        self.exit_code: int | None = None
        self._bss = space.data  # the first unused byte of data
        self.memory, self.user = View(self, ALLOCATOR), View(self, USER)

    @classmethod
    def start(cls, kernel: Kernel, *, text: int = 1, data: int = 1, stack: int = 1) -> Process:
        """A process without a parent; the sizes of its text, data and stack are in bytes, rounded up to pages."""
        pid = kernel.next_pid()
        try:
            space = space_for(kernel, pid)
            space.load_image(text, data, stack)
        except MemoryError:
            for frame in kernel.frames.owned_by(pid):
                kernel.frames.give(frame)
            raise
        return cls(kernel, space)

    # --- the image and the kernel calls

    @property
    def heap_start(self) -> int:
        return self.space.heap_start

    @property
    def brk(self) -> int:
        """The break: the end of the heap, to the byte."""
        return self.space.brk

    @property
    def mappings(self) -> list[tuple[int, int]]:
        """The mappings as (start, end), in address order."""
        return list(self.space.mappings)

    def sbrk(self, n: int) -> int:
        return self.memory.sbrk(n)

    def mmap(self, size: int) -> int:
        return self.memory.mmap(size)

    def munmap(self, address: int, size: int) -> int:
        return self.memory.munmap(address, size)

    def mremap(self, address: int, old_size: int, new_size: int, may_move: int = 1) -> int:
        return self.memory.mremap(address, old_size, new_size, may_move)

    def decommit(self, address: int, size: int) -> int:
        return self.memory.decommit(address, size)

    def reserve(self, size: int, align: int = 16) -> int:
        """Reserve room for an allocator's own words in the program's zeroed data; return its address."""
        address = -(-self._bss // align) * align
        if address + size > self.space.guard:
            raise MemoryError(f"the process has no {size} bytes of data left: start it with data={size} or more")
        self._bss = address + size
        self.space.shadow.fill(address, size, ALLOCATOR | WRITTEN)
        return address

    def function(self, function: Function) -> int:
        """The address of a function of the program, for its allocator to call."""
        return enter_function(self, function)

    def new_thread(self) -> Thread:
        """A further thread; the scheduler that runs it sets `process.thread` when it switches."""
        self.threads_ever += 1
        return Thread(self.kernel.next_thread())

    # --- fork, exit, wait

    def fork(self) -> Process | None:
        """A child with a copy of every page; without enough frames, take none and return None."""
        pid = self.kernel.next_pid()
        space = None
        try:
            space = space_for(self.kernel, pid)
            copied = self.space.copy_to(space)
        except MemoryError:
            copied = False
        if space is None or not copied:
            self._abandon(space, pid)
            return None
        return self._adopt(space)

    def _abandon(self, space: Space | None, pid: int) -> None:
        if space is not None:
            space.abandon()
        for frame in self.kernel.frames.owned_by(pid):
            self.kernel.frames.leave(frame, pid)

    def _adopt(self, space: Space) -> Process:
        child = Process(self.kernel, space, self)
        child.blocks, child._bss = self.blocks.copy(), self._bss
        child.clock = self.clock
        child.settings, child.functions = dict(self.settings), dict(self.functions)
        child.thread.words = list(self.thread.words)
        child.memory.inherit(self.memory)
        self.children.append(child)
        return child

    def exit(self, code: int = 0) -> None:
        """End the process and free its memory. (xv6 frees it when the parent waits; no program can tell.)"""
        if self.exit_code is None:
            self.exit_code = code
            self.space.free()

    def wait(self) -> tuple[int, int]:
        """The process id and exit code of a child that ended, which is then forgotten; (-1, -1) without children."""
        for child in self.children:
            if child.exit_code is not None:
                self.children.remove(child)
                return child.pid, child.exit_code
        if not self.children:
            return -1, -1
        raise Fault(Kind.DEADLOCK, "waiting for a child that never exits", self, 0, operation="wait")

    # --- invariants of the kernel

    def check(self) -> None:
        """Assert V1 to V5 for this process."""
        if self.exit_code is not None:
            assert not self.kernel.frames.owned_by(self.pid), "V5 exit gives all frames back"
            return
        space, page = self.space, self.space.page
        entries = dict(space.table.pages())
        image = range(0, space.round_up(space.brk), page)
        for address in image:
            is_open = bool(entries.get(address, 0) & U)
            what = f"V1 every page below the break is mapped, and all but the guard page are open: {address:#x}"
            assert address in entries and is_open == (address != space.guard), what
        beyond = set(entries) - set(image) - {space.trapframe, space.trapframe + page}
        for address in beyond:
            assert space.mappings.find(address), f"V2 no page lies above the break but mappings: {address:#x}"
        frames = {space.table.frame_of(entry) for entry in entries.values() if entry & V} - {self.kernel.trampoline}
        owned = self.kernel.frames.owned_by(self.pid)
        assert owned == frames | space.table.nodes(), "V3 frames owned = frames mapped + page-table frames"
        assert not space.broken, space.broken[0]
