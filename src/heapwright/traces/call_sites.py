"""The call stacks of a recording: from what its processes recorded (`raw_stacks`) to the stacks of a trace.

Two processes have one trace's stacks in common. Each process has its own numbers, so each event's number is exchanged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from heapwright.traces import raw_stacks
from heapwright.traces.arrays import U32, np
from heapwright.traces.code import Code
from heapwright.traces.stacks import UNKNOWN, Frame, Stacks
from heapwright.traces.symbols import ModuleFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

CUT = Frame("[more callers]")
LOST = Frame("[unknown callers]")
MARKS = {raw_stacks.CUT_FRAME: CUT, raw_stacks.LOST_FRAME: LOST}
CODINGS = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}

Symbolizer = Callable[[ModuleFile, int], list[Frame]]


def explains(records: NDArray[Any]) -> Any:
    """A mask of the records that explain call stacks."""
    return (records["op"] >= raw_stacks.STACK) & (records["op"] <= raw_stacks.TEXT)


@dataclass
class Explained:
    """What one process recorded about its call stacks, and its parent before it was forked."""

    parent: Explained | None = None
    stacks: dict[int, tuple[int, int]] = field(default_factory=dict)  # the caller's stack, and the frame's value
    codes: dict[int, int] = field(default_factory=dict)  # the first lines
    texts: defaultdict[tuple[int, int], bytearray] = field(default_factory=lambda: defaultdict(bytearray))
    _found: dict[int, Code] = field(default_factory=dict)  # codes, as far as they are asked for

    def add(self, records: NDArray[Any]) -> None:
        """Take in records of any kind and in any order."""
        self._found.clear()
        stacks = records[records["op"] == raw_stacks.STACK]
        callers, values = stacks["old"].tolist(), stacks["block"].astype(np.int64).tolist()
        self.stacks.update(zip(stacks["site"].tolist(), zip(callers, values, strict=True), strict=True))
        codes = records[records["op"] == raw_stacks.CODE]
        self.codes.update(zip(codes["site"].tolist(), codes["block"].tolist(), strict=True))
        for text in records[records["op"] == raw_stacks.TEXT]:
            self._add_text(text)

    def _add_text(self, record: Any) -> None:
        offset, length = divmod(int(record["block"]), 1 << 32)
        if not 0 <= offset < length <= raw_stacks.MAX_TEXT:
            return
        text = self.texts[int(record["log2_align"]), int(record["site"])]
        text.extend(bytes(max(0, length - len(text))))
        part = np.array([record["old"], record["size"]]).view("u1").tobytes()
        text[offset : offset + raw_stacks.PIECE] = part[: length - offset]

    def stack(self, number: int) -> tuple[int, int] | None:
        """The caller's stack, and the frame's value."""
        found = self.stacks.get(number)
        return found or (self.parent.stack(number) if self.parent else None)

    def module(self, number: int) -> ModuleFile:
        path, build_id = (self._text(kind, number) for kind in (raw_stacks.PATH, raw_stacks.BUILD_ID))
        return ModuleFile(path.decode(errors="surrogateescape"), build_id.hex())

    def code(self, number: int) -> Code:
        """A code object. What is missing is empty."""
        if number not in self._found:
            self._found[number] = self._code(number)
        return self._found[number]

    def _code(self, number: int) -> Code:
        first_line = self.codes.get(number)
        if first_line is None:
            return self.parent.code(number) if self.parent else Code("?", "", 0, b"")
        name, file = (self._string(kind, number) for kind in (raw_stacks.CODE_NAME, raw_stacks.FILE_NAME))
        return Code(name or "?", file, first_line, self._text(raw_stacks.LINE_TABLE, number))

    def _text(self, kind: int, number: int) -> bytes:
        found = self.texts.get((kind, number))
        if found is None and self.parent:
            return self.parent._text(kind, number)
        return bytes(found or b"")

    def _string(self, kind: int, number: int) -> str:
        for width, coding in CODINGS.items():
            if text := self._text(kind + width, number):
                return text.decode(coding, errors="replace")
        return ""


class Translation:
    """The stacks of a trace, made from those of its processes."""

    def __init__(self, symbolize: Symbolizer):
        self.stacks = Stacks()
        self._symbolize = cache(symbolize)  # the processes of a run share modules

    def translate(self, explained: Explained, sites: U32) -> U32:
        """The numbers in the trace's stacks for numbers of a process; UNKNOWN for what nothing explains."""
        numbers, places = np.unique(sites, return_inverse=True)
        known, frames = {UNKNOWN: UNKNOWN}, dict[int, list[int]]()
        for number in numbers.tolist():
            self._add(explained, number, known, frames)
        found: U32 = np.array([known[number] for number in numbers.tolist()], "u4")[places]
        return found

    def _add(self, explained: Explained, number: int, known: dict[int, int], frames: dict[int, list[int]]) -> None:
        """Find out the stack of a number, after those of its callers. `frames` has those of each value."""
        path = []
        own = explained.stacks.get
        while number not in known:
            caller, value = own(number) or explained.stack(number) or (UNKNOWN, 0)
            path.append((number, value))
            number = caller if value and caller < number else UNKNOWN
        stack = known[number]
        for each, value in reversed(path):
            if value not in frames:
                frames[value] = [*map(self.stacks.number_of, self._frames_of(explained, value))][::-1]
            known[each] = stack = self.stacks.under_numbers(stack, frames[value])

    def _frames_of(self, explained: Explained, value: int) -> list[Frame]:
        """The frames that a value stands for, the innermost first: inlined functions have frames, too."""
        if not value:
            return []
        if value in MARKS:
            return [MARKS[value]]
        if value & raw_stacks.PYTHON_FRAME:
            code, offset = divmod(value - raw_stacks.PYTHON_FRAME, 1 << raw_stacks.CODE_SHIFT)
            return [explained.code(code).frame(offset)]
        module, offset = divmod(value, 1 << raw_stacks.MODULE_SHIFT)
        return self._symbolize(explained.module(module), offset - 1) if module else [Frame(f"{value:#x}")]
