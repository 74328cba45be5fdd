"""What a process recorded to explain its call stacks (`raw_stacks`): stacks, modules and code objects by number.

The records are kept as they come, because the program may be waiting. They are taken apart when the run is over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from heapwright.traces import raw_stacks
from heapwright.traces.arrays import I64, U32, np
from heapwright.traces.code import Code
from heapwright.traces.symbols import ModuleFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

CODINGS = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}
MAX_STACKS = 1 << 24  # the recorder gives no higher numbers


def explains(records: NDArray[Any]) -> Any:
    """A mask of the records that explain call stacks."""
    return (records["op"] >= raw_stacks.STACK) & (records["op"] <= raw_stacks.TEXT)


@dataclass
class Explained:
    """What one process recorded about its call stacks, and its parent before it was forked."""

    parent: Explained | None = None
    _stacks: list[tuple[U32, U32, I64]] = field(default_factory=list)  # numbers, callers, values
    _first_lines: dict[int, int] = field(default_factory=dict)  # of code objects
    _texts: list[NDArray[Any]] = field(default_factory=list)
    _codes: dict[int, Code] = field(default_factory=dict)  # as far as they are asked for
    _modules: dict[int, ModuleFile] = field(default_factory=dict)  # the same
    _joined: dict[tuple[int, int], bytearray] | None = None  # the texts, by kind and owner; None: not yet made

    def add(self, records: NDArray[Any]) -> None:
        """Take in records of any kind and in any order."""
        self._codes.clear()
        self._modules.clear()
        self._joined = None
        stacks = records[(records["op"] == raw_stacks.STACK) & (records["site"] < MAX_STACKS)]
        if len(stacks):
            self._stacks.append((stacks["site"].copy(), stacks["old"].astype("u4"), stacks["block"].astype("i8")))
        codes = records[records["op"] == raw_stacks.CODE]
        self._first_lines.update(zip(codes["site"].tolist(), codes["block"].tolist(), strict=True))
        texts = records[records["op"] == raw_stacks.TEXT]
        if len(texts):
            self._texts.append(texts)

    def line(self) -> Iterator[Explained]:
        """This process, its parent, and so on."""
        each: Explained | None = self
        while each:
            yield each
            each = each.parent

    def stacks(self) -> tuple[U32, I64]:
        """The caller and the value of each stack, by its number; both are 0 if nothing explains it."""
        parts = [part for each in self.line() for part in reversed(each._stacks)]
        size = 1 + max((int(numbers.max()) for numbers, _, _ in parts), default=0)
        callers, values = np.zeros(size, "u4"), np.zeros(size, "i8")
        for numbers, some_callers, some_values in reversed(parts):  # a child's own stacks take precedence
            callers[numbers], values[numbers] = some_callers, some_values
        callers[callers >= np.arange(size)] = 0  # damaged
        callers[values[callers] == 0] = 0
        return callers, values

    def module(self, number: int) -> ModuleFile:
        """A binary or library. What is missing is empty."""
        if number not in self._modules:
            path, build_id = (self._text(kind, number) for kind in (raw_stacks.PATH, raw_stacks.BUILD_ID))
            self._modules[number] = ModuleFile(path.decode(errors="surrogateescape"), build_id.hex())
        return self._modules[number]

    def code(self, number: int) -> Code:
        """A code object. What is missing is empty."""
        if number not in self._codes:
            self._codes[number] = self._code(number)
        return self._codes[number]

    def _code(self, number: int) -> Code:
        first_line = self._first_lines.get(number)
        if first_line is None:
            return self.parent.code(number) if self.parent else Code("?", "", 0, b"")
        name, file = (self._string(kind, number) for kind in (raw_stacks.CODE_NAME, raw_stacks.FILE_NAME))
        return Code(name or "?", file, first_line, self._text(raw_stacks.LINE_TABLE, number))

    def _string(self, kind: int, number: int) -> str:
        for width, coding in CODINGS.items():
            if text := self._text(kind + width, number):
                return text.decode(coding, errors="replace")
        return ""

    def _text(self, kind: int, number: int) -> bytes:
        """A text of this process or of those that it was forked from; empty if there is none."""
        for each in self.line():
            if each._joined is None:
                each._joined = joined(each._texts)
            if found := each._joined.get((kind, number)):
                return bytes(found)
        return b""


def joined(parts: list[NDArray[Any]]) -> dict[tuple[int, int], bytearray]:
    """The texts in some records, by their kind and owner."""
    found: defaultdict[tuple[int, int], bytearray] = defaultdict(bytearray)
    for records in parts:
        places, lengths = np.divmod(records["block"].astype("i8"), 1 << 32)
        keys = zip(records["log2_align"].tolist(), records["site"].tolist(), strict=True)
        data = np.stack([records["old"], records["size"]], axis=1).tobytes()
        each = zip(keys, places.tolist(), lengths.tolist(), range(0, len(data), raw_stacks.PIECE), strict=True)
        for key, place, length, start in each:
            if 0 <= place < length <= raw_stacks.MAX_TEXT:
                text = found[key]
                text.extend(bytes(max(0, length - len(text))))
                piece = data[start : start + raw_stacks.PIECE]
                text[place : place + raw_stacks.PIECE] = piece[: length - place]
    return found
