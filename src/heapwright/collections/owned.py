"""Values that own heap memory, and when they free it.

An owner has its own words, such as a pointer and a length. They lie on the stack, which is this Python object, until
the owner is moved into memory: into a field, an array or another container. It is dropped

    by `drop(x)` or `x.drop()`,         at the end of `with Vec() as x:`,
    with the value it was moved into,   or when its last Python reference disappears.

Python drops a function's locals in the order in which they were first assigned; Rust drops them in reverse.

Using an owner after it was dropped or moved away raises `UseAfterDrop`, with the line that did it.

A forked child has a copy of each owner, as of all memory, and the parent does not see what the child does to it.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, ClassVar, Self

from heapwright.collections.errors import UseAfterDrop
from heapwright.collections.runtime import RUNNING, Container, Holdings, Runtime, running
from heapwright.collections.structs import StructValue
from heapwright.collections.types import POINTER, Type
from heapwright.machine.source import line_of_caller


class State:
    """The state of an owner in one process: the address of its words, or how it ended."""

    __slots__ = ("ended", "home", "words")

    def __init__(self, words: list[int], home: int = 0):
        self.words, self.home = words, home
        self.ended = ""

    def copy(self) -> State:
        twin = State(list(self.words), self.home)
        twin.ended = self.ended
        return twin


class Owned:
    """The base of all containers: `element` is the type of its contents, or None while it is unknown."""

    WORDS: ClassVar[int] = 1
    __slots__ = ("__weakref__", "_element", "_keeps", "_runtime", "_states", "is_borrowed")
    _keeps: object  # a borrowed container keeps its holder alive

    def __init__(self, element: Type | None, *words: int):
        self._begin(running(), element, State(list(words)))

    @classmethod
    def at(cls, runtime: Runtime, home: int, element: Type | None, keeps: object) -> Self:
        """The owner whose words lie at an address; it belongs to the value that contains it."""
        owner = cls.__new__(cls)
        owner._begin(runtime, element, State([], home))
        owner.is_borrowed, owner._keeps = True, keeps
        return owner

    @classmethod
    def taken(cls, runtime: Runtime, home: int, element: Type | None) -> Self:
        """The owner whose words lie at an address, moved out: it now belongs to the caller."""
        owner = cls.__new__(cls)
        owner._begin(runtime, element, State([runtime.memory.load(home + POINTER * i, 8) for i in range(cls.WORDS)]))
        return owner

    def _begin(self, runtime: Runtime, element: Type | None, state: State) -> None:
        self._runtime, self._element = runtime, element
        self._states = {runtime: state}
        self.is_borrowed = False

    # --- its own words

    @property
    def runtime(self) -> Runtime:
        """The process that uses it: the one that made it, or the child that is running."""
        now = RUNNING.get()
        return now if now is not None and now.descends_from(self._runtime) else self._runtime

    @property
    def _state(self) -> State:
        runtime = self.runtime
        if runtime not in self._states:  # a child's first use: nothing has changed since the fork
            before = runtime.parent
            while before not in self._states:
                assert before is not None
                before = before.parent
            self._states[runtime] = self._states[before].copy()
        return self._states[runtime]

    def _usable(self) -> State:
        state = self._state
        if state.ended:
            raise UseAfterDrop(f"this {self.type_name} was {state.ended}")
        return state

    def _load(self, index: int) -> int:
        state = self._usable()
        return self.runtime.memory.load(state.home + POINTER * index, 8) if state.home else state.words[index]

    def _store(self, index: int, word: int) -> None:
        state = self._usable()
        if state.home:
            self.runtime.memory.store(state.home + POINTER * index, 8, word)
        else:
            state.words[index] = word

    # --- its type

    @classmethod
    def element_of(cls, *types: Type) -> Type | None:
        """The type of the elements of a container of these types; None while it is unknown."""
        return types[0] if types else None

    @property
    def element(self) -> Type:
        if self._element is None:
            raise TypeError(f"the type of this empty {type(self).__name__} is unknown: give it as an argument")
        return self._element

    @property
    def rust_type(self) -> Type:
        """The type of this owner as a value in another container."""
        return Handle(type(self), self._element)

    @classmethod
    def name_for(cls, element: Type | None) -> str:
        """Rust's name of this container with elements of a type."""
        return f"{cls.__name__}<{element.name if element else '_'}>"

    @property
    def type_name(self) -> str:
        return self.name_for(self._element)

    # --- ownership and equality

    def clone(self) -> Self:
        """Another container with equal contents (Rust's Clone)."""
        raise TypeError(f"a {self.type_name} cannot be cloned")

    def holdings(self) -> Holdings:
        """Each block that it owns, by address, with the containers in that block."""
        raise NotImplementedError

    @classmethod
    def plain_of(cls, element: Type | None, value: Any) -> Any:
        """A Python value that compares as Rust compares containers of such elements."""
        return value

    @classmethod
    def hash_of(cls, element: Type | None, value: Any) -> bytes:
        """The bytes that a container of such elements, or its Python equivalent, passes to a hasher."""
        raise TypeError(f"{value!r} is not a key: a {cls.name_for(element)} has no hash")

    # --- its end

    @property
    def is_dropped(self) -> bool:
        """Whether it was dropped or moved away."""
        return bool(self._state.ended)

    def drop(self) -> None:
        """Free all that it owns."""
        self._usable()
        if self.is_borrowed:
            raise TypeError(f"this {self.type_name} belongs to the value that contains it, and is dropped with it")
        self._drop()

    def _drop(self) -> None:
        try:
            self._release()
        finally:
            self._end("dropped")

    def _release(self) -> None:
        """Free all that it owns, without changing its own words."""
        raise NotImplementedError

    def _end(self, how: str) -> None:
        place = line_of_caller()
        self._state.ended = f"{how} at {place}" if place else how

    def require_movable(self) -> State:
        """Raise TypeError if it belongs to another value, or UseAfterDrop if it has ended."""
        state = self._usable()
        if self.is_borrowed:
            raise TypeError(f"this {self.type_name} belongs to the value that contains it: clone it and move the clone")
        return state

    def move_to(self, home: int) -> None:
        """Put its words at an address; from now on it belongs to the value there."""
        state = self.require_movable()
        for index, word in enumerate(state.words):
            self.runtime.memory.store(home + POINTER * index, 8, word)
        self._end("moved")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self.is_dropped and not self.runtime.ended:
            self.drop()

    def __del__(self) -> None:
        if not hasattr(self, "is_borrowed") or self.is_borrowed or sys.is_finalizing():
            return
        state, runtime = self._state, self.runtime
        if not state.ended:
            runtime.release(self._drop)

    def __repr__(self) -> str:
        state = self._state
        return f"<{self.type_name} {state.ended}>" if state.ended else self._debug()

    def _debug(self) -> str:
        """As `{:?}` shows it."""
        raise NotImplementedError

    __hash__ = None  # type: ignore[assignment]  # its contents change


class Handle(Type):
    """The type of a container in memory: its words, which own the blocks that they point to.

    `Handle(Vec, u8)`, `Handle(String)` and `Handle(HashMap, u32, u64)` are types of fields. `Handle(Rc, lambda: NODE)`
    names a type that is defined later; a struct that owns others of its own type needs this.
    """

    align = POINTER
    needs_drop = True

    def __init__(self, owner: type[Owned], *types: Type | Callable[[], Type] | None):
        self.owner, self._types = owner, [each for each in types if each is not None]
        self._element: Type | None = None
        self.size = POINTER * owner.WORDS

    @property
    def element(self) -> Type | None:
        if self._element is None:
            types = [each if isinstance(each, Type) else each() for each in self._types]
            self._element = self.owner.element_of(*types)
        return self._element

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.owner.name_for(self.element)

    def read(self, runtime: Runtime, address: int, owner: object = None) -> Any:
        return self.owner.at(runtime, address, self.element, owner)

    def require(self, value: Any) -> None:
        if not isinstance(value, self.owner) or not self.agrees(value._element):
            raise TypeError(f"{value!r} is not a {self.name}")
        value.require_movable()

    def write(self, runtime: Runtime, address: int, value: Owned) -> None:
        self.require(value)
        value.move_to(address)

    def agrees(self, element: Type | None) -> bool:
        """Whether an owner of such elements is of this type; the first owner with a known type sets an unknown one."""
        if self.element is None:
            self._element = element
        return element is None or self.element is element or self.owner.name_for(element) == self.name

    def drop(self, runtime: Runtime, address: int) -> None:
        self.owner.at(runtime, address, self.element, None)._release()

    def take(self, runtime: Runtime, address: int) -> Any:
        return self.owner.taken(runtime, address, self.element)

    def clone(self, runtime: Runtime, address: int) -> Any:
        return self.read(runtime, address).clone()

    def containers(self, runtime: Runtime, address: int) -> Iterator[Container]:
        yield self.read(runtime, address)

    def plain(self, value: Any) -> Any:
        return self.owner.plain_of(self.element, value)

    def hashed(self, value: Any) -> bytes:
        return self.owner.hash_of(self.element, value)


class Option(Type):
    """A handle, or None: a word of 0 in place of the handle's pointer."""

    align = POINTER
    needs_drop = True

    def __init__(self, handle: Handle):
        if handle.owner.WORDS != 1:
            raise TypeError(f"Option<{handle.name}> is not supported: no word of it can mean None")
        self.handle, self.size = handle, handle.size

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"Option<{self.handle.name}>"

    def read(self, runtime: Runtime, address: int, owner: object = None) -> Any:
        return self.handle.read(runtime, address, owner) if runtime.memory.load(address, 8) else None

    def require(self, value: Any) -> None:
        if value is not None:
            self.handle.require(value)

    def write(self, runtime: Runtime, address: int, value: Owned | None) -> None:
        if value is None:
            runtime.memory.store(address, 8, 0)
        else:
            self.handle.write(runtime, address, value)

    def drop(self, runtime: Runtime, address: int) -> None:
        if runtime.memory.load(address, 8):
            self.handle.drop(runtime, address)

    def take(self, runtime: Runtime, address: int) -> Any:
        return self.handle.take(runtime, address) if runtime.memory.load(address, 8) else None

    def clone(self, runtime: Runtime, address: int) -> Any:
        return self.handle.clone(runtime, address) if runtime.memory.load(address, 8) else None

    def containers(self, runtime: Runtime, address: int) -> Iterator[Container]:
        if runtime.memory.load(address, 8):
            yield from self.handle.containers(runtime, address)


def drop(value: Owned) -> None:
    """End a value's life now."""
    value.drop()


class Drain:
    """An iterator over values that were moved out of a container. It drops those that nobody takes."""

    def __init__(self, values: Iterable[Any]):
        self._rest = deque(values)

    def __len__(self) -> int:
        return len(self._rest)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        if not self._rest:
            raise StopIteration
        return self._rest.popleft()

    def __del__(self) -> None:
        while self._rest:  # in order, as in Rust
            self._rest.popleft()


def discard(value: Any) -> None:
    """Drop a value that is not in memory: a container, or a value with containers in it."""
    if isinstance(value, Owned):
        value.drop()
    elif isinstance(value, StructValue):
        discard(list(value._values.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            discard(each)


def forget(value: Owned) -> None:
    """End a value without freeing what it owns: a leak, but a safe one (mem::forget)."""
    value._usable()
    value._end("forgotten")
