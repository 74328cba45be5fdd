"""A story: the requests of a program to a heap, as lines that can be read and repeated.

a = alloc(24, 16) -> 0x5010
b = alloc(100, 64) -> 0x5040
free(a)
b = realloc(b, 300) -> 0x5080
"""

from __future__ import annotations

import re
import traceback
import unittest
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

from heapwright.errors import UserError
from heapwright.machine import Fault, Heap, Kind
from heapwright.machine.kernel import FRAMES
from heapwright.machine.source import file_name
from heapwright.spans import KINDS, USED

EDGE = 48  # bytes at each end of a block that are written and compared, unless all are
MAX_DRAWN = 24  # spans
PAGE = 4096
LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Step(NamedTuple):
    """One request. `which` is the index of a live block, modulo their number."""

    name: str  # alloc, zeroed, realloc, free, usable, trim, foreign, thread, thread_exit
    which: int = 0
    size: int = 0
    align: int = 16


class Wrong(Exception):  # noqa: N818  a finding, not an error of the check
    """A finding of a check, as a sentence."""

    def __init__(self, what: str, picture: str = ""):
        super().__init__(what)
        self.what, self.picture = what, picture


class Broken(AssertionError):
    """A property that does not hold: a sentence, the story that shows it, and a picture of the heap.

    Two failures with the same `cause` most likely show one mistake. `machine` describes the machine of the story, as
    options of `heapwright simulate`.
    """

    def __init__(self, what: str, lines: Iterable[str] = (), picture: str = "", cause: str = "", machine: str = ""):
        self.what, self.lines, self.picture = what, tuple(lines), picture
        self.cause, self.machine = cause or without_numbers(what), machine
        super().__init__(str(self))

    def __str__(self) -> str:
        return "\n".join([self.what, *(f"  {line}" for line in (*self.lines, *self.picture.splitlines()))])


NUMBERS = re.compile(r"\b(?:0x[0-9a-f]+|\d[\d,.]*)\b")


def without_numbers(what: str) -> str:
    """A sentence without its addresses, sizes and names of blocks."""
    return re.sub(r"\b\w+ \(# bytes", "# (# bytes", NUMBERS.sub("#", what))


def demand(condition: object, what: str) -> None:
    """Raise `Wrong` with the sentence `what` unless a condition holds."""
    if not condition:
        raise Wrong(what)


@dataclass(slots=True)
class Held:
    """A live block, and the contents that its owner wrote."""

    name: str
    address: int
    size: int
    align: int
    seed: int

    @property
    def end(self) -> int:
        return self.address + self.size

    def pattern(self, size: int) -> bytes:
        """The first `size` bytes of the block's contents; they differ from block to block and from word to word."""
        return start_of_pattern(self.seed)[:size] if size <= 2 * EDGE else pattern_of(self.seed, size)

    def copy(self) -> Held:
        return replace(self)

    def __str__(self) -> str:
        return f"{self.name} ({self.size} bytes at {self.address:#x})"


@lru_cache(1024)
def start_of_pattern(seed: int) -> bytes:
    """As many bytes as are written and compared of a small block, which happens again and again."""
    return pattern_of(seed, 2 * EDGE)


def pattern_of(seed: int, size: int) -> bytes:
    words = (seed * 0x9E3779B1 + i * 0x61C88647 for i in range(-(-size // 8)))
    return b"".join((word & (1 << 64) - 1).to_bytes(8, "little") for word in words)[:size]


class Play:
    """A story while it is played on one heap."""

    def __init__(self, heap: Heap):
        self.heap, self.machine = heap, options_of(heap)
        self.lines: list[str] = []
        self.blocks: list[Held] = []
        self.results: list[int] = []  # of each request for memory: an address or 0
        self.named = 0
        self.threads = [heap.process.thread]

    def copy(self, heap: Heap) -> Play:
        """A copy of the story so far, which goes on independently on a copy of the heap."""
        twin = Play(heap)
        twin.machine = self.machine
        twin.lines, twin.results, twin.named = list(self.lines), list(self.results), self.named
        twin.blocks = [block.copy() for block in self.blocks]
        return twin

    def take(self, step: Step) -> None:
        """Make one request; skip one that names a block if there is none."""
        if step.name in ("realloc", "free", "usable") and not self.blocks:
            return
        with with_story(self):
            getattr(self, step.name)(step)

    def play(self, steps: Iterable[Step]) -> None:
        for step in steps:
            self.take(step)

    def end(self) -> None:
        """Free every live block, oldest first."""
        while self.blocks:
            self.free(Step("free", 0))

    def block(self, step: Step) -> Held:
        return self.blocks[step.which % len(self.blocks)]

    # --- the requests

    def alloc(self, step: Step) -> None:
        self.made(step, f"alloc({step.size}, {step.align})", self.heap.alloc)

    def zeroed(self, step: Step) -> None:
        self.made(step, f"alloc_zeroed({step.size}, {step.align})", self.heap.alloc_zeroed)

    def made(self, step: Step, text: str, call: Callable[[int, int], int]) -> None:
        name = name_of(self.named)
        self.lines.append(f"{name} = {text}")
        address = call(step.size, step.align)
        self.answered(address)
        if address != 0:
            self.named += 1
            self.blocks.append(Held(name, address, step.size, step.align, self.named))
            self.write(self.blocks[-1])

    def realloc(self, step: Step) -> None:
        block = self.block(step)
        self.lines.append(f"{block.name} = realloc({block.name}, {step.size})")
        address = self.heap.realloc(block.address, step.size)
        self.answered(address)
        if address != 0:
            block.address, block.size = address, step.size
            self.write(block)

    def free(self, step: Step) -> None:
        block = self.block(step)
        self.lines.append(f"free({block.name})")
        self.intact(block)
        self.blocks.remove(block)
        self.heap.dealloc(block.address)

    def usable(self, step: Step) -> None:
        block = self.block(step)
        self.lines.append(f"usable_size({block.name})")
        block.size = self.heap.usable_size(block.address)
        self.answered(block.size)
        self.write(block)

    def trim(self, step: Step) -> None:
        """Trim the heap, and count the bytes that were unmapped or lost their frames."""
        lost: list[int] = []

        def count(name: str, given: tuple[int, ...], result: int, who: str) -> None:
            if name == "decommit" and result == 0:
                lost.append(given[1])

        held = self.heap.memory.held()
        self.lines.append("trim()")
        stop = self.heap.process.observe(call=count)
        said = self.heap.trim()
        stop()
        self.lines[-1] += f" -> {said}"
        gone = held - self.heap.memory.held() + sum(lost)
        demand(said == gone >= 0, f"U13  trim returned {said}, but {gone} bytes went back")

    def foreign(self, step: Step) -> None:
        """Move the break as the program, which uses the memory."""
        self.lines.append(f"sbrk({step.size}), by the program")
        address = self.heap.process.user.sbrk(step.size)
        if address != -1 and step.size > 0:
            self.heap.process.user.fill(address, step.size, 0x77)

    def thread(self, step: Step) -> None:
        """Switch to another thread: one of the first four, started when it is first needed."""
        number = step.which % 4
        while len(self.threads) <= number:
            self.threads.append(self.heap.process.new_thread())
        self.go_on(number)

    def go_on(self, number: int) -> None:
        self.lines.append(f"thread {number + 1} goes on")
        self.heap.process.thread = self.threads[number]

    def thread_exit(self, step: Step) -> None:
        """End the running thread and switch to the first, which never ends."""
        number = self.threads.index(self.heap.process.thread)
        if number == 0:
            return
        self.lines.append(f"thread {number + 1} ends")
        self.heap.thread_exit()
        self.threads[number] = self.heap.process.new_thread()
        self.go_on(0)

    def answered(self, result: int) -> None:
        self.results.append(result)
        self.lines[-1] += f" -> {result:#x}" if result > 4096 else f" -> {result}"

    # --- contents

    def write(self, block: Held) -> None:
        """Fill each end of a block with its pattern, from the pattern's beginning."""
        for offset, size in ends(block.size):
            self.heap.process.poke(block.address + offset, block.pattern(size))

    def intact(self, block: Held) -> None:
        """Check that the ends of a block are as its owner wrote them."""
        for offset, size in ends(block.size):
            data = block.pattern(size)
            found = self.heap.process.peek(block.address + offset, len(data))
            if found != data:
                at = offset + next(i for i, (a, b) in enumerate(zip(found, data, strict=True)) if a != b)
                raise Wrong(f"U6  byte {at} of {block} changed, but its owner did not write it")


def options_of(heap: Heap) -> str:
    """The options of `heapwright simulate` that describe a heap's machine, without the default ones."""
    kernel = heap.process.kernel
    frames = f" --frames {kernel.frames.budget}" if kernel.frames.budget != FRAMES else ""
    return frames + (f" --page {kernel.page}" if kernel.page != PAGE else "")


def ends(size: int) -> list[tuple[int, int]]:
    """The parts of a block that are written and compared: (offset, size)."""
    return [(0, size)] if size <= 2 * EDGE else [(0, EDGE), (size - EDGE, EDGE)]


def name_of(number: int) -> str:
    """a, b, ... z, a1, b1, ..."""
    return LETTERS[number % 26] + (str(number // 26) if number >= 26 else "")


def busy_day(blocks: int = 60) -> list[Step]:
    """Blocks of all sizes, every third one freed, some resized."""
    steps = [Step("alloc", 0, (i * 37) % 700 if i % 10 else i * 900, 64 if i % 7 == 3 else 16) for i in range(blocks)]
    steps += [Step("free", 2 * i) for i in range(blocks // 3)]
    return steps + [Step("realloc", i, 50 * i) for i in range(blocks // 3)]


# --- failures

Judge = Callable[[Play], object]


class with_story:  # noqa: N801  reads as a statement
    """A block whose exceptions become `Broken`, with the story so far."""

    def __init__(self, play: Play):
        self.play = play

    def __enter__(self) -> Play:
        return self.play

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, (Broken, unittest.SkipTest)):
            raise told(error, self.play) from error


def told(error: Exception, play: Play | None = None) -> Broken:
    """An error with its story and a picture: the fault's own, or else one of the whole heap."""
    lines, machine = (play.lines, play.machine) if play else ((), "")
    if isinstance(error, Fault):
        what, _, rest = str(error).partition("\n")
        return Broken(what.removeprefix("broken invariant: "), lines, rest, cause_of(error), machine)
    picture = error.picture if isinstance(error, Wrong) else ""
    return Broken(sentence_of(error), lines, picture or (draw(play) if play else ""), machine=machine)


def sentence_of(error: Exception) -> str:
    """The text of an error; for an unforeseen one, also the line that raised it."""
    if isinstance(error, Wrong | UserError):
        return str(error)
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {file_name(where.filename)}:{where.lineno} in {where.name}: {error}"


BY_WHAT = {Kind.RESULT, Kind.MISUSE, Kind.INVARIANT}  # for others the line is enough: a wild pointer may lead anywhere


def cause_of(fault: Fault) -> str:
    """The line that failed; with the sentence if one line may show several mistakes."""
    place = f"{fault.place.file}:{fault.place.line}" if fault.place else ""
    return place if place and fault.kind not in BY_WHAT else f"{without_numbers(fault.what)} {place}"


def draw(play: Play) -> str:
    """The heap as `walk` yields it: a line for each span, with the names of the blocks."""
    try:
        spans = list(play.heap.spans())
    except Exception as error:  # noqa: BLE001  a broken heap may not be walkable, but its story must be shown
        return f"the heap cannot be walked: {str(error).splitlines()[0]}"
    rows = [row_of(play, *span) for span in spans[:MAX_DRAWN]]
    more = len(spans) - MAX_DRAWN
    return "\n".join([*rows, *([f"and {more} spans more"] if more > 0 else [])])


def row_of(play: Play, start: int, size: int, kind: int) -> str:
    inside = " ".join(block.name for block in play.blocks if start <= block.address <= start + size and kind == USED)
    return f"{start:#x}  {KINDS[kind] if 0 <= kind < len(KINDS) else kind:<6}  {size:>9,}  {inside}".rstrip()
