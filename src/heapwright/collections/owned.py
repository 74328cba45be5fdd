"""Values that own memory of the heap, and when they give it back.

An owner has words of its own, such as a pointer and a length. They lie on the stack, which is this Python object,
until it is moved into memory: into a field, an array or another container. It is dropped

    by `drop(x)` or `x.drop()`,         at the end of `with Vec() as x:`,
    with what it was moved into, or     when its last Python reference goes.

A function's locals go in the order in which they were first assigned: that is Python's; Rust's is the reverse.

Whoever uses it after that, or after it was moved away, gets `UseAfterDrop` with the line that did it.

A forked child has a copy of each owner, as it has of the memory: what it does to the one, its parent does not see.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar, Self

from heapwright.collections.errors import UseAfterDrop
from heapwright.collections.runtime import RUNNING, Runtime, running
from heapwright.collections.types import POINTER, Type
from heapwright.machine.source import line_of_caller


class State:
    """What one process knows of an owner: where its words lie, or why it is none any more."""

    __slots__ = ("ended", "home", "words")

    def __init__(self, words: list[int], home: int = 0):
        self.words, self.home = words, home
        self.ended = ""

    def copy(self) -> State:
        twin = State(list(self.words), self.home)
        twin.ended = self.ended
        return twin


class Owned:
    """The base of all containers: `element` is the type of what it holds, or None while nobody knows."""

    WORDS: ClassVar[int] = 1
    __slots__ = ("__weakref__", "_element", "_keeps", "_runtime", "_states", "is_borrowed")
    _keeps: object  # a borrowed one keeps what holds it alive

    def __init__(self, element: Type | None, *words: int):
        self._begin(running(), element, State(list(words)))

    @classmethod
    def at(cls, runtime: Runtime, home: int, element: Type | None, keeps: object) -> Self:
        """The owner whose words lie at an address; it belongs to what holds it there."""
        owner = cls.__new__(cls)
        owner._begin(runtime, element, State([], home))
        owner.is_borrowed, owner._keeps = True, keeps
        return owner

    def _begin(self, runtime: Runtime, element: Type | None, state: State) -> None:
        self._runtime, self._element = runtime, element
        self._states = {runtime: state}
        self.is_borrowed = False

    # --- its own words

    @property
    def runtime(self) -> Runtime:
        """The process that uses it: the one that made it, or a child that runs now."""
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

    @property
    def element(self) -> Type:
        if self._element is None:
            raise TypeError(f"a {type(self).__name__} of what? Nothing is in it yet, so say its type")
        return self._element

    @property
    def rust_type(self) -> Type:
        """The type of this owner as a value in another container."""
        return Handle(type(self), self._element)

    @property
    def type_name(self) -> str:
        return name_of(type(self), self._element)

    # --- its end

    @property
    def is_dropped(self) -> bool:
        """Whether it was dropped or moved away."""
        return bool(self._state.ended)

    def drop(self) -> None:
        """Give back all that it owns."""
        self._usable()
        if self.is_borrowed:
            raise TypeError(f"this {self.type_name} belongs to what holds it: it goes with that")
        self._drop()

    def _drop(self) -> None:
        try:
            self._release()
        finally:
            self._end("dropped")

    def _release(self) -> None:
        """Give back all that it owns, whatever becomes of its own words."""
        raise NotImplementedError

    def _end(self, how: str) -> None:
        self._state.ended = f"{how} at {line_of_caller()}"

    def move_to(self, home: int) -> None:
        """Put its words at an address: from now on it belongs to what is there."""
        state = self._usable()
        if self.is_borrowed:
            raise TypeError(f"this {self.type_name} belongs to what holds it: clone it, to have one to move")
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

    __hash__ = None  # type: ignore[assignment]  # what it holds changes


class Handle(Type):
    """A container as a value in memory: its words, which own what they point to.

    `Handle(Rc, lambda: NODE)` names a type that is yet to come, as a struct needs to that owns its like.
    """

    align = POINTER
    needs_drop = True

    def __init__(self, owner: type[Owned], element: Type | Callable[[], Type] | None = None):
        self.owner, self._element = owner, element
        self.size = POINTER * owner.WORDS

    @property
    def element(self) -> Type | None:
        return self._element if isinstance(self._element, Type) or self._element is None else self._element()

    @property
    def name(self) -> str:  # type: ignore[override]
        return name_of(self.owner, self.element)

    def read(self, runtime: Runtime, address: int, owner: object = None) -> Any:
        return self.owner.at(runtime, address, self.element, owner)

    def write(self, runtime: Runtime, address: int, value: Owned) -> None:
        if not isinstance(value, self.owner) or not self.agrees(value._element):
            raise TypeError(f"{value!r} is not a {self.name}")
        value.move_to(address)

    def agrees(self, element: Type | None) -> bool:
        """Whether an owner of such elements is of this type; the first that knows its type tells."""
        if self._element is None:
            self._element = element
        return element is None or self.element is element or name_of(self.owner, element) == self.name

    def drop(self, runtime: Runtime, address: int) -> None:
        self.owner.at(runtime, address, self.element, None)._release()


class Option(Type):
    """A handle or None: a word of 0, where the handle has its pointer."""

    align = POINTER
    needs_drop = True

    def __init__(self, handle: Handle):
        if handle.owner.WORDS != 1:
            raise TypeError(f"{handle.name} does not say by one word that it is none")
        self.handle, self.size = handle, handle.size

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"Option<{self.handle.name}>"

    def read(self, runtime: Runtime, address: int, owner: object = None) -> Any:
        return self.handle.read(runtime, address, owner) if runtime.memory.load(address, 8) else None

    def write(self, runtime: Runtime, address: int, value: Owned | None) -> None:
        if value is None:
            runtime.memory.store(address, 8, 0)
        else:
            self.handle.write(runtime, address, value)

    def drop(self, runtime: Runtime, address: int) -> None:
        if runtime.memory.load(address, 8):
            self.handle.drop(runtime, address)


def name_of(owner: type[Owned], element: Type | None) -> str:
    return f"{owner.__name__}<{element.name if element else '_'}>"


def drop(value: Owned) -> None:
    """End a value's life now."""
    value.drop()


def forget(value: Owned) -> None:
    """End a value without giving back what it owns: a leak, and a safe one (mem::forget)."""
    value._usable()
    value._end("forgotten")
