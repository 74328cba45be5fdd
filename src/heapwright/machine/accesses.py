"""One access of one thread: its operation, its bytes, and the line of source that makes it.

The machine sees loads and stores. The method of `layout.AtomicPlace` or `View` that makes an access decides whether it
is atomic, so an access is read from the stack of the thread that is about to make it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import CodeType, FrameType

from heapwright import layout
from heapwright.layout import InPlace, Scalar, Struct, pointer_to
from heapwright.machine.memory import View
from heapwright.machine.source import MACHINERY, Place

ATOMIC_METHODS = {
    layout.AtomicPlace.load: "load",
    layout.AtomicPlace.store: "store",
    View.exchange: "exchange",
    View.compare_exchange: "compare_exchange",
    View.add: "add",
    View.wait: "wait",
}
ATOMIC = {id(method.__code__): name for method, name in ATOMIC_METHODS.items()}
KINDS = Scalar("", 8), pointer_to(Struct), InPlace()
FIELD_METHODS = {id(accessor.__code__) for kind in KINDS for accessor in kind.accessors(0)}
CHANGES = frozenset({"store", "exchange", "compare_exchange", "add", "fill", "put", "get", "wake"})
READS = frozenset({"load", "exchange", "compare_exchange", "add", "wait", "put", "get"})
ANYTHING = -1  # the size of an access to unknown bytes: a kernel call


@dataclass(slots=True)
class Access:
    """An access that is about to happen or has happened."""

    thread: int
    operation: str
    address: int
    size: int
    is_atomic: bool
    code: CodeType
    line: int
    owner: type[Struct] | None  # the struct if the access is to a field; None for an element or an atomic cell
    field: str
    base: int  # the address of that struct

    @property
    def changes(self) -> bool:
        return self.operation in CHANGES

    @property
    def reads(self) -> bool:
        return self.operation in READS

    @property
    def place(self) -> Place:
        return Place(self.code.co_filename, self.line, self.code.co_name)

    def conflicts_with(self, other: Access) -> bool:
        """Whether the order of the two accesses matters."""
        if ANYTHING in (self.size, other.size):
            return True
        overlap = self.address < other.address + other.size and other.address < self.address + self.size
        return overlap and (self.changes or other.changes)


def access_at_work(thread: int, operation: str, address: int, size: int, depth: int = 1) -> Access:
    """The access that the innermost line outside the machinery is about to make; skip the top `depth` frames."""
    frame: FrameType = sys._getframe(depth)
    is_atomic, owner, field, base = False, None, "", 0
    while True:
        code = frame.f_code
        kind = ATOMIC.get(id(code))
        if kind is not None:
            operation, is_atomic = kind, True
        elif id(code) in FIELD_METHODS:
            given = frame.f_locals
            owner, base = type(given["pointer"]), given["pointer"].address
            field = next(each.name for each in owner if each.offset == given["offset"] and each.kind.size)
        elif code.co_filename not in MACHINERY:
            break
        if frame.f_back is None:
            break
        frame = frame.f_back
    return Access(thread, operation, address, size, is_atomic, frame.f_code, frame.f_lineno, owner, field, base)


def expected_at_work() -> int:
    """The expected value of the compare_exchange on the stack."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not View.compare_exchange.__code__:
        frame = frame.f_back
    return int(frame.f_locals["expected"]) if frame is not None else 0
