"""The heap of a past moment: the allocator's own `walk`, `lists` and `check` run over the recorded memory.

In the middle of a call a heap may be inconsistent, so any of them may fail; `Unreadable` says how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import index
from typing import Any, NoReturn, TypeVar

from heapwright.layout import Struct
from heapwright.machine.heap import BUDGET, named_lists
from heapwright.machine.tiling import check_tiling
from heapwright.programs.naming import WordNames
from heapwright.programs.scene import Look, Scene
from heapwright.stepper.state import State

Found = TypeVar("Found")
Span = tuple[int, int, int]  # start, size, kind


class Unreadable(Exception):  # noqa: N818  a finding
    """The heap cannot be walked, or breaks an invariant; the text says which."""


class PastMemory:
    """The memory of a past moment, for functions that only inspect; what they store is forgotten with it."""

    MAX_SBRK = (1 << 63) - 1

    def __init__(self, state: State):
        self.state, self.PAGE, self.left = state, state.page, BUDGET
        self._stored: dict[int, bytearray] = {}

    def load(self, address: int, size: int) -> int:
        self.left -= 1
        if self.left < 0:
            raise Unreadable("it does not end")
        number, at = divmod(address, self.PAGE)
        page = self._stored.get(number) or self.state.pages.get(number) or self.state.zeros
        return int.from_bytes(page[at : at + size], "little", signed=size == 8)

    def store(self, address: int, size: int, value: int) -> None:
        number, at = divmod(address, self.PAGE)
        if number not in self._stored:
            self._stored[number] = bytearray(self.state.pages.get(number) or self.state.zeros)
        self._stored[number][at : at + size] = value.to_bytes(size, "little", signed=size == 8)

    def exchange(self, address: int, value: int) -> int:
        old = self.load(address, 8)
        self.store(address, 8, value)
        return old

    def compare_exchange(self, address: int, expected: int, value: int) -> bool:
        return self.load(address, 8) == expected and self.exchange(address, value) == expected

    def add(self, address: int, value: int) -> int:
        return self.exchange(address, self.load(address, 8) + value)

    def local(self, slot: int) -> int:
        return self.state.bounds.words[slot]

    def thread_id(self) -> int:
        return self.state.bounds.thread

    def held(self) -> int:
        return self.state.bounds.held

    def is_mapped(self, address: int) -> bool:
        return any(start <= address < end for start, end in self.state.bounds.extents)

    def extent_start(self) -> int:
        return self._break_part()[0]

    def extent_end(self) -> int:
        return self._break_part()[1]

    def _break_part(self) -> tuple[int, int]:
        below = [each for each in self.state.bounds.extents if each[1] <= self.state.bounds.brk]
        return (below[0][0], below[-1][1]) if below else (0, 0)

    def relax(self) -> None: ...

    def wake(self, address: int) -> None: ...

    def wait(self, address: int, value: int) -> NoReturn:
        raise Unreadable(f"a lock at {address:#x} is taken")

    def fault(self, what: str, address: int, size: int = 0) -> NoReturn:
        raise Unreadable(f"{what}: {address:#x}")


class Past:
    """A heap at one moment, to be drawn, walked and checked; see `heapwright.programs.scene.Sight`."""

    def __init__(self, functions: Any, words: int, state: State):
        self.functions, self.words, self.state = functions, words, state
        self.page, self.brk, self.peek = state.page, state.bounds.brk, state.peek
        self.live = {address: owned.block for address, owned in state.live.items()}

    @property
    def names(self) -> WordNames:
        heap: type[Struct] = self.functions.Heap
        return WordNames(self.words, heap, self.state.structs)

    def owner(self, address: int) -> str:
        return self.state.live[address].owner

    def scene(self, changed: set[int]) -> Scene:
        """The heap as a picture's contents; raises `Unreadable`."""
        return self.read(lambda _: Look(self, self.names, changed).scene())

    def spans(self) -> list[Span]:
        return [span for _, _, spans in self.walked() for span in spans]

    def walked(self) -> list[tuple[int, int, list[Span]]]:
        """The spans of each extent: (start, end, spans)."""
        return self.read(lambda heap: [(*each, list(self.walk(heap, *each))) for each in self.state.bounds.extents])

    def walk(self, heap: Any, start: int, end: int) -> Iterator[Span]:
        """The spans while they follow each other: a torn heap may lead a walk in circles."""
        at = start
        for begin, size, kind in self.functions.walk(heap, start, end):
            if begin != at or size <= 0 or begin + size > end:
                raise Unreadable(f"its blocks do not follow each other at {at:#x}")
            yield index(begin), index(size), index(kind)
            at = begin + size

    def lists(self) -> list[tuple[str, list[int]]] | None:
        tell = getattr(self.functions, "lists", None)
        if tell is None:
            return None
        return [(name, there) for name, there in self.read(lambda heap: named_lists(tell(heap))) if there]

    def check(self) -> None:
        """Raise `Unreadable` unless the allocator's invariants hold, and those of every heap."""
        self.read(self._check)

    def _check(self, heap: Any) -> None:
        for start, end in self.state.bounds.extents:
            self.functions.check(heap, start, end)
        apart = getattr(self.functions, "WALK", "blocks") != "extents"
        check_tiling(self.live, self.walked(), broken, apart)

    def read(self, inspect: Callable[[Any], Found]) -> Found:
        """The result of an inspection, which gets the heap's words."""
        try:
            return inspect(self.functions.Heap(PastMemory(self.state), self.words))
        except Unreadable:
            raise
        except Exception as error:
            raise Unreadable(str(error).strip() or type(error).__name__) from error


def broken(what: str, address: int) -> NoReturn:
    raise Unreadable(what)
