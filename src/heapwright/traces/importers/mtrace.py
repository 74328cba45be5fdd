"""glibc's mtrace text, which a program writes with MALLOC_TRACE=FILE and libc_malloc_debug.so preloaded.

    = Start
    @ <caller> + <address> <size>                          malloc, calloc or memalign, without saying which
    @ <caller> - <address>                                 free, or a realloc to size 0
    @ <caller> < <old>   and then   > <address> <size>     realloc
    @ <caller> ! <old> <size>                              a realloc that failed
    = End

A null address is `(nil)`: `+ (nil)` is a failed malloc. Callers may be missing and are not kept. The text contains no
threads, alignments, zeroing or free(NULL).

A process and its forked children write to one file, each with a copy of what was not yet written at the fork. So
another process begins after another `= Start`, after an `= End`, and after the end of a line that was there before; in
the last two cases its history is missing.
Source: glibc 2.36 to 2.41, malloc/mtrace-impl.c.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from heapwright.traces.calls import Calls, note, resolve
from heapwright.traces.events import ALLOC, DEALLOC, REALLOC, Process, Trace, TraceError
from heapwright.traces.importers.text import UNKNOWN_FIELDS

NUMBER = rb"(0x[0-9a-f]{1,16}|0|\(nil\))"
LINE = re.compile(rb"(?:@ .* )?([-+<>!]) " + NUMBER + rb"(?: " + NUMBER + rb")?((?: \S+)*)\s*")
START = re.compile(rb"= Start|(?:@ [^\n]* )?[-+<!] " + NUMBER + rb"[ \r\n]")
CALLER = b"@ "
BEGIN, END = b"= Start", b"= End"
SIZED = b"+>!"
TORN = "torn lines, dropped"
UNFINISHED = "reallocs that never returned, dropped"


class Call(NamedTuple):
    op: int
    address: int
    old: int
    size: int


def recognizes(start: bytes) -> bool:
    """Whether a text that begins like this is in this format."""
    return START.match(start) is not None


class Part(NamedTuple):
    """The numbered lines of one process; `is_rest` if its earlier calls are missing."""

    lines: list[tuple[int, bytes]]
    is_rest: bool


def read(text: bytes) -> Trace:
    """The trace of a text. Raises TraceError with the number of the first line that breaks the format."""
    lines = [(number, line.rstrip()) for number, line in enumerate(text.split(b"\n"), 1)]
    _, torn = lines.pop()
    processes = [process_of(part) for part in parts([line for line in lines if line[1]])]
    note(processes[0].notes, TORN, torn not in {b"", END})
    return Trace(processes, source="glibc mtrace text")


def parts(lines: list[tuple[int, bytes]]) -> Iterator[Part]:
    """The parts of a text, at least one."""
    begins = [place for place in range(1, len(lines)) if begins_anew(lines, place)]
    for first, last in zip([0, *begins], [*begins, len(lines)], strict=True):
        body = [line for line in lines[first:last] if not line[1].startswith(b"= ")]
        yield Part(body, is_rest=first > 0 and lines[first][1] != BEGIN)


def begins_anew(lines: list[tuple[int, bytes]], place: int) -> bool:
    """Whether a line is the first of another process."""
    line, before = lines[place][1], lines[place - 1][1]
    return line == BEGIN or before == END or (before.startswith(CALLER) and is_torn(lines, place))


def is_torn(lines: list[tuple[int, bytes]], place: int) -> bool:
    """Whether a line without a caller is the end of an earlier line with one."""
    line = lines[place][1]
    is_whole = line.startswith((CALLER, b"= "))
    return not is_whole and any(each.startswith(CALLER) and each.endswith(line) for _, each in lines[:place])


def process_of(part: Part) -> Process:
    notes: Counter[str] = Counter()
    is_torn = part.is_rest and bool(part.lines) and not part.lines[0][1].startswith(CALLER)
    note(notes, TORN, is_torn)
    found = calls_of(part.lines[is_torn:], notes)
    columns = {name: [getattr(call, name) for call in found] for name in Call._fields}
    calls = Calls.in_order(thread=[0] * len(found), **columns)
    return Process(resolve(calls, notes, is_whole=not part.is_rest), notes=notes)


def calls_of(lines: list[tuple[int, bytes]], notes: Counter[str]) -> list[Call]:
    """The calls of all lines. The two lines of a realloc become one call."""
    calls: list[Call] = []
    moving: list[int] = []  # old addresses of unfinished reallocs
    for number, line in lines:
        match = LINE.fullmatch(line)
        if match is None or (match[3] is None and match[1] in SIZED) or (match[1] == b">" and not moving):
            raise TraceError(f"line {number} is not understood: {line[:60].decode(errors='replace')!r}")
        sign, first, second = match[1], number_of(match[2]), number_of(match[3])
        note(notes, UNKNOWN_FIELDS, bool(match[4] or (match[3] and sign not in SIZED)))
        if sign == b"<":
            moving.append(first)
        else:
            calls.append(call_of(sign, first, second, moving))
    note(notes, UNFINISHED, len(moving))
    return calls


def number_of(text: bytes | None) -> int:
    return int(text, 0) if text and text != b"(nil)" else 0


def call_of(sign: bytes, first: int, second: int, moving: list[int]) -> Call:
    """The call that one line, or the second of two, stands for."""
    match sign:
        case b"+":
            return Call(ALLOC, first, 0, second)
        case b"-":
            return Call(DEALLOC, 0, first, 0)
        case b">":
            return Call(REALLOC, first, moving.pop(), second)
        case _:
            return Call(REALLOC, 0, first, second)
