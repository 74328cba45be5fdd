"""Rc, Arc and Weak: one value with several owners, and references that do not own it.

      block -> +--------+
             0 | strong |  how many Rc
             8 | weak   |  how many Weak, and one for all Rc together
               +--------+
            16 | value  |  dropped when strong comes to 0
               +--------+

The block is freed when weak reaches 0: a live Weak keeps the memory, but not the value. Rc that own each other in a
cycle keep each other alive; `heapwright.collections.leaks` finds them.

Source: library/alloc/src/rc.rs and library/alloc/src/sync.rs. An Arc makes the requests of an Rc. Its counts are
atomic in Rust; a program here has one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Self

from heapwright.collections.owned import Owned
from heapwright.collections.place import Mut
from heapwright.collections.raw import debug, display, round_up
from heapwright.collections.runtime import Container, Holdings, Owner, Runtime, running
from heapwright.collections.types import POINTER, Type, type_of

STRONG, WEAK, HEAD = 0, POINTER, 2 * POINTER
DANGLING = -1  # usize::MAX: the pointer of a Weak of nothing


class CountedBlock(Type):
    """Rust's RcInner: the two counts, and the value while strong is not 0."""

    def __init__(self, element: Type):
        self.element, self.name = element, f"RcInner<{element.name}>"
        self.align = max(POINTER, element.align)
        self.value_offset = round_up(HEAD, element.align)
        self.size = round_up(self.value_offset + element.size, self.align)

    def containers(self, runtime: Runtime, address: int) -> Iterator[Container]:
        if runtime.memory.load(address + STRONG, 8):
            yield from self.element.containers(runtime, address + self.value_offset)


class Counted(Owned):
    """The common base of Rc, Arc and Weak: a pointer to the counts and the value."""

    __slots__ = ()

    @classmethod
    def _sharing(cls, other: Counted, count: int) -> Self:
        """Another one of this kind on the same block."""
        twin = cls.__new__(cls)
        address = other.address
        Owned.__init__(twin, other._element, address)
        other.change(count, 1)
        return twin

    @property
    def address(self) -> int:
        """The address of the block."""
        return self._load(0)

    @property
    def _value_place(self) -> int:
        return self.address + CountedBlock(self.element).value_offset

    def count(self, which: int) -> int:
        return self.runtime.memory.load(self.address + which, 8)

    def change(self, which: int, more: int) -> int:
        """Change one of the counts and return its new value."""
        count = self.count(which) + more
        self.runtime.memory.store(self.address + which, 8, count)
        return count

    def ptr_eq(self, other: Counted) -> bool:
        """Whether both point to the same block."""
        return self.address == other.address

    def _release_weak(self) -> None:
        if self.change(WEAK, -1) == 0:
            self.runtime.dealloc(self.address)


class Shared(Counted):
    """The common base of Rc and Arc, which differ in their names only."""

    KNOWING: ClassVar[type[Weak]]
    __slots__ = ()

    def __init__(self, value: Any, type: Type | None = None):
        element, runtime = type or type_of(value), running()
        element.require(value)
        address = self._new_block(element, 1)
        element.write(runtime, address + CountedBlock(element).value_offset, value)
        super().__init__(element, address)

    @classmethod
    def _new_block(cls, element: Type, strong: int) -> int:
        runtime, block = running(), CountedBlock(element)
        address = runtime.alloc(block.size, block.align, Owner(cls.name_for(element), block))
        runtime.memory.store(address + STRONG, 8, strong)
        runtime.memory.store(address + WEAK, 8, 1)
        return address

    @classmethod
    def new_cyclic(cls, element: Type, make: Callable[[Any], Any]) -> Self:
        """Make a value that may keep a clone of the Weak to its own block; `make` gets that Weak."""
        runtime, address = running(), cls._new_block(element, 0)
        weak = cls.KNOWING._borrowed(element, address)
        try:
            element.write(runtime, address + CountedBlock(element).value_offset, make(weak))
        except BaseException:
            weak._release_weak()
            raise
        runtime.memory.store(address + STRONG, 8, 1)
        rc = cls.__new__(cls)
        Owned.__init__(rc, element, address)
        return rc

    def clone(self) -> Self:
        """Another owner of the same value."""
        return self._sharing(self, STRONG)

    def downgrade(self) -> Any:
        """A Weak to the value, which does not own it."""
        return self.KNOWING._sharing(self, WEAK)

    @property
    def strong_count(self) -> int:
        return self.count(STRONG)

    @property
    def weak_count(self) -> int:
        return self.count(WEAK) - 1

    @property
    def value(self) -> Any:
        return self.element.read(self.runtime, self._value_place, self)

    def get_mut(self) -> Mut | None:
        """The value, which may be assigned to; None if another Rc or Weak refers to it."""
        alone = self.strong_count == 1 and self.weak_count == 0
        return Mut(self.element, self.runtime, self._value_place, self) if alone else None

    def make_mut(self) -> Mut:
        """The value, which may be assigned to; if it is shared, it first moves to its own block."""
        if self.strong_count > 1:
            self._move_to_new_block(self.element.clone)
        elif self.weak_count:
            self._move_to_new_block(self.element.take)
        place = self.get_mut()
        assert place is not None
        return place

    def _move_to_new_block(self, value_of: Callable[[Runtime, int], Any]) -> None:
        """Leave the block to the others that share it; as in Rust, allocate a new one before the value is cloned."""
        address = self._new_block(self.element, 1)
        try:
            value = value_of(self.runtime, self._value_place)
        except BaseException:
            self.runtime.dealloc(address)
            raise
        self.element.write(self.runtime, address + CountedBlock(self.element).value_offset, value)
        if self.change(STRONG, -1) == 0:
            self._release_weak()
        self._store(0, address)

    def try_unwrap(self) -> Any:
        """Move the value out if nobody else owns it; otherwise return None and change nothing."""
        if self.strong_count > 1:
            return None
        value = self.element.take(self.runtime, self._value_place)
        self.change(STRONG, -1)
        self._release_weak()
        self._end("moved")
        return value

    @classmethod
    def plain_of(cls, element: Type | None, value: Any) -> Any:
        assert element is not None
        return element.plain(value.value if isinstance(value, Shared) else value)

    @classmethod
    def hash_of(cls, element: Type | None, value: Any) -> bytes:
        assert element is not None
        return element.hashed(value.value if isinstance(value, Shared) else value)

    def holdings(self) -> Holdings:
        yield self.address, CountedBlock(self.element).containers(self.runtime, self.address)

    def _release(self) -> None:
        if self.change(STRONG, -1) == 0:
            self.element.drop(self.runtime, self._value_place)
            self._release_weak()

    def __str__(self) -> str:
        return display(self.value)

    def _debug(self) -> str:
        return debug(self.value)


class Weak(Counted):
    """Rust's rc::Weak<T>. `Weak()` refers to nothing and has no block; `rc.downgrade()` refers to the value of `rc`.

    It makes no request. The last Weak frees the block if no Rc is left.
    """

    OWNING: ClassVar[type[Shared]]
    __slots__ = ()

    def __init__(self, type: Type | None = None):
        super().__init__(type, DANGLING)

    @classmethod
    def _borrowed(cls, element: Type, address: int) -> Self:
        weak = cls(element)
        weak._store(0, address)
        weak.is_borrowed, weak._keeps = True, None
        return weak

    @classmethod
    def name_for(cls, element: Type | None) -> str:
        return f"Weak<{element.name if element else '_'}>"

    def upgrade(self) -> Any:
        """Another owner of the value, if it is still alive."""
        if self.address == DANGLING or self.count(STRONG) == 0:
            return None
        return self.OWNING._sharing(self, STRONG)

    def clone(self) -> Self:
        """Another Weak to the same block."""
        return type(self)(self._element) if self.address == DANGLING else self._sharing(self, WEAK)

    def holdings(self) -> Holdings:
        return iter(())

    def _release(self) -> None:
        if self.address != DANGLING:
            self._release_weak()

    def _debug(self) -> str:
        return "(Weak)"


class ArcWeak(Weak):
    """Rust's sync::Weak<T>, the result of an Arc's `downgrade`."""

    __slots__ = ()


class Rc(Shared):
    """Rust's Rc<T>. `Rc(7)` owns a block of 24@8 together with its clones; `rc.value` is Rust's `*rc`.

    Rc(x), Rc.new_cyclic(T, make)   one request: two counts and the value; new_cyclic makes the value afterwards
    clone, downgrade, get_mut       no request
    make_mut()                      one request if the block is shared, and the value's clone if the value is
    try_unwrap()                    the value moves out; the block is freed unless a Weak refers to it
    """

    KNOWING = Weak
    __slots__ = ()


class Arc(Shared):
    """Rust's Arc<T>: it makes the requests of an Rc. Its Weak is `ArcWeak`, Rust's sync::Weak."""

    KNOWING = ArcWeak
    __slots__ = ()


Weak.OWNING, ArcWeak.OWNING = Rc, Arc
