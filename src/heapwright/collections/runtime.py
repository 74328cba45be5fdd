"""What a Rust program finds in its process: the global allocator, the texts of its source, standard output.

    with serve(heap):
        x = Box(42)

Inside of the block, `heap` is what `#[global_allocator]` names. A request that fails is a panic, as it is in Rust.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple, Protocol

from heapwright.bits import MOST
from heapwright.collections.errors import CapacityOverflow, OutOfMemory
from heapwright.machine import Heap
from heapwright.machine.memory import View
from heapwright.machine.shadow import USER, WRITTEN

MOST_BYTES = MOST  # isize::MAX: no object is larger


class Operation(NamedTuple):
    """One call that the program made of its allocator."""

    name: str
    arguments: tuple[int, ...]
    result: int | None
    owner: str = ""  # the type of the value that asked


class Watcher(Protocol):
    """Who wants to see each operation, of the process and of its children."""

    def enter(self, runtime: Runtime) -> None: ...

    def done(self, runtime: Runtime, operation: Operation) -> None: ...


class Runtime:
    """One process from its program's side; it counts what the program asks of the heap, in bytes asked for."""

    def __init__(self, heap: Heap, parent: Runtime | None = None):
        self.heap, self.parent = heap, parent
        self.print: Callable[[str], None] = parent.print if parent else self._keep
        self.output: list[str] = []
        self.watchers: list[Watcher] = list(parent.watchers) if parent else []
        self.texts: dict[bytes, int] = dict(parent.texts) if parent else {}
        self.owners: dict[int, str] = dict(parent.owners) if parent else {}  # live block -> type of its owner
        self.operations = 0
        self.live_bytes = self.peak_bytes = sum(block.size for block in heap.live.values())
        self.ended = False  # nothing is dropped any more
        self.trouble: Exception | None = None  # what went wrong where nothing could be raised
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
        """Memory as the program may use it."""
        return self.heap.user

    # --- the global allocator

    def alloc(self, size: int, align: int, owner: str, *, zeroed: bool = False) -> int:
        """A new block for an owner of the named type; panics when there is none."""
        self.settle()
        require_layout(size, align)
        name = "alloc_zeroed" if zeroed else "alloc"
        address: int = getattr(self.heap, name)(size, align)
        return self.own(address, size, align, owner, name)

    def own(self, address: int, size: int, align: int, owner: str, name: str = "alloc") -> int:
        """Count the block that a call gave to an owner; panics when it gave none."""
        if address:
            self.owners[address] = owner
        self._count(name, (size, align), address, size if address else 0)
        if address == 0:
            raise OutOfMemory(size)
        return address

    def realloc(self, address: int, new_size: int) -> int:
        """The block with another size, perhaps elsewhere; on failure it panics, and the block is as it was."""
        self.settle()
        old = self._block(address)
        require_layout(new_size, old[1])
        target = self.heap.realloc(address, new_size)
        if target:
            self.owners[target] = self.owners.pop(address, "")
        self._count("realloc", (address, *old, new_size), target, new_size - old[0] if target else 0)
        if target == 0:
            raise OutOfMemory(new_size)
        return target

    def dealloc(self, address: int) -> None:
        size, align = self._block(address)
        self.heap.dealloc(address)
        self.disown(address, size, align)

    def disown(self, address: int, size: int, align: int) -> None:
        """Count a block that was given back."""
        self._count("dealloc", (address, size, align), None, -size)
        self.owners.pop(address, None)

    def _block(self, address: int) -> tuple[int, int]:
        """Size and alignment of a block; the heap itself complains of one that is not live."""
        block = self.heap.live.get(address)
        return (block.size, block.align) if block else (0, 1)

    def _count(self, name: str, arguments: tuple[int, ...], result: int | None, more: int) -> None:
        self.operations += 1
        self.live_bytes += more
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        owner = self.owners.get(arguments[0] if name == "dealloc" else result or 0, "")
        for watcher in self.watchers:
            watcher.done(self, Operation(name, arguments, result, owner))

    # --- dropping where Python lets go

    def release(self, drop: Callable[[], None]) -> None:
        """Drop something from within a finalizer: never inside a call of the allocator, and without raising."""
        if self.ended or self.heap.process.exit_code is not None:
            return
        if self.heap.process.thread.call is not None:
            self._waiting.append(drop)
            return
        try:
            drop()
        except Exception as error:
            self.trouble = self.trouble or error

    def settle(self) -> None:
        """Make up for what could not be done in a finalizer."""
        while self._waiting:
            self.release(self._waiting.pop())
        if self.trouble is not None:
            trouble, self.trouble, self.ended = self.trouble, None, True
            raise trouble

    def end(self) -> None:
        """The program is over: what it holds now, it holds."""
        self.ended = True

    # --- the image

    def text(self, data: bytes) -> int:
        """Where the bytes of a literal lie in the process image."""
        if data not in self.texts:
            process = self.heap.process
            address = process.reserve(max(len(data), 1), align=1)
            process.poke(address, data)
            process.space.shadow.fill(address, len(data), USER | WRITTEN)
            self.texts[data] = address
        return self.texts[data]

    # --- processes

    def fork(self) -> Runtime | None:
        """The program of a child process, with a copy of everything; None when there is no memory for it."""
        self.settle()
        heap = self.heap.fork()
        return None if heap is None else Runtime(heap, self)

    def descends_from(self, other: Runtime) -> bool:
        return self is other or (self.parent is not None and self.parent.descends_from(other))


def require_layout(size: int, align: int) -> None:
    """Panic unless an object may be so large: rounded up to its alignment it has at most isize::MAX bytes."""
    if size > MOST_BYTES - (align - 1):
        raise CapacityOverflow


# --- the one that runs

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
    """The program that runs now."""
    runtime = RUNNING.get()
    if runtime is None:
        raise RuntimeError("no heap serves this code: put it into `with serve(heap):`")
    return runtime
