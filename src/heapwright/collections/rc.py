"""Rc and Weak: one value, several owners, and those who only know of it.

      block -> +--------+
             0 | strong |  how many Rc
             8 | weak   |  how many Weak, and one for all Rc together
               +--------+
            16 | value  |  dropped when strong comes to 0
               +--------+

The block goes when weak comes to 0: a Weak that lives keeps the memory, though not the value. Rc that own each
other in a circle keep each other alive; `heapwright.collections.leaks` finds them.
"""

from __future__ import annotations

from typing import Any

from heapwright.collections.owned import Owned
from heapwright.collections.runtime import running
from heapwright.collections.types import POINTER, Type, debug, display, round_up, type_of

STRONG, WEAK, HEAD = 0, POINTER, 2 * POINTER
DANGLING = -1  # usize::MAX: the pointer of a Weak of nothing


class Counted(Owned):
    """What Rc and Weak share: a pointer to the counts and the value."""

    __slots__ = ()

    @classmethod
    def _sharing(cls, other: Counted, count: int) -> Any:
        """One more of a kind on the same block."""
        twin = cls.__new__(cls)
        address = other.address
        Owned.__init__(twin, other._element, address)
        other.change(count, 1)
        return twin

    @property
    def address(self) -> int:
        """Where the block lies."""
        return self._load(0)

    def count(self, which: int) -> int:
        return self.runtime.memory.load(self.address + which, 8)

    def change(self, which: int, more: int) -> int:
        """Change one of the counts and return what it is now."""
        count = self.count(which) + more
        self.runtime.memory.store(self.address + which, 8, count)
        return count

    def _release_weak(self) -> None:
        if self.change(WEAK, -1) == 0:
            self.runtime.dealloc(self.address)


class Rc(Counted):
    """`Rc(7)` owns a block of 24@8 together with its clones."""

    __slots__ = ()

    def __init__(self, value: Any, type: Type | None = None):
        element, runtime = type or type_of(value), running()
        name = f"Rc<{element.name}>"
        address = runtime.alloc(size_of_block(element), max(POINTER, element.align), name)
        runtime.memory.store(address + STRONG, 8, 1)
        runtime.memory.store(address + WEAK, 8, 1)
        element.write(runtime, address + offset_of_value(element), value)
        super().__init__(element, address)

    def clone(self) -> Rc:
        """Another owner of the same value."""
        rc: Rc = Rc._sharing(self, STRONG)
        return rc

    def downgrade(self) -> Weak:
        weak: Weak = Weak._sharing(self, WEAK)
        return weak

    @property
    def strong_count(self) -> int:
        return self.count(STRONG)

    @property
    def weak_count(self) -> int:
        return self.count(WEAK) - 1

    @property
    def value(self) -> Any:
        return self.element.read(self.runtime, self.address + offset_of_value(self.element), self)

    def _release(self) -> None:
        if self.change(STRONG, -1) == 0:
            self.element.drop(self.runtime, self.address + offset_of_value(self.element))
            self._release_weak()

    def __str__(self) -> str:
        return display(self.value)

    def _debug(self) -> str:
        return debug(self.value)


class Weak(Counted):
    """`Weak()` knows of nothing and has no block; `rc.downgrade()` knows of what `rc` owns."""

    __slots__ = ()

    def __init__(self, type: Type | None = None):
        super().__init__(type, DANGLING)

    def upgrade(self) -> Rc | None:
        """One more owner, if there is any still."""
        if self.address == DANGLING or self.count(STRONG) == 0:
            return None
        rc: Rc = Rc._sharing(self, STRONG)
        return rc

    def clone(self) -> Weak:
        if self.address == DANGLING:
            return Weak(self._element)
        weak: Weak = Weak._sharing(self, WEAK)
        return weak

    def _release(self) -> None:
        if self.address != DANGLING:
            self._release_weak()

    def _debug(self) -> str:
        return "(Weak)"


def offset_of_value(element: Type) -> int:
    return round_up(HEAD, element.align)


def size_of_block(element: Type) -> int:
    return round_up(offset_of_value(element) + element.size, max(POINTER, element.align))
