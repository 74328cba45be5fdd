"""Call stacks of a trace: who asked for a block.

An event's `site` is the number of a stack. A stack is its innermost frame and the stack of its caller, so that stacks
which share their outer frames share them here too:

    stack 0   no frames: the call stack is unknown, or ends here
    stack n   frames[frame[n]], called from stack parent[n] < n

The first frame of a stack is the function that called malloc.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from heapwright.traces.arrays import U32, np

NATIVE, PYTHON = "native", "python"
UNKNOWN = 0  # the stack without frames


class Frame(NamedTuple):
    """A function in a call stack, and the place in it."""

    function: str  # as a programmer would write it; without symbols, its address in the module: "libfoo.so+0x1234"
    file: str = ""  # the source file, if known
    line: int = 0  # of the call, from 1; 0 if unknown
    module: str = ""  # the path of the binary or library; for Python, empty
    language: str = NATIVE
    is_inlined: bool = False  # into the function of the next frame

    @property
    def place(self) -> str:
        """`file:line`, as much of it as is known."""
        return f"{self.file}:{self.line}" if self.line else self.file or self.module


def as_numbers(numbers: Any = (UNKNOWN,)) -> array[int]:
    """Numbers in four bytes each, which grow like a list."""
    return array("I", np.asarray(numbers, np.uint32).tobytes() if hasattr(numbers, "dtype") else numbers)


@dataclass(eq=False)
class Stacks:
    """The frames and the call stacks of a trace. Each frame and each stack is there once."""

    frames: list[Frame] = field(default_factory=list)
    parents: array[int] = field(default_factory=as_numbers)  # one element for each stack
    innermost: array[int] = field(default_factory=as_numbers)  # the number of its frame; stack 0 has none

    @cached_property
    def _frame_numbers(self) -> dict[Frame, int]:
        return {frame: number for number, frame in enumerate(self.frames)}

    @cached_property
    def _numbers(self) -> dict[tuple[int, int], int]:
        """The number of each stack, by its parent and its innermost frame."""
        pairs = zip(self.parents, self.innermost, strict=True)
        return {pair: number for number, pair in enumerate(pairs) if number != UNKNOWN}

    def __len__(self) -> int:
        """The number of stacks, with the empty one."""
        return len(self.parents)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Stacks):
            return NotImplemented
        return (self.frames, self.parents, self.innermost) == (other.frames, other.parents, other.innermost)

    __hash__ = None  # type: ignore[assignment]  # it grows

    def add(self, frames: Iterable[Frame]) -> int:
        """The number of the stack with these frames, innermost first. It is added if it is new."""
        stack = UNKNOWN
        for frame in reversed(list(frames)):
            stack = self.under(stack, frame)
        return stack

    def under(self, parent: int, frame: Frame) -> int:
        """The number of the stack that `frame` makes when it is called from the stack `parent`."""
        return self.under_numbers(parent, [self.number_of(frame)])

    def number_of(self, frame: Frame) -> int:
        """The place of a frame in `frames`. It is added if it is new."""
        number = self._frame_numbers.setdefault(frame, len(self.frames))
        if number == len(self.frames):
            self.frames.append(frame)
        return number

    def under_numbers(self, stack: int, numbers: Iterable[int]) -> int:
        """The same as `under` for frames that have numbers, the outermost first."""
        known, parents = self._numbers, self.parents
        for number in numbers:
            found = known.get((stack, number))
            if found is None:
                found = known[stack, number] = len(parents)
                parents.append(stack)
                self.innermost.append(number)
            stack = found
        return stack

    def of(self, stack: int) -> list[Frame]:
        """The frames of a stack, innermost first."""
        frames = []
        while stack != UNKNOWN:
            frames.append(self.frames[self.innermost[stack]])
            stack = self.parents[stack]
        return frames

    def columns(self) -> tuple[U32, U32]:
        """`parents` and `innermost` as arrays."""
        return np.array(self.parents, "u4"), np.array(self.innermost, "u4")
