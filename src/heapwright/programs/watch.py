"""Watching an allocator: for each operation, the words that it read and changed, by name.

A word's name comes from the access itself: an access through a struct's field shows which struct lies where. This later
also shows which words of a free block are its links.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from heapwright.collections import Operation, Runtime
from heapwright.layout import Struct
from heapwright.machine.accesses import access_at_work
from heapwright.machine.source import Place
from heapwright.programs.naming import WordNames

CALLS = {"alloc", "alloc_zeroed", "dealloc", "realloc"}
ABOVE = 4  # frames of the machinery above an access: access_at_work, learn_struct, see_access, View._tell


@dataclass
class Word:
    """One word that an operation touched: the number of stores, and its values before and after."""

    address: int
    name: str
    is_pointer: bool
    before: int | None = None  # None if unknown, because the word was nobody's or the program's
    after: int | None = None
    stores: int = 0


@dataclass
class OperationStep:
    """One operation, its line in the program, and what the allocator did for it."""

    operation: Operation
    place: Place | None
    words: dict[int, Word] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)  # fills, copies and calls of the kernel


class Watch:
    """Watches every operation of a program and of its children; `show` gets each step when it is done."""

    def __init__(self, show: Callable[[Runtime, Observer, OperationStep], None]):
        self.show = show
        self.observers: dict[Runtime, Observer] = {}

    def enter(self, runtime: Runtime) -> None:
        parent = self.observers.get(runtime.parent) if runtime.parent else None
        self.observers[runtime] = Observer(runtime, parent)

    def leave(self, runtime: Runtime) -> None:
        self.observers.pop(runtime).close()

    def done(self, runtime: Runtime, operation: Operation) -> None:
        observer = self.observers[runtime]
        self.show(runtime, observer, observer.step_done(operation))


class Observer:
    """The knowledge about one process: which structs lie where, and the last values of the allocator's words."""

    def __init__(self, runtime: Runtime, parent: Observer | None = None):
        self.runtime = runtime
        self.structs: dict[int, type[Struct]] = dict(parent.structs) if parent else {}
        self.names = WordNames(runtime.heap.words, type(runtime.heap.state), self.structs)
        self.values: dict[int, int] = dict(parent.values) if parent else {}
        self.words: dict[int, Word] = {}
        self.others: list[str] = []
        self.is_learning = False
        self.close = runtime.heap.process.observe(self.see_access, self.see_call)

    # --- seeing

    def learn(self) -> None:
        """Learn the structs and values of a heap that ran unwatched, from its checks, which read every free block."""
        self.is_learning = True
        with suppress(Exception):  # a broken heap needs a picture most, and a user's `check` may be unfinished
            self.runtime.heap.check()
        self.is_learning = False
        self.words, self.others = {}, []

    def see_access(self, operation: str, address: int, size: int, value: int, who: str) -> None:
        if who != "allocator" or not self.is_at_work():
            return
        if operation in {"load", "store"}:
            self.learn_struct(operation, address, size)
            self.see_word(operation, address, value)
        else:
            detail = f"with {value:#04x}" if operation == "fill" else f"from {value:#x}"
            self.others.append(f"{operation} {size:,} bytes at {address:#x} {detail}")

    def see_call(self, name: str, arguments: tuple[int, ...], result: int, who: str) -> None:
        if who == "allocator" and self.is_at_work() and arguments != (0,):
            given = ", ".join(f"{a:#x}" if a > 1 << 32 else f"{a:,}" for a in arguments)
            self.others.append(f"{name}({given}) -> {result:#x}" if result != -1 else f"{name}({given}) failed")

    def is_at_work(self) -> bool:
        call = self.runtime.heap.process.thread.call
        return self.is_learning or (call is not None and call[0] in CALLS)

    def see_word(self, operation: str, address: int, value: int) -> None:
        word = self.words.get(address)
        if word is None:
            name, is_pointer = self.names.name(address)
            word = self.words[address] = Word(address, name, is_pointer, self.values.get(address))
        if operation == "store":
            word.stores, word.after = word.stores + 1, value
        self.values[address] = value

    def learn_struct(self, operation: str, address: int, size: int) -> None:
        """Remember which struct lies at an address if the access goes through one of its fields."""
        access = access_at_work(self.runtime.heap.process.thread.id, operation, address, size, ABOVE)
        if access.owner:
            self.structs[access.base] = access.owner

    def step_done(self, operation: Operation) -> OperationStep:
        step = OperationStep(operation, self.place_of(operation), self.words, self.others)
        self.words, self.others = {}, []
        if operation.result and operation.name != "dealloc":
            self.forget(operation.result, self.runtime.heap.live[operation.result].size)
        return step

    def place_of(self, operation: Operation) -> Place | None:
        blocks = self.runtime.heap.blocks
        if operation.name == "dealloc":
            freed = blocks.freed.get(operation.arguments[0])
            return freed.freed if freed else None
        live = blocks.live.get(operation.result or 0)
        return live.allocated if live else None

    def forget(self, address: int, size: int) -> None:
        """Forget memory that was handed out: it is the program's."""
        for known in (self.structs, self.values):
            for place in [place for place in known if address <= place < address + size]:
                del known[place]
