"""glibc's mtrace text: what MALLOC_TRACE=FILE makes a program write with libc_malloc_debug.so preloaded.

    = Start
    @ <caller> + <address> <size>                          malloc, calloc or memalign: it does not say which
    @ <caller> - <address>                                 free
    @ <caller> < <old>   and then   > <address> <size>     realloc
    @ <caller> ! <old> <size>                              a realloc that failed
    = End

Callers may be missing and are not kept; threads, alignments and zeroing are not in it. Source: glibc,
malloc/mtrace-impl.c.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

from heapwright.traces.calls import Calls, note, resolve
from heapwright.traces.events import ALLOC, DEALLOC, REALLOC, Process, Trace, TraceError

NUMBER = rb"(0x[0-9a-f]{1,16}|0)"
LINE = re.compile(rb"(?:@ .* )?([-+<>!]) " + NUMBER + rb"(?: " + NUMBER + rb")?\s*")
START = re.compile(rb"= Start|(?:@ [^\n]* )?[-+<] 0x[0-9a-f]+( |\n)")
SIZED = b"+>!"
TORN = "last lines without an end, dropped"
UNFINISHED = "reallocs that never returned, dropped"


class Call(NamedTuple):
    op: int
    address: int
    old: int
    size: int


def recognizes(start: bytes) -> bool:
    """Whether a text that begins like this is of this kind."""
    return START.match(start) is not None


def read(text: bytes) -> Trace:
    """The trace of a text. Raises TraceError with the number of the first line that is not of the language."""
    notes: Counter[str] = Counter()
    found = calls_of(text, notes)
    columns = {name: [getattr(call, name) for call in found] for name in Call._fields}
    calls = Calls.in_order(thread=[0] * len(found), **columns)
    return Trace([Process(resolve(calls, notes), notes=notes)], source="glibc mtrace text")


def calls_of(text: bytes, notes: Counter[str]) -> list[Call]:
    """The calls of all lines, the two lines of a realloc made one."""
    calls: list[Call] = []
    moving: list[int] = []  # old addresses of reallocs on their way
    *lines, torn = text.split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith(b"= "):
            continue
        match = LINE.fullmatch(line)
        if match is None or (match[3] is not None) != (match[1] in SIZED) or (match[1] == b">" and not moving):
            raise TraceError(f"line {number} is not understood: {line[:60].decode(errors='replace')!r}")
        sign, first, second = match[1], int(match[2], 0), int(match[3] or b"0", 0)
        if sign == b"<":
            moving.append(first)
        else:
            calls.append(call_of(sign, first, second, moving))
    note(notes, UNFINISHED, len(moving))
    note(notes, TORN, torn not in {b"", b"= End"})
    return calls


def call_of(sign: bytes, first: int, second: int, moving: list[int]) -> Call:
    """The call that one line, or the second one of two, stands for."""
    match sign:
        case b"+":
            return Call(ALLOC, first, 0, second)
        case b"-":
            return Call(DEALLOC, 0, first, 0)
        case b">":
            return Call(REALLOC, first, moving.pop(), second)
        case _:
            return Call(REALLOC, 0, first, second)
