"""The environment of a Rust program: the global allocator, the literals of its source, standard output.

    with serve(heap):
        x = Box(42)

Inside the block, `heap` is the allocator that `#[global_allocator]` names. A request that fails is a panic, as in Rust.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple, Protocol

from heapwright.bits import MAX_WORD
from heapwright.collections.errors import CapacityOverflow, OutOfMemory
from heapwright.machine import Heap
from heapwright.machine.memory import View
from heapwright.machine.shadow import USER, WRITTEN

MAX_BYTES = MAX_WORD  # isize::MAX: no object is larger


class Container(Protocol):
    """A value that owns blocks."""

    def holdings(self) -> Holdings:
        """Each block that it owns, by address, with the containers in that block."""


Holdings = Iterator[tuple[int, Iterator[Container]]]


class Contents(Protocol):
    """The type of the contents of a block."""

    def containers(self, runtime: Runtime, address: int) -> Iterator[Container]: ...


class Owner(NamedTuple):
    """The owner of a block: the name of its type, and the block's contents if the block alone shows them.

    A Box's block holds a value of one type. For a Vec's block, only the Vec knows the number of elements.
    """

    name: str
    contents: Contents | None = None


NOBODY = Owner("")


class Operation(NamedTuple):
    """One call of the program to its allocator."""

    name: str
    arguments: tuple[int, ...]
    result: int | None
    owner: str = ""  # the type of the value that made the request


class Watcher(Protocol):
    """An observer of each operation of the process and of its children."""

    def enter(self, runtime: Runtime) -> None: ...

    def done(self, runtime: Runtime, operation: Operation) -> None: ...


class Runtime:
    """One process from its program's side; it counts the program's requests, in requested bytes."""

    def __init__(self, heap: Heap, parent: Runtime | None = None):
        self.heap, self.parent = heap, parent
        self.print: Callable[[str], None] = parent.print if parent else self._keep
        self.output: list[str] = []
        self.watchers: list[Watcher] = list(parent.watchers) if parent else []
        self.texts: dict[bytes, int] = dict(parent.texts) if parent else {}
        self.owners: dict[int, Owner] = dict(parent.owners) if parent else {}  # by the address of a live block
        self.operations = 0
        self.live_bytes = self.peak_bytes = sum(block.size for block in heap.live.values())
        self.ended = False  # whether the program is over, and nothing is dropped any more
        self.trouble: BaseException | None = None  # an error that occurred where nothing could be raised
        self._waiting: list[Callable[[], None]] = []
        for watcher in self.watchers:
            watcher.enter(self)

    def _keep(self, line: str) -> None:
        self.output.append(line)

    def watch(self, watcher: Watcher) -> None:
        self.watchers.append(watcher)
        watcher.enter(self)

    @property
    def memory(self) -> View:
        """The memory, with the program's rights."""
        return self.heap.user

    # --- the global allocator

    def alloc(self, size: int, align: int, owner: str | Owner, *, zeroed: bool = False) -> int:
        """Allocate a block for an owner of the named type; panic without memory."""
        require_layout(size, align)
        address = self.request(size, align, owner, zeroed=zeroed)
        if address == 0:
            raise OutOfMemory(size)
        return address

    def request(self, size: int, align: int, owner: str | Owner, *, zeroed: bool = False) -> int:
        """The same for a caller that tests the result: return 0 without memory."""
        self.settle()
        name = "alloc_zeroed" if zeroed else "alloc"
        address: int = getattr(self.heap, name)(size, align)
        self._enter(address, size, align, owner, name)
        return address

    def own(self, address: int, size: int, align: int, owner: str, name: str = "alloc") -> None:
        """Count the block that an owner got from a call; panic if it got none."""
        self._enter(address, size, align, owner, name)
        if address == 0:
            raise OutOfMemory(size)

    def _enter(self, address: int, size: int, align: int, owner: str | Owner, name: str) -> None:
        if address:
            self.owners[address] = Owner(owner) if isinstance(owner, str) else owner
        self._count(name, (size, align), address, size if address else 0)

    def realloc(self, address: int, new_size: int) -> int:
        """Resize a block, which may move; on failure, panic and leave the block unchanged."""
        require_layout(new_size, self._block(address)[1])
        target = self.request_other(address, new_size)
        if target == 0:
            raise OutOfMemory(new_size)
        return target

    def request_other(self, address: int, new_size: int, size: int | None = None, align: int | None = None) -> int:
        """The same for a caller that tests the result: return 0 on failure. Size and alignment must be the block's."""
        self.settle()
        old = self._block(address)
        target = self.heap.realloc(address, new_size, size, align)
        if target:
            self.owners[target] = self.owners.pop(address, NOBODY)
        self._count("realloc", (address, *old, new_size), target, new_size - old[0] if target else 0)
        return target

    def dealloc(self, address: int, size: int | None = None, align: int | None = None) -> None:
        """Free a block. Size and alignment, if given, must be the block's."""
        was = self._block(address)
        self.heap.dealloc(address, size, align)
        self.disown(address, *was)

    def disown(self, address: int, size: int, align: int) -> None:
        """Count a block that was freed."""
        self._count("dealloc", (address, size, align), None, -size)
        self.owners.pop(address, None)

    def _block(self, address: int) -> tuple[int, int]:
        """The size and alignment of a block; for a block that is not live, the heap reports the error itself."""
        block = self.heap.live.get(address)
        return (block.size, block.align) if block else (0, 1)

    def _count(self, name: str, arguments: tuple[int, ...], result: int | None, more: int) -> None:
        self.operations += 1
        self.live_bytes += more
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        owner = self.owners.get(arguments[0] if name == "dealloc" else result or 0, NOBODY).name
        for watcher in self.watchers:
            watcher.done(self, Operation(name, arguments, result, owner))

    # --- dropping in Python's finalizers

    def release(self, drop: Callable[[], None]) -> None:
        """Drop something from within a finalizer: never inside a call of the allocator, and without raising."""
        if self.ended or self.heap.process.exit_code is not None:
            return
        if self.heap.process.thread.call is not None:
            self._waiting.append(drop)
            return
        try:
            drop()
        except (Exception, KeyboardInterrupt) as error:
            self.trouble = self.trouble or error

    def settle(self) -> None:
        """Do what could not be done in a finalizer."""
        while self._waiting:
            self.release(self._waiting.pop())
        if self.trouble is not None:
            trouble, self.trouble, self.ended = self.trouble, None, True
            raise trouble

    def end(self) -> None:
        """End the program: nothing is dropped from now on."""
        self.ended = True

    # --- the image

    def text(self, data: bytes) -> int:
        """The address of a literal's bytes in the process image."""
        if data not in self.texts:
            process = self.heap.process
            address = process.reserve(max(len(data), 1), align=1)
            process.poke(address, data)
            process.space.shadow.fill(address, len(data), USER | WRITTEN)
            self.texts[data] = address
        return self.texts[data]

    # --- processes

    def fork(self) -> Runtime | None:
        """The program of a child process, with a copy of everything; None if there is no memory for it."""
        self.settle()
        heap = self.heap.fork()
        return None if heap is None else Runtime(heap, self)

    def descends_from(self, other: Runtime) -> bool:
        return self is other or (self.parent is not None and self.parent.descends_from(other))


def require_layout(size: int, align: int) -> None:
    """Panic if an object of this layout is too large: rounded up to its alignment it may have isize::MAX bytes."""
    if size > MAX_BYTES - (align - 1):
        raise CapacityOverflow


# --- the running program

RUNNING: ContextVar[Runtime | None] = ContextVar("running", default=None)


@contextmanager
def serve(heap: Heap | Runtime) -> Iterator[Runtime]:
    """Make a heap the global allocator of the block. An exception that leaves the block ends its program."""
    runtime = heap if isinstance(heap, Runtime) else Runtime(heap)
    token = RUNNING.set(runtime)
    try:
        yield runtime
        runtime.settle()
    except BaseException:
        runtime.end()
        raise
    finally:
        RUNNING.reset(token)


def running() -> Runtime:
    """The program that is running."""
    runtime = RUNNING.get()
    if runtime is None:
        raise RuntimeError("no heap serves this code: put it into `with serve(heap):`")
    return runtime
