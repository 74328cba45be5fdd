"""One process: its address space, its threads, its two views of memory, fork, exit and wait."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Protocol

from heapwright.machine.blocks import Blocks
from heapwright.machine.fault import Fault, Kind
from heapwright.machine.kernel import Kernel
from heapwright.machine.memory import View
from heapwright.machine.page_table import U, V
from heapwright.machine.shadow import ALLOCATOR, USER, WRITTEN
from heapwright.machine.space import Space

LOCAL_WORDS = 8
ADDRESSES = {
    "alloc": 0,
    "alloc_zeroed": 0,
    "walk": 2,
    "check": 2,
    "survey": 0,
    "lists": 0,
}  # how many arguments of a call are addresses: or 1
AccessObserver = Callable[[str, int, int, int, str], None]  # (operation, address, size, value, who)
CallObserver = Callable[[str, tuple[int, ...], int, str], None]  # (name, arguments, result, who)


class Scheduler(Protocol):
    """What runs several simulated threads: it is told of each access before it happens, and may switch."""

    def step(self, operation: str, address: int, size: int) -> None: ...

    def wait(self, address: int, value: int) -> None: ...

    def wake(self, address: int) -> None: ...

    def relax(self) -> None: ...


class Thread:
    """One simulated thread: its words, and the call of the allocator it is in."""

    def __init__(self, number: int, words: list[int] | None = None):
        self.id = number
        self.words = list(words) if words else [0] * LOCAL_WORDS
        self.errno = 0
        self.call: tuple[str, tuple[Any, ...]] | None = None

    def describe_call(self) -> str:
        """Such as `dealloc(0x5020, 40, 16)`."""
        if self.call is None:
            return ""
        name, arguments = self.call
        texts = [f"{a:#x}" if i < ADDRESSES.get(name, 1) else str(a) for i, a in enumerate(arguments)]
        return f"{name}({', '.join(texts)})"


class Process:
    """A running program: `memory` is its memory as the allocator sees it, `user` as the program does.

    A kernel call returns -1 on failure; a `Fault` is the end of the process.
    """

    def __init__(self, kernel: Kernel, space: Space, parent: Process | None = None):
        self.kernel, self.space, self.pid, self.parent = kernel, space, space.owner, parent
        self.children: list[Process] = []
        self.exit_code: int | None = None
        self.blocks = Blocks()
        self.thread = Thread(kernel.next_thread())
        self.threads_ever = 1
        self.records: list[tuple[int, ...]] = []  # what the `traced` layer recorded: its thread, then its five numbers
        self.random = random.Random(f"{kernel.seed} {self.pid}")
        self.access_observers: list[AccessObserver] = []
        self.call_observers: list[CallObserver] = []
        self._scheduler: Scheduler | None = None
        self._bss = space.data  # the first byte of data that nothing lies in
        self.memory, self.user = View(self, ALLOCATOR), View(self, USER)

    @classmethod
    def start(cls, kernel: Kernel, text: int, data: int, stack: int) -> Process:
        pid = kernel.next_pid()
        try:
            space = Space(kernel, pid)
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
        """The break: the end of the heap, by the byte."""
        return self.space.brk

    @property
    def areas(self) -> list[tuple[int, int]]:
        """The mapped areas as (start, end), in address order."""
        return list(self.space.areas)

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
        """Room for an allocator's own words in the program's zeroed data; return its address."""
        address = -(-self._bss // align) * align
        if address + size > self.space.guard:
            raise MemoryError(f"the process has no {size} bytes of data left: start it with data={size} or more")
        self._bss = address + size
        self.space.shadow.fill(address, size, ALLOCATOR | WRITTEN)
        return address

    # --- memory as the machine itself sees it, unchecked

    def peek(self, address: int, size: int) -> bytes:
        """The bytes of a range, zero where there is no page or no frame yet."""
        return b"".join(self._peek_page(n, start, stop) for n, start, stop in self.space.shadow.pieces(address, size))

    def _peek_page(self, number: int, start: int, stop: int) -> bytes:
        space = self.space
        page = space.pages.get(number)
        if page is not None:
            return bytes(page[2][start:stop])
        frame = space.table.frame_of(space.table.entry(number * space.page))
        return bytes(self.kernel.frames.bytes_of(frame)[start:stop]) if frame else bytes(stop - start)

    def poke(self, address: int, data: bytes) -> None:
        """Change bytes of pages that may be written, whoever owns them."""
        for number, start, stop in self.space.shadow.pieces(address, len(data)):
            page = self.space.reach(number)
            if page is None:
                raise Fault(Kind.MEMORY, f"no frame for {number * self.space.page:#x}", self, number * self.space.page)
            at = number * self.space.page + start - address
            page[2][start:stop] = data[at : at + stop - start]

    # --- watching

    def observe(self, access: AccessObserver | None = None, call: CallObserver | None = None) -> Callable[[], None]:
        """Have functions called after each load and store, and each kernel call; return how to stop that."""
        if access:
            self.access_observers.append(access)
        if call:
            self.call_observers.append(call)
        self._watch()

        def stop() -> None:
            if access:
                self.access_observers.remove(access)
            if call:
                self.call_observers.remove(call)
            self._watch()

        return stop

    @property
    def scheduler(self) -> Scheduler | None:
        return self._scheduler

    @scheduler.setter
    def scheduler(self, scheduler: Scheduler | None) -> None:
        self._scheduler = scheduler
        self._watch()

    def _watch(self) -> None:
        self.memory.watch()
        self.user.watch()

    def new_thread(self) -> Thread:
        """A second thread, for a scheduler to run: it sets `process.thread` when it switches."""
        self.threads_ever += 1
        return Thread(self.kernel.next_thread())

    # --- fork, exit, wait

    def fork(self) -> Process | None:
        """A child with a copy of every page; None when there are too few frames, and then none is taken."""
        pid = self.kernel.next_pid()
        space = None
        try:
            space = Space(self.kernel, pid)
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
            self.kernel.frames.give(frame)

    def _adopt(self, space: Space) -> Process:
        child = Process(self.kernel, space, self)
        child.blocks, child._bss = self.blocks.copy(), self._bss
        child.thread.words = list(self.thread.words)
        child.memory.inherit(self.memory)
        self.children.append(child)
        return child

    def exit(self, code: int = 0) -> None:
        """End: all memory goes back. (xv6 frees it when the parent waits; nothing can tell the difference.)"""
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
            assert entries.get(address), f"V1 every page below the break is mapped: {address:#x}"
            open_to_user = entries[address] & U
            assert bool(open_to_user) == (address != space.guard), f"V1 all but the guard page are open: {address:#x}"
        beyond = set(entries) - set(image) - {space.trapframe, space.trapframe + page}
        for address in beyond:
            assert space.areas.find(address), f"V2 no page lies above the break but areas: {address:#x}"
        frames = {space.table.frame_of(entry) for entry in entries.values() if entry & V} - {self.kernel.trampoline}
        owned = self.kernel.frames.owned_by(self.pid)
        assert owned == frames | space.table.nodes(), "V3 frames owned = frames mapped + page-table frames"
        assert not space.broken, space.broken[0]
