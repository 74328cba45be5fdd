"""A heap at work: an allocator interpreted in a process, with every call and every result checked.

    heap = start(allocator.load("kr"))
    address = heap.alloc(40)
    heap.user.store(address, 8, 7)
    heap.dealloc(address)
    heap.check()
    assert not heap.leaks()

A program that a heap serves reads and writes its blocks through `heap.user`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from itertools import islice
from typing import Any, NoReturn, Self

from heapwright.machine.blocks import Block
from heapwright.machine.fault import BrokenInvariant, Fault, Kind
from heapwright.machine.kernel import Kernel
from heapwright.machine.memory import UNLIMITED, View
from heapwright.machine.process import Process
from heapwright.machine.shadow import ALLOCATOR, FREED, TAKEABLE, USER, WRITTEN
from heapwright.machine.source import line_of_caller
from heapwright.machine.tiling import check_tiling
from heapwright.numbers import numbers_of
from heapwright.stats import Stats

NEW, OLD = 0xA5, 0xDB  # what payload is full of when it is handed out, and when it was given back
BUDGET = 1_000_000  # loads and stores that one call may make


class Heap:
    """Drives one allocator in one process.

    Sizes are in bytes and alignments are powers of two. A call that finds no memory returns 0; a wrong result,
    a wrong access or a wrong argument raises `Fault`. `junk` fills payload that is handed out or given back, so
    that nobody relies on its contents; `budget` bounds the loads and stores of one call.
    """

    def __init__(self, process: Process, allocator: Any, *, junk: bool = True, budget: int = BUDGET):
        self.process, self.allocator = process, allocator
        self.junk, self.budget = junk, budget
        self.blocks = process.blocks
        self._stats = 0  # where the statistics lie, once somebody asked for them
        self._functions = getattr(allocator, "module", allocator)
        self.words = process.reserve(self._functions.Heap.SIZE)
        self.state: Any = self._functions.Heap(process.memory, self.words)

    @classmethod
    def start(
        cls, allocator: Any, *, junk: bool = True, budget: int = BUDGET, more_data: int = 0, **options: Any
    ) -> Self:
        """A heap in a new process of a new machine; the other options are those of `Kernel`."""
        data = allocator.Heap.SIZE + 16 + Stats.SIZE + more_data
        return cls(Process.start(Kernel(**options), data=data), allocator, junk=junk, budget=budget)

    def over(self, process: Process) -> Self:
        """The same heap in a copy of its process."""
        twin = copy(self)
        twin.process, twin.blocks = process, process.blocks
        twin.state = self._functions.Heap(process.memory, self.words)
        return twin

    @property
    def memory(self) -> View:
        """The memory as the allocator sees it."""
        return self.process.memory

    @property
    def user(self) -> View:
        """The memory as the user's program sees it."""
        return self.process.user

    @property
    def live(self) -> dict[int, Block]:
        """The live blocks by address."""
        return self.blocks.live

    # --- the calls

    def alloc(self, size: int, align: int = 16) -> int:
        """The address of a new block, or 0."""
        address = self._call("alloc", size, align)
        if address != 0:
            self._verify(address, size, align)
            self._hand_out(address, size, align)
        return int(address)

    def alloc_zeroed(self, size: int, align: int = 16) -> int:
        """The address of a new block full of zeros, or 0."""
        address = self._call("alloc_zeroed", size, align)
        if address == 0:
            return 0
        self._verify(address, size, align)
        data = self.process.peek(address, size)
        if data.count(0) != size:
            bad = address + size - len(data.lstrip(b"\0"))
            self._bad_result(f"alloc_zeroed returned memory that is not zero at {bad:#x}", bad)
        self._hand_over(address, size, align)
        return int(address)

    def dealloc(self, address: int, *, unchecked: bool = False) -> None:
        """Free a live block. With `unchecked`, the allocator gets to see an address that is not live, too."""
        if unchecked and address not in self.live:
            former = self.blocks.freed.get(address)
            self._call("dealloc", address, former.size if former else 0, former.align if former else 16)
            return
        block = self._live("dealloc", address)
        self._take_back(address, block.size)
        self.blocks.retire(block, line_of_caller())
        self._call("dealloc", address, block.size, block.align)

    def realloc(self, address: int, new_size: int) -> int:
        """Resize a live block and return where it is now, its contents kept; 0 and nothing changed on failure."""
        block = self._live("realloc", address)
        shadow = self.process.space.shadow
        data, codes = self.process.peek(address, block.size), shadow.read(address, block.size)
        self._lend(block)
        target = int(self._call("realloc", address, block.size, block.align, new_size))
        if target == 0:
            self._take_up(block)
            self._same_data(block, address, data, "a realloc that failed")
            shadow.write(address, codes)
            return 0
        self._let_go(block, target, min(new_size, block.size))
        self._take_over(block, target, new_size, data, codes)
        return target

    def usable_size(self, address: int) -> int:
        """The bytes that a live block really has; asking makes them the caller's, as in malloc_usable_size(3)."""
        block = self._live("usable_size", address)
        usable = int(self._call("usable_size", address))
        if usable < block.size:
            self._bad_result(f"usable_size says {usable} of a block of {block.size} bytes", address)
        self._verify_range(block.end, usable - block.size)
        self.process.space.shadow.fill(block.end, usable - block.size, USER)
        block.size = usable
        return usable

    def trim(self) -> int:
        """Have the allocator give memory back to the kernel, if it can."""
        return int(self._call("trim") or 0)

    def thread_exit(self) -> None:
        self._call("thread_exit")

    def fork(self) -> Self | None:
        """The heap of a forked child; None when there are too few frames."""
        self._call("fork_prepare")
        process = self.process.fork()
        self._call("fork_parent")
        if process is None:
            return None
        child = self.over(process)
        child._call("fork_child")
        return child

    # --- calls of functions that only this allocator has, such as those of its caches

    def call(self, name: str, function: Callable[..., Any], *arguments: int) -> Any:
        """Call a function of the allocator's own, with a budget, and so that a fault can say its name."""
        return self._run(name, function, self.budget, arguments)

    def alloc_by(self, function: Callable[[Any], int], size: int, align: int) -> int:
        """The same as `alloc` for one that gives a block with what is in it, to be called with the heap's words."""
        address = self.call("alloc", lambda state, *_: function(state), size, align)
        if address != 0:
            self._verify(address, size, align)
            self._hand_over(address, size, align)
        return int(address)

    def dealloc_by(self, function: Callable[[Any], Any], address: int) -> None:
        """The same as `dealloc` for one that takes a live block back with what is in it."""
        block = self._live("dealloc", address)
        self.process.space.shadow.fill(address, block.size, ALLOCATOR | FREED)
        self.blocks.retire(block, line_of_caller())
        self.call("dealloc", lambda state, *_: function(state), address, block.size, block.align)

    # --- looking at it

    def leaks(self) -> list[Block]:
        """The live blocks in address order: at the end of a program, its leaks."""
        return [self.live[address] for address in sorted(self.live)]

    def stretches(self) -> list[tuple[int, int]]:
        """The memory that the allocator asked the kernel for, as (start, end): of the heap, then the areas.

        Areas that touch are one stretch, as they are to the kernel.
        """
        heap = [(start, end) for start, end, own in self.process.space.segments if own == ALLOCATOR]
        return heap + joined(self.process.space.areas.of(ALLOCATOR))

    def spans(self) -> Iterator[tuple[int, int, int]]:
        """What the allocator's `walk` says of all stretches: (start, size, kind)."""
        for _, _, spans in self.walked():
            yield from spans

    def walked(self) -> list[tuple[int, int, list[tuple[int, int, int]]]]:
        """The same, stretch by stretch: (start, end, spans)."""
        return [(start, end, self._walk(start, end)) for start, end in self.stretches()]

    def lists(self) -> list[tuple[str, list[int]]] | None:
        """What the allocator's `lists` says, but for those that are empty; None if it says nothing."""
        tell = getattr(self._functions, "lists", None)
        if tell is None:
            return None
        told = self._run("lists", lambda heap: list(tell(heap)), self.budget + self.memory.held() // 4, ())
        return [(name, addresses) for name, addresses in told if addresses]

    def check(self) -> None:
        """Raise `BrokenInvariant` unless the allocator's invariants and those of every allocator hold."""
        for start, end in self.stretches():
            try:
                self._whole("check", self._functions.check, start, end)
            except Fault:
                raise
            except AssertionError as error:
                raise BrokenInvariant(Kind.INVARIANT, str(error), self.process, start) from error
        apart = getattr(self._functions, "WALK", "blocks") != "stretches"
        check_tiling(self.process, self.walked(), apart)

    def survey(self) -> dict[str, Any]:
        """The allocator's statistics: the fields of `heapwright.stats.Stats`, as `heapwright.numbers` gives them."""
        if not self._stats:
            self._stats = self.process.reserve(Stats.SIZE)
        stats = Stats(self.process.memory, self._stats)
        self._run("survey", self._functions.survey, self.budget + self.memory.held() // 4, (stats,))
        return numbers_of(stats)

    def _walk(self, start: int, end: int) -> list[tuple[int, int, int]]:
        most = end - start + 1  # a span has a byte at least, so one more is proof enough of a walk that never ends
        return list(self._whole("walk", lambda *given: list(islice(self._functions.walk(*given), most)), start, end))

    # --- the way in and out

    def _call(self, name: str, *arguments: int) -> Any:
        """Call the allocator, with a budget, and so that a fault can say which call it was."""
        return self.call(name, getattr(self._functions, name), *arguments)

    def _whole(self, name: str, function: Callable[..., Any], start: int, end: int) -> Any:
        """The same for what looks at a whole stretch, which may take an access or two for each word."""
        return self._run(name, function, self.budget + (end - start) // 4, (start, end))

    def _run(self, name: str, function: Callable[..., Any], budget: int, arguments: tuple[Any, ...]) -> Any:
        thread, memory = self.process.thread, self.process.memory
        outer, thread.call, memory.left = thread.call, (name, arguments), budget
        try:
            return function(self.state, *arguments)
        except RecursionError:
            raise Fault(Kind.BUDGET, f"{name} calls itself without end", self.process, 0) from None
        finally:
            thread.call, memory.left = outer, UNLIMITED

    def _hand_out(self, address: int, size: int, align: int) -> None:
        if self.junk:
            self.process.poke(address, bytes([NEW]) * size)
        self.process.space.shadow.fill(address, size, USER)
        self.blocks.add(address, size, align, line_of_caller())

    def _hand_over(self, address: int, size: int, align: int) -> None:
        """The same for a block whose contents the user may rely on."""
        self.process.space.shadow.fill(address, size, USER | WRITTEN)
        self.blocks.add(address, size, align, line_of_caller())

    def _take_back(self, address: int, size: int) -> None:
        """Payload becomes the allocator's, and nobody may rely on what was in it."""
        if self.junk:
            self.process.poke(address, bytes([OLD]) * size)
        self.process.space.shadow.fill(address, size, ALLOCATOR | FREED)

    # --- realloc: who has a block while it is resized

    def _lend(self, block: Block) -> None:
        """A block that is about to be resized is the allocator's too."""
        self.process.space.shadow.add_bits(block.address, block.size, ALLOCATOR)

    def _take_up(self, block: Block) -> None:
        """After a realloc that failed."""

    def _let_go(self, block: Block, target: int, kept: int) -> None:
        """After one that succeeded: no byte of the old block is the user's."""
        shadow = self.process.space.shadow
        shadow.write(block.address, shadow.read(block.address, block.size).translate(NOT_THE_USERS))
        if target != block.address:
            shadow.write(target, shadow.read(target, kept).translate(NO_LONGER_SHARED))
        self.blocks.retire(block, line_of_caller())

    def _take_over(self, block: Block, target: int, size: int, data: bytes, codes: bytes) -> None:
        """The resized block is the user's, with the contents that both sizes have."""
        shadow, kept = self.process.space.shadow, min(size, block.size)
        self._verify(target, size, block.align)
        self._same_data(block, target, data[:kept], "realloc")
        if target == block.address:
            self.blocks.freed.pop(target, None)  # one that is resized in place never ended
        shadow.fill(target, size, USER)
        shadow.write(target, codes[:kept])
        if self.junk:
            self.process.poke(target + kept, bytes([NEW]) * (size - kept))
        self.blocks.add(target, size, block.align, line_of_caller())

    # --- judging results

    def _verify(self, address: Any, size: int, align: int) -> None:
        """A block may be handed out if it is aligned, mapped, and the allocator's."""
        if not isinstance(address, int) or isinstance(address, bool):
            self._bad_result(f"returned {address!r}, which is no address", 0)
        if address == -1:
            self._bad_result("returned -1: without memory, the result is 0", 0)
        if address % align:
            self._bad_result(f"returned {address:#x}, which is no multiple of {align}", address)
        twin = self.live.get(address)
        if twin is not None:
            self._bad_result(f"returned {address:#x}, where a live block lies", address)
        if address < self.process.heap_start:
            self._bad_result(f"returned {address:#x}, which is not in the heap", address)
        self._verify_range(address, size)

    def _verify_range(self, address: int, size: int) -> None:
        bad = self.process.space.shadow.first_not(address, size, TAKEABLE)
        if bad is None:
            return
        what = f"returned {size} bytes at {address:#x}"
        if self.process.space.shadow.read(bad, 1)[0] & USER:
            self._bad_result(f"{what}, which overlap a live block at {bad:#x}", bad)
        self._bad_result(f"{what}, which are not all mapped: not {bad:#x}", bad)

    def _same_data(self, block: Block, address: int, data: bytes, what: str) -> None:
        now = self.process.peek(address, len(data))
        if now != data:
            offset = next(i for i, (a, b) in enumerate(zip(now, data, strict=True)) if a != b)
            self._bad_result(f"{what} changed byte {offset} of the {block}", address + offset)

    def _bad_result(self, what: str, address: int) -> NoReturn:
        raise Fault(Kind.RESULT, what, self.process, address)

    def _live(self, name: str, address: int) -> Block:
        """The live block that a call is about; any other address is a misuse."""
        return self.live.get(address) or self._misuse(name, address)

    def _misuse(self, name: str, address: int) -> NoReturn:
        """An address that is no live block's: say what it is instead."""
        block, called = self.blocks.holding(address), f"{name}({address:#x})"
        if block is None:
            what = f"{called}: no block was ever there"
        elif block.address != address:
            what = f"{called}: a pointer into the inside of a block"
        else:
            what = f"double free: {called}" if name == "dealloc" else f"{called} of a freed block"
        raise Fault(Kind.MISUSE, what, self.process, address, who="user")


start = Heap.start

NOT_THE_USERS = bytes((code & ~USER & ~WRITTEN) | ALLOCATOR | FREED if code & USER else code for code in range(256))
NO_LONGER_SHARED = bytes(code & ~USER if code & USER and code & ALLOCATOR else code for code in range(256))  # by mremap


def joined(areas: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges in address order, those that touch as one."""
    whole: list[tuple[int, int]] = []
    for start, end in areas:
        if whole and whole[-1][1] == start:
            whole[-1] = (whole[-1][0], end)
        else:
            whole.append((start, end))
    return whole
