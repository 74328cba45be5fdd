"""Android's memory_replay text, which bionic's malloc_debug records; plain, or as the only file in a zip.

    <tid>: malloc   <address> <size>                     [<start ns> <end ns>]
    <tid>: calloc   <address> <count> <size>             [<start ns> <end ns>]
    <tid>: memalign <address> <alignment> <size>         [<start ns> <end ns>]
    <tid>: realloc  <address> <old address> <size>       [<start ns> <end ns> [<resident bytes of the old block>]]
    <tid>: free     <address>                            [<start ns> <end ns> [<resident bytes>]]
    <tid>: thread_done 0x0                               [<end ns>]

Lines are in the order in which calls began, so a block may seem to be handed out before it was freed. If all lines have
times, these determine the order of the calls at an address; they are not kept. Source: Android Open Source Project,
system/extras/memory_replay/MemoryTrace.cpp and bionic/libc/malloc_debug/RecordData.cpp, Android 7 to 16.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from heapwright.traces.arrays import I64, U64, Mask, np
from heapwright.traces.calls import Calls, Story, note, resolve
from heapwright.traces.events import ALLOC, ALLOC_ZEROED, DEALLOC, REALLOC, THREAD_EXIT, Process, Trace, TraceError
from heapwright.traces.importers.text import UNKNOWN_FIELDS, Tokens, blocks, key

FIRST_LINE = re.compile(rb"\s*\d+:\s*(malloc|calloc|memalign|realloc|free|thread_done)\s+(0x)?[0-9a-f]+\b")
TIMES = "lines with times, which are not kept"
RESIDENT = "lines with resident bytes, which are not kept"
BAD_ALIGNMENT = "alignments that are no power of two, rounded up"
OVERFLOW = "callocs whose count times size overflows, kept as the largest size"


@dataclass(frozen=True)
class Word:
    """One word of the format: the event that it stands for, and the meaning of the numbers after it (-1 for none)."""

    op: int
    numbers: int
    address: int = -1
    old: int = -1
    size: int = -1
    times: int = 2  # numbers that may follow
    resident: int = 0  # numbers that may follow the times


SOURCE = "Android memory_replay text"
PROPERTIES = "op", "log2_align", "thread", "address", "old", "size", "count"
TIMED = "timed", "start", "end"
MAX_WORD, MAX_COUNT = (1 << 64) - 1, (1 << 32) - 1
WORDS = {
    "malloc": Word(ALLOC, 2, address=0, size=1),
    "calloc": Word(ALLOC_ZEROED, 3, address=0, size=2),
    "memalign": Word(ALLOC, 3, address=0, size=2),
    "realloc": Word(REALLOC, 3, address=0, old=1, size=2, resident=1),
    "free": Word(DEALLOC, 1, old=0, resident=1),
    "thread_done": Word(THREAD_EXIT, 1, times=1),
}


def recognizes(start: bytes) -> bool:
    """Whether a text that begins like this is in this format."""
    return FIRST_LINE.match(start) is not None


def read(text: bytes) -> Trace:
    """The trace of a text. Raises TraceError with the number of the first line that breaks the format."""
    notes: Counter[str] = Counter()
    parts, lines = [], 0
    for block in blocks(text):
        parts.append(Block(block, lines, notes).calls())
        lines += block.count(b"\n")
    if not parts:
        raise TraceError("the text is empty; record again")
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    calls = Calls.in_order(**{name: columns[name] for name in PROPERTIES})
    if (columns["timed"] | (columns["op"] == THREAD_EXIT)).all():
        calls = by_time(calls, columns["start"], columns["end"])
    return Trace([Process(resolve(calls, notes), notes=notes)], source=SOURCE)


def by_time(calls: Calls, start: U64, end: U64) -> Calls:
    """The same calls, which release at their start and acquire at their end, unless the times make no sense."""
    row = np.arange(2 * len(calls))  # for equal times, the order of the lines
    order = np.lexsort((np.concatenate([row[::2], row[1::2]]), np.concatenate([start, end])))
    moments = np.empty(len(row), np.int64)
    moments[order] = row
    timed = replace(calls, released=moments[: len(calls)], acquired=moments[len(calls) :])
    makes_sense = all((before < row[: len(calls)]).all() for before in Story.of(timed).predecessors(len(calls)))
    return timed if makes_sense else calls


class Block:
    """Some complete lines of the text, after `lines_before` others."""

    def __init__(self, text: bytes, lines_before: int, notes: Counter[str]):
        self.text, self.lines_before, self.notes = text, lines_before, notes
        self.tokens = Tokens.of(text)

    def calls(self) -> dict[str, Any]:
        """The calls of all lines, as columns."""
        tokens = self.tokens
        self.require(tokens.count >= 3, "it is too short")
        thread, good = tokens.number(tokens.first)
        self.require(good & (thread < 1 << 32), "it does not begin with a thread's number")
        zeros = np.zeros(len(thread), np.uint64)
        calls = {name: zeros.copy() for name in (*PROPERTIES, *TIMED)} | {"thread": thread, "count": zeros + 1}
        word, length = tokens.word(tokens.first + 1), tokens.length(tokens.first + 1)
        for name, meaning in WORDS.items():
            self.fill(calls, np.flatnonzero((word == key(name)) & (length == len(name))), meaning)
        self.require(calls["op"] > 0, "it names no call that is known")
        return calls

    def fill(self, calls: dict[str, Any], lines: I64, meaning: Word) -> None:
        """Fill in the calls of the lines that have one word."""
        self.require(self.tokens.count[lines] >= 2 + meaning.numbers, "it has too few numbers", lines)
        self.fill_times(calls, lines, meaning)
        numbers = [self.number(lines, place) for place in range(meaning.numbers)]
        calls["op"][lines] = meaning.op
        for name in "address", "old", "size":
            if (place := getattr(meaning, name)) >= 0:
                calls[name][lines] = numbers[place]
        if meaning.op == ALLOC_ZEROED:
            calls["size"][lines] = size = self.product(numbers[1], numbers[2])
            calls["count"][lines] = np.where((numbers[1] <= MAX_COUNT) & (size < MAX_WORD), numbers[1], 1)
        elif meaning.op == ALLOC and meaning.numbers == 3:
            calls["log2_align"][lines] = self.log2(numbers[1])

    def fill_times(self, calls: dict[str, Any], lines: I64, meaning: Word) -> None:
        """Fill in the times that follow a call, and count other numbers."""
        more = self.tokens.count[lines] - 2 - meaning.numbers
        timed = more >= meaning.times
        for name, place in ("start", meaning.numbers), ("end", meaning.numbers + meaning.times - 1):
            at = np.minimum(self.tokens.first[lines] + 2 + place, len(self.tokens.start) - 1)
            calls[name][lines], good = self.tokens.number(at)
            timed &= good
        timed &= (calls["end"][lines] > 0) | (more > meaning.times)  # without times, zeros precede other numbers
        calls["timed"][lines] = timed & (calls["end"][lines] > 0)
        known = timed * (meaning.times + meaning.resident)
        note(self.notes, TIMES, calls["timed"][lines].sum())
        note(self.notes, RESIDENT, (timed & (more > meaning.times) & (meaning.resident > 0)).sum())
        note(self.notes, UNKNOWN_FIELDS, (more > known).sum())

    def number(self, lines: I64, place: int) -> U64:
        value, good = self.tokens.number(self.tokens.first[lines] + 2 + place)
        self.require(good, "a number in it is none", lines)
        return value

    def product(self, count: U64, size: U64) -> U64:
        """`count` times `size`, or the largest number if the product overflows."""
        overflows = (count > 0) & (size > MAX_WORD // np.maximum(count, 1))
        note(self.notes, OVERFLOW, overflows.sum())
        return np.where(overflows, np.uint64(MAX_WORD), count * size)

    def log2(self, align: U64) -> U64:
        note(self.notes, BAD_ALIGNMENT, (align & (align - np.uint64(1)) != 0).sum())
        log2: U64 = np.ceil(np.log2(np.maximum(align, 1).astype(float))).astype(np.uint64)
        return log2

    def require(self, good: Mask, complaint: str, lines: I64 | None = None) -> None:
        """Raise TraceError for the first line that is not good. `lines` are the lines that `good` refers to."""
        if good.all():
            return
        which = int(np.argmin(good))
        start = int(self.tokens.start[self.tokens.first[which if lines is None else lines[which]]])
        number = self.lines_before + self.text.count(b"\n", 0, start) + 1
        shown = self.text[start : start + 60].split(b"\n")[0].decode(errors="replace").strip()
        raise TraceError(f"line {number} is not understood: {complaint}: {shown!r}")
