"""A running heap: an allocator interpreted in a process, with every call and every result checked.

    heap = start(allocator.load("kr"))
    address = heap.alloc(40)
    heap.user.store(address, 8, 7)
    heap.dealloc(address)
    heap.check()
    assert not heap.leaks()

A program that a heap serves reads and writes its blocks through `heap.user`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from copy import copy
from functools import partial
from operator import index
from typing import Any, NoReturn, Self

from heapwright.figures import figures_of
from heapwright.machine.arithmetic import look_at_numbers
from heapwright.machine.blocks import Block
from heapwright.machine.callbacks import TO_FREED, TO_USER, change_owner
from heapwright.machine.calls import Calls, Span
from heapwright.machine.contract import misuse, require_alignment, require_same_layout
from heapwright.machine.explain import explain
from heapwright.machine.fault import NOWHERE, BrokenInvariant, Fault, Kind
from heapwright.machine.memory import View
from heapwright.machine.process import Process
from heapwright.machine.shadow import ALLOCATOR, FREED, TAKEABLE, USER, WRITTEN
from heapwright.machine.source import line_of_caller, line_of_error
from heapwright.machine.tiling import check_tiling
from heapwright.machine.xv6rs import boot
from heapwright.stats import Stats

NEW, OLD = 0xA5, 0xDB  # the bytes that fill payload when it is handed out, and when it is freed
BUDGET = 1_000_000  # loads and stores that one call may make


class Heap(Calls):
    """Drives one allocator in one process.

    Sizes are in bytes and alignments are powers of two. A call that finds no memory returns 0. A wrong result, access
    or argument raises `Fault`. `junk` fills payload that is handed out or freed, so that nobody relies on its contents.
    `budget` bounds the loads and stores of one call.
    """

    def __init__(self, process: Process, allocator: Any, *, junk: bool = True, budget: int = BUDGET):
        super().__init__(process, getattr(allocator, "module", allocator), budget)
        self.allocator, self.junk = allocator, junk
        self.blocks = process.blocks
        self.lent: list[tuple[int, int]] = []  # the program's memory that the allocator may use, as (start, end)
        self._stats = 0  # the address of the statistics; 0 until they are first asked for
        self.words = process.reserve(self._functions.Heap.SIZE)
        self.state = self._functions.Heap(process.memory, self.words)
        process.explain = partial(explain, self._functions, self.state)
        look_at_numbers(allocator)

    @classmethod
    def start(
        cls, allocator: Any, *, junk: bool = True, budget: int = BUDGET, more_data: int = 0, **options: Any
    ) -> Self:
        """A heap in a new process of a new machine; the other options are those of `boot`."""
        data = allocator.Heap.SIZE + 16 + Stats.SIZE + more_data
        return cls(Process.start(boot(**options), data=data), allocator, junk=junk, budget=budget)

    def over(self, process: Process) -> Self:
        """The same heap in a copy of its process."""
        twin = copy(self)
        twin.process, twin.blocks, twin.lent = process, process.blocks, list(self.lent)
        twin.state = self._functions.Heap(process.memory, self.words)
        process.explain = partial(explain, self._functions, twin.state)
        return twin

    @property
    def memory(self) -> View:
        """The memory, with the allocator's rights."""
        return self.process.memory

    @property
    def user(self) -> View:
        """The memory, with the rights of the user's program."""
        return self.process.user

    @property
    def live(self) -> dict[int, Block]:
        """The live blocks by address."""
        return self.blocks.live

    # --- the calls

    def alloc(self, size: int, align: int = 16) -> int:
        """Allocate a block; return its address, or 0."""
        require_alignment(self.process, f"alloc({size}, {align})", align)
        address = self._number("alloc", size, align)
        if address != 0:
            self._verify(address, size, align)
            self._hand_out(address, size, align)
        return address

    def alloc_zeroed(self, size: int, align: int = 16) -> int:
        """Allocate a block full of zeros; return its address, or 0."""
        require_alignment(self.process, f"alloc_zeroed({size}, {align})", align)
        address = self._number("alloc_zeroed", size, align)
        if address == 0:
            return 0
        self._verify(address, size, align)
        data = self.process.peek(address, size)
        if data.count(0) != size:
            bad = address + size - len(data.lstrip(b"\0"))
            self._bad_result(f"alloc_zeroed returned memory that is not zero at {bad:#x}", bad)
        self._hand_over(address, size, align)
        return address

    def dealloc(
        self, address: int, size: int | None = None, align: int | None = None, *, unchecked: bool = False
    ) -> None:
        """Free a live block. With `unchecked`, an address that is not live is passed on to the allocator, too.

        A caller that keeps a block's size and alignment, as Rust does, passes them; they must be those of `alloc`.
        """
        if unchecked and address not in self.live:
            former = self.blocks.freed.get(address)
            self._call("dealloc", address, former.size if former else 0, former.align if former else 16)
            return
        block = self._live("dealloc", address)
        self._check_layout("dealloc", block, size, align)
        self._take_back(address, block.size)
        self.blocks.retire(block, line_of_caller())
        self._call("dealloc", address, block.size, block.align)

    def realloc(
        self, address: int, new_size: int, size: int | None = None, align: int | None = None, *, unchecked: bool = False
    ) -> int:
        """Resize a live block, keep its contents, and return its address; on failure, return 0 and change nothing.

        Size, alignment and `unchecked` are as in `dealloc`.
        """
        if unchecked and address not in self.live:
            former = self.blocks.freed.get(address)
            layout = (former.size, former.align) if former else (0, 16)
            return self._number("realloc", address, *layout, new_size)
        block = self._live("realloc", address)
        self._check_layout("realloc", block, size, align)
        shadow = self.process.space.shadow
        data, codes = self.process.peek(address, block.size), shadow.read(address, block.size)
        self._lend(block)
        target = self._number("realloc", address, block.size, block.align, new_size)
        if target == 0:
            self._take_up(block)
            self._same_data(block, address, data, "a realloc that failed")
            shadow.write(address, codes)
            return 0
        self._let_go(block, target, min(new_size, block.size))
        self._take_over(block, target, new_size, data, codes)
        return target

    def usable_size(self, address: int) -> int:
        """The bytes that a live block really has; they become the caller's, as in malloc_usable_size(3)."""
        block = self._live("usable_size", address)
        usable = self._number("usable_size", address, what="a size")
        if usable < block.size:
            self._bad_result(f"usable_size says {usable} of a block of {block.size} bytes", address)
        self._verify_range(block.end, usable - block.size)
        self.process.space.shadow.fill(block.end, usable - block.size, USER)
        block.size = usable
        return usable

    def trim(self, pad: int = 0) -> int:
        """Return free memory to the kernel, except `pad` bytes at the heap's end; return the number of bytes."""
        return self._number("trim", pad, what="a number of bytes")

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

    # --- functions that only this allocator has, such as those of its caches

    def alloc_by(self, function: Callable[[Any], int], size: int, align: int) -> int:
        """Like `alloc`, by a function of the heap's words that returns a block with contents."""
        address = self.call("alloc", lambda state, *_: function(state), size, align)
        if address != 0:
            self._verify(address, size, align)
            change_owner(self.process, address, size, TO_USER)
            self.blocks.add(address, size, align, line_of_caller())
        return int(address)

    def dealloc_by(self, function: Callable[[Any], Any], address: int) -> None:
        """Like `dealloc`, by a function that takes a live block back with its contents."""
        block = self._live("dealloc", address)
        change_owner(self.process, address, block.size, TO_FREED)
        self.blocks.retire(block, line_of_caller())
        self.call("dealloc", lambda state, *_: function(state), address, block.size, block.align)

    # --- memory of the program's own that the allocator serves from, such as a space's or a pool's

    def lend(self, address: int, size: int) -> None:
        """Let the allocator use memory that the program got from the kernel; `walk` then covers it, too."""
        self.process.space.shadow.fill(address, size, ALLOCATOR | WRITTEN)
        self.lent.append((address, address + size))

    def take_home(self, address: int, size: int) -> None:
        """Let the program have its memory again, when no block lies there."""
        self.lent.remove((address, address + size))
        self.process.space.shadow.fill(address, size, USER | WRITTEN)

    # --- inspection

    def leaks(self) -> list[Block]:
        """The live blocks in address order; at the end of a program, these are its leaks."""
        return [self.live[address] for address in sorted(self.live)]

    def extents(self) -> list[tuple[int, int]]:
        """The allocator's memory, as (start, end): first the heap, then the mappings, then what the program lent.

        Mappings that touch are one extent, as they are to the kernel.
        """
        heap = [(start, end) for start, end, own in self.process.space.segments if own == ALLOCATOR]
        return heap + joined(self.process.space.mappings.of(ALLOCATOR)) + self.lent

    def spans(self) -> Iterator[Span]:
        """The spans that `walk` yields for all extents: (start, size, kind)."""
        for _, _, spans in self.walked():
            yield from spans

    def walked(self) -> list[tuple[int, int, list[Span]]]:
        """The same spans, extent by extent: (start, end, spans)."""
        return [(start, end, self._walk(start, end)) for start, end in self.extents()]

    def lists(self) -> list[tuple[str, list[int]]] | None:
        """The lists that the allocator's `lists` yields, without empty ones; None if it has no `lists`."""
        tell = getattr(self._functions, "lists", None)
        if tell is None:
            return None
        told = self.call("lists", lambda heap: named_lists(tell(heap)), more=self.memory.held() // 4)
        return [(name, addresses) for name, addresses in told if addresses]

    def check(self) -> None:
        """Raise `BrokenInvariant` unless the allocator's own invariants and those of all heaps hold."""
        for start, end in self.extents():
            try:
                self._whole("check", self._functions.check, start, end)
            except Fault:
                raise
            except AssertionError as error:
                place = line_of_error(error)
                what = str(error) or (place.text if place else "check fails")
                raise BrokenInvariant(Kind.INVARIANT, what, self.process, start, place=place) from error
        apart = getattr(self._functions, "WALK", "blocks") != "extents"
        check_tiling(self.live, self.walked(), self.broken, apart)

    def broken(self, what: str, address: int) -> NoReturn:
        """Report an invariant of all heaps that does not hold."""
        raise BrokenInvariant(Kind.INVARIANT, what, self.process, address)

    def survey(self) -> dict[str, Any]:
        """The allocator's statistics: the fields of `heapwright.stats.Stats`, as `heapwright.figures` gives them."""
        if not self._stats:
            self._stats = self.process.reserve(Stats.SIZE)
        stats = Stats(self.process.memory, self._stats)
        self.call("survey", self._functions.survey, stats, more=self.memory.held() // 4)
        return figures_of(stats)

    # --- ownership of bytes

    def _hand_out(self, address: int, size: int, align: int) -> None:
        if self.junk:
            self.process.poke(address, bytes([NEW]) * size)
        self.process.space.shadow.fill(address, size, USER)
        self.blocks.add(address, size, align, line_of_caller())

    def _hand_over(self, address: int, size: int, align: int) -> None:
        """Hand a block to the user, who may rely on its contents."""
        self.process.space.shadow.fill(address, size, USER | WRITTEN)
        self.blocks.add(address, size, align, line_of_caller())

    def _take_back(self, address: int, size: int) -> None:
        """Give payload to the allocator; nobody may rely on its old contents."""
        if self.junk:
            self.process.poke(address, bytes([OLD]) * size)
        self.process.space.shadow.fill(address, size, ALLOCATOR | FREED)

    # --- realloc: who owns a block while it is resized

    def _lend(self, block: Block) -> None:
        """Let the allocator access a block that it is about to resize."""
        self.process.space.shadow.add_bits(block.address, block.size, ALLOCATOR)

    def _take_up(self, block: Block) -> None:
        """Return the block to the user after a failed realloc."""

    def _let_go(self, block: Block, target: int, kept: int) -> None:
        """Take the old block from the user after a successful realloc."""
        shadow = self.process.space.shadow
        shadow.write(block.address, shadow.read(block.address, block.size).translate(NOT_THE_USERS))
        if target != block.address:
            shadow.write(target, shadow.read(target, kept).translate(NO_LONGER_SHARED))
        self.blocks.retire(block, line_of_caller())

    def _take_over(self, block: Block, target: int, size: int, data: bytes, codes: bytes) -> None:
        """Give the resized block to the user, and check the contents that both sizes have."""
        shadow, kept = self.process.space.shadow, min(size, block.size)
        self._verify(target, size, block.align)
        self._same_data(block, target, data[:kept], "realloc")
        if target == block.address:
            self.blocks.freed.pop(target, None)  # a block resized in place was never freed
        shadow.fill(target, size, USER)
        shadow.write(target, codes[:kept])
        if self.junk:
            self.process.poke(target + kept, bytes([NEW]) * (size - kept))
        self.blocks.add(target, size, block.align, line_of_caller())

    # --- checking results

    def _verify(self, address: int, size: int, align: int) -> None:
        """Check that a block is aligned, mapped and the allocator's, so that it may be handed out."""
        if address == -1:
            self._bad_result("returned -1: without memory, the result is 0", NOWHERE)
        if address % align:
            self._bad_result(f"returned {address:#x}, which is not a multiple of {align}", address)
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

    def _live(self, name: str, address: int) -> Block:
        """The live block at an address; any other address is a misuse."""
        return self.live.get(address) or self._misuse(name, address)

    def _misuse(self, name: str, address: int) -> NoReturn:
        """Report an address that is not a live block's, and say what it is instead."""
        block, called = self.blocks.holding(address), f"{name}({address:#x})"
        if block is None:
            what = f"{called}: no block was ever there"
        elif block.address != address:
            what = f"{called}: a pointer into the inside of a block"
        else:
            what = f"double free: {called}" if name == "dealloc" else f"{called} of a freed block"
        raise misuse(self.process, what, address)

    def _check_layout(self, name: str, block: Block, size: int | None, align: int | None) -> None:
        """Check that the size and alignment that a caller passes are the block's."""
        given = block.size if size is None else size, block.align if align is None else align
        call = f"{name}({', '.join([f'{block.address:#x}', *map(str, given)])})"
        require_same_layout(self.process, call, block, *given)


start = Heap.start

NOT_THE_USERS = bytes((code & ~USER & ~WRITTEN) | ALLOCATOR | FREED if code & USER else code for code in range(256))
NO_LONGER_SHARED = bytes(code & ~USER if code & USER and code & ALLOCATOR else code for code in range(256))  # by mremap


def named_lists(told: Iterable[Any]) -> list[tuple[str, list[int]]]:
    """The result of `lists`, read to its end, so that an error in it shows here."""
    return [(str(name), list(map(index, addresses))) for name, addresses in told]


def joined(mappings: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges in address order, with those that touch joined."""
    whole: list[tuple[int, int]] = []
    for start, end in mappings:
        if whole and whole[-1][1] == start:
            whole[-1] = (whole[-1][0], end)
        else:
            whole.append((start, end))
    return whole
