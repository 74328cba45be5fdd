"""A violation, reported so that it can be understood without a debugger.

    use after free: user load of 8 bytes at 0x5020
      0x5020 is 0 bytes into the freed block #1 of 40 bytes at 0x5020
        allocated at program.py:7, freed at program.py:9
      at program.py:10 in main: total += box.value
        0x5000  60 00 00 00 00 00 00 00  00 40 00 00 00 00 00 00   aaaaaaaa aaaaaaaa
      > 0x5020  -- -- -- -- -- -- -- --  -- -- -- -- -- -- -- --   ffffffff ffffffff

The last lines are memory: a row of bytes, and for each byte a letter that says who owns it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from heapwright.machine.blocks import Block, Blocks
from heapwright.machine.frames import Stop
from heapwright.machine.page_table import LAZY, R, U, V, W
from heapwright.machine.shadow import ALLOCATOR, FREED, USER, WRITTEN, letter
from heapwright.machine.source import Place, line_of_allocator, line_of_caller
from heapwright.machine.space import Space

ROW = 16  # bytes in a row of the picture
NOWHERE = -1  # the address of a fault that concerns no address
LEGEND = "a allocator's  L live, the user's  f freed  . no one's  -- never written"


class Kind(StrEnum):
    """What went wrong."""

    UNMAPPED = "unmapped address"
    PERMISSION = "permission denied"
    MISALIGNED = "misaligned access"
    LIVE = "live payload touched by the allocator"
    FOREIGN = "allocator's bytes touched by the user"
    FREED = "use after free"
    UNWRITTEN = "never written"
    NUMBER = "does not fit"
    BUDGET = "access budget exceeded"
    ENDLESS = "endless loop"
    ERROR = "error in the allocator"
    MISUSE = "heap misuse"
    RESULT = "bad result"
    INVARIANT = "broken invariant"
    DEADLOCK = "deadlock"
    MEMORY = "out of memory"


class Caller(Protocol):
    """A thread, whether or not it is in a call of the allocator."""

    @property
    def call(self) -> object: ...

    def describe_call(self) -> str: ...


class Victim(Protocol):
    """The parts of a process that a fault's report needs."""

    blocks: Blocks
    space: Space

    @property
    def thread(self) -> Caller: ...

    def peek(self, address: int, size: int) -> bytes: ...


class Fault(Stop):
    """One violation; `print` explains it.

    >>> from heapwright import Fault, start
    >>> heap = start("kr")
    >>> block = heap.alloc(24)
    >>> try:
    ...     heap.user.store(block + 24, 8, 7)       # past the end
    ... except Fault as fault:
    ...     print(fault.kind, fault.block)
    allocator's bytes touched by the user live block #1 of 24 bytes at 0x13fe0

    kind       a Kind; `what` says it in a sentence
    address    the first byte concerned
    operation  such as "load of 8 bytes", or "" where no access was made
    who        "allocator" or "user"
    call       the allocator's call that was running, such as "dealloc(0x5020, 40, 16)", or ""
    place      the line of source: file, line, function, text; the allocator's during a call, else the user program's
    block      the block that the address lies in or next to, live or freed
    picture    the bytes around the address and their owners, as text
    """

    def __init__(
        self,
        kind: Kind,
        what: str,
        process: Victim,
        address: int,
        *,
        operation: str = "",
        who: str = "",
        call: str | None = None,
        place: Place | None = None,
    ):
        super().__init__(what)
        self.kind, self.what, self.address = kind, what, address
        self.operation, self.who = operation, who
        self.call = process.thread.describe_call() if call is None else call
        self.place = place or (line_of_allocator() if process.thread.call else line_of_caller())
        self.block: Block | None = process.blocks.nearest(address)
        self.picture = draw(process, address)

    def __str__(self) -> str:
        lines = [f"{self.kind}: {self.what}"]
        if self.block:
            lines += [f"  {self.address:#x} is {position(self.address, self.block)}", f"    {self.block.history()}"]
        if self.call:
            lines.append(f"  during {self.call}")
        if self.place:
            lines.append(f"  at {self.place} in {self.place.function}: {self.place.text}")
        return "\n".join(lines + [f"  {row}" for row in self.picture.splitlines()])


class BrokenInvariant(Fault, AssertionError):
    """An allocator's `check` failed, or one of the invariants of all heaps."""


def position(address: int, block: Block) -> str:
    """The position of an address relative to a block."""
    if address < block.address:
        return f"{block.address - address} bytes before the {block}"
    if address in block:
        return f"{address - block.address} bytes into the {block}"
    return f"{address - block.end} bytes after the end of the {block}"


def draw(process: Victim, address: int, around: int = 2) -> str:
    """The rows of 16 bytes around an address: the bytes, then one letter for the owner of each."""
    if address == NOWHERE:
        return ""
    middle = address - address % ROW
    rows = range(middle - around * ROW, middle + (around + 1) * ROW, ROW)
    drawn = [draw_row(process, row, row == middle) for row in rows if 0 <= row < process.space.kernel.maxva]
    return "\n".join([*drawn, LEGEND]) if drawn else ""


def draw_row(process: Victim, row: int, is_middle: bool) -> str:
    codes, data = process.space.shadow.read(row, ROW), process.peek(row, ROW)
    cells = [cell(byte, code) for byte, code in zip(data, codes, strict=True)]
    letters = [letter(code) for code in codes]
    left = "  ".join(" ".join(cells[half : half + 8]) for half in (0, 8))
    right = " ".join("".join(letters[half : half + 8]) for half in (0, 8))
    return f"{'>' if is_middle else ' '} {row:#x}  {left}   {right}"


def cell(byte: int, code: int) -> str:
    if not code & (ALLOCATOR | USER):
        return ".."
    return f"{byte:02x}" if code & WRITTEN else "--"


def diagnose(process: Victim, own: int, operation: str, address: int, size: int) -> tuple[Kind, int, str]:
    """Why an access was refused: the kind of violation, the first bad byte, and what lies there."""
    for byte in range(address, address + size):
        kind = diagnose_page(process, byte) or diagnose_byte(process, own, operation, byte)
        if kind:
            return kind, byte, named_place(process, byte)
    return Kind.UNMAPPED, address, named_place(process, address)


def diagnose_page(process: Victim, address: int) -> Kind | None:
    space = process.space
    entry = space.table.entry(address) if 0 <= address < space.kernel.maxva else 0
    if not entry & (V | LAZY):
        return Kind.UNMAPPED
    if entry & (R | W | U) != R | W | U:
        return Kind.PERMISSION
    return Kind.MEMORY if entry & LAZY else None


def diagnose_byte(process: Victim, own: int, operation: str, address: int) -> Kind | None:
    code = process.space.shadow.read(address, 1)[0]
    if not code & (ALLOCATOR | USER):
        return Kind.UNMAPPED
    if not code & own:
        return Kind.LIVE if own == ALLOCATOR else Kind.FREED if was_freed(process, code, address) else Kind.FOREIGN
    reads = operation.startswith("load")
    return Kind.UNWRITTEN if reads and process.space.kernel.unwritten and not code & WRITTEN else None


def was_freed(process: Victim, code: int, address: int) -> bool:
    """Whether a byte is in a block that was freed, even if the allocator has written its links there."""
    block = process.blocks.holding(address)
    return bool(code & FREED) or (block is not None and not block.is_live)


def named_place(process: Victim, address: int) -> str:
    """The part of the address space that an address lies in, for a fault's sentence."""
    space = process.space
    if not 0 <= address < space.kernel.maxva:
        return "outside every address space"
    if address < space.trapframe and space.mappings.find(address):
        return "in a mapping"
    parts = [
        (space.page, "near null, in the program's text"),
        (space.data, "in the program's text"),
        (space.guard, "in the program's data"),
        (space.guard + space.page, "in the guard page"),
        (space.heap_start, "on the stack"),
        (space.brk, "in the heap"),
        (space.trapframe, f"above the break {space.brk:#x}"),
    ]
    return next((name for end, name in parts if address < end), "in the kernel's pages")
