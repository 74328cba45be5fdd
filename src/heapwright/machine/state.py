"""The state of a running process: its address space, its threads, its blocks and its observers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Protocol

from heapwright.machine.blocks import Blocks
from heapwright.machine.callbacks import Function
from heapwright.machine.fault import Fault, Kind
from heapwright.machine.kernel import Kernel
from heapwright.machine.space import Space

LOCAL_WORDS = 12
RANDOM_BITS = 63  # of a random number, which is not negative
ADDRESSES = {
    "alloc": 0,
    "alloc_zeroed": 0,
    "walk": 2,
    "check": 2,
    "survey": 0,
    "trim": 0,
    "lists": 0,
}  # the number of a call's arguments that are addresses, if it is not 1
AccessObserver = Callable[[str, int, int, int, str], None]  # (operation, address, size, value, who)
CallObserver = Callable[[str, tuple[int, ...], int, str], None]  # (name, arguments, result, who)


class Scheduler(Protocol):
    """The runner of several simulated threads; it learns of each access before it happens, and may switch."""

    def step(self, operation: str, address: int, size: int) -> None: ...

    def wait(self, address: int, value: int) -> None: ...

    def wake(self, address: int) -> None: ...

    def relax(self) -> None: ...

    def stop_others(self) -> None: ...

    def resume_others(self) -> None: ...

    def halfway(self, call: str) -> None:
        """Let another thread go first in the middle of a kernel call."""


class Visitor(Protocol):
    """An observer of the calls into the allocator; a call that fails is entered and never left."""

    def entered(self, name: str, arguments: tuple[Any, ...]) -> None:
        """A call begins; `thread.call` is still the call around it, if there is one."""

    def left(self, name: str, result: Any) -> None: ...


class Thread:
    """One simulated thread: its words, and its running call of the allocator."""

    def __init__(self, number: int, words: list[int] | None = None):
        self.id = number
        self.words = list(words) if words else [0] * LOCAL_WORDS
        self.errno = 0
        self.call: tuple[str, tuple[Any, ...]] | None = None

    def describe_call(self) -> str:
        """The running call, such as `dealloc(0x5020, 40, 16)`; "" if there is none."""
        return self.describe(self.call) if self.call else ""

    @staticmethod
    def describe(call: tuple[str, tuple[Any, ...]]) -> str:
        name, arguments = call
        texts = [f"{a:#x}" if i < ADDRESSES.get(name, 1) else str(a) for i, a in enumerate(arguments)]
        return f"{name}({', '.join(texts)})"


def nothing_known(address: int, is_reported: bool) -> str:
    """What a heap without protected pages says of a fault, or of an address that it has reported."""
    return ""


class ProcessState:
    """The state that the two views of a process's memory, its heap and its scheduler share."""

    def __init__(self, kernel: Kernel, space: Space):
        self.kernel, self.space, self.pid = kernel, space, space.owner
        self.blocks = Blocks()
        self.thread = Thread(kernel.next_thread())
        self.threads_ever = 1
        self.records: list[tuple[int, ...]] = []  # records of the `traced` layer: the thread, then five numbers
        self.functions: dict[int, Function] = {}  # of the program, by address: see heapwright.machine.callbacks
        self.settings: dict[int, int] = {}  # options that a heap reads when it is initialized, as from an environment
        self.clock = 0  # nanoseconds: it stands still until somebody sets it
        self.explain: Callable[[int, bool], str] = nothing_known  # what the heap says of a fault at an address
        self.random = random.Random(f"{kernel.seed} {self.pid}")
        self.access_observers: list[AccessObserver] = []
        self.call_observers: list[CallObserver] = []
        self.visitors: list[Visitor] = []
        self.when_watched: list[Callable[[], None]] = []  # called when an observer is added or removed
        self._scheduler: Scheduler | None = None

    def coming_random(self) -> int:
        """The random number that the heap draws next."""
        copy = random.Random()
        copy.setstate(self.random.getstate())
        return copy.getrandbits(RANDOM_BITS)

    # --- unchecked access, for the machine itself

    def peek(self, address: int, size: int) -> bytes:
        """The bytes of a range; zero where there is no page, or no frame yet."""
        return b"".join(self._peek_page(n, start, stop) for n, start, stop in self.space.shadow.pieces(address, size))

    def _peek_page(self, number: int, start: int, stop: int) -> bytes:
        space = self.space
        page = space.pages.get(number)
        if page is not None:
            return bytes(page[1][0][start:stop])
        frame = space.table.frame_of(space.table.entry(number * space.page))
        return bytes(self.kernel.frames.bytes_of(frame)[start:stop]) if frame else bytes(stop - start)

    def poke(self, address: int, data: bytes) -> None:
        """Change bytes of writable pages, regardless of their owner."""
        for number, start, stop in self.space.shadow.pieces(address, len(data)):
            page = self.space.reach(number)
            if page is None:
                raise Fault(Kind.MEMORY, f"no frame for {number * self.space.page:#x}", self, number * self.space.page)
            at = number * self.space.page + start - address
            page[1][0][start:stop] = data[at : at + stop - start]

    # --- watching

    def observe(self, access: AccessObserver | None = None, call: CallObserver | None = None) -> Callable[[], None]:
        """Call functions after each load and store, and after each kernel call; return a function that stops this."""
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
