"""The memory as code sees it: every load and store is checked against the page table and the shadow.

A process has two of these views. The allocator's may not touch live payload; the user's may touch nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from heapwright.machine.callbacks import call_function
from heapwright.machine.checked import MAX_WORD, MIN_WORD, Checked
from heapwright.machine.fault import Fault, Kind, diagnose
from heapwright.machine.names import contents
from heapwright.machine.shadow import ALLOCATOR, NOT_LIVE, NOT_THE_HEAPS, USER, WRITTEN
from heapwright.machine.sharing import SharedFrames
from heapwright.machine.state import RANDOM_BITS, ProcessState
from heapwright.machine.tails import Tails

if TYPE_CHECKING:
    from heapwright.layout import Struct
    from heapwright.memory import Memory

    def is_a_memory(view: View) -> Memory:
        return view


INTRUSION = 4096  # bytes
ACCOUNT = "_held", "_peak_held", "_growths", "_shrinks", "_decommits"  # the account that a view keeps of kernel calls
NAMES = {ALLOCATOR: "allocator", USER: "user"}
KEPT = bytes(code & WRITTEN for code in range(256))  # the bits of the shadow's codes that a copy keeps


class View(Checked, SharedFrames, Tails):
    """The `Memory` of heapwright.layout, with the rights of the owner of bytes marked `own`."""

    def __init__(self, process: ProcessState, own: int):
        space = process.space
        super().__init__(process, own)
        self.who = NAMES[own]
        self.PAGE, self.MAX_SBRK = space.page, space.MAX_SBRK
        self._held = self._peak_held = 0
        self._growths = self._shrinks = self._decommits = 0

    # --- ranges

    def fill(self, address: int, size: int, byte: int) -> None:
        self._check_range("store", address, size, self._storable)
        self.process.poke(address, bytes([byte]) * size)
        self.process.space.shadow.fill(address, size, self.own | WRITTEN)
        self._tell("fill", address, size, byte)

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy bytes; those that were never written count as never written in the copy, too."""
        self._check_range("load", source, size, self._storable)
        self._check_range("store", target, size, self._storable)
        space, kept = self.process.space, self.process.space.shadow.read(source, size).translate(KEPT)
        self.process.poke(target, self.process.peek(source, size))
        space.shadow.write(target, kept.translate(OWNED[self.own]))
        self._tell("copy", target, size, source)

    def _check_range(self, operation: str, address: int, size: int, allowed: bytes) -> None:
        self._step(operation, address, size)
        if size < 0 or not MIN_WORD <= address <= MAX_WORD:
            self._fault(Kind.NUMBER, f"a range of {size} bytes at {address:#x}", 0, operation)
        bad = self.process.space.shadow.first_not(address, size, allowed)
        if bad is not None:
            self._refuse(operation, address, size, bad)
        for number in range(address >> self._shift, (address + size + self._mask) >> self._shift) if size else ():
            if self.process.space.reach(number) is None:
                self._refuse(operation, address, size, max(address, number << self._shift))

    # --- the kernel

    def sbrk(self, n: int) -> int:
        """Move the break; the kernel gets `n` as its sbrk reads it: see `Space.sbrk_argument`."""
        if not MIN_WORD <= n <= MAX_WORD:
            self._fault(Kind.NUMBER, f"sbrk({n}): the number needs more than 64 bits", 0, "sbrk")
        space = self.process.space
        told = space.sbrk_argument(n)
        if told < 0:
            self._keep_break(n, told)
        if told > 0 and space.kernel.intrusions.due():
            space.sbrk(INTRUSION, USER)
        return self._called("sbrk", (n,), space.sbrk(told, self.own))

    def _keep_break(self, n: int, told: int) -> None:
        space = self.process.space
        if space.may_shrink_to(space.brk + told):
            start = max(space.brk + told, space.heap_start)
            self._keep(f"sbrk({n})", start, space.brk - start)

    def mmap(self, size: int) -> int:
        return self._called("mmap", (size,), self.process.space.mmap(size, self.own))

    def munmap(self, address: int, size: int) -> int:
        self._keep(f"munmap({address:#x}, {size})", address, size)
        return self._called("munmap", (address, size), self.process.space.munmap(address, size))

    def mremap(self, address: int, old_size: int, new_size: int, may_move: int) -> int:
        self._keep(f"mremap({address:#x}, {old_size}, {new_size})", address, old_size)
        result = self.process.space.mremap(address, old_size, new_size, may_move, self.own)
        return self._called("mremap", (address, old_size, new_size, may_move), result)

    def decommit(self, address: int, size: int) -> int:
        if self.own == ALLOCATOR:  # a program may discard the contents of its own blocks
            self._keep(f"decommit({address:#x}, {size})", address, size)
        result = self.process.space.decommit(address, size)
        self._decommits += result == 0
        return self._called("decommit", (address, size), result)

    def protect(self, address: int, size: int, is_protected: int) -> int:
        result = self.process.space.protect(address, size, is_protected)
        return self._called("protect", (address, size, is_protected), result)

    def is_mapped(self, address: int) -> bool:
        """Whether memory of the allocator or the user lies there; text and guard pages do not count."""
        self._step("is_mapped", address, 1)
        return MIN_WORD <= address <= MAX_WORD and self.process.space.shadow.read(address, 1)[0] != 0

    def _keep(self, call: str, address: int, size: int) -> None:
        """Check that an allocator does not unmap live payload, and a program does not unmap its heap."""
        if not 0 < size <= self.process.space.kernel.maxva:
            return
        if self.own == ALLOCATOR:
            self._keep_live(call, address, size)
        else:
            self._keep_heap(call, address, size)

    def _keep_live(self, call: str, address: int, size: int) -> None:
        bad = self.process.space.shadow.first_not(address, size, NOT_LIVE)
        if bad is not None:
            self._fault(Kind.LIVE, f"{call} takes live payload at {bad:#x} away", bad, call.partition("(")[0])

    def _keep_heap(self, call: str, address: int, size: int) -> None:
        end, operation = address + size, call.partition("(")[0]
        block = min(self.process.blocks.overlapping(address, end), key=lambda block: block.address, default=None)
        if block is not None:
            self._fault(Kind.MISUSE, f"{call} takes the {block} away", max(address, block.address), operation)
        bad = self.process.space.shadow.first_not(address, size, NOT_THE_HEAPS)
        if bad is not None:
            self._fault(Kind.MISUSE, f"{call} takes memory of the heap away, at {bad:#x}", bad, operation)

    def _called(self, name: str, arguments: tuple[int, ...], result: int) -> int:
        """Notify the observers, and update the account of memory from the kernel."""
        held = self.held()
        self._growths += held > self._held
        self._shrinks += held < self._held
        self._held, self._peak_held = held, max(self._peak_held, held)
        for observer in self.process.call_observers:
            observer(name, arguments, result, self.who)
        return result

    def held(self) -> int:
        return self.process.space.held(self.own)

    def peak_held(self) -> int:
        return self._peak_held

    def growths(self) -> int:
        return self._growths

    def shrinks(self) -> int:
        return self._shrinks

    def decommits(self) -> int:
        return self._decommits

    def extent_start(self) -> int:
        return self.process.space.extent(self.own)[0]

    def piece_start(self) -> int:
        return self.process.space.extent(self.own)[1]

    def extent_end(self) -> int:
        return self.process.space.extent(self.own)[2]

    def contents(self, pointer: Struct) -> str:
        """The fields of a struct for `repr`, read without checks."""
        return contents(self.process, pointer)

    def inherit(self, parent: View) -> None:
        """Continue the account of a parent that forked."""
        for name in ACCOUNT:
            setattr(self, name, getattr(parent, name))

    # --- the thread

    def call(self, function: int, address: int, size: int) -> int:
        self._charge("call", address)
        return call_function(self.process, function, address, size)

    def local(self, slot: int) -> int:
        return self.process.thread.words[slot]

    def set_local(self, slot: int, value: int) -> None:
        self._fit(slot, 8, value)
        self.process.thread.words[slot] = value

    def thread_id(self) -> int:
        return self.process.thread.id

    def set_errno(self, number: int) -> None:
        self.process.thread.errno = number

    def setting(self, option: int) -> int:
        return self.process.settings.get(option, -1)

    def record(self, operation: int, log2_align: int, address: int, old: int, size: int) -> None:
        self.process.records.append((self.thread_id(), operation, log2_align, address, old, size))

    def record_anew(self) -> None:
        self.process.records.clear()

    def single_threaded(self) -> int:
        return int(self.process.threads_ever == 1)

    def wait(self, address: int, value: int) -> None:
        if self.load(address, 4) != value:
            return
        if self.process.scheduler:
            self.process.scheduler.wait(address, value)
            return
        what = f"waiting while the word at {address:#x} is {value}, and there is no other thread to change it"
        self._fault(Kind.DEADLOCK, what, address, "wait")

    def wake(self, address: int) -> None:
        if self.process.scheduler:
            self.process.scheduler.wake(address)

    def relax(self) -> None:
        self._charge("relax", 0)
        if self.process.scheduler:
            self.process.scheduler.relax()

    def random(self) -> int:
        return self.process.random.getrandbits(RANDOM_BITS)

    def clock(self) -> int:
        return self.process.clock

    def call_with(self, function: int, a: int, b: int, c: int, d: int) -> int:
        """Call a function that the program has: see `Process.function`."""
        self._charge("call", function)
        found = self.process.functions.get(function)
        if found is None:
            self._fault(Kind.NUMBER, f"a call of {function:#x}, where the program has no function", function, "call")
        return found(a, b, c, d) or 0

    def note_caller(self, address: int, size: int) -> None:
        """Store a Caller without a call stack: the machine keeps the lines of source of each block itself."""
        self.fill(address, size, 0)
        self.store(address, 8, self.thread_id())

    # --- faults

    def fault(self, what: str, address: int, size: int = 0) -> NoReturn:
        """Report a misuse that the allocator found."""
        known = f" ({size} bytes)" if size else ""
        self._fault(Kind.MISUSE, f"{what}: {address:#x}{known}{self.process.explain(address, True)}", address)

    def _refuse(self, operation: str, address: int, size: int, bad: int | None = None) -> NoReturn:
        start = address if bad is None else bad
        kind, byte, where = diagnose(self.process, self.own, operation, start, address + size - start)
        if kind == Kind.UNMAPPED:
            self.process.space.meet_unmapped(byte)
        told = self.process.explain(byte, False) if kind == Kind.PERMISSION else ""
        what = f"{self.who} {operation} of {size} bytes at {address:#x}, {where}{told}"
        self._fault(kind, what, byte, f"{operation} of {size} bytes")

    def _fault(self, kind: Kind, what: str, address: int, operation: str = "") -> NoReturn:
        raise Fault(kind, what, self.process, address, operation=operation, who=self.who)


OWNED = {own: bytes(code | own for code in range(256)) for own in NAMES}
