"""What a running process is made of: its address space, its threads, its blocks, and who watches it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Protocol

from heapwright.machine.blocks import Blocks
from heapwright.machine.fault import Fault, Kind
from heapwright.machine.kernel import Kernel
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


class ProcessState:
    """All that the two views of a process's memory, its heap and its scheduler share."""

    def __init__(self, kernel: Kernel, space: Space):
        self.kernel, self.space, self.pid = kernel, space, space.owner
        self.blocks = Blocks()
        self.thread = Thread(kernel.next_thread())
        self.threads_ever = 1
        self.records: list[tuple[int, ...]] = []  # what the `traced` layer recorded: its thread, then its five numbers
        self.random = random.Random(f"{kernel.seed} {self.pid}")
        self.access_observers: list[AccessObserver] = []
        self.call_observers: list[CallObserver] = []
        self.when_watched: list[Callable[[], None]] = []  # what to call when someone begins to watch, or ends
        self._scheduler: Scheduler | None = None

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
        self._watched()

        def stop() -> None:
            if access:
                self.access_observers.remove(access)
            if call:
                self.call_observers.remove(call)
            self._watched()

        return stop

    @property
    def scheduler(self) -> Scheduler | None:
        return self._scheduler

    @scheduler.setter
    def scheduler(self, scheduler: Scheduler | None) -> None:
        self._scheduler = scheduler
        self._watched()

    def _watched(self) -> None:
        for told in self.when_watched:
            told()
