"""bpftrace's output for heapwright's script, `examples/allocations.bt`.

    heapwright bpftrace 1
    <start ns> <end ns> <thread> <function>(<arguments>) = <result>
        <address> <symbol>+<offset> (<file>)          its call stack, innermost first

The functions are malloc, calloc, realloc, memalign and free. bpftrace prints the lines of each processor in turn, so
they are sorted by their ends. It looks symbols up when it prints, and a program that has ended by then has none: an
address that has a symbol anywhere in the text has it everywhere. When a thread ends, glibc frees the blocks of its
cache again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from heapwright.traces.calls import note
from heapwright.traces.events import ALLOC, ALLOC_ZEROED, DEALLOC, REALLOC, Trace, TraceError
from heapwright.traces.importers.log import Log, for_each_line, log2_of, misunderstood
from heapwright.traces.stacks import Frame, Stacks

HEADER = "heapwright bpftrace 1"
CALL = re.compile(
    r"(\d{1,18}) (\d{1,18}) (\d{1,9}) (malloc|calloc|realloc|memalign|free)\(([^)]*)\) = (0x[0-9a-f]{1,16}|<void>)"
)
STACK = re.compile(r"([0-9a-f]+) (.+) \((.*)\)")
LOST = re.compile(r"Lost (\d+) events")
UNKNOWN_FILE = "[unknown]"
LOST_EVENTS = "events that bpftrace lost"
LINES_AROUND = "lines before the trace, left out"


class Line(NamedTuple):
    """A call: its times in ns, its thread, and the addresses of its stack, innermost first."""

    end: int
    start: int
    number: int
    thread: int
    function: str
    arguments: list[int]
    result: int
    stack: list[int]


def recognizes(start: bytes) -> bool:
    """Whether a text that begins like this is in this format."""
    return HEADER.encode() in start


def read(text: bytes) -> Trace:
    """The trace of a text. Raises TraceError with the number of the first line that breaks the format."""
    output = Output()
    for_each_line(text, output.add)
    return output.trace()


class Output:
    """The calls so far, and the frame of each address."""

    def __init__(self) -> None:
        self.log, self.stacks = Log(), Stacks()
        self.has_begun = False
        self.lines: list[Line] = []
        self.frames: dict[int, Frame] = {}

    def add(self, number: int, line: str) -> None:
        if line == HEADER:
            self.has_begun = True
        elif not self.has_begun:
            note(self.log.notes, LINES_AROUND, not line.startswith("Attaching "))
        elif match := CALL.fullmatch(line):
            start, end, thread = (int(match[place]) for place in (1, 2, 3))
            self.lines.append(
                Line(end, start, number, thread, match[4], numbers(number, line, match), result_of(match), [])
            )
        elif (match := STACK.fullmatch(line)) and self.lines:
            self.lines[-1].stack.append(int(match[1], 16))
            self.name(int(match[1], 16), match[2], match[3])
        elif match := LOST.fullmatch(line):
            note(self.log.notes, LOST_EVENTS, int(match[1]))
        else:
            raise misunderstood(number, line, "it is no call and no frame of a call stack")

    def name(self, address: int, symbol: str, file: str) -> None:
        """Give an address its frame. One with a symbol is better than one without."""
        is_known = file != UNKNOWN_FILE
        if is_known or address not in self.frames:
            function = symbol.rpartition("+")[0] if is_known and "+" in symbol else f"{address:#x}"
            self.frames[address] = Frame(function, module=file if is_known else "")

    def trace(self) -> Trace:
        if not self.lines:
            raise TraceError("bpftrace printed no call; does the program use the C library's malloc?")
        first = min(line.start for line in self.lines)
        for line, began, ended in in_order(self.lines):
            op, values = arguments_of(line)
            site = self.stacks.add(self.frames[address] for address in line.stack)
            time = (line.end - first) // 1000
            self.log.add(op, thread=line.thread, time=time, site=site, began=began, ended=ended, **values)
        return Trace([self.log.process(is_whole=False)], source="bpftrace", stacks=self.stacks)


def in_order(lines: list[Line]) -> Iterator[tuple[Line, int, int]]:
    """The lines in the order of their ends, each with the ranks of its start and end among all moments."""
    moments = sorted({moment for line in lines for moment in (line.start, line.end)})
    rank = {moment: place for place, moment in enumerate(moments)}
    for line in sorted(lines):
        yield line, rank[line.start], rank[line.end]


def numbers(number: int, line: str, match: re.Match[str]) -> list[int]:
    try:
        values = [int(word, 0) for word in match[5].split(",")]
    except ValueError:
        raise misunderstood(number, line, "an argument is no number") from None
    expected = 1 if match[4] in ("malloc", "free") else 2
    if any(value >> 64 for value in values):
        raise OverflowError
    if len(values) != expected:
        raise misunderstood(number, line, f"it has {len(values)} arguments, not {expected}")
    return values


def result_of(match: re.Match[str]) -> int:
    return 0 if match[6] == "<void>" else int(match[6], 16)


def arguments_of(line: Line) -> tuple[int, dict[str, int]]:
    """The operation of a call, and what `Log.add` is to know of it."""
    first, *others = line.arguments
    match line.function:
        case "malloc":
            return ALLOC, {"address": line.result, "size": first}
        case "calloc":
            return ALLOC_ZEROED, {"address": line.result, "size": first * others[0], "count": first}
        case "realloc":
            return REALLOC, {"address": line.result, "old": first, "size": others[0]}
        case "memalign":
            return ALLOC, {"address": line.result, "log2_align": log2_of(first), "size": others[0]}
        case _:
            return DEALLOC, {"old": first}
